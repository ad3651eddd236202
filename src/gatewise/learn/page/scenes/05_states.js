// Two states: a small LSTM learns before the learner's eyes; then one sees how fast its c and its h move.

const [UNITS, STEPS, ROWS, RATE, SEED, MOST] = [5, 30, 16, 0.02, 16, 1000]; // a seed whose units are clear
const SHOWN = 8; // rows over which the pace is measured

/** Whether the network knows the task: its loss is a hundredth of what guessing gives. */
const knows = (trainer) => trainer.losses.length > SMOOTH && trainer.recent < trainer.guess / 100;

/** The sequence in which the remembered sign changes most often. */
function liveliest({ x }) {
  const changes = Array.from({ length: SHOWN }, (_, row) => {
    const kept = [];
    for (let t = 0; t < STEPS; t++) if (x[(t * SHOWN + row) * 2 + 1]) kept.push(x[(t * SHOWN + row) * 2]);
    return kept.filter((sign, k) => k > 0 && sign !== kept[k - 1]).length;
  });
  return changes.indexOf(Math.max(...changes));
}

/** What the network does with a few sequences: inputs, answers, c and h; `row` is the one to look at. */
function reading(trainer, purpose) {
  const batch = trainer.task.draw(new training.Random(trainer.seed, purpose), STEPS, SHOWN);
  const { run, answers } = trainer.show(batch);
  return { batch, answers, c: run.values.c, h: run.values.h, row: liveliest(batch) };
}

/** One unit of one row, over the steps. */
function lineOf(values, unit, row) {
  return Array.from({ length: STEPS }, (_, t) => values[(t * SHOWN + row) * UNITS + unit]);
}

/** All rows of a unit. */
function linesOf(values, unit) {
  return Array.from({ length: SHOWN }, (_, row) => lineOf(values, unit, row));
}

/** One row of a unit, as shares of the range of that unit in all rows. */
function stretched(values, unit, row) {
  const all = linesOf(values, unit).flat();
  const [low, high] = [Math.min(...all), Math.max(...all)];
  return lineOf(values, unit, row).map((value) => (value - low) / (high - low || 1));
}

/** How far a unit moves from one step to the next, on average, as a share of its whole range. */
function pace(values, unit) {
  const lines = linesOf(values, unit);
  const all = lines.flat();
  const moves = lines.flatMap((line) => line.slice(1).map((value, t) => Math.abs(value - line[t])));
  return moves.reduce((sum, move) => sum + move, 0) / moves.length / (Math.max(...all) - Math.min(...all));
}

/** Whether line A of a unit is c in a picture: drawn once, the same for everybody. */
const isFirst = (unit, purpose) => new training.Random(3, `${purpose} ${unit}`).next() < 0.5;

/** The share of right answers in what was read. */
function rightOf({ batch: { target }, answers }) {
  const said = Array.from(target, (_, n) => (answers[2 * n + 1] > answers[2 * n] ? 1 : 0));
  return said.filter((answer, n) => answer === target[n]).length / target.length;
}

/** How far c and h of each unit move in a step. */
function pacesOf(seen) {
  return ["c", "h"].map((name) => Array.from({ length: UNITS }, (_, unit) => pace(seen[name], unit)));
}

/** Units, that with the most patient c first. */
function patientOf(seen) {
  const [c, h] = pacesOf(seen);
  return c.map((_, unit) => unit).sort((one, other) => c[one] / h[one] - c[other] / h[other]);
}

function meanOf(numbers) {
  return numbers.reduce((sum, one) => sum + one, 0) / numbers.length;
}

