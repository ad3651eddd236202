// One unit: h' = tanh(w x + r h + b), and an answer from it by a linear map and softmax.

const STEPS = 8;
const PULSE = [1, 0, 0, 0, 0, 0, 0, 0];
const ASKED = { w: 1, r: 0.5 };
const TOLERANCE = 0.05;
const READOUT = { weight: [4, -4], bias: [-1, 1] }; // of the answers yes and no
const [LEFT, RIGHT] = [34, 6]; // the margins of the picture, in pixels
const CHECKED = [
  [1, 0.5],
  [2, 0.5],
  [1, -0.5],
  [0.5, 1],
  [2, -1],
]; // w and r of the check

/** The unit: a layer of one input and one unit, run over the inputs. */
class Unit {
  constructor(kernels) {
    this.layer = new gatewise.Layer(kernels, { inputSize: 1, hiddenSize: 1 });
  }

  run({ w, r, b = 0, x }) {
    const { weights } = this.layer;
    weights.weight_ih[0] = w;
    weights.weight_hh[0] = r;
    weights.bias_ih[0] = b;
    const h = [...this.layer.forward(Float32Array.from(x), { steps: x.length, rows: 1 }).output];
    return h.map((now, t) => {
      const before = t ? h[t - 1] : 0;
      const logits = READOUT.weight.map((v, k) => v * now + READOUT.bias[k]);
      const powers = logits.map(Math.exp);
      return {
        x: x[t],
        before,
        sum: w * x[t] + r * before + b,
        h: now,
        logits,
        yes: powers[0] / (powers[0] + powers[1]),
      };
    });
  }
}

scene("unit", {
  async build({ root, words, kit, engine }) {
    const unit = new Unit(await engine.cell("rnn"));
    const set = { ...ASKED, b: 0, step: 1, x: (kit.kept.x ??= [...PULSE]), seen: false };
    const now = () => unit.run(set);
    const views = [];
    const changed = () => views.forEach((view) => view.redraw());
    const tools = toolsOf(kit, set, changed);
    const inputs = inputsOf(kit, set, changed);
    const step = kit.slider({
      label: words("step"),
      min: 1,
      max: STEPS,
      step: 1,
      value: 1,
      shown: String,
      on: (value) => ((set.step = value), changed()),
    });
    const story = storyOf(kit, set, now, step, changed);
    const curve = kit.canvas({
      label: () => words("curve", { sum: number(now()[set.step - 1].sum), h: number(now()[set.step - 1].h) }),
      height: 190,
      draw: (pen, width, height) => drawCurve(kit, pen, width, height, now()[set.step - 1].sum),
    });
    const sum = sumOf(kit, set, now);
    const table = kit.numbers({
      columns: [words("column_step"), "x", "w x + r h + b", kit.letter("h"), words("yes"), words("no")],
      rows: () => now().map((at, t) => [String(t + 1), String(at.x), at.sum, at.h, at.yes, 1 - at.yes]),
    });
    views.push(story, curve, sum, table);
    const details = element("div", {}, step, kit.row(kit.stack(curve.element), kit.stack(sum)));
    const rest = element("div", {}, kit.text("try"), kit.text("answers", linearMap()), checkOf(kit, unit));
    const truth = unit.run({ ...ASKED, x: PULSE });
    const shown = truth
      .slice(0, 4)
      .map(({ h }) => number(h, 2))
      .join(words("comma"));
    const question = kit.question({
      ask: words("ask", ASKED),
      choices: ["gone", "fades", "stays"].map((key) => words(`ask_${key}`)),
      right: () => fateOf(truth),
      said: () => words("asked", { numbers: shown, r: ASKED.r }),
      hides: [tools, inputs.tools, details, rest, table],
      then: () => ((set.seen = true), inputs.show()),
    });
    root.append(
      kit.text("lead"),
      kit.text("names"),
      question,
      kit.card(tools, inputs.tools, inputs.line, story.element, kit.caption(words("legend")), details),
      rest,
      kit.formula([
        "$h$ = tanh(w $x$ + r $h_$ + b)",
        `$y$ = softmax(V $h$ + d),  V = (${signed(READOUT.weight)}),  d = (${signed(READOUT.bias)})`,
      ]),
      table,
    );
    return { redraw: changed };
  },
});

