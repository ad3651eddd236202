// One step of one unit: what is forgotten, what is written, what is said, drawn with its numbers.

const PIPE = 34;
const LONG = 18; // letters of a label

/** Everything that a step does to a unit's memory, as numbers. */
function stepOf(layer, t, row, unit) {
  const kind = layer.kind;
  const of = (term) => compute(term, layer, t, row, unit);
  const parts = (term) => {
    const { gates, content } = factors(spelled(term, layer), layer);
    const named = (part) => ({ label: label(part), value: of(part) });
    return { gates: gates.map(named), content: content === undefined ? null : named(content) };
  };
  const found = { said: null, output: layer.value(layer.output.state, t, row, unit) };
  if (kind) {
    const old = layer.entering(kind.state, t, row, unit);
    const keep = of(kind.keep);
    const written = of(kind.write);
    Object.assign(found, { old, keep, kept: keep * old, written, now: layer.value(kind.state, t, row, unit) });
    Object.assign(found, { keepLabel: label(kind.keep), write: parts(kind.write) });
  }
  const { term, state } = layer.output;
  if (term !== null && state !== kind?.state) found.said = { ...parts(term), value: of(term) };
  const gate = kind ? undefined : sumBefore(layer, state);
  if (gate) found.sum = { gate, ...sumOf(layer, gate, t, row, unit) };
  return found;
}

/** A pipe as thick as a number is large. */
function pipe(x, wide, y, value, most) {
  const thick = Number.isFinite(value) ? 2 + (Math.min(1, Math.abs(value) / most) * (PIPE - 2)) : 0;
  const colour = `var(${value < 0 ? "--negative" : "--positive"})`;
  return vector("rect", { x, y: y - thick / 2, width: wide, height: thick, fill: colour, rx: 1 });
}

/** A gate in a pipe, open by a part of its height; an empty frame where that is no number. */
function gateIn(x, y, open, colour) {
  const [tall, part] = [PIPE + 10, Number.isNaN(open) ? 1 : clamp(open, 0, 1)];
  const shut = (tall * (1 - part)) / 2;
  return vector(
    "g",
    {},
    vector("rect", { x: x - 9, y: y - tall / 2, width: 18, height: tall, class: "frame", stroke: colour }),
    vector("rect", { x: x - 9, y: y - tall / 2, width: 18, height: shut, fill: colour }),
    vector("rect", { x: x - 9, y: y + tall / 2 - shut, width: 18, height: shut, fill: colour }),
  );
}

function words(x, y, text, anchor = "middle", strong = false) {
  const shown = text.length > LONG ? `${text.slice(0, LONG - 1)}\u2026` : text;
  return vector("text", { x, y, "text-anchor": anchor, class: strong ? "strong" : "" }, shown);
}

/** What goes through gates: content in, product out, with all labels. */
function flow(content, gates, out, most, colour, lost) {
  const [wide, y] = [300, 62];
  const svg = vector("svg", { viewBox: `0 0 ${wide} 128`, "aria-hidden": "true" });
  const places = gates.map((_, k) => 150 + (k - (gates.length - 1) / 2) * 44);
  const [first, last] = [places[0] ?? 150, places.at(-1) ?? 150];
  svg.append(pipe(8, first - 8, y, content.value, most), pipe(last, wide - 16 - last, y, out.value, most));
  let running = content.value;
  gates.forEach(({ value }, k) => {
    running *= value;
    if (k + 1 < gates.length) svg.append(pipe(places[k], places[k + 1] - places[k], y, running, most));
  });
  svg.append(vector("path", { d: `M ${wide - 16} ${y - 12} l 12 12 l -12 12 z`, class: "head" }));
  gates.forEach(({ value, label: called }, k) => {
    svg.append(gateIn(places[k], y, value, colour));
    svg.append(words(places[k], 112, called), words(places[k], 126, short(value), "middle", true));
  });
  svg.append(words(8, 14, content.label, "start"), words(8, 29, short(content.value), "start", true));
  svg.append(words(wide - 8, 14, out.label, "end"), words(wide - 8, 29, short(out.value), "end", true));
  if (lost !== undefined) {
    svg.append(words(8, 112, "lost", "start"), words(8, 126, short(lost), "start", true));
  }
  return svg;
}

