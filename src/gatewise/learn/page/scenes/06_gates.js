// Gates by hand: one step of one unit of a trained LSTM, its three gates moved by the learner, and where its
// own four numbers come from.

const LETTERS = "BTSXPVE"; // of the Reber grammar, in the order of the inputs
const STRING = "BTBPVVETE";
const ROWS = ["i", "f", "g", "o"]; // the blocks of the weights
const ORDER = ["f", "i", "g", "o"]; // as the explanation goes through them
const HANDS = ["f", "i", "o"];
const COLOURS = { f: "forget", i: "write", o: "speak", g: "data" };
const PLACE = { step: 7, unit: 2 }; // of the question and the check: there it forgets much and writes much
const TOLERANCE = 0.02;

/** The trained LSTM, after reading the string. */
class Reader {
  constructor(kernels, { shapes, tensors }) {
    this.units = shapes["layer.weight_hh_l0"][1];
    this.layer = new gatewise.Layer(kernels, { inputSize: LETTERS.length, hiddenSize: this.units });
    for (const name in this.layer.weights) this.layer.weights[name].set(tensors[`layer.${name}_l0`]);
    this.x = new Float32Array(STRING.length * LETTERS.length);
    [...STRING].forEach((sign, t) => (this.x[t * LETTERS.length + LETTERS.indexOf(sign)] = 1));
    this.run = this.layer.forward(this.x, {
      steps: STRING.length,
      rows: 1,
      watch: ["f", "i", "g", "o", "c"],
    });
  }

  /** One unit at one step, both counted from 1: its numbers, and the sums that they come from. */
  at({ step, unit }) {
    const [t, u, H] = [step - 1, unit - 1, this.units];
    const value = (name) => this.run.values[name][t * H + u];
    const x = [...this.x.subarray(t * LETTERS.length, (t + 1) * LETTERS.length)];
    const h = t ? [...this.run.output.subarray((t - 1) * H, t * H)] : new Array(H).fill(0);
    const found = {
      x,
      h,
      old: t ? this.run.values.c[(t - 1) * H + u] : 0,
      now: value("c"),
      said: this.run.output[t * H + u],
      sums: {},
    };
    for (const name of ORDER) {
      const row = ROWS.indexOf(name) * H + u;
      const { weight_ih: W, weight_hh: R, bias_ih: b, bias_hh: d } = this.layer.weights;
      const weights = [
        ...W.subarray(row * x.length, (row + 1) * x.length),
        ...R.subarray(row * H, (row + 1) * H),
      ];
      const products = [...x, ...h].map((number, k) => weights[k] * number);
      const sum = (from, to) => products.slice(from, to).reduce((a, product) => a + product, 0);
      found.sums[name] = { weights, wx: sum(0, x.length), rh: sum(x.length), b: b[row] + d[row] };
      found[name] = value(name);
    }
    return found;
  }
}

/** A number with two decimals. */
function fixed(value) {
  return value.toFixed(2).replace("-", MINUS);
}

/** The step with gates set by hand. */
function stepped({ old, g }, { f, i, o }) {
  const c = f * old + i * g;
  return { kept: f * old, written: i * g, c, squeezed: Math.tanh(c), h: o * Math.tanh(c) };
}

