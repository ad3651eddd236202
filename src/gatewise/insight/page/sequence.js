// The whole sequence: a heat map of one value of all units, the lines of one unit, the input, the text.

let heatAxis = null;
let lineAxis = null;
const pictures = new Map();

/** The units of a value from below, in the order that is chosen. */
function ordered(layer, called, row) {
  const units = range(0, layer.width(called));
  const by = { peak: () => peaks(layer, called, row), memory: () => layer.kind?.ledger && [...numbers(layer.kind.realised)] };
  const keys = by[view.order]?.();
  return keys ? units.sort((a, b) => keys[a] - keys[b] || a - b) : units;
}

/** The step at which each unit is largest. */
function peaks(layer, called, row) {
  return range(0, layer.width(called)).map((unit) => {
    let best = 0;
    for (let t = 1; t < end(row); t++) {
      if (layer.value(called, t, row, unit) > layer.value(called, best, row, unit)) best = t;
    }
    return best;
  });
}

function isGateValue(layer, called) {
  return layer.byName.get(called).kind === "gate";
}

/** A name of what a row holds, for what is drawn once. */
function rowKey(row) {
  return isOwn(row) ? `own ${own.version}` : String(row);
}

/** The largest magnitude of a value in a row: the ends of its colours. */
function mostOf(layer, called, row) {
  const packed = layer.byName.get(called);
  packed.most ??= new Map();
  const key = rowKey(row);
  if (!packed.most.has(key)) {
    let most = 1e-12;
    for (let t = 0; t < end(row); t++) {
      for (let u = 0; u < packed.shape[2]; u++) most = Math.max(most, Math.abs(layer.value(called, t, row, u)) || 0);
    }
    packed.most.set(key, most);
  }
  return packed.most.get(key);
}

/** The heat map of a value, drawn once. */
function pictureOf(layer, called, row, order) {
  const key = [layers.indexOf(layer), called, rowKey(row), view.order, layer.memory, style("--nothing")].join(" ");
  if (!pictures.has(key)) {
    if (pictures.size > 24) pictures.clear();
    const of = (t, r) => (t < end(row) ? layer.value(called, t, row, order[r]) : NaN);
    const gate = isGateValue(layer, called);
    pictures.set(key, image(axisSteps(row), order.length, of, gate, mostOf(layer, called, row)));
  }
  return pictures.get(key);
}

function showHeat() {
  const { layer, row, unit, step, value, zoom } = view;
  const order = ordered(layer, value, row);
  const names = (r) => String(layer.units[order[r]]);
  const height = Math.max(150, Math.min(340, order.length * 14 + 32));
  const picture = pictureOf(layer, value, row, order);
  heatAxis = { ...drawHeat(byId("heat"), { picture, zoom, step, row: order.indexOf(unit), names, height }), order };
  showScale(isGateValue(layer, value), mostOf(layer, value, row));
  byId("heat-title").textContent = `${value} of all units, step by step`;
  byId("heat").setAttribute("aria-label", `Heat map of ${value}: ${order.length} units over ${zoom[1] - zoom[0]} steps of ${rowTitle(row)}`);
}

/** The scale of the colours, above the heat map. */
function showScale(gate, most) {
  const { pen, width } = prepared(byId("scale"), 30);
  const [left, right] = [26, width - 26];
  const colours = table(gate);
  for (let x = left; x < right; x++) {
    pen.fillStyle = `rgb(${colours[Math.round((511 * (x - left)) / (right - left))].join()})`;
    pen.fillRect(x, 0, 1, 12);
  }
  pen.fillStyle = style("--soft");
  pen.textAlign = "center";
  pen.textBaseline = "top";
  const marks = gate ? [0, 0.5, 1] : [-most, 0, most];
  marks.forEach((mark, k) => pen.fillText(short(mark, 2), left + (k / 2) * (right - left), 15));
  byId("scale").setAttribute("aria-label", `Colours from ${short(marks[0], 2)} to ${short(marks[2], 2)}`);
}

/** The values of a unit by kind, with a pen each. */
function seriesOf(kinds) {
  const { layer, row, unit } = view;
  const chosen = layer.values.filter(({ kind }) => kinds.includes(kind));
  return chosen.map(({ name: called }, k) => ({
    words: called,
    of: (t) => (t < end(row) ? layer.value(called, t, row, unit) : NaN),
    ...pen(k),
    wide: called === view.value ? 3 : 1.6,
  }));
}

function showLines(part, series, title, bounds) {
  byId(`${part}s-title`).textContent = series.length ? title : "";
  byId(`${part}-lines`).hidden = !series.length;
  legend(byId(`${part}s-legend`), series);
  if (!series.length) return;
  const { zoom, step } = view;
  const [low, high] = bounds ?? extent(series.flatMap(({ of }) => range(...zoom).map(of)));
  lineAxis = drawLines(byId(`${part}-lines`), { series, zoom, step, low, high });
  const said = series.map(({ words: called, of }) => `${called} ${short(of(step))}`).join(", ");
  byId(`${part}-lines`).setAttribute("aria-label", `${title}; at ${stepName(step, view.row)}: ${said}`);
}

const FEW = 4;

/** The inputs that are shown: those that mattered most in the row, or all. */
function inputSeries() {
  const { row } = view;
  const all = range(0, page.inputs.names.length);
  const base = baseOf(row);
  const size = (k) => range(0, end(base)).reduce((sum, t) => sum + Math.abs(at(page.shares.features, t, base, k)), 0);
  const sizes = page.shares ? all.map(size) : all.map((k) => -k);
  const few = [...all].sort((a, b) => sizes[b] - sizes[a]).slice(0, FEW).sort((a, b) => a - b);
  return (byId("every-input").checked ? all : few).map((k) => ({
    words: page.inputs.names[k],
    of: (t) => (t < end(row) ? inputAt(t, row, k) : NaN),
    colour: style("--line-0"),
  }));
}