function card(number, title, role, picture, equation, sentence) {
  const made = element("article", { class: `card ${role}` });
  made.append(element("h3", {}, element("span", { class: "number" }, String(number)), title), picture);
  made.append(element("p", { class: "equation" }, equation), element("p", {}, sentence));
  return made;
}

/** How much gates let through, together. */
function through(gates) {
  return gates.reduce((product, { value }) => product * value, 1);
}

function forgetCard(step, state, most) {
  const gate = { label: step.keepLabel, value: step.keep };
  const old = { label: `old ${state}`, value: step.old };
  const kept = { label: "kept", value: step.kept };
  const opens = step.keep >= 0 && step.keep <= 1;
  const sentence = opens
    ? `Of the old memory, ${short(step.old)}, it keeps ${percent(step.keep)} and forgets the rest.`
    : `The old memory, ${short(step.old)}, is multiplied by ${short(step.keep)}.`;
  const equation = `${loose(gate.label)} × ${old.label} = ${short(step.keep)} × ${bracketed(step.old)} = ${short(step.kept)}`;
  const picture = flow(old, [gate], kept, most, "var(--keep)", step.old - step.kept);
  return card(1, "Forget", "keep", picture, equation, sentence);
}

function writeCard(step, state, most) {
  const { gates, content } = step.write;
  const written = { label: "written", value: step.written };
  const what = content ?? written;
  const product = [...gates.map(({ value }) => value), what.value].map(bracketed).join(" × ");
  const labels = [...gates.map((gate) => gate.label), what.label].map((text) => loose(text)).join(" × ");
  const equation = `${labels} = ${gates.length ? `${product} = ` : ""}${short(step.written)}`;
  const let_in = gates.length
    ? `It proposes ${short(what.value)} and lets ${percent(through(gates))} of it in.`
    : `It adds ${short(step.written)}.`;
  const sum = `The memory is now ${short(step.kept)} ${step.written < 0 ? MINUS : "+"} ${short(Math.abs(step.written))} = ${short(step.now)}.`;
  const picture = flow(what, gates, written, most, "var(--write)");
  return card(2, "Write", "write", picture, equation, `${let_in} ${sum}`);
}

function speakCard(step, layer, most, number) {
  const called = layer.output.projected ? "before projecting" : layer.output.state;
  const memory = layer.kind?.state;
  if (!step.said) {
    const same = memory === layer.output.state;
    const out = { label: layer.output.state, value: step.output };
    if (step.sum) return squashCard(step, layer, most, number);
    const sentence = same
      ? `It says what it remembers: ${short(step.output)}.`
      : `It says ${short(step.output)}, computed from the input and the previous output.`;
    const picture = flow({ label: same ? `new ${memory}` : layer.output.state, value: step.output }, [], out, most, "var(--speak)");
    return card(number, "Speak", "speak", picture, `${layer.output.state} = ${short(step.output)}`, sentence);
  }
  const { gates, content, value } = step.said;
  const product = [...gates.map((gate) => gate.value), content.value].map(bracketed).join(" × ");
  const labels = [...gates.map((gate) => gate.label), content.label].map((text) => loose(text)).join(" × ");
  const equation = `${labels} = ${gates.length ? `${product} = ` : ""}${short(value)}`;
  const squashed = content.label === `tanh(${memory})` ? `The memory, ${short(step.now)}, is squashed to ${short(content.value)}. ` : "";
  const sentence = gates.length
    ? `${squashed}It says ${percent(through(gates))} of ${short(content.value)}: ${short(value)}.`
    : `It says ${short(value)}.`;
  const picture = flow(content, gates, { label: called, value }, most, "var(--speak)");
  return card(number, "Speak", "speak", picture, equation, sentence);
}

