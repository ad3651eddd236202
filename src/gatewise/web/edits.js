// Edits hold named values at numbers, at chosen steps, rows and units. Each one is a column of the input that
// marks its steps and rows, and weights for that column: 1 in the mask of the value, the number in its new
// value (see `editable` in describing.py).

/** A part of an edit that no later edit changes. */
class Part {
  constructor(layer, { name, value, steps, rows, units }, T, B) {
    const { _about: { edits }, _sizes: { H } } = layer;
    if (!layer.kernels.holds.length) throw new Error("gatewise: edits need kernels of an editable cell.");
    if (!Object.hasOwn(edits, name))
      throw new Error(`gatewise: an edit must name one of ${Object.keys(edits)}. Got ${name}.`);
    [this.mask, this.given] = edits[name];
    this.units = chosen("units", units, H);
    const [atStep, atRow] = [chosen("steps", steps, T), chosen("rows", rows, B)];
    this.places = Uint8Array.from({ length: T * B }, (_, n) => atStep[Math.floor(n / B)] & atRow[n % B]);
    this.values = typeof value === "number" ? new Float32Array(H).fill(value) : value;
    check("the value of an edit", this.values, H);
    if (!this.values.every(Number.isFinite))
      throw new Error(`gatewise: ${name} must be finite. Got ${value}.`);
  }

  /** What is left of this part beside a later one: the other units, and the other places of its units. */
  without(later) {
    const both = this.units.map((unit, n) => unit & later.units[n]);
    if (this.mask !== later.mask || !both.some(Boolean)) return [this];
    const others = { units: this.units.map((unit, n) => unit & ~later.units[n]) };
    const elsewhere = { units: both, places: this.places.map((place, n) => place & ~later.places[n]) };
    return [others, elsewhere].map((change) => Object.assign(Object.create(Part.prototype), this, change));
  }
}

/** 1 for chosen indices, else 0; without indices all are chosen. */
function chosen(what, indices, count) {
  const found = new Uint8Array(count).fill(indices ? 0 : 1);
  for (const index of indices ?? []) {
    if (!Number.isInteger(index) || index < 0 || index >= count)
      throw new Error(`gatewise: ${what} of an edit must be from 0 to ${count - 1}. Got ${index}.`);
    found[index] = 1;
  }
  return found;
}

/** The input and the weights of a call with edits. */
function held(layer, x, edits, T, B) {
  let parts = [];
  for (const edit of edits) {
    const later = new Part(layer, edit, T, B);
    parts = [...parts.flatMap((part) => part.without(later)), later];
  }
  const { _about: about, _sizes: { I, H }, weights } = layer;
  const wide = I + parts.length;
  const inputs = new Float32Array(T * B * wide);
  const byInput = new Float32Array(about.inputGates * H * wide);
  spread(inputs, wide, x, I);
  spread(byInput, wide, weights.weight_ih, I);
  parts.forEach(({ mask, given, units, places, values }, n) => {
    places.forEach((place, k) => (inputs[k * wide + I + n] = place));
    units.forEach((unit, u) => {
      byInput[(mask * H + u) * wide + I + n] = unit;
      byInput[(given * H + u) * wide + I + n] = unit * values[u];
    });
  });
  const more = { weight_ih: byInput };
  if (layer.bias) spread((more.bias_ih = new Float32Array(about.inputGates * H)), 1, weights.bias_ih, 1);
  return { I: wide, x: inputs, weights: { ...weights, ...more } };
}

/** Copy rows of `narrow` numbers to the beginnings of rows of `wide` numbers. */
function spread(to, wide, from, narrow) {
  for (let n = 0, row = 0; n < from.length; n += narrow, row += wide) {
    for (let k = 0; k < narrow; k++) to[row + k] = from[n + k];
  }
}
