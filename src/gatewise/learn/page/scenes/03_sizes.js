// Units are not steps: the three sizes of a network at work, and what grows with each.

const INPUTS = 2;
const CELLS = ["rnn", "gru", "lstm"];
const MOST = { units: 8, steps: 12, rows: 5 };
const DOUBLED = { from: 6, to: 12 };
const KINDS = ["weights", "memory", "work"];

const layers = new Map();

/** A layer to count on: each is made once. */
function layerOf(kernels, inputs, units) {
  const key = `${kernels.cell} ${inputs} ${units}`;
  if (!layers.has(key))
    layers.set(key, new gatewise.Layer(kernels, { inputSize: inputs, hiddenSize: units }));
  return layers.get(key);
}

/** What a network takes, counted on its layer. */
function counted(kernels, { inputs = INPUTS, units, steps, rows }) {
  const { shapes, weights } = layerOf(kernels, inputs, units);
  const length = (name) => weights[name]?.length ?? 0;
  const lines = shapes.weight_ih[0];
  const products = length("weight_ih") + length("weight_hh");
  return {
    gates: lines / units,
    columns: {
      x: shapes.weight_ih[1],
      h: shapes.weight_hh[1],
      b: (length("bias_ih") + length("bias_hh")) / lines,
    },
    weights: Object.values(weights).reduce((sum, numbers) => sum + numbers.length, 0),
    memory: rows * units * kernels.states.length,
    work: steps * rows * products,
  };
}

scene("sizes", {
  async build({ root, words, kit, engine }) {
    const kernels = Object.fromEntries(
      await Promise.all(CELLS.map(async (name) => [name, await engine.cell(name)])),
    );
    const set = { units: 3, steps: 6, rows: 2, cell: "rnn" };
    const now = () => counted(kernels[set.cell], set);
    const meters = metersOf(kit, kernels, set, now);
    const picture = kit.canvas({
      label: () => words("picture", { ...set, weights: now().weights }),
      height: (width) => layoutOf(now(), set, width).height,
      draw: (pen, width) => drawSizes(kit, pen, width, now(), set),
    });
    const changed = () => [picture, meters, table].forEach((view) => view.redraw());
    const table = kit.numbers({
      columns: [words("cell"), words("gates"), words("weights"), words("memory"), words("work")],
      rows: () =>
        CELLS.map((name) => [
          name.toUpperCase(),
          ...["gates", ...KINDS].map((kind) => String(counted(kernels[name], set)[kind])),
        ]),
    });
    const tools = element("div", {}, toolsOf(kit, set, meters.before, changed), meters.element);
    const check = checkOf(kit, kernels);
    const tables = Object.fromEntries(CELLS.map((name) => [name, counted(kernels[name], set).gates]));
    const rest = element("div", {}, kit.text("count", { inputs: INPUTS, ...tables }), check);
    root.append(
      kit.text("lead"),
      kit.text("three"),
      kit.question({
        ask: words("ask", DOUBLED),
        choices: [...KINDS, "all"].map((key) => words(`ask_${key}`)),
        right: () => doubled(kernels.rnn),
        said: () => words("asked"),
        hides: [tools, rest, table],
      }),
      kit.card(tools, picture.element),
      rest,
      kit.formula([words("formula_weights"), words("formula_memory"), words("formula_work")]),
      table,
    );
    return { redraw: changed };
  },
});

/** The choice of the cell, and a slider for each size. `before` is called before a change, `changed` after it. */
function toolsOf(kit, set, before, changed) {
  const put = (name) => (value) => {
    before();
    set[name] = value;
    changed();
  };
  const choices = CELLS.map((name) => ({ value: name, text: name.toUpperCase() }));
  const cell = kit.choice({ label: kit.words("cell"), value: set.cell, choices, on: put("cell") });
  const sliders = Object.entries(MOST).map(([name, max]) =>
    kit.slider({
      label: kit.words(name),
      min: 1,
      max,
      step: 1,
      value: set[name],
      shown: String,
      on: put(name),
    }),
  );
  return element("div", {}, cell, kit.three(...sliders));
}

/** The place of what doubles with the steps: weights, memory, work, or all. */
function doubled(kernels) {
  const [one, two] = [DOUBLED.from, DOUBLED.to].map((steps) =>
    counted(kernels, { units: 3, steps, rows: 2 }),
  );
  const grown = KINDS.map((kind) => two[kind] === 2 * one[kind]);
  return grown.every(Boolean) ? 3 : grown.indexOf(true);
}

/** Three bars: weights, memory, work; and whether the last change made them grow. */
function metersOf(kit, kernels, set, now) {
  let old = null;
  const whole = element("div", { class: "sizes-meters", role: "status" });
  const redraw = () => {
    const [is, most] = [now(), counted(kernels.lstm, MOST)];
    whole.replaceChildren(
      ...KINDS.map((kind) => {
        const bar = element("i");
        bar.style.width = `${Math.max(0.5, (100 * is[kind]) / most[kind])}%`;
        const trend = !old ? "" : is[kind] > old[kind] ? "grows" : is[kind] < old[kind] ? "shrinks" : "same";
        return element(
          "div",
          { class: `meter ${kind} ${trend}` },
          element("span", { class: "name" }, kit.words(kind)),
          element("strong", {}, is[kind].toLocaleString("en")),
          element("span", { class: "trend" }, trend && kit.words(trend)),
          element("div", { class: "bar", "aria-hidden": "true" }, bar),
        );
      }),
    );
  };
  return { element: whole, redraw, before: () => (old = now()) };
}

const [GAP, SHIFT, MARGIN] = [4, 11, 30]; // of the picture, in pixels
const SQUARE = { wide: 20, tall: 12 }; // of a weight