scene("gates", {
  async build({ root, words, kit, engine }) {
    const [kernels, weights] = await Promise.all([engine.cell("lstm"), engine.weights("reber_lstm")]);
    const reader = new Reader(kernels, weights);
    const set = { ...PLACE, f: 0.5, i: 0.5, o: 0.5, seen: false };
    const target = (kit.kept.target ??= drawTarget(reader.at(PLACE)));
    const here = () => reader.at(set);
    const changed = () => [flow, strip, sums, table].forEach((view) => view.redraw());
    const hands = handsOf(kit, set, here, changed);
    const flow = flowOf(kit, set, here, hands, target, changed);
    const strip = kit.canvas({
      label: () => words("strip", { sign: STRING[set.step - 1], unit: set.unit }),
      height: 216,
      draw: (pen, width) => drawStrip(kit, pen, width, here()),
    });
    const sums = sumsOf(kit, here);
    const table = numbersOf(kit, set, reader);
    const rest = element(
      "div",
      {},
      goalOf(kit, set, here, target),
      kit.heading(words("where_title")),
      kit.text("where_one"),
      kit.text("where_two"),
      kit.card(placeOf(kit, set, reader, changed), strip.element, sums),
      kit.text("same"),
      kit.text("vectors"),
      lettersOf(kit),
    );
    const question = questionOf(
      kit,
      reader.at(PLACE),
      [hands.element, rest, table],
      () => ((set.seen = true), changed()),
    );
    root.append(
      kit.text("lead", { string: STRING, step: PLACE.step, sign: STRING[PLACE.step - 1] }),
      kit.text("stages"),
      question,
      kit.card(flow.element, hands.element),
      rest,
      kit.formula([
        "$f$ = sigmoid(W $x$ + R $h_$ + b)",
        words("formula_others"),
        "$g$ = tanh(W $x$ + R $h_$ + b)",
        "$c$ = $f$ ⊙ $c_$ + $i$ ⊙ $g$",
        "$h$ = $o$ ⊙ tanh($c$)",
      ]),
      table,
    );
    return { redraw: changed };
  },
});

/** Which of the two gates that make the new memory was less open? */
function questionOf(kit, step, hides, then) {
  const gates = HANDS.map((name) => step[name]);
  return kit.question({
    ask: kit.words("ask", { old: number(step.old), g: number(step.g), now: number(step.now) }),
    choices: ["f", "i"].map((name) => kit.words(`ask_${name}`)),
    right: () => (step.f < step.i ? 0 : 1),
    said: () => kit.words("asked", Object.fromEntries(HANDS.map((name, k) => [name, number(gates[k], 2)]))),
    hides,
    then,
  });
}

/** The sliders of the three gates. `put(name, open)` moves one. */
function handsOf(kit, set, here, changed) {
  const sliders = Object.fromEntries(
    HANDS.map((name) => [
      name,
      kit.slider({
        label: kit.words(`slider_${name}`),
        min: 0,
        max: 1,
        step: 0.01,
        value: set[name],
        shown: (open) => number(open, 2),
        on: (open) => ((set[name] = open), changed()),
      }),
    ]),
  );
  const put = (name, open) => (sliders[name].value = set[name] = open);
  const own = kit.button({
    label: kit.words("own"),
    on: () => (HANDS.forEach((name) => put(name, here()[name])), changed()),
  });
  return { put, element: element("div", {}, kit.three(...Object.values(sliders)), kit.row(own)) };
}

/** The picture of the three stages. A press beside the middle of a gate opens it so far. */
function flowOf(kit, set, here, { put }, target, changed) {
  const flow = kit.canvas({
    label: () => (set.seen ? flowWords(kit, here(), set) : kit.words("unseen")),
    height: 436,
    draw: (pen, width) => drawFlow(kit, pen, width, here(), set, isAsked(set) ? target : null),
    on: ({ x, y }) => {
      const stage = STAGES.find(({ middle }) => Math.abs(y - middle) < 40);
      if (!set.seen || !stage || Math.abs(x - flow.element.clientWidth / 2) > 40) return;
      put(stage.gate, Math.round(100 * Math.min(1, Math.abs(y - stage.middle) / (TALL / 2))) / 100);
      changed();
    },
  });
  return flow;
}

/** The choice of a step and of a unit. */
function placeOf(kit, set, reader, changed) {
  const slider = (name, most, shown) =>
    kit.slider({
      label: kit.words(name),
      min: 1,
      max: most,
      step: 1,
      value: set[name],
      shown,
      on: (value) => ((set[name] = value), changed()),
    });
  const step = slider("step", STRING.length, (value) =>
    kit.words("shown", { step: value, sign: STRING[value - 1] }),
  );
  return kit.row(step, slider("unit", reader.units, String));
}

/** Whether the step and the unit are those of the check. */
function isAsked({ step, unit }) {
  return step === PLACE.step && unit === PLACE.unit;
}