/** The sliders of w, r and b. */
function toolsOf(kit, set, changed) {
  const slider = (name, limit) =>
    kit.slider({
      label: kit.words(name),
      min: -limit,
      max: limit,
      step: 0.05,
      value: set[name],
      shown: (value) => number(value, Math.abs(value) >= 1 ? 3 : 2),
      on: (value) => ((set[name] = value), changed()),
    });
  return kit.three(slider("w", 3), slider("r", 2), slider("b", 2));
}

/** The picture of all steps; a press on it chooses a step. */
function storyOf(kit, set, now, step, changed) {
  const story = kit.canvas({
    label: () =>
      set.seen
        ? kit.words("story", {
            numbers: now()
              .map(({ h }) => number(h, 2))
              .join(", "),
          })
        : kit.words("unseen"),
    height: 310,
    draw: (pen, width) => drawStory(kit, pen, width, now(), set),
    on({ x }) {
      const width = story.element.clientWidth;
      step.value = set.step = Math.max(
        1,
        Math.min(STEPS, 1 + Math.floor((STEPS * (x - LEFT)) / (width - LEFT - RIGHT))),
      );
      changed();
    },
  });
  return story;
}

/** The two numbers of the linear map, as texts. */
function linearMap() {
  const [v0, v1] = READOUT.weight.map(
    (v, k) => `${signed([v])}h ${READOUT.bias[k] < 0 ? MINUS : "+"} ${Math.abs(READOUT.bias[k])}`,
  );
  return { v0, v1 };
}

function signed(numbers) {
  return numbers.join(", ").replaceAll("-", MINUS);
}

/** What becomes of a pulse: 0 gone at once, 1 it fades, 2 it stays. */
function fateOf(seen) {
  const left = seen[1].h / seen[0].h;
  if (Math.abs(left) < 0.01) return 0;
  return seen.at(-1).h / seen[0].h < 0.9 ? 1 : 2;
}

/** A button for the input of each step. */
function inputsOf(kit, set, changed) {
  const buttons = set.x.map((_, t) =>
    element("button", {
      type: "button",
      class: "unit-input",
      onclick: () => ((set.x[t] = 1 - set.x[t]), show()),
    }),
  );
  const show = () => {
    buttons.forEach((button, t) => {
      button.setAttribute("aria-pressed", String(set.x[t] === 1));
      button.setAttribute("aria-label", kit.words("input", { step: t + 1, value: set.x[t] }));
      button.textContent = String(set.x[t]);
      button.disabled = !set.seen;
    });
    changed();
  };
  const all = (x) => () => (x.forEach((value, t) => (set.x[t] = value)), show());
  const line = element(
    "div",
    { class: "unit-inputs", role: "group", "aria-label": kit.words("inputs") },
    element("span", { "aria-hidden": "true" }, kit.symbol("x")),
    buttons,
  );
  const tools = kit.row(
    element("span", {}, kit.rich(kit.words("feed"))),
    kit.button({ label: kit.words("pulse"), on: all(PULSE) }),
    kit.button({ label: kit.words("silence"), on: all(PULSE.map(() => 0)) }),
  );
  show();
  return { tools, line, show };
}

