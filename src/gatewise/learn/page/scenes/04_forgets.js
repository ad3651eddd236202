// It forgets: a pulse on its way forward, and the gradient on its way back, shrink or grow by r at each step.

const STEPS = 31;
const PULSE = 0.001; // small: tanh leaves it nearly as it is
const ASKED = 0.9; // the r of the question
const TARGET = { steps: 10, share: 0.5, tolerance: 0.01 };
const FINE = 0.001; // the smallest step of r
const MOST = 2; // of a pulse: higher bars leave the picture

/** One unit, run forward and backward by the kernels. */
class Echo {
  constructor(kernels) {
    this.layer = new gatewise.Layer(kernels, { inputSize: 1, hiddenSize: 1 });
    this.layer.weights.weight_ih[0] = 1;
  }

  /** What is left of the pulse so many steps later, and of the gradient so many steps before the end. */
  run(r) {
    this.layer.weights.weight_hh[0] = r;
    const x = new Float32Array(STEPS);
    x[0] = PULSE;
    const run = this.layer.forward(x, { steps: STEPS, rows: 1, keep: true });
    const output = new Float32Array(STEPS);
    output[STEPS - 1] = 1;
    const back = [...run.backward({ output }).x].reverse();
    return {
      pulse: [...run.output].map((h) => h / run.output[0]),
      gradient: back.map((part) => part / back[0]),
    };
  }
}

scene("forgets", {
  async build({ root, words, kit, engine }) {
    const echo = new Echo(await engine.cell("rnn"));
    const set = { r: ASKED, seen: false };
    const now = () => echo.run(set.r);
    const at = kit.said();
    const changed = () => {
      const { pulse } = now();
      at.say(
        words("now", {
          r: set.r.toFixed(3),
          first: TARGET.steps,
          ten: share(pulse[TARGET.steps]),
          steps: STEPS - 1,
          all: share(pulse.at(-1)),
        }),
      );
      [picture, table].forEach((view) => view.redraw());
    };
    const picture = kit.canvas({
      label: () =>
        set.seen
          ? words("picture", {
              ten: share(now().pulse[TARGET.steps]),
              back: share(now().gradient[TARGET.steps]),
            })
          : words("unseen"),
      height: () => (set.seen ? 350 : 176),
      draw: (pen, width) => drawEcho(kit, pen, width, now(), set.seen),
    });
    const table = kit.numbers({
      columns: [words("column_steps"), words("column_pulse"), words("column_gradient")],
      rows: () => now().pulse.map((left, t) => [String(t), left, now().gradient[t]]),
    });
    const tools = toolsOf(kit, set, changed);
    const rest = element("div", {}, kit.text("learning"), kit.text("both"), checkOf(kit, set, now));
    const asked = echo.run(ASKED).pulse[TARGET.steps];
    const question = kit.question({
      ask: words("ask", { r: ASKED, steps: TARGET.steps, each: share(ASKED) }),
      choices: guesses(asked).map(share),
      right: () => guesses(asked).indexOf(asked),
      said: () => words("asked", { r: ASKED, steps: TARGET.steps, share: share(asked) }),
      hides: [tools, at, rest, table],
      then: () => ((set.seen = true), changed()),
    });
    root.append(
      kit.text("lead"),
      question,
      kit.card(tools, picture.element, at),
      rest,
      kit.formula(["$h$ = tanh($x$ + r $h_$)", words("formula"), words("formula_small")]),
      table,
    );
    changed();
    return { redraw: () => picture.redraw() };
  },
});

/** The slider of r, and buttons for its smallest steps. */
function toolsOf(kit, set, changed) {
  const [low, high] = [0.5, 1.2];
  const slider = kit.slider({
    label: kit.words("slider"),
    min: low,
    max: high,
    step: FINE,
    value: set.r,
    shown: (r) => r.toFixed(3),
    on: (r) => ((set.r = r), changed()),
  });
  const move = (by) => () => {
    slider.value = set.r = Math.round(Math.max(low, Math.min(high, set.r + by)) / FINE) * FINE;
    changed();
  };
  const buttons = [-FINE, FINE].map((by) =>
    kit.button({ label: `${by < 0 ? MINUS : "+"}${FINE}`, on: move(by) }),
  );
  return kit.row(slider, kit.row(...buttons));
}