/** A given memory, to be made with the gates. */
function goalOf(kit, set, here, target) {
  return kit.goal({
    ask: kit.words("check", { ...PLACE, target: fixed(target), tolerance: TOLERANCE }),
    button: kit.words("check_button"),
    reached: () => isAsked(set) && Math.abs(stepped(here(), set).c - target) <= TOLERANCE,
    said(right) {
      const { c, kept, written } = stepped(here(), set);
      if (!isAsked(set)) return kit.words("check_place", PLACE);
      const values = { c: number(c), kept: number(kept), written: number(written), target: fixed(target) };
      return kit.words(right ? "check_right" : c < target ? "check_less" : "check_more", values);
    },
  });
}

/** The four by name, and their letters here and in other books. */
function lettersOf(kit) {
  const notations = ["seed", "book", "code"];
  const head = notations.map((notation) => element("th", { scope: "col" }, kit.words(`letters_${notation}`)));
  const row = (name) =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, kit.words(`name_${name}`)),
      notations.map((notation) => element("td", {}, symbol(name, notation))),
    );
  return element(
    "div",
    { class: "scroll gates-letters", role: "region", tabindex: "0", "aria-label": kit.words("letters") },
    element(
      "table",
      {},
      element("caption", {}, kit.words("letters")),
      element("thead", {}, element("tr", {}, element("td"), head)),
      element("tbody", {}, ORDER.map(row)),
    ),
  );
}

function numbersOf(kit, set, reader) {
  return kit.numbers({
    columns: [
      kit.words("column_unit"),
      kit.letter("c_"),
      ...ORDER.map(kit.letter),
      kit.letter("c"),
      kit.letter("h"),
    ],
    rows: () =>
      Array.from({ length: reader.units }, (_, u) => {
        const unit = reader.at({ step: set.step, unit: u + 1 });
        return [String(u + 1), unit.old, ...ORDER.map((name) => unit[name]), unit.now, unit.said];
      }),
  });
}

/** A new memory that some gates reach, away from that of half-open gates and from the network's own. */
function drawTarget(step) {
  for (;;) {
    const any = () => 0.1 + 0.8 * Math.random();
    const c = Math.round(100 * stepped(step, { f: any(), i: any(), o: 0 }).c) / 100;
    const far = [stepped(step, { f: 0.5, i: 0.5, o: 0 }).c, step.now].every(
      (other) => Math.abs(c - other) > 0.15,
    );
    if (far && Math.abs(c) > 0.05) return c;
  }
}

const TALL = 56; // of a gate that is open, in pixels
const STAGES = [
  { gate: "f", middle: 66 },
  { gate: "i", middle: 176 },
  { gate: "o", middle: 382 },
];

function flowWords(kit, step, set) {
  const { kept, written, c, h } = stepped(step, set);
  return kit.words("flow", { kept: number(kept), written: number(written), c: number(c), h: number(h) });
}

/** The three stages one below the other; before the third one, the new memory on a line of numbers. */
function drawFlow(kit, pen, width, step, set, target) {
  const seen = stepped(step, set);
  const most = Math.max(1, Math.abs(step.old), Math.abs(step.now));
  const [forget, select, output] = STAGES;
  const kept = { label: kit.words("kept"), value: seen.kept };
  const written = { label: kit.words("written"), value: seen.written };
  const gate = (name) => (set.seen ? set[name] : null);
  drawStage(kit, pen, width, forget, most, { label: kit.letter("c_"), value: step.old }, gate("f"), kept);
  drawStage(kit, pen, width, select, most, { label: kit.letter("g"), value: step.g }, gate("i"), written);
  const [c, widest] = [kit.letter("c"), Math.max(3, most + 0.5)];
  if (set.seen) drawMemory(kit, pen, width, 266, seen.c, `${c} = ${added(seen)}`, target, widest);
  else drawMemory(kit, pen, width, 266, step.now, `${c} = ${number(step.now)}`, null, widest);
  const squeezed = { label: `tanh(${c})`, value: set.seen ? seen.squeezed : Math.tanh(step.now) };
  drawStage(kit, pen, width, output, most, squeezed, gate("o"), { label: kit.letter("h"), value: seen.h });
}