/** The steps side by side: what comes in, the number that goes on, the answer. */
function drawStory(kit, pen, width, seen, { w, r, step, seen: known }) {
  const wide = (width - LEFT - RIGHT) / STEPS;
  const x = (t) => LEFT + (t + 0.5) * wide;
  const [top, zero, tall] = [0, 124, 84];
  const y = (h) => zero - h * tall;
  pen.fillStyle = kit.colour("wash");
  pen.beginPath();
  pen.roundRect(x(step - 1) - wide / 2 + 1, 0, wide - 2, 308, [0, 0, 8, 8]);
  pen.fill();
  axisOf(kit, pen, width, y);
  seen.forEach((at, t) => {
    arrow(pen, kit.colour("data"), x(t), top, x(t), y(t && !known ? 0 : at.h) - 17, Math.abs(w * at.x));
    if (t && known)
      arrow(pen, kit.colour("state"), x(t - 1), y(at.before), x(t), y(at.h), Math.abs(r * at.before));
  });
  pen.textAlign = "center";
  seen.forEach((at, t) => {
    const hidden = t > 0 && !known;
    node(kit, pen, x(t), y(hidden ? 0 : at.h), hidden ? null : at.h);
    if (known) answer(kit, pen, x(t), wide, at.yes);
  });
  labels(kit, pen, zero);
}

function axisOf(kit, pen, width, y) {
  pen.font = `12px ${style("--font")}`;
  pen.textAlign = "left";
  for (const mark of [-1, 0, 1]) {
    pen.fillStyle = kit.colour("line");
    pen.fillRect(LEFT, Math.round(y(mark)), width - LEFT - RIGHT, 1);
    pen.fillStyle = kit.colour("soft");
    pen.fillText(number(mark, 1), 14, y(mark));
  }
}

/** An arrow as thick as the number it carries. */
function arrow(pen, colour, x0, y0, x1, y1, size) {
  if (size < 0.005) return;
  pen.strokeStyle = colour;
  pen.lineWidth = Math.min(9, 0.6 + 4 * size);
  pen.globalAlpha = 0.75;
  pen.beginPath();
  pen.moveTo(x0, y0);
  pen.lineTo(x1, y1);
  pen.stroke();
  pen.globalAlpha = 1;
}

/** The unit at a step, with its number, or a question mark. */
function node(kit, pen, x, y, h) {
  pen.beginPath();
  pen.arc(x, y, 17, 0, 7);
  pen.fillStyle = kit.colour("card");
  pen.fill();
  pen.globalAlpha = 0.1 + 0.5 * Math.abs(h);
  pen.fillStyle = kit.colour(h < 0 ? "negative" : "positive");
  pen.fill();
  pen.globalAlpha = 1;
  pen.strokeStyle = kit.colour("ink");
  pen.lineWidth = 1.2;
  pen.stroke();
  pen.font = `600 10.5px ${style("--font")}`;
  pen.fillStyle = kit.colour("ink");
  pen.fillText(h === null ? "?" : h.toFixed(2).replace("-", MINUS), x, y + 0.5);
}

/** The shares of yes and no, one above the other. */
function answer(kit, pen, x, wide, yes) {
  const [top, tall, half] = [230, 50, Math.min(22, wide / 2 - 3)];
  pen.fillStyle = kit.colour("empty");
  pen.fillRect(x - half, top, 2 * half, tall);
  pen.fillStyle = kit.colour("output");
  pen.fillRect(x - half, top + tall * (1 - yes), 2 * half, tall * yes);
  pen.fillStyle = kit.colour("ink");
  pen.font = `12px ${style("--font")}`;
  pen.fillText(`${Math.round(100 * yes)}%`, x, top + tall + 14);
}

function labels(kit, pen, zero) {
  pen.textAlign = "left";
  pen.font = `italic 600 17px ${style("--serif")}`;
  for (const [name, y, colour] of [
    ["h", zero - 42, "state"],
    ["y", 255, "output"],
  ]) {
    pen.fillStyle = kit.colour(colour);
    pen.fillText(kit.letter(name), 2, y);
  }
}

