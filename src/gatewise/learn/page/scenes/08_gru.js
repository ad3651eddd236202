// LSTM and GRU with the same number of weights, from five seeds each.

const [SEEDS, STEPS, MOST] = [5, 20, 1000];
const LSTM_UNITS = 16;
const BLOCKS = { lstm: ["f", "i", "g", "o"], gru: ["r", "z", "n"] };
const COLOURS = { f: "forget", i: "write", g: "data", o: "speak", r: "write", z: "forget", n: "data" };

const GIVEN = { task: "adding", steps: STEPS };
const FORMULA = [
  "$r$ = \u03c3(W $x$ + R $h_$ + b)", "$z$ = \u03c3(W $x$ + R $h_$ + b)",
  "$n$ = tanh(W $x$ + $r$ (R $h_$ + b))", "$h$ = (1 \u2212 $z$) $n$ + $z$ $h_$",
];

/** The place of the number that is nearest to another. */
function nearest(numbers, wanted) {
  return numbers.reduce((best, one, k) => (Math.abs(one - wanted) < Math.abs(numbers[best] - wanted) ? k : best), 0);
}

/** How many weights the networks have: an LSTM, a GRU with as many units, and the GRU that is nearest in weights. */
async function sizesOf(engine) {
  const size = async (cell, units) => (await engine.trainer({ cell, units, ...GIVEN })).size;
  const lstm = await size("lstm", LSTM_UNITS);
  const sizes = await Promise.all(Array.from({ length: LSTM_UNITS + 8 }, (_, k) => size("gru", k + 1)));
  const place = nearest(sizes, lstm);
  return { lstm, same: sizes[LSTM_UNITS - 1], gru: sizes[place], units: place + 1 };
}

/** Five runs of each cell. */
class Runs {
  constructor(lstm, gru) {
    Object.assign(this, { lstm, gru });
  }

  static async of(engine, units) {
    const runs = (cell, count) =>
      Promise.all(Array.from({ length: SEEDS }, (_, k) => engine.trainer({ cell, units: count, seed: k + 1, ...GIVEN })));
    return new Runs(await runs("lstm", LSTM_UNITS), await runs("gru", units));
  }

  get all() {
    return [...this.lstm, ...this.gru];
  }

  get ready() {
    return this.all.every(isEnded);
  }

  /** The numbers of batches of the runs that have ended, the shortest first. */
  results(name) {
    return this[name].filter(isEnded).map(({ losses }) => losses.length).sort((one, other) => one - other);
  }

  /** Let the first pair train that has not come to its end. */
  train() {
    const pairs = this.lstm.map((trainer, k) => [trainer, this.gru[k]]);
    const pair = pairs.find((two) => !two.every(isEnded));
    if (pair) training.turns(pair, { most: MOST });
  }

  get figures() {
    const [a, b] = [this.results("lstm"), this.results("gru")];
    const middle = Math.floor(SEEDS / 2);
    return { lstm: a[middle], lstm_low: a[0], lstm_high: a.at(-1), gru: b[middle], gru_low: b[0], gru_high: b.at(-1) };
  }

  /** Which conclusion follows: all runs of one lie below all of the other, or neither. */
  get conclusion() {
    const { lstm_low, lstm_high, gru_low, gru_high } = this.figures;
    return gru_high < lstm_low ? 0 : lstm_high < gru_low ? 1 : 2;
  }
}

function isEnded(trainer) {
  return training.isOver(trainer, MOST);
}

scene("gru", {
  async build({ root, words, kit, engine }) {
    const sizes = (kit.kept.sizes ??= await sizesOf(engine));
    const runs = (kit.kept.runs ??= await Runs.of(engine, sizes.units));
    const blocks = kit.canvas({
      label: words("blocks"),
      height: (width) => 2 * (blockSize(width) + 4),
      draw: (pen, width) => drawBlocks(kit, pen, width),
    });
    const bench = benchOf(kit, words, runs);
    const shares = [1 / 2, 3 / 4, 1];
    const numbers = { lstm_units: LSTM_UNITS, gru_units: sizes.units, lstm: whole(sizes.lstm), gru: whole(sizes.gru), steps: STEPS };
    const rest = element("div", {}, kit.heading(words("fair_title")), kit.text("fair", numbers), bench.element, checkOf(kit, words, runs));
    const question = kit.question({
      ask: words("ask", { units: LSTM_UNITS }),
      choices: [words("half"), words("three_quarters"), words("same")],
      right: () => nearest(shares, sizes.same / sizes.lstm),
      said: () => words("asked", { lstm: whole(sizes.lstm), gru: whole(sizes.same), units: LSTM_UNITS, share: number(sizes.same / sizes.lstm, 3) }),
      hides: rest,
      then: () => bench.redraw(),
    });
    root.append(kit.text("lead"), kit.card(blocks.element), kit.text("letters"), kit.formula(FORMULA), question, rest);
    bench.redraw();
    return { hide: () => bench.stop() };
  },
});

