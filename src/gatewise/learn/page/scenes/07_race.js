// The race: RNN, LSTM and GRU learn the same task from the same seed, in turns, while one watches.

const RACERS = [["rnn", "RNN", "line-1"], ["lstm", "LSTM", "line-0"], ["gru", "GRU", "line-2"]];
const GATES = [["lstm", "f", "forget"], ["lstm", "i", "write"], ["lstm", "o", "speak"], ["gru", "r", "write"], ["gru", "z", "forget"]];
const [UNITS, ROWS, MOST] = [32, 8, 1500];
const LONG = 30; // steps: shorter races don't count for the check
const OUTCOMES = [[], ["lstm"], ["gru"], ["lstm", "gru"], ["rnn", "lstm", "gru"]];
const PAUSE = 60; // milliseconds between two drawings of gates or gradients

scene("race", {
  async build({ root, words, kit, engine }) {
    const kept = kit.kept;
    kept.steps ??= 50;
    kept.table ??= new Map(); // by length: iterations by cell; null: not solved
    kept.gate ??= 0;
    const make = async () =>
      Promise.all(RACERS.map(async ([cell, name, colour]) =>
        new Runner(name, colour, await engine.trainer({ cell, task: "adding", steps: kept.steps, units: UNITS }))));
    kept.runners ??= await make();
    kept.flows ??= [];
    const runnerOf = (cell) => kept.runners[RACERS.findIndex(([name]) => name === cell)];

    let drawn = 0;
    const look = () => {
      const [cell, gate] = GATES[kept.gate];
      const { trainer } = runnerOf(cell);
      const batch = trainer.sample(ROWS);
      kept.batch = batch;
      kept.open = rowOf(trainer.show(batch).run.values[gate], { rows: ROWS, units: UNITS });
      gates.redraw();
    };
    const measure = (k) => (kept.flows[k] = kept.runners[k].trainer.flow());
    let turn = 0;
    const status = kit.said();
    const changed = () => {
      note();
      status.say(words("status", Object.fromEntries(RACERS.map(([cell]) => [cell, state(runnerOf(cell))]))));
      if (!bench.running) {
        look();
        RACERS.forEach((_, k) => measure(k));
      } else if (performance.now() - drawn < PAUSE) return;
      else {
        turn = (turn + 1) % (1 + RACERS.length); // one thing a frame
        if (turn) measure(turn - 1);
        else look();
      }
      drawn = performance.now();
      flow.redraw();
      numbers.redraw();
    };
    const over = ({ trainer }) => training.isOver(trainer, MOST);
    const state = (one) =>
      one.solvedAfter !== null ? words("state_solved", { count: one.count })
      : over(one) ? words("state_failed", { count: one.count })
      : one.count ? words("state_on", { count: one.count })
      : words("state_ready");
    /** What has been found out, in the table. */
    const note = () => {
      const row = kept.table.get(kept.steps) ?? {};
      const fresh = RACERS.filter(([cell], k) => over(kept.runners[k]) && row[cell] === undefined);
      if (!fresh.length) return;
      fresh.forEach(([cell]) => (row[cell] = runnerOf(cell).solvedAfter));
      kept.table.set(kept.steps, row);
      writeTable();
    };
    const bench = watched(kit, { runners: () => kept.runners, most: MOST, said: status, on: changed });
    const slider = kit.slider({
      label: words("steps"), min: 10, max: 100, step: 10, value: kept.steps, shown: (steps) => String(steps),
      async on(steps) {
        if (steps === kept.steps) return;
        bench.stop();
        kept.steps = steps;
        kept.runners.forEach((one) => one.lengthen(steps));
        kept.flows = [];
        bench.redraw();
        changed();
        example.redraw();
      },
    });
    const example = kit.canvas({
      label: () => words("example", { steps: kept.steps }),
      height: 96,
      draw: (pen, width) => drawSums(kit, pen, width, kept, words),
    });
    const gate = kit.choice({
      label: words("gate"),
      choices: GATES.map(([cell, name], k) => ({ value: k, text: `${cell.toUpperCase()} $${name}$` })),
      value: kept.gate,
      on: (k) => ((kept.gate = k), look()),
    });
    const gates = gateMap(kit, {
      label: () => words("gates", { cell: GATES[kept.gate][0].toUpperCase(), gate: kit.letter(GATES[kept.gate][1]), mean: number(meanOf(kept.open), 2) }),
      values: () => kept.open,
      units: UNITS,
      colour: () => GATES[kept.gate][2],
    });
    const marks = kit.canvas({ label: words("marks"), height: 16, draw: (pen, width) => drawMarks(pen, width, kept) });
    const flow = kit.chart({
      label: () => words("flow_label", { all: RACERS.map(([, name], k) => `${name}: ${number(farShare(kept.flows[k]), 2)}`).join("; ") }),
      height: 210,
      log: true,
      first: 0,
      across: words("distance"),
      range: () => [1e-9, 1],
      lines: () => RACERS.map(([, name, colour], k) => ({ name, colour, values: [...(kept.flows[k] ?? [])] })),
    });
    const numbers = kit.numbers({
      columns: [words("distance"), ...RACERS.map(([, name]) => name)],
      rows: () => Array.from({ length: kept.steps }, (_, d) => [String(d), ...RACERS.map((__, k) => kept.flows[k]?.[d] ?? NaN)]),
    });
    const table = element("tbody");
    const writeTable = () => {
      const rows = [...kept.table].sort(([a], [b]) => a - b);
      const entry = (count) => (count === undefined ? "\u2026" : count === null ? words("not_solved") : words("solved", { count }));
      table.replaceChildren(...(rows.length ? rows : [[kept.steps, {}]]).map(([steps, row]) =>
        element("tr", {}, element("th", { scope: "row" }, String(steps)), RACERS.map(([cell]) => element("td", {}, entry(row[cell]))))));
    };
    const head = [words("column_steps"), ...RACERS.map(([, name]) => name)];
    const results = element("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": textOf("kit", "results") },
      element("table", {}, element("caption", {}, words("table", { most: MOST })),
        element("thead", {}, element("tr", {}, head.map((name) => element("th", { scope: "col" }, name)))), table));

    /** The longest race in which all have come to an end; null: there is none. */
    const longest = () => {
      const whole = [...kept.table].filter(([steps, row]) => steps >= LONG && Object.keys(row).length === RACERS.length);
      return whole.sort(([a], [b]) => b - a)[0] ?? null;
    };
    const learned = (row) => RACERS.map(([cell]) => cell).filter((cell) => row[cell] !== null);
    const outcome = () => {
      const race = longest();
      if (!race) return -1;
      return OUTCOMES.findIndex((cells) => cells.join() === learned(race[1]).join());
    };
    const check = kit.check({
      ask: words("check", { long: LONG }),
      choices: OUTCOMES.map((_, k) => words(`outcome_${k}`)),
      right: outcome,
      said: (_, isRight) => {
        const race = longest();
        if (!race) return words("check_first", { long: LONG });
        return words(isRight ? "check_right" : "check_wrong", { steps: race[0] });
      },
    });
    const all = element("div", {},
      kit.card(kit.row(slider), example.element, bench.element, status),
      results,
      kit.heading(words("gates_title")), kit.text("gates_text"),
      kit.card(gate, marks.element, gates.element, element("p", { class: "where" }, words("gates_legend"))),
      kit.heading(words("flow_title")), kit.text("flow_text"),
      kit.card(flow.element),
      numbers,
      kit.text("fair"),
      check);
    root.append(
      kit.text("lead"), kit.text("task"),
      kit.question({
        ask: words("bet", { steps: kept.steps }),
        choices: OUTCOMES.map((_, k) => words(`outcome_${k}`)),
        said: () => words("betted"),
        hides: all,
        then: () => [example, gates, marks, flow, bench].forEach((part) => part.redraw()),
      }),
      all);
    writeTable();
    changed();
    return { hide: () => bench.stop() };
  },
});