/** The curve of tanh, with the sum below and its tanh at the side. */
function drawCurve(kit, pen, width, height, sum) {
  const [left, right, top, bottom] = [30, width - 10, 14, height - 26];
  const x = (a) => left + ((a + 3) / 6) * (right - left);
  const y = (h) => (top + bottom) / 2 - (h * (bottom - top)) / 2;
  pen.font = `12px ${style("--font")}`;
  for (const mark of [-1, 0, 1]) {
    pen.fillStyle = kit.colour("line");
    pen.fillRect(left, Math.round(y(mark)), right - left, 1);
    pen.fillStyle = kit.colour("soft");
    pen.textAlign = "right";
    pen.fillText(number(mark, 1), left - 6, y(mark));
  }
  pen.textAlign = "center";
  for (const mark of [-3, -2, -1, 0, 1, 2, 3]) pen.fillText(number(mark, 1), x(mark), bottom + 14);
  pen.strokeStyle = kit.colour("soft");
  pen.lineWidth = 2;
  pen.beginPath();
  for (let a = -3; a <= 3.001; a += 0.05) pen.lineTo(x(a), y(Math.tanh(a)));
  pen.stroke();
  const at = Math.max(-3, Math.min(3, sum));
  pen.strokeStyle = kit.colour("state");
  pen.setLineDash([4, 4]);
  pen.beginPath();
  pen.moveTo(x(at), bottom);
  pen.lineTo(x(at), y(Math.tanh(sum)));
  pen.lineTo(left, y(Math.tanh(sum)));
  pen.stroke();
  pen.setLineDash([]);
  pen.beginPath();
  pen.arc(x(at), y(Math.tanh(sum)), 6, 0, 7);
  pen.fillStyle = kit.colour("state");
  pen.fill();
}

/** Where the number of the chosen step comes from. */
function sumOf(kit, set, now) {
  const whole = element("div", { class: "unit-sum" });
  whole.redraw = () => {
    const at = now()[set.step - 1];
    const bracketed = (value) => (value < 0 ? `(${number(value)})` : number(value));
    const line = (name, text, value) => [
      element("dt", {}, kit.rich(name)),
      element("dd", {}, text),
      element("dd", {}, number(value)),
    ];
    whole.replaceChildren(
      element("p", {}, kit.rich(kit.words("where", { step: set.step }))),
      element(
        "dl",
        {},
        line("w $x$", `${number(set.w)} × ${bracketed(at.x)}`, set.w * at.x),
        line("r $h_$", `${number(set.r)} × ${bracketed(at.before)}`, set.r * at.before),
        line("b", "", set.b),
        line(kit.words("sum"), "", at.sum),
        line(`$h$ = tanh`, "", at.h),
      ),
    );
  };
  return whole;
}

/** The state after three steps, by hand. */
function checkOf(kit, unit) {
  const drawn = (kit.kept.check ??= Math.floor(Math.random() * CHECKED.length));
  const [w, r] = CHECKED[drawn];
  const x = [1, 0, 0];
  const seen = unit.run({ w, r, x });
  const ruler = kit.canvas({
    label: () => kit.words("curve", { sum: number(slider.value), h: number(Math.tanh(slider.value)) }),
    height: 170,
    draw: (pen, width, height) => drawCurve(kit, pen, width, height, slider.value),
  });
  const slider = kit.slider({
    label: kit.words("ruler"),
    min: -3,
    max: 3,
    step: 0.01,
    value: 0,
    shown: (value) => `tanh(${number(value)}) = ${number(Math.tanh(value))}`,
    on: () => ruler.redraw(),
  });
  const check = kit.check({
    ask: kit.words("check", {
      w,
      r: String(r).replace("-", MINUS),
      x: x.join(kit.words("comma")),
      tolerance: TOLERANCE,
    }),
    number: { tolerance: TOLERANCE },
    right: () => seen[2].h,
    said: (answer, right) =>
      right
        ? kit.words("check_right", { numbers: seen.map(({ h }) => number(h)).join(" → ") })
        : kit.words("check_wrong", { sum: number(seen[0].sum), h: number(seen[0].h) }),
  });
  return element("div", {}, kit.card(kit.text("ruler_about"), slider, ruler.element), check);
}