/** Buttons that train all runs, with a point for each, and their numbers. */
function benchOf(kit, words, runs) {
  const now = kit.said();
  const list = (name) => runs.results(name).join(", ") || "\u2013";
  const plot = kit.canvas({
    label: () => words("plot", { lstm: list("lstm"), gru: list("gru") }),
    height: 190,
    draw: (pen, width, tall) => drawRuns(pen, width, tall, runs, words),
  });
  const entry = (trainer) => (trainer.solved ? String(trainer.losses.length) : isEnded(trainer) ? words("failed") : "\u2026");
  const table = kit.numbers({
    columns: [words("column_seed"), "LSTM", "GRU"],
    rows: () => runs.lstm.map((trainer, k) => [String(k + 1), entry(trainer), entry(runs.gru[k])]),
  });
  const redraw = () => {
    start.replaceChildren(words(loop.running ? "stop" : "start"));
    start.disabled = runs.ready;
    now.setAttribute("aria-live", loop.running ? "off" : "polite"); // not read aloud at each frame
    now.say(runs.ready ? words("ended", runs.figures) : words("status", { done: runs.all.filter(isEnded).length, all: 2 * SEEDS }));
    [plot, table].forEach((part) => part.redraw());
  };
  const loop = kit.loop(() => {
    runs.train();
    if (!runs.ready) redraw();
    return !runs.ready;
  }, () => redraw());
  const start = kit.button({ label: words("start"), main: true, on: () => (loop.running ? loop.stop() : loop.start(), redraw()) });
  const rewind = kit.button({
    label: words("rewind"),
    on() {
      loop.stop();
      runs.all.forEach((trainer) => trainer.rewind());
      redraw();
    },
  });
  return {
    element: kit.stack(kit.card(kit.row(start, rewind), plot.element, now), table),
    redraw,
    stop: () => loop.stop(),
  };
}

function checkOf(kit, words, runs) {
  return kit.check({
    ask: words("check", { seeds: SEEDS }),
    choices: [0, 1, 2, 3].map((k) => words(`conclusion_${k}`)),
    right: () => (runs.ready ? runs.conclusion : -1),
    said(answer, isRight) {
      if (!runs.ready) return words("check_first");
      if (answer === 3) return words("check_always", { seeds: SEEDS });
      return words(isRight ? "check_right" : "check_wrong", runs.figures);
    },
  });
}

function blockSize(width) {
  return Math.min(86, (width - 64) / 4 - 8);
}

/** The blocks of both cells: each is one pair of matrices. */
function drawBlocks(kit, pen, width) {
  const size = blockSize(width);
  Object.entries(BLOCKS).forEach(([cell, letters], k) => {
    const y = 4 + k * (size + 4);
    pen.textAlign = "left";
    pen.fillStyle = style("--ink");
    pen.fillText(cell.toUpperCase(), 0, y + size / 2);
    pen.textAlign = "center";
    letters.forEach((name, n) => {
      const x = 56 + n * (size + 8);
      pen.fillStyle = pen.strokeStyle = style(`--${COLOURS[name]}`);
      pen.globalAlpha = 0.14;
      pen.fillRect(x, y, size, size - 6);
      pen.globalAlpha = 1;
      pen.strokeRect(x + 0.5, y + 0.5, size - 1, size - 7);
      pen.font = `italic 600 20px ${style("--serif")}`;
      pen.fillText(kit.letter(name), x + size / 2, y + size / 2 - 3);
      pen.font = `13px ${style("--font")}`;
    });
  });
}

/** A point for each run: after how many iterations it had learned. */
function drawRuns(pen, width, tall, all, words) {
  const [left, right, bottom] = [56, width - 16, tall - 46];
  const x = (count) => left + ((right - left) * count) / MOST;
  pen.textAlign = "center";
  for (const count of ticks(0, MOST, width / 90)) {
    pen.fillStyle = style("--line");
    pen.fillRect(Math.round(x(count)), 8, 1, bottom - 8);
    pen.fillStyle = style("--soft");
    pen.fillText(String(count), x(count), bottom + 13);
  }
  pen.textAlign = "right";
  pen.fillText(words("across"), right, tall - 10);
  [["lstm", "line-0"], ["gru", "line-2"]].forEach(([name, colour], k) => {
    const y = 38 + 64 * k;
    pen.textAlign = "left";
    pen.fillStyle = style("--ink");
    pen.fillText(name.toUpperCase(), 0, y);
    pen.fillStyle = pen.strokeStyle = style(`--${colour}`);
    const runs = all[name].filter((trainer) => trainer.losses.length);
    const counts = runs.map((trainer) => trainer.losses.length);
    if (counts.length > 1) {
      pen.globalAlpha = 0.2;
      pen.fillRect(x(Math.min(...counts)), y - 13, x(Math.max(...counts)) - x(Math.min(...counts)), 26);
      pen.globalAlpha = 1;
    }
    runs.forEach((trainer, n) => {
      pen.beginPath();
      pen.arc(x(trainer.losses.length), y - 8 + 4 * n, 5.5, 0, 7);
      pen.lineWidth = 2;
      if (trainer.solved) pen.fill();
      else pen.stroke();
    });
  });
}