scene("states", {
  async build({ root, words, kit, engine }) {
    const given = { cell: "lstm", task: "same", units: UNITS, steps: STEPS, rows: ROWS, rate: RATE, seed: SEED };
    const runner = (kit.kept.runner ??= new Runner("LSTM", "line-0", await engine.trainer(given)));
    const { trainer } = runner;
    const net = { trainer, seen: reading(trainer, "show") };
    const strip = kit.canvas({
      label: () => words("strip", { share: percent(rightOf(net.seen)) }),
      height: (width) => (LINE * STEPS) / perLine(width),
      draw: (pen, width) => drawStrip(pen, width, net.seen),
    });
    const now = kit.said();
    const changed = () => {
      net.seen = reading(trainer, "show");
      strip.redraw();
      const key = knows(trainer) ? "knows" : runner.count ? "learning" : "fresh";
      now.say(words(key, { share: percent(rightOf(net.seen)), count: runner.count }));
      after.element.hidden = !knows(trainer);
      if (knows(trainer)) after.redraw();
    };
    const bench = watched(kit, { runners: () => [runner], most: MOST, done: knows, said: now, on: changed, height: 150 });
    const after = comparison(kit, words, net);
    const legend = element("p", { class: "where" }, words("strip_legend"));
    root.append(kit.text("lead"), kit.text("task", { rows: ROWS }), kit.card(strip.element, legend, now, bench.element), after.element);
    changed();
    return { hide: () => bench.stop() };
  },
});

/** What one sees of the network when it has learned: which line is c, how far both move, and the check. */
function comparison(kit, words, net) {
  const chosen = { unit: null };
  const unit = () => chosen.unit ?? patientOf(net.seen)[0];
  const picture = curves(kit, words, net, { unit, purpose: "show", named: () => question.answered === true });
  const measured = measuredOf(kit, words, net, { unit, choose: (one) => ((chosen.unit = one), picture.redraw()) });
  const check = checkOf(kit, words, net);
  const rest = element("div", {},
    measured.element, kit.text("why"),
    kit.formula(["$c$ = $f$ $c_$ + $i$ $g$", "$h$ = $o$ tanh $c$"]),
    check.element);
  const question = kit.question({
    ask: words("ask"),
    choices: ["A", "B"],
    right: () => (isFirst(patientOf(net.seen)[0], "show") ? 0 : 1),
    said: (_, isRight) => words(isRight ? "asked_right" : "asked_wrong"),
    hides: rest,
    then() {
      measured.say();
      picture.redraw();
    },
  });
  return {
    element: element("div", {}, kit.heading(words("two")), kit.text("two_text", { units: UNITS }), kit.card(picture.element), question, rest),
    redraw: () => [picture, measured, check].forEach((part) => part.redraw()),
  };
}

/** Two lines, A and B, of a unit: its c and its h, `named` or not. */
function curves(kit, words, net, { unit, purpose, named }) {
  return kit.chart({
    label: () => words("curves", { unit: unit() + 1 }),
    height: 190,
    range: [-0.05, 1.05],
    lines() {
      const { c, h, row } = purpose === "show" ? net.seen : reading(net.trainer, purpose);
      const [a, b] = isFirst(unit(), purpose) ? [c, h] : [h, c];
      const name = (values, letter) => (named() ? words(values === c ? "is_c" : "is_h", { letter }) : letter);
      return [
        { name: name(a, "A"), colour: "line-1", values: stretched(a, unit(), row) },
        { name: name(b, "B"), colour: "line-0", values: stretched(b, unit(), row), dash: [6, 3] },
      ];
    },
  });
}

/** How far c and h move: a sentence, bars of all units, and the numbers of the chosen one. */
function measuredOf(kit, words, net, { unit, choose }) {
  const units = kit.choice({
    label: words("unit"),
    choices: Array.from({ length: UNITS }, (_, k) => ({ value: k, text: String(k + 1) })),
    on: (one) => (choose(one), table.redraw()),
  });
  const sentence = kit.said();
  const means = () => pacesOf(net.seen).map(meanOf);
  const bars = kit.canvas({
    label: () => words("bars", { c: percent(means()[0]), h: percent(means()[1]) }),
    height: 40 + 44 * UNITS,
    draw: (pen, width, tall) => drawPaces(kit, pen, width, tall, pacesOf(net.seen), words),
  });
  const line = (name) => lineOf(net.seen[name], unit(), net.seen.row);
  const table = kit.numbers({
    columns: [words("column_step"), kit.letter("c"), kit.letter("h")],
    rows: () => line("c").map((c, t) => [String(t + 1), c, line("h")[t]]),
  });
  return {
    element: element("div", {}, kit.row(units), sentence, bars.element, table),
    redraw: () => [bars, table].forEach((part) => part.redraw()),
    say() {
      const [c, h] = means();
      sentence.say(words("measured", { c: percent(c), h: percent(h), times: number(h / c, 2) }));
      units.value = unit();
    },
  };
}