function meanOf(numbers) {
  return numbers ? numbers.reduce((sum, one) => sum + one, 0) / numbers.length : NaN;
}

/** What is left of the gradient at the farthest step, as a share of that at the last. */
function farShare(flow) {
  return flow ? flow[flow.length - 1] / flow[0] : NaN;
}

/** One sequence of the task: numbers as bars, the two marked ones strong, and their sum. */
function drawSums(kit, pen, width, { batch, steps }, words) {
  if (!batch) return;
  const wide = width / steps;
  for (let t = 0; t < steps; t++) {
    const [value, marked] = [batch.x[t * ROWS * 2], batch.x[t * ROWS * 2 + 1]];
    pen.fillStyle = style(marked ? "--accent" : "--line");
    pen.fillRect(t * wide + 1, 66 - 50 * value, Math.max(1, wide - 2), 50 * value);
    if (!marked) continue;
    pen.textAlign = t < steps / 10 ? "left" : t > 0.9 * steps ? "right" : "center";
    pen.fillText(number(value, 2), (t + 0.5) * wide, 58 - 50 * value);
  }
  pen.textAlign = "left";
  pen.fillStyle = style("--soft");
  pen.fillText(words("sum", { sum: number(batch.target[0], 3) }), 0, 84);
}

/** Where the marked numbers of the shown sequence are. */
function drawMarks(pen, width, { batch, steps }) {
  if (!batch) return;
  pen.fillStyle = style("--accent");
  for (let t = 0; t < steps; t++) {
    if (!batch.x[t * ROWS * 2 + 1]) continue;
    const x = ((t + 0.5) * width) / steps;
    pen.beginPath();
    pen.moveTo(x - 5, 2);
    pen.lineTo(x + 5, 2);
    pen.lineTo(x, 13);
    pen.fill();
  }
}
