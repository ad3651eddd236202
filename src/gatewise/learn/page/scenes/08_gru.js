// LSTM and GRU with the same number of weights, from five seeds each.

const [SEEDS, STEPS, MOST] = [5, 20, 1000];
const LSTM_UNITS = 16;
const BLOCKS = { lstm: ["f", "i", "g", "o"], gru: ["r", "z", "n"] };
const COLOURS = { f: "forget", i: "write", g: "data", o: "speak", r: "write", z: "forget", n: "data" };

scene("gru", {
  async build({ root, words, kit, engine }) {
    const given = { task: "adding", steps: STEPS };
    const sized = async (cell, units) => (await engine.trainer({ cell, units, ...given })).size;
    const largest = await sized("lstm", LSTM_UNITS);
    const sizes = await Promise.all(Array.from({ length: LSTM_UNITS + 8 }, (_, k) => sized("gru", k + 1)));
    const same = sizes[LSTM_UNITS - 1]; // with as many units
    const units = 1 + sizes.reduce((best, size, k) => (Math.abs(size - largest) < Math.abs(sizes[best] - largest) ? k : best), 0);
    const kept = kit.kept;
    const make = (cell, count) =>
      Promise.all(Array.from({ length: SEEDS }, (_, k) => engine.trainer({ cell, units: count, seed: k + 1, ...given })));
    kept.lstm ??= await make("lstm", LSTM_UNITS);
    kept.gru ??= await make("gru", units);
    const all = () => [...kept.lstm, ...kept.gru];
    const over = (trainer) => training.isOver(trainer, MOST);
    const results = (name) => kept[name].filter(over).map((trainer) => (trainer.solved ? trainer.losses.length : MOST));
    const ready = () => all().every(over);

    const blocks = kit.canvas({
      label: words("blocks"),
      height: (width) => 2 * (blockSize(width) + 4),
      draw: (pen, width) => drawBlocks(kit, pen, width),
    });
    const plot = kit.canvas({
      label: () => words("plot", { lstm: results("lstm").join(", ") || "\u2013", gru: results("gru").join(", ") || "\u2013" }),
      height: 190,
      draw: (pen, width, tall) => drawRuns(pen, width, tall, kept, words),
    });
    const now = kit.said();
    const changed = () => {
      plot.redraw();
      const done = all().filter(over).length;
      now.say(ready() ? words("ended", figures()) : words("status", { done, all: 2 * SEEDS }));
      table.redraw();
    };
    const figures = () => {
      const [a, b] = [results("lstm"), results("gru")].map((runs) => runs.sort((one, other) => one - other));
      const middle = Math.floor(SEEDS / 2);
      return { lstm: a[middle], lstm_low: a[0], lstm_high: a.at(-1), gru: b[middle], gru_low: b[0], gru_high: b.at(-1) };
    };
    const loop = kit.loop(() => {
      const pair = Array.from({ length: SEEDS }, (_, k) => [kept.lstm[k], kept.gru[k]]).find((two) => !two.every(over));
      if (pair) training.turns(pair, { most: MOST });
      changed();
      return !ready();
    }, () => (write(), changed()));
    const start = kit.button({ label: words("start"), main: true, on: () => (loop.running ? loop.stop() : loop.start(), write()) });
    const write = () => {
      start.replaceChildren(words(loop.running ? "stop" : "start"));
      now.setAttribute("aria-live", loop.running ? "off" : "polite"); // not read aloud at each frame
    };
    const rewind = kit.button({
      label: words("rewind"),
      on: () => {
        loop.stop();
        all().forEach((trainer) => trainer.rewind());
        changed();
      },
    });
    const table = kit.numbers({
      columns: [words("column_seed"), "LSTM", "GRU"],
      rows: () => Array.from({ length: SEEDS }, (_, k) => [String(k + 1), ...["lstm", "gru"].map((name) => entry(kept[name][k]))]),
    });
    const entry = (trainer) => (trainer.solved ? String(trainer.losses.length) : over(trainer) ? words("failed") : "\u2026");
    /** What follows: all runs of one below all of the other, or neither. */
    const conclusion = () => {
      const { lstm_low, lstm_high, gru_low, gru_high } = figures();
      return gru_high < lstm_low ? 0 : lstm_high < gru_low ? 1 : 2;
    };
    const check = kit.check({
      ask: words("check", { seeds: SEEDS }),
      choices: [0, 1, 2, 3].map((k) => words(`conclusion_${k}`)),
      right: () => (ready() ? conclusion() : -1),
      said: (answer, isRight) => {
        if (!ready()) return words("check_first");
        if (answer === 3) return words("check_always", { seeds: SEEDS });
        return words(isRight ? "check_right" : "check_wrong", figures());
      },
    });
    const shares = [1 / 2, 3 / 4, 1];
    const rest = element("div", {},
      kit.heading(words("fair_title")),
      kit.text("fair", { lstm_units: LSTM_UNITS, gru_units: units, lstm: whole(largest), gru: whole(sizes[units - 1]), steps: STEPS }),
      kit.card(kit.row(start, rewind), plot.element, now),
      table,
      check);
    root.append(
      kit.text("lead"), kit.card(blocks.element), kit.text("letters"),
      kit.formula(["$r$ = \u03c3(W x + R $h_$ + b)", "$z$ = \u03c3(W x + R $h_$ + b)", "$n$ = tanh(W x + $r$ (R $h_$ + b))", "$h$ = (1 \u2212 $z$) $n$ + $z$ $h_$"]),
      kit.question({
        ask: words("ask", { units: LSTM_UNITS }),
        choices: [words("half"), words("three_quarters"), words("same")],
        right: () => shares.reduce((best, share, k) => (Math.abs(share - same / largest) < Math.abs(shares[best] - same / largest) ? k : best), 0),
        said: () => words("asked", { lstm: whole(largest), gru: whole(same), units: LSTM_UNITS, share: number(same / largest, 3) }),
        hides: rest,
        then: () => plot.redraw(),
      }),
      rest);
    changed();
    return { hide: () => loop.stop() };
  },
});

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
function drawRuns(pen, width, tall, kept, words) {
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
    const runs = kept[name].filter((trainer) => trainer.losses.length);
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
