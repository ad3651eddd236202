// The sums before the gates: what the input, the previous output and the bias add to each.

const SQUASH = { sigmoid: "σ", tanh: "tanh", relu: "relu" };

/** One sum of a unit, in its parts; those that it does not have are null. */
function sumOf(layer, gate, t, row, unit) {
  const { sums } = layer;
  const units = layer.units.length;
  const product = (block, weights, of) => {
    if (block === null) return null;
    const width = weights.shape[1];
    return range(0, width).reduce((sum, k) => sum + at(weights, block * units + unit, k) * of(k), 0);
  };
  const output = layer.output.state;
  const input = product(gate.from_input, sums.weight_ih, (k) => layer.input(t, row, k));
  const state = product(gate.from_state, sums.weight_hh, (k) => layer.entering(output, t, row, k));
  const bias =
    (sums.bias_ih && gate.from_input !== null ? at(sums.bias_ih, gate.from_input * units + unit) : 0) +
    (sums.bias_hh && gate.from_state !== null ? at(sums.bias_hh, gate.from_state * units + unit) : 0);
  return { input, state, bias, total: (input ?? 0) + (state ?? 0) + bias };
}

/** The sum that a value is squashed from, or undefined. */
function sumBefore(layer, called) {
  return layer.sums?.gates.find(({ value }) => value === called);
}

/** A number over a bar that goes left or right from the middle. */
function barred(value, most) {
  if (value === null) return element("td", {}, "\u2013");
  const part = Math.min(1, Math.abs(value) / most) * 50;
  const bar = element("span", { class: value < 0 ? "negative" : "positive", "aria-hidden": "true" });
  bar.style.width = `${part}%`;
  bar.style.left = `${value < 0 ? 50 - part : 50}%`;
  return element("td", { class: "barred" }, short(value), bar);
}

function showSums() {
  const { layer, row, unit, step: t } = view;
  byId("sums").hidden = !layer.sums || !end(row);
  if (byId("sums").hidden) return;
  const found = layer.sums.gates.map((gate) => ({ gate, ...sumOf(layer, gate, t, row, unit) }));
  const most = Math.max(...found.flatMap(({ input, state, bias, total }) => [input, state, bias, total].map(Math.abs)), 1e-12);
  const rows = found.map(({ gate, input, state, bias, total }) => {
    const becomes = gate.value === null ? "" : `${gate.value} = ${SQUASH[gate.function]}(${short(total)}) = ${short(layer.value(gate.value, t, row, unit))}`;
    const head = element("th", { scope: "row" }, gate.name);
    return element("tr", {}, head, ...[input, state, bias, total].map((value) => barred(value, most)), element("td", {}, becomes));
  });
  byId("sums-rows").replaceChildren(...rows);
  byId("sums-output").textContent = `from the previous ${layer.output.state}`;
}
