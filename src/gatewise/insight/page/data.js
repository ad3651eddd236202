// The data that Python put into the page: JSON, with float32 arrays in base64, decoded at first use.
// Steps, rows and units are indices into the shown part; `number` gives their original numbers. The row after
// the last one is the reader's own (own.js).

const page = JSON.parse(document.getElementById("data").textContent);

/** The numbers of a packed array, the last axis fastest. */
function numbers(packed) {
  if (!packed.numbers) {
    const text = atob(packed.data);
    const bytes = new Uint8Array(text.length);
    for (let k = 0; k < text.length; k++) bytes[k] = text.charCodeAt(k);
    packed.numbers = new Float32Array(bytes.buffer);
    packed.data = "";
  }
  return packed.numbers;
}

/** One number of a packed array. */
function at(packed, ...place) {
  let k = 0;
  place.forEach((index, axis) => (k = k * packed.shape[axis] + index));
  return numbers(packed)[k];
}

/** A layer in one direction. */
class Layer {
  constructor(data) {
    Object.assign(this, data);
    this.byName = new Map([...data.values, ...data.extras].map((value) => [value.name, value]));
    this.memory = data.kept.length - 1;
    const runs = page.running?.layers[data.name];
    if (runs && data.sums) this.sums = { ...data.sums, ...runs.weights };
  }

  get kind() {
    return this.kept[this.memory];
  }

  /** How many units are shown of a value; a projected output has fewer. */
  width(name) {
    return this.byName.get(name).shape[2];
  }

  value(name, t, row, unit) {
    if (isOwn(row)) return ownValue(this, name, t, unit);
    const packed = this.byName.get(name);
    return unit < packed.shape[2] ? at(packed, t, row, unit) : NaN;
  }

  /** The step that the walk does before a step. */
  before(t) {
    return this.reverse ? t + 1 : t - 1;
  }

  /** A state as it enters a step. */
  entering(state, t, row, unit) {
    if (isOwn(row)) return ownEntering(this, state, t, unit);
    const start = this.states[state];
    if (unit >= start.initial.shape[1]) return NaN;
    if (at(this.begins, t, row)) return at(start.initial, row, unit);
    const before = this.before(t);
    const shown = before >= 0 && before < page.steps;
    return shown ? this.value(state, before, row, unit) : at(start.before, row, unit);
  }

  /** A number of the layer's input. */
  input(t, row, k) {
    if (!isOwn(row)) return at(this.sums.input, t, row, k);
    return ownRun().found.layers.get(this.name)?.x[t * this.sums.weight_ih.shape[1] + k] ?? NaN;
  }

  /** The place of the unit that is called `number`, or -1. */
  place(number) {
    return this.units.indexOf(number);
  }
}

const layers = page.layers.map((data) => new Layer(data));

/** The number of rows: those of Python, and the reader's. */
function rowCount() {
  return page.rows + Number(own.exists);
}

function rowTitle(row) {
  return isOwn(row) ? "your sequence" : page.row_names?.[row] ?? `sequence ${row}`;
}

/** The number of steps on the axis of a row. */
function axisSteps(row) {
  return isOwn(row) ? Math.max(1, end(row)) : page.steps;
}

/** One step past the last that a row has among those shown. */
function end(row) {
  if (isOwn(row)) return own.input.length / network.wide;
  const length = page.lengths ? page.lengths[row] : page.all_steps;
  return Math.max(0, Math.min(page.steps, length - page.first));
}

/** The word that is read at a step, or undefined. */
function wordAt(t, row) {
  return isOwn(row) ? own.words?.[t] : page.tokens?.[row]?.[t];
}

/** A number of the input. */
function inputAt(t, row, k) {
  return isOwn(row) ? own.input[t * network.wide + k] : at(page.inputs, t, row, k);
}

/** What a step is called. */
function stepName(t, row) {
  const number = page.first + t;
  const word = wordAt(t, row);
  const time = isOwn(row) ? own.times?.[t] : page.times?.[row]?.[t];
  return `step ${number}` + (word === undefined ? "" : ` \u201c${word}\u201d`) + (time === undefined ? "" : `, ${time}`);
}

/** A layer in words: "layer 1" for l0, "encoder: layer 2, backwards" for encoder.l1_reverse. */
function titleOf(name) {
  const [, before, number, reverse] = /^(?:(.*)\.)?l(\d+)(_reverse)?$/.exec(name) ?? [];
  if (number === undefined) return name;
  return `${before ? `${before}: ` : ""}layer ${Number(number) + 1}${reverse ? ", backwards" : ""}`;
}

const MINUS = "\u2212";

/** A number in a few digits. */
function short(x, digits = 3) {
  if (!Number.isFinite(x)) return x === null || Number.isNaN(x) ? "\u2013" : x > 0 ? "\u221e" : `${MINUS}\u221e`;
  const size = Math.abs(x);
  if (size !== 0 && (size < 1e-3 || size >= 1e5)) {
    const [mantissa, exponent] = size.toExponential(Math.max(0, digits - 2)).split("e");
    return `${x < 0 ? MINUS : ""}${mantissa}e${exponent.replace("-", MINUS).replace("+", "")}`;
  }
  const decimals = size === 0 ? 0 : Math.min(digits + 1, Math.max(0, digits - 1 - Math.floor(Math.log10(size))));
  return (x < 0 ? MINUS : "") + size.toFixed(decimals);
}

/** With its sign, also where it is positive. */
function signed(x) {
  return (x > 0 ? "+" : "") + short(x);
}

function percent(x) {
  const whole = 100 * x;
  if (!Number.isFinite(whole)) return short(whole);
  if (whole > 0 && whole < 0.1) return "under 0.1 %";
  if (whole < 100 && whole > 99.9) return "over 99.9 %";
  const far = (whole > 0 && whole < 1) || (whole > 99 && whole < 100);
  return `${whole.toFixed(far ? 1 : 0).replace("-", MINUS)} %`;
}