/** An output that is a squashed sum, as in an ordinary RNN. */
function squashCard({ sum, output }, layer, most, number) {
  const called = SQUASH[sum.gate.function];
  const equation = `${layer.output.state} = ${called}(sum) = ${called}(${short(sum.total)}) = ${short(output)}`;
  const sentence = `The sum of what the input, the previous output and the bias add, ${short(sum.total)}, is squashed to ${short(output)}.`;
  const picture = flow({ label: "sum", value: sum.total }, [], { label: layer.output.state, value: output }, most, "var(--speak)");
  return card(number, "Add and squash", "speak", picture, equation, sentence);
}

function bracketed(value) {
  return value < 0 ? `(${short(value)})` : short(value);
}

/** A sum in brackets, as a factor. */
function loose(text) {
  return / [+\u2212] /.test(text) && !/^\w*\(.*\)$/.test(text) ? `(${text})` : text;
}

/** The largest number that a unit's pipes will carry in a row. */
function largest(layer, row, unit) {
  const key = `${layer.memory} ${rowKey(row)} ${unit}`;
  layer.largest ??= new Map();
  if (!layer.largest.has(key)) {
    const sizes = range(0, end(row)).flatMap((t) => {
      const { old, now, written, write, output, said, sum } = stepOf(layer, t, row, unit);
      return [old, now, written, write?.content?.value, output, said?.content?.value, sum?.total].map((v) => Math.abs(v ?? 0));
    });
    layer.largest.set(key, sizes.reduce((a, b) => (b > a ? b : a), 1e-12));
  }
  return layer.largest.get(key);
}

const READ = 4; // numbers of a step that are named

/** What the network reads at a step. */
function reads(t, row) {
  const word = wordAt(t, row);
  if (word !== undefined) return `The network reads \u201c${word}\u201d.`;
  if (!page.inputs) return "";
  const named = page.inputs.names.slice(0, READ).map((called, k) => `${called} = ${short(inputAt(t, row, k))}`);
  return `The network reads ${named.join(", ")}${page.inputs.names.length > READ ? ", \u2026" : ""}.`;
}

function showStep() {
  const { layer, row, unit, step: t } = view;
  const among = [layers.length > 1 ? ` of ${titleOf(layer.name)}` : "", rowCount() > 1 ? `, ${rowTitle(row)}` : ""].join("");
  const where = `Unit ${layer.units[unit]}${among}, ${stepName(t, row)}, of ${page.first} to ${page.first + end(row) - 1}`;
  byId("step-where").textContent = end(row) ? `${where}.` : `Sequence ${row} has no steps here.`;
  byId("step-reads").textContent = end(row) ? reads(t, row) : "";
  byId("step-about").hidden = !layer.kind;
  byId("cards").replaceChildren();
  showSums();
  if (!end(row)) return;
  if (isOwn(row) && !ownRun().found.layers.has(layer.name)) {
    byId("step-where").textContent += ` The page does not run ${titleOf(layer.name)}: it has no numbers for your sequence.`;
    return;
  }
  const [step, most] = [stepOf(layer, t, row, unit), largest(layer, row, unit)];
  if (layer.kind) {
    byId("cards").append(forgetCard(step, layer.kind.state, most), writeCard(step, layer.kind.state, most));
  }
  byId("cards").append(speakCard(step, layer, most, layer.kind ? 3 : 1));
  showNumbers();
  showStrips();
}

