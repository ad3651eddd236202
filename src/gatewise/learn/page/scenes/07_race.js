// The race: RNN, LSTM and GRU learn the same task from the same seed, in turns, while one watches.

const RACERS = [["rnn", "RNN", "line-1"], ["lstm", "LSTM", "line-0"], ["gru", "GRU", "line-2"]];
const GATES = [["lstm", "f", "forget"], ["lstm", "i", "write"], ["lstm", "o", "speak"], ["gru", "r", "write"], ["gru", "z", "forget"]];
const [UNITS, ROWS, MOST] = [32, 8, 1500];
const FIRST = 50; // steps of the first race
const LONG = 30; // steps: shorter races don't count for the check
const OUTCOMES = [[], ["lstm"], ["gru"], ["lstm", "gru"], ["rnn", "lstm", "gru"]];
const PAUSE = 60; // milliseconds between two drawings of gates or gradients

/** The three networks, what is known of them at the moment, and what earlier races have shown. */
class Race {
  constructor(runners) {
    Object.assign(this, { runners, steps: FIRST, gate: 0, flows: [] });
    this.table = new Map(); // by length: the batches of each cell; null: not learned
    this.look();
  }

  runner(cell) {
    return this.runners[RACERS.findIndex(([name]) => name === cell)];
  }

  /** Other sequences; everything begins again. */
  lengthen(steps) {
    Object.assign(this, { steps, flows: [] });
    this.runners.forEach((one) => one.lengthen(steps));
  }

  /** Look at the chosen gate, in one sequence. */
  look() {
    const [cell, gate] = GATES[this.gate];
    const { trainer } = this.runner(cell);
    this.batch = trainer.sample(ROWS);
    this.open = rowOf(trainer.show(this.batch).run.values[gate], { rows: ROWS, units: UNITS });
  }

  /** Measure the gradient by distance of one network. */
  measure(k) {
    this.flows[k] = this.runners[k].trainer.flow();
  }

  /** Note who has come to the end. Returns whether there was something new. */
  note() {
    const row = this.table.get(this.steps) ?? {};
    const fresh = RACERS.filter(([cell], k) => training.isOver(this.runners[k].trainer, MOST) && row[cell] === undefined);
    fresh.forEach(([cell]) => (row[cell] = this.runner(cell).solvedAfter));
    if (fresh.length) this.table.set(this.steps, row);
    return fresh.length > 0;
  }

  /** The longest race in which all have come to an end: its length, and which of OUTCOMES it had; null: none. */
  get longest() {
    const all = [...this.table].filter(([steps, row]) => steps >= LONG && Object.keys(row).length === RACERS.length);
    if (!all.length) return null;
    const [steps, row] = all.sort(([one], [other]) => other - one)[0];
    const learned = RACERS.map(([cell]) => cell).filter((cell) => row[cell] !== null);
    return { steps, outcome: OUTCOMES.findIndex((cells) => cells.join() === learned.join()) };
  }
}

scene("race", {
  async build({ root, words, kit, engine }) {
    const start = async ([cell, name, colour]) =>
      new Runner(name, colour, await engine.trainer({ cell, task: "adding", steps: FIRST, units: UNITS }));
    const race = (kit.kept.race ??= new Race(await Promise.all(RACERS.map(start))));
    const status = kit.said();
    const [example, gates, flow, results] = [exampleOf, gatesOf, flowOf, resultsOf].map((part) => part(kit, words, race));
    let [drawn, turn] = [0, 0];
    const changed = () => {
      if (race.note()) results.write();
      status.say(words("status", Object.fromEntries(RACERS.map(([cell]) => [cell, stateOf(words, race.runner(cell), MOST)]))));
      if (!bench.running) {
        race.look();
        RACERS.forEach((_, k) => race.measure(k));
      } else if (performance.now() - drawn < PAUSE) return;
      else {
        turn = (turn + 1) % (1 + RACERS.length); // one thing a frame
        if (turn) race.measure(turn - 1);
        else race.look();
      }
      drawn = performance.now();
      [gates, flow].forEach((part) => part.redraw());
    };
    const bench = watched(kit, { runners: () => race.runners, most: MOST, said: status, on: changed });
    const slider = kit.slider({
      label: words("steps"), min: 10, max: 100, step: 10, value: race.steps, shown: (steps) => String(steps),
      on(steps) {
        if (steps === race.steps) return;
        bench.stop();
        race.lengthen(steps);
        changed();
        [example, bench].forEach((part) => part.redraw());
      },
    });
    const all = element("div", {},
      kit.card(kit.row(slider), example.element, bench.element, status),
      results.element,
      kit.heading(words("gates_title")), kit.text("gates_text"), gates.element,
      kit.heading(words("flow_title")), kit.text("flow_text"), flow.element,
      kit.text("fair"),
      checkOf(kit, words, race));
    const bet = kit.question({
      ask: words("bet", { steps: race.steps }),
      choices: OUTCOMES.map((_, k) => words(`outcome_${k}`)),
      said: () => words("betted"),
      hides: all,
      then: () => [example, gates, flow, bench].forEach((part) => part.redraw()),
    });
    root.append(kit.text("lead"), kit.text("task"), bet, all);
    results.write();
    changed();
    return { hide: () => bench.stop() };
  },
});