/** The r with which half of the pulse is left. */
function checkOf(kit, set, now) {
  const left = () => now().pulse[TARGET.steps];
  const verdict = (right) => (right ? "check_right" : left() < TARGET.share ? "check_less" : "check_more");
  return kit.goal({
    ask: kit.words("check", {
      steps: TARGET.steps,
      half: share(TARGET.share),
      tolerance: share(TARGET.tolerance),
    }),
    button: kit.words("check_button"),
    reached: () => Math.abs(left() - TARGET.share) <= TARGET.tolerance,
    said: (right) =>
      kit.words(verdict(right), {
        r: set.r.toFixed(3),
        ten: share(left()),
        twice: share(now().pulse[2 * TARGET.steps]),
        steps: TARGET.steps,
      }),
  });
}

/** What one may guess is left: the share of one step, nothing, half, and the truth; from large to small. */
function guesses(truth) {
  return [ASKED, (1 + truth) / 2, truth, 1 - TARGET.steps * (1 - ASKED)]
    .map((guess) => (Math.abs(guess) < 1e-9 ? 0 : guess))
    .sort((a, b) => b - a);
}

/** A share in words: percent, or times where it has grown much. */
function share(part) {
  if (part >= 2) return `×${number(part, part < 100 ? 2 : 3)}`;
  const percent = 100 * part;
  return `${percent >= 9.95 ? Math.round(percent) : Number(percent.toPrecision(percent < 1 ? 1 : 2))}\u00a0%`;
}

/** Above the pulse, from the left to the right; below the gradient, from the end back to the beginning. */
function drawEcho(kit, pen, width, { pulse, gradient }, seen) {
  const halves = [
    { top: 40, values: pulse, place: (t) => t, colour: "state", title: "title_pulse", mark: "later" },
    {
      top: 210,
      values: gradient,
      place: (t) => STEPS - 1 - t,
      colour: "output",
      title: "title_gradient",
      mark: "earlier",
    },
  ];
  if (seen) halves.forEach((half) => drawHalf(kit, pen, width, half));
  else drawHalf(kit, pen, width, { ...halves[0], values: pulse.map((left, t) => (t < 3 ? left : NaN)) });
}

function drawHalf(kit, pen, width, { top, values, place, colour, title, mark }) {
  const [left, right, tall] = [44, width - 8, 104];
  const wide = (right - left) / STEPS;
  const bottom = top + tall;
  const high = values.some((value) => value > 1.02) ? MOST : 1;
  const y = (part) => bottom - (Math.min(part, high) / high) * tall;
  pen.textAlign = "left";
  pen.font = `600 14px ${style("--font")}`;
  pen.fillStyle = kit.colour(colour);
  pen.fillText(plain(kit.words(title)), 2, top - 22);
  pen.font = `12px ${style("--font")}`;
  pen.textAlign = "right";
  for (const part of high === 1 ? [0, 0.5, 1] : [0, 0.5, 1, 2]) {
    pen.fillStyle = kit.colour(part === TARGET.share ? "ink" : "line");
    if (part === TARGET.share) for (let x = left; x < right; x += 8) pen.fillRect(x, y(part), 4, 1);
    else pen.fillRect(left, y(part), right - left, 1);
    pen.fillStyle = kit.colour("soft");
    pen.fillText(`${100 * part}%`, left - 5, y(part));
  }
  values.forEach((value, t) => {
    if (Number.isNaN(value)) return;
    const target = t === TARGET.steps;
    const x = left + place(t) * wide;
    pen.globalAlpha = target ? 1 : 0.5;
    pen.fillStyle = kit.colour(colour);
    pen.fillRect(x + 1, y(value), Math.max(1, wide - 2), bottom - y(value));
    pen.globalAlpha = 1;
    if (value > high && wide > 5) drawBeyond(kit, pen, x + wide / 2, top);
  });
  const x = left + (place(TARGET.steps) + 0.5) * wide;
  const shown = values[TARGET.steps];
  pen.textAlign = "center";
  pen.fillStyle = kit.colour("ink");
  pen.font = `650 13px ${style("--font")}`;
  pen.fillText(
    Number.isNaN(shown) ? "?" : share(shown),
    x,
    Number.isNaN(shown) ? bottom - 14 : Math.max(top - 4, y(shown) - 10),
  );
  pen.font = `12px ${style("--font")}`;
  pen.fillStyle = kit.colour("soft");
  pen.fillText(plain(kit.words(mark, { steps: TARGET.steps })), x, bottom + 12);
}

/** A small mark: this bar is higher than the picture. */
function drawBeyond(kit, pen, x, top) {
  pen.fillStyle = kit.colour("ink");
  pen.beginPath();
  pen.moveTo(x - 3, top + 7);
  pen.lineTo(x + 3, top + 7);
  pen.lineTo(x, top + 2);
  pen.fill();
}