/** The tables below the cards. */
function showNumbers() {
  const { layer, row, unit, step: t } = view;
  const states = new Set(Object.keys(layer.states));
  const number = (value) => {
    const cell = element("td");
    cell.append(Number.isNaN(value) ? "\u2013" : element("data", { value: String(value) }, short(value, 5)));
    return cell;
  };
  const rows = layer.values.map(({ name: called }) => {
    const before = states.has(called) ? layer.entering(called, t, row, unit) : NaN;
    const head = element("th", { scope: "row" }, called);
    return element("tr", {}, head, number(before), number(layer.value(called, t, row, unit)));
  });
  byId("values").replaceChildren(...rows);
  const place = [layer, t, row, unit];
  const lines = layer.lines.map(({ name: called, term }) =>
    element("p", {}, `${called} = ${label(term)} = ${filled(term, ...place)} = ${short(compute(term, ...place))}`),
  );
  byId("lines").replaceChildren(...(lines.length ? lines : ["No equation uses only values of this unit."]));
}

/** Of all units: what is kept, written, remembered and said. */
function strips(layer, t, row) {
  const of = (term) => (unit) => compute(term, layer, t, row, unit);
  const kind = layer.kind;
  const said = [layer.output.state, (unit) => layer.value(layer.output.state, t, row, unit), false];
  if (!kind) return [said];
  const found = [
    [label(kind.keep), of(kind.keep), isGate(kind.keep, layer)],
    ["written", of(kind.write), false],
    [`new ${kind.state}`, (unit) => layer.value(kind.state, t, row, unit), false],
  ];
  return kind.state === layer.output.state ? found : [...found, said];
}

function showStrips() {
  const { layer, row, unit, step: t } = view;
  const shown = strips(layer, t, row);
  const tall = 22;
  const canvas = byId("strips");
  const { pen, width } = prepared(canvas, shown.length * (tall + 4));
  const units = layer.units.length;
  const wide = (width - LEFT - 24 - RIGHT) / units;
  pen.textBaseline = "middle";
  shown.forEach(([called, of, gate], k) => {
    const y = k * (tall + 4);
    const values = range(0, units).map(of);
    const most = Math.max(...values.filter(Number.isFinite).map(Math.abs), 1e-12);
    pen.fillStyle = style("--soft");
    pen.textAlign = "right";
    pen.fillText(called, LEFT + 16, y + tall / 2);
    values.forEach((value, u) => {
      if (!Number.isFinite(value)) return;
      pen.fillStyle = `rgb(${colourOf(value, gate, most).join()})`;
      pen.fillRect(LEFT + 24 + u * wide, y, Math.max(1, wide - (wide > 5 ? 1 : 0)), tall);
    });
  });
  pen.strokeStyle = style("--ink");
  pen.lineWidth = 2;
  pen.strokeRect(LEFT + 24 + unit * wide - 1, 1, Math.max(3, wide + 1), shown.length * (tall + 4) - 5);
  canvas.setAttribute("aria-label", `${shown.map(([called]) => called).join(", ")} of all ${units} units at ${stepName(t, row)}`);
}

function stepControls() {
  const canvas = byId("strips");
  const axis = () => {
    const units = view.layer.units.length;
    const wide = (canvas.clientWidth - LEFT - 24 - RIGHT) / units;
    return {
      step: (x) => clamp(Math.floor((x - LEFT - 24) / wide), 0, units - 1),
      row: (y) => clamp(Math.floor(y / 26), 0, strips(view.layer, view.step, view.row).length - 1),
    };
  };
  const hovered = (u, r) => {
    const [called, of] = strips(view.layer, view.step, view.row)[r];
    return `unit ${view.layer.units[u]}: ${called} ${short(of(u))}`;
  };
  pointing(canvas, axis, (u) => choose({ unit: u }), hovered);
  byId("memory-state").addEventListener("change", () => {
    view.layer.memory = Number(byId("memory-state").value);
    redraw();
  });
  let chosen = null;
  onChange(() => {
    const { layer } = view;
    byId("memory-choice").hidden = layer.kept.length < 2;
    if (chosen !== layer) options(byId("memory-state"), layer.kept.map(({ state }) => state));
    chosen = layer;
    byId("memory-state").value = String(layer.memory);
    showStep();
  });
}