/** One sequence of the task. */
function exampleOf(kit, words, race) {
  return kit.canvas({
    label: () => words("example", { steps: race.steps }),
    height: 96,
    draw: (pen, width) => drawSums(kit, pen, width, race, words),
  });
}

/** A gate of all units over the steps of that sequence. */
function gatesOf(kit, words, race) {
  const now = () => GATES[race.gate];
  const map = gateMap(kit, {
    label: () => words("gates", { cell: now()[0].toUpperCase(), gate: kit.letter(now()[1]), mean: number(meanOf(race.open), 2) }),
    values: () => race.open,
    units: UNITS,
    colour: () => now()[2],
  });
  const marks = kit.canvas({ label: words("marks"), height: 16, draw: (pen, width) => drawMarks(pen, width, race) });
  const choice = kit.choice({
    label: words("gate"),
    choices: GATES.map(([cell, name], k) => ({ value: k, text: `${cell.toUpperCase()} $${name}$` })),
    value: race.gate,
    on(k) {
      race.gate = k;
      race.look();
      map.redraw();
    },
  });
  const legend = element("p", { class: "where" }, words("gates_legend"));
  return {
    element: kit.card(choice, marks.element, map.element, legend),
    redraw: () => [map, marks].forEach((part) => part.redraw()),
  };
}

/** The gradient by distance of all three, as lines and as numbers. */
function flowOf(kit, words, race) {
  const chart = kit.chart({
    label: () => words("flow_label", { all: RACERS.map(([, name], k) => `${name}: ${number(farShare(race.flows[k]), 2)}`).join("; ") }),
    height: 210,
    log: true,
    first: 0,
    across: words("distance"),
    range: () => [1e-9, 1],
    lines: () => RACERS.map(([, name, colour], k) => ({ name, colour, values: [...(race.flows[k] ?? [])] })),
  });
  const numbers = kit.numbers({
    columns: [words("distance"), ...RACERS.map(([, name]) => name)],
    rows: () => Array.from({ length: race.steps }, (_, d) => [String(d), ...RACERS.map((__, k) => race.flows[k]?.[d] ?? NaN)]),
  });
  return {
    element: kit.stack(kit.card(chart.element), numbers),
    redraw: () => [chart, numbers].forEach((part) => part.redraw()),
  };
}

/** The table of what was learned. */
function resultsOf(kit, words, race) {
  const table = resultTable(words("table", { most: MOST }), [words("column_steps"), ...RACERS.map(([, name]) => name)]);
  const entry = (count) => (count === undefined ? "\u2026" : count === null ? words("not_solved") : words("solved", { count }));
  const row = ([steps, found]) => [steps, ...RACERS.map(([cell]) => entry(found[cell]))];
  return {
    element: table.element,
    write() {
      const rows = [...race.table].sort(([one], [other]) => one - other);
      table.write((rows.length ? rows : [[race.steps, {}]]).map(row));
    },
  };
}

function checkOf(kit, words, race) {
  return kit.check({
    ask: words("check", { long: LONG }),
    choices: OUTCOMES.map((_, k) => words(`outcome_${k}`)),
    right: () => race.longest?.outcome ?? -1,
    said(_, isRight) {
      if (!race.longest) return words("check_first", { long: LONG });
      return words(isRight ? "check_right" : "check_wrong", { steps: race.longest.steps });
    },
  });
}

function meanOf(numbers) {
  return numbers ? numbers.reduce((sum, one) => sum + one, 0) / numbers.length : NaN;
}

/** What is left of the gradient at the farthest step, as a share of that at the last. */
function farShare(flow) {
  return flow ? flow[flow.length - 1] / flow[0] : NaN;
}

/** One sequence of the task: numbers as bars, the two marked ones strong, and their sum. */
function drawSums(kit, pen, width, { batch, steps }, words) {
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