/** The check: two pictures of another sequence. */
function checkOf(kit, words, net) {
  const unit = (place) => patientOf(net.seen)[place];
  const places = [1, 0];
  const pictures = places.map((place) => curves(kit, words, net, { unit: () => unit(place), purpose: "check", named: () => check.right === true }));
  const pairs = [["A", "A"], ["A", "B"], ["B", "A"], ["B", "B"]];
  const check = kit.check({
    ask: words("check"),
    choices: pairs.map(([first, second]) => words("pair", { first, second })),
    right() {
      const right = places.map((place) => (isFirst(unit(place), "check") ? "A" : "B"));
      return pairs.findIndex((pair) => pair.join() === right.join());
    },
    said: (_, isRight) => words(isRight ? "check_right" : "check_wrong"),
    then: () => pictures.forEach((one) => one.redraw()),
  });
  const shown = pictures.map((one, k) => kit.stack(element("p", {}, words(k ? "right_unit" : "left_unit")), one.element));
  return { element: element("div", {}, kit.row(...shown), check), redraw: () => pictures.forEach((one) => one.redraw()) };
}

function percent(share) {
  return `${Math.round(100 * share)}\u00a0%`;
}

const LINE = 80; // pixels of a line of signs

/** How many signs stand in a line. */
function perLine(width) {
  return width < 500 ? STEPS / 2 : STEPS;
}

/** The signs that the network hears, with their bells, and what it answers. */
function drawStrip(pen, width, { batch, answers, row }) {
  const count = perLine(width);
  const size = Math.min(26, width / count);
  pen.textAlign = "center";
  for (let t = 0; t < STEPS; t++) {
    const [sign, bell] = [0, 1].map((input) => batch.x[(t * SHOWN + row) * 2 + input]);
    const x = ((t % count) + 0.5) * size;
    const top = 22 + LINE * Math.floor(t / count);
    if (bell) drawBell(pen, x, top - 11, 5.5);
    pen.fillStyle = style(sign > 0 ? "--positive" : "--negative");
    pen.globalAlpha = 0.16;
    pen.fillRect(x - size / 2 + 1, top, size - 2, 26);
    pen.globalAlpha = 1;
    pen.font = `700 16px ${style("--font")}`;
    pen.fillText(sign > 0 ? "+" : MINUS, x, top + 14);
    const said = answers[(t * SHOWN + row) * 2 + 1] > answers[(t * SHOWN + row) * 2] ? 1 : 0;
    const isRight = said === batch.target[t * SHOWN + row];
    pen.fillStyle = style(isRight ? "--good" : "--bad");
    pen.font = `15px ${style("--font")}`;
    pen.fillText(said ? "=" : "\u2260", x, top + 42);
    if (!isRight) pen.fillRect(x - size / 2 + 2, top + 52, size - 4, 2);
  }
}

function drawBell(pen, x, y, r) {
  pen.fillStyle = style("--ink");
  pen.beginPath();
  pen.arc(x, y, r, Math.PI, 0);
  pen.lineTo(x + r * 1.35, y + r);
  pen.lineTo(x - r * 1.35, y + r);
  pen.closePath();
  pen.fill();
  pen.beginPath();
  pen.arc(x, y + r * 1.35, r * 0.38, 0, 7);
  pen.fill();
}

/** Two bars for each unit: how far c and h move in a step. */
function drawPaces(kit, pen, width, tall, [c, h], words) {
  const most = Math.max(...c, ...h) * 1.15;
  const left = 74;
  for (let unit = 0; unit < UNITS; unit++) {
    const y = 6 + 44 * unit;
    pen.textAlign = "left";
    pen.fillStyle = style("--ink");
    pen.fillText(words("of_unit", { unit: unit + 1 }), 0, y + 18);
    [[c[unit], "state", "c"], [h[unit], "output", "h"]].forEach(([share, colour, name], k) => {
      const wide = ((width - left - 90) * share) / most;
      pen.fillStyle = style(`--${colour}`);
      pen.fillRect(left, y + 18 * k, wide, 15);
      pen.fillStyle = style("--ink");
      pen.fillText(`${kit.letter(name)}  ${percent(share)}`, left + wide + 7, y + 18 * k + 8);
    });
  }
  pen.fillStyle = style("--soft");
  pen.fillText(words("bars_legend"), 0, tall - 14);
}