/** What is kept and what is written, added. */
function added({ kept, written, c }) {
  return `${number(kept)} ${written < 0 ? MINUS : "+"} ${number(Math.abs(written))} = ${number(c)}`;
}

/** What comes to a gate, the gate, and what it lets through; with a question mark if the gate is not known. */
function drawStage(kit, pen, width, { gate, middle }, most, from, open, to) {
  const colour = kit.colour(COLOURS[gate]);
  const centre = width / 2;
  pen.textAlign = "left";
  pen.font = `600 14px ${style("--font")}`;
  pen.fillStyle = colour;
  pen.fillText(plain(kit.words(`stage_${gate}`)), 0, middle - 52);
  for (const [x, end, value] of [
    [70, centre - 8, from.value],
    [centre + 8, width - 70, to.value],
  ]) {
    if (open === null && x > centre) continue;
    const thick = Math.max(1, (Math.abs(value) / most) * (TALL - 14));
    pen.fillStyle = kit.colour(value < 0 ? "negative" : "positive");
    pen.globalAlpha = 0.85;
    pen.fillRect(x, middle - thick / 2, end - x, thick);
    pen.globalAlpha = 1;
  }
  drawGate(kit, pen, centre, middle, open, colour);
  pen.textAlign = "center";
  pen.font = `600 13px ${style("--font")}`;
  pen.fillStyle = kit.colour("ink");
  pen.fillText(`${kit.letter(gate)} = ${open === null ? "?" : open.toFixed(2)}`, centre, middle + 40);
  labelled(kit, pen, 0, middle, from, "left");
  if (open !== null) labelled(kit, pen, width, middle, to, "right");
}

/** A gate: two leaves that leave open a part of its height. */
function drawGate(kit, pen, x, middle, open, colour) {
  const leaf = open === null ? 0 : (TALL * (1 - open)) / 2;
  pen.fillStyle = colour;
  pen.fillRect(x - 8, middle - TALL / 2, 16, leaf);
  pen.fillRect(x - 8, middle + TALL / 2 - leaf, 16, leaf);
  pen.strokeStyle = colour;
  pen.lineWidth = 2;
  pen.strokeRect(x - 9, middle - TALL / 2 - 1, 18, TALL + 2);
}

function labelled(kit, pen, x, middle, { label, value }, side) {
  pen.textAlign = side;
  pen.font = `13px ${style("--font")}`;
  pen.fillStyle = kit.colour("soft");
  pen.fillText(label, x, middle - 10);
  pen.font = `650 15px ${style("--font")}`;
  pen.fillStyle = kit.colour("ink");
  pen.fillText(number(value), x, middle + 9);
}

/** The new memory on a line of numbers, and the one that is wanted. */
function drawMemory(kit, pen, width, y, c, text, target, most) {
  const [left, right] = [8, width - 8];
  const x = (value) => left + ((value + most) / (2 * most)) * (right - left);
  pen.fillStyle = kit.colour("line");
  pen.fillRect(left, y, right - left, 2);
  pen.font = `12px ${style("--font")}`;
  pen.textAlign = "center";
  for (let mark = Math.ceil(-most); mark <= most; mark++) {
    pen.fillStyle = kit.colour("soft");
    pen.fillRect(x(mark), y - 4, 1, 10);
    pen.fillText(number(mark, 1), x(mark), y + 17);
  }
  pen.textAlign = "left";
  pen.font = `600 14px ${style("--font")}`;
  pen.fillStyle = kit.colour("state");
  pen.fillText(text, 0, y - 26);
  pen.beginPath();
  pen.arc(x(c), y + 1, 7, 0, 7);
  pen.fill();
  if (target === null) return;
  pen.strokeStyle = kit.colour("ink");
  pen.lineWidth = 2;
  pen.beginPath();
  pen.arc(x(target), y + 1, 11, 0, 7);
  pen.stroke();
  pen.textAlign = "right";
  pen.font = `13px ${style("--font")}`;
  pen.fillStyle = kit.colour("ink");
  pen.fillText(`\u25ef ${plain(kit.words("target", { target: fixed(target) }))}`, width, y + 38);
}