/** The places in a picture of a width: the sheets of steps above, the table of weights below. */
function layoutOf({ gates, columns }, { units, steps, rows }, width) {
  const room = width - MARGIN - 10 - SHIFT * (rows - 1);
  const column = Math.min(70, room / steps);
  const unit = Math.min(22, column - 5);
  const tall = units * (unit + GAP) - GAP;
  const front = 34 + SHIFT * (rows - 1);
  const table = front + tall + 88;
  const count = columns.x + columns.h + columns.b;
  const wide = Math.min(SQUARE.wide, (width - MARGIN - 24) / count);
  return { column, unit, tall, front, table, wide, height: table + gates * (units * SQUARE.tall + 5) + 6 };
}

/** Above the unrolled sequences, one sheet a row; below the one table of weights that all steps share. */
function drawSizes(kit, pen, width, is, set) {
  const { units, steps, rows } = set;
  const layout = layoutOf(is, set, width);
  const { front, tall, table } = layout;
  for (let row = rows - 1; row >= 0; row--) {
    drawSheet(kit, pen, MARGIN + SHIFT * row, front - SHIFT * row, layout, set);
  }
  drawFan(kit, pen, layout, steps);
  pen.fillStyle = kit.colour("soft");
  pen.font = `13px ${style("--font")}`;
  pen.textAlign = "left";
  pen.fillText(plain(kit.words("axis", { rows, steps })), MARGIN - 6, 10);
  pen.save();
  pen.translate(10, front + tall + 6);
  pen.rotate(-Math.PI / 2);
  pen.fillText(plain(kit.words("axis_units", { units })), 0, 0);
  pen.restore();
  drawWeights(kit, pen, table, layout, is, units);
}

/** One sequence: a column of units for each step, and lines from each to the next. */
function drawSheet(kit, pen, x, y, { column, unit, tall }, { units, steps }) {
  pen.fillStyle = kit.colour("card");
  pen.strokeStyle = kit.colour("soft");
  pen.lineWidth = 1;
  pen.beginPath();
  pen.roundRect(x - 6, y - 6, (steps - 1) * column + unit + 12, tall + 12, 7);
  pen.fill();
  pen.stroke();
  for (let t = 0; t < steps; t++) {
    for (let k = 0; k < units; k++) {
      const [left, top] = [x + t * column, y + k * (unit + GAP)];
      pen.fillStyle = kit.colour("line");
      if (t) pen.fillRect(left - column + unit, top + unit / 2 - 1, column - unit, 2);
      pen.fillStyle = kit.colour("state");
      pen.beginPath();
      pen.roundRect(left, top, unit, unit, unit / 4);
      pen.fill();
    }
  }
}

/** From the table to each step: they all use it. */
function drawFan(kit, pen, { column, unit, front, tall, table }, steps) {
  pen.strokeStyle = kit.colour("speak");
  pen.globalAlpha = 0.5;
  pen.lineWidth = 1.2;
  for (let t = 0; t < steps; t++) {
    const x = MARGIN + t * column + unit / 2;
    pen.beginPath();
    pen.moveTo(MARGIN + 30, table - 46);
    pen.bezierCurveTo(MARGIN + 30, table - 66, x, front + tall + 50, x, front + tall + 8);
    pen.stroke();
  }
  pen.globalAlpha = 1;
}

/** The weights as squares: a line for each unit of each gate, columns for x, for h and for b. */
function drawWeights(kit, pen, top, { wide }, { gates, columns, weights }, units) {
  pen.font = `600 14px ${style("--font")}`;
  pen.textAlign = "left";
  pen.fillStyle = kit.colour("ink");
  pen.fillText(plain(kit.words("axis_weights", { weights })), MARGIN - 6, top - 34);
  let x = MARGIN - 6;
  for (const [name, count, colour] of [
    ["x", columns.x, "data"],
    ["h_", columns.h, "state"],
    ["b", columns.b, "speak"],
  ]) {
    pen.fillStyle = kit.colour(colour);
    pen.font = `italic 600 15px ${style("--serif")}`;
    pen.fillText(name === "b" ? "b" : kit.letter(name), x, top - 12);
    for (let line = 0; line < gates * units; line++) {
      const y = top + line * SQUARE.tall + 5 * Math.floor(line / units);
      for (let k = 0; k < count; k++) pen.fillRect(x + k * wide, y, wide - 2, SQUARE.tall - 2);
    }
    x += count * wide + 10;
  }
}

/** The check: how many weights are there? The sizes are random, and new after each wrong answer. */
function checkOf(kit, kernels) {
  const any = (low, high) => low + Math.floor(Math.random() * (high - low + 1));
  const draw = () => ({
    cell: CELLS[any(0, 2)],
    inputs: any(2, 5),
    units: any(2, 6),
    steps: any(20, 90),
    rows: any(4, 32),
  });
  kit.kept.drawn ??= draw();
  const sizes = () => ({ ...kit.kept.drawn, cell: kit.kept.drawn.cell.toUpperCase() });
  const right = () => counted(kernels[kit.kept.drawn.cell], kit.kept.drawn);
  return kit.check({
    ask: () => kit.words("check", sizes()),
    number: { tolerance: 0 },
    right: () => right().weights,
    said(answer, isRight) {
      const { gates, columns, weights } = right();
      const { units } = kit.kept.drawn;
      const sum = { gates, units, x: columns.x, h: columns.h, b: columns.b, weights };
      return kit.words(isRight ? "check_right" : "check_wrong", { ...sum, answer });
    },
    renew: () => (kit.kept.drawn = draw()),
  });
}