function showInput() {
  if (!page.inputs) return;
  const { zoom, step } = view;
  byId("input-part").hidden = false;
  byId("input-more").hidden = page.inputs.names.length <= FEW;
  const series = inputSeries();
  drawStrips(byId("input-lines"), { series, zoom, step });
  const said = series.map(({ words, of }) => `${words} ${short(of(step))}`).join(", ");
  byId("input-lines").setAttribute("aria-label", `The input; at ${stepName(step, view.row)}: ${said}`);
}

/** The words of a row, each in the colour of its number: `of(t)`, a gate or signed. */
function paint(text, of, gate = false) {
  const { row, step } = view;
  if (text.dataset.row !== rowKey(row)) text.replaceChildren(...tokensOf(row));
  text.dataset.row = rowKey(row);
  text.classList.toggle("spaced", rowTokens(row).some((word) => [...word].length > 1));
  const most = range(0, end(row)).reduce((top, t) => Math.max(top, Math.abs(of(t)) || 0), 1e-30);
  [...text.children].forEach((token, t) => {
    const colour = colourOf(of(t), gate, most);
    token.style.background = `rgb(${colour.join()})`;
    token.style.color = inkOn(colour);
    token.title = `${stepName(t, row)}: ${short(of(t))}`;
    token.classList.toggle("here", t === step);
  });
}

function rowTokens(row) {
  return isOwn(row) ? own.words : page.tokens[row].slice(0, end(row));
}

function tokensOf(row) {
  const words = rowTokens(row);
  return words.map((word, t) => element("span", { "data-step": String(t) }, word.trim() === "" ? "\u2423" : word));
}

/** The text, coloured by the chosen value of the chosen unit. */
function showText() {
  const { layer, row, unit, value } = view;
  byId("text-part").hidden = wordAt(0, row) === undefined;
  if (byId("text-part").hidden) return;
  byId("text-title").textContent = `The text, coloured by ${value} of unit ${layer.units[unit]}`;
  paint(byId("text"), (t) => layer.value(value, t, row, unit), isGateValue(layer, value));
}

let shownValues = null;

/** One radio button for each value of the layer. */
function showValues() {
  const { layer, value } = view;
  const names = layer.values.map(({ name: called }) => called);
  if (shownValues !== layer) {
    const buttons = names.map((called) => {
      const input = element("input", { type: "radio", name: "value", value: called });
      input.addEventListener("change", () => choose({ value: called }));
      return element("label", {}, input, element("span", {}, called));
    });
    byId("value-choice").replaceChildren(...buttons);
  }
  shownValues = layer;
  for (const input of byId("value-choice").querySelectorAll("input")) input.checked = input.value === value;
  byId("value-words").textContent = role(layer, value);
}

/** What a value does in the cell, read off its equations. */
function role(layer, called) {
  for (const { state, keep, write } of layer.kept) {
    if (called === state) return `${called} is the memory: what is kept of it and what is written, added.`;
    if (label(keep) === called) return `${called} decides how much of the old ${state} is kept: 1 keeps all, 0 forgets all.`;
    const { gates, content } = factors(spelled(write, layer), layer);
    if (label(keep) === `1 ${MINUS} ${called}`) return `${called} decides how much of ${state} is overwritten; the
    rest of the old ${state} is kept.`;
    if (gates.some((gate) => label(gate) === called)) return `${called} decides how much is written to ${state}.`;
    if (gates.some((gate) => label(gate) === `1 ${MINUS} ${called}`)) return `${called} decides how much is kept; the
    rest is overwritten.`;
    if (content !== undefined && label(content) === called) return `${called} is what is proposed to be written to ${state}.`;
  }
  const said = layer.output.term && factors(layer.output.term, layer);
  if (called === layer.output.state) return `${called} is the output: what the cell says, to the next layer and to itself.`;
  if (said?.gates.some((gate) => label(gate) === called)) return `${called} decides how much is said.`;
  return isGateValue(layer, called) ? `${called} is a gate: between 0, shut, and 1, open.` : `${called} is computed on the way.`;
}

function showSequence() {
  showValues();
  if (!end(view.row)) return;
  const unit = view.layer.units[view.unit];
  showText();
  showHeat();
  showLines("gate", seriesOf(["gate"]), `Gates of unit ${unit}`, [0, 1]);
  showLines("state", seriesOf(["state", "value"]), `States of unit ${unit}`);
  showInput();
}

function sequenceControls() {
  const valueAt = (t, unit) => `${stepName(t, view.row)}, unit ${view.layer.units[unit]}: ${view.value} = ${short(view.layer.value(view.value, t, view.row, unit))}`;
  pointing(byId("heat"), () => heatAxis, (t, r) => choose({ step: t, unit: heatAxis.order[r] }), (t, r) => valueAt(t, heatAxis.order[r]));
  const lines = { "gate-lines": () => seriesOf(["gate"]), "state-lines": () => seriesOf(["state", "value"]), "input-lines": inputSeries };
  for (const [id, series] of Object.entries(lines)) {
    const said = (t) => series().map(({ words, of }) => `${words} ${short(of(t))}`).join(", ");
    pointing(byId(id), () => stepAxis(byId(id).clientWidth, view.zoom), (t) => choose({ step: t }), (t) => `${stepName(t, view.row)}: ${said(t)}`);
  }
  byId("every-input").addEventListener("change", redraw);
  for (const text of document.querySelectorAll(".text")) {
    text.addEventListener("click", ({ target }) => target.dataset.step && choose({ step: Number(target.dataset.step) }));
  }
  onChange(showSequence);
}