/** x and h end to end, and below the weights of the four, each with its result at the right. */
function drawStrip(kit, pen, width, step) {
  const [left, right, gap] = [36, 60, 8];
  const count = step.x.length + step.h.length;
  const size = Math.min(26, (width - left - right - gap) / count);
  const x = (k) => left + k * size + (k >= step.x.length ? gap : 0);
  const most = Math.max(...ORDER.flatMap((name) => step.sums[name].weights.map(Math.abs)));
  pen.textAlign = "left";
  pen.font = `italic 600 15px ${style("--serif")}`;
  for (const [name, k] of [
    ["x", 0],
    ["h_", step.x.length],
  ]) {
    pen.fillStyle = kit.colour(name === "x" ? "data" : "state");
    pen.fillText(kit.letter(name), x(k), 10);
    const end = name === "x" ? step.x.length : count;
    pen.fillRect(x(k), 22, x(end - 1) + size - 2 - x(k), 3);
  }
  const row = (values, y, tall, largest) =>
    values.forEach((value, k) => {
      pen.fillStyle = kit.colour("empty");
      pen.fillRect(x(k), y, size - 1.5, tall);
      pen.globalAlpha = Math.min(1, Math.abs(value) / largest);
      pen.fillStyle = kit.colour(value < 0 ? "negative" : "positive");
      pen.fillRect(x(k), y, size - 1.5, tall);
      pen.globalAlpha = 1;
    });
  row([...step.x, ...step.h], 30, 24, 1);
  pen.textAlign = "center";
  pen.font = `${Math.min(12, size - 2)}px ${style("--font")}`;
  [...LETTERS].forEach((sign, k) => {
    pen.fillStyle = kit.colour(step.x[k] ? "card" : "soft");
    pen.fillText(sign, x(k) + size / 2, 42);
  });
  pen.textAlign = "left";
  pen.font = `13px ${style("--font")}`;
  pen.fillStyle = kit.colour("soft");
  pen.fillText("× W", x(0), 65);
  pen.fillText("× R", x(step.x.length), 65);
  ORDER.forEach((name, n) => {
    const y = 76 + n * 35;
    pen.textAlign = "left";
    pen.font = `italic 600 16px ${style("--serif")}`;
    pen.fillStyle = kit.colour(COLOURS[name]);
    pen.fillText(kit.letter(name), 2, y + 12);
    row(step.sums[name].weights, y, 24, most);
    pen.font = `650 14px ${style("--font")}`;
    pen.fillStyle = kit.colour("ink");
    pen.fillText(number(step[name], 2), x(count - 1) + size + 8, y + 12);
  });
}

/** The sums of the four: W x, R h, b, and what sigmoid or tanh makes of them. */
function sumsOf(kit, here) {
  const columns = ["", "W $x$", "R $h_$", "b", kit.words("sum"), kit.words("squeezed")];
  const head = element(
    "tr",
    {},
    columns.map((column) => (column ? element("th", { scope: "col" }, kit.rich(column)) : element("td", {}))),
  );
  const body = element("tbody");
  const table = element("table", {}, element("thead", {}, head), body);
  const whole = element(
    "div",
    { class: "scroll gates-sums", role: "region", tabindex: "0", "aria-label": kit.words("sums") },
    table,
  );
  whole.redraw = () => {
    const step = here();
    body.replaceChildren(
      ...ORDER.map((name) => {
        const { wx, rh, b } = step.sums[name];
        const squeeze = name === "g" ? "tanh" : "sigmoid";
        const numbers = [wx, rh, b, wx + rh + b].map((value) =>
          element("td", {}, number(value, 2 + (Math.abs(value) >= 1))),
        );
        return element(
          "tr",
          {},
          element("th", { scope: "row" }, kit.symbol(name)),
          numbers,
          element(
            "td",
            {},
            element("strong", {}, number(step[name])),
            element("span", { class: "squeeze" }, ` ${squeeze}`),
          ),
        );
      }),
    );
  };
  return whole;
}
