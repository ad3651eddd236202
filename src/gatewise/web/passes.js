// Where the arrays of a layer's calls lie in memory, and the fields of its kernels. What each field is, is
// said in gatewise/compiler/kernels/*.py; T, B, I, H, P as there.

/** Rows of different lengths, packed: for each step the rows that have it, the longest first. */
class Packing {
  constructor(lengths, reverse) {
    const order = lengths.map((_, row) => row).filter((row) => lengths[row] > 0);
    this.order = order.sort((a, b) => lengths[b] - lengths[a]);
    this.B = order.length;
    this.T = this.B ? lengths[order[0]] : 1;
    this.counts = Array.from({ length: this.T }, (_, t) => order.filter((row) => lengths[row] > t).length);
    this.starts = this.counts.map((_, t) => sum(this.counts.slice(0, t)));
    this.size = sum(this.counts);
    this.last = order.map((row, n) => (reverse ? 0 : this.starts[lengths[row] - 1]) + n); // of the walk
    this.reverse = reverse;
  }

  /** Calls `visit(place, t, n)` for each packed row: its place, its step, and its number in the order. */
  each(visit) {
    for (let t = 0; t < this.T; t++) {
      for (let n = 0; n < this.counts[t]; n++) visit(this.starts[t] + n, t, n);
    }
  }

  /** The place of a row one step earlier in the walk, or -1. */
  before(t, n) {
    const there = this.reverse ? t + 1 : t - 1;
    return n < (this.counts[there] ?? 0) ? this.starts[there] + n : -1;
  }

  /** Starts and counts in the order of the walk, each with a 0 at the end. */
  get tables() {
    const turned = (table) => [...(this.reverse ? table.toReversed() : table), 0];
    return { starts: turned(this.starts), counts: turned(this.counts) };
  }
}

const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);

/** The memory of a forward call of a layer and of the backward call after it, for certain sizes. */
class Pass {
  constructor(layer, { steps, rows, packing, given, reset, keep, watch }) {
    Object.assign(this, { layer, steps, rows, packing, given, reset, keep, watch });
    this.machine = layer._machine;
    this.machine.end = STACK; // the memory of the pass before
    [this.T, this.B, this.places] = packing
      ? [packing.T, packing.B, packing.size]
      : [steps, rows, steps * rows];
    this.states = layer._states.map(({ name, width }) => ({
      name,
      width,
      initial: given ? this._room(this.B * width) : null,
    }));
    const { I, H, P } = layer._sizes;
    this.zeros = this._room(layer._padded(Math.max(I, H, P)));
    this._clear(this.zeros, layer._padded(Math.max(I, H, P)));
    this.weights = Object.fromEntries(
      Object.entries(layer.weights).map(([name, numbers]) => [name, this._room(numbers.length)]),
    );
    this.x = this._outside(I);
    if (packing) this._lay_packing();
    if (reset) this.resets = this.machine.bytes(this.places);
    this._lay_forward();
  }

  /** Numbers of this pass in memory. */
  numbers(address, count) {
    return this.machine.numbers(address, count);
  }

  /** Compute the output, the final states and the watched values. */
  forward() {
    if (this.shown) this._clear(this.shown.at, this.shown.count);
    if (this.packing) for (const { at, count } of this.values.values()) this.numbers(at, count).fill(NaN);
    this.layer._programs.forward.run(this.call);
  }

  _room(count) {
    return this.machine.room(count);
  }

  _clear(address, count) {
    this.numbers(address, count).fill(0);
  }

  /** A sequence that only kernels read, packed if rows have different lengths. */
  _inside(width) {
    const at = this._room(this.places * width);
    const way = this.packing ? { first: 0, t: 1, b: width } : this._way(this.B * width, width);
    return { at, count: this.places * width, width, ...way };
  }

  /** A sequence [steps, rows, width] of the caller. */
  _outside(width) {
    const count = this.steps * this.rows * width;
    return { at: this._room(count), count, width, ...this._way(this.rows * width, width) };
  }

  /** The start of the walk in a sequence, and its strides of time and rows. */
  _way(t, b) {
    return this.layer.reverse ? { first: (this.T - 1) * t, t: -t, b } : { first: 0, t, b };
  }

  _table(values) {
    const address = this.machine.bytes(8 * values.length);
    const table = new Int32Array(this.machine.memory.buffer, address, 2 * values.length);
    values.forEach((value, n) => write(table, n, value));
    return address;
  }

  _lay_packing() {
    const { starts, counts } = this.packing.tables;
    const tables = { starts, counts, rows: this.packing.order };
    this.tables = Object.fromEntries(Object.entries(tables).map(([name, t]) => [name, this._table(t)]));
  }

  /** The fields that forward and backward share. */
  get _common() {
    const { I, H, P } = this.layer._sizes;
    const fields = { T: this.T, B: this.B, I, H, P, chunk: this._chunk, ...this.tables };
    for (const { name, field } of this.layer._weights) fields[field] = this.weights[name];
    for (const { name, width, initial } of this.states) {
      for (const array of ["init", "restart"]) {
        fields[`${array}_${name}`] = initial ?? this.zeros;
        fields[`${array}_${name}.b`] = initial === null ? 0 : width;
      }
      if (this.packing || this.reset) fields[`entering_${name}`] = this._room(this.B * width);
    }
    if (this.reset) {
      const way = this.packing ? { first: 0, t: 1, b: 1 } : this._way(this.B, 1);
      Object.assign(fields, { resets: this.resets + way.first, "resets.t": way.t, "resets.b": way.b });
    }
    return fields;
  }

  /** The number of steps whose input products are computed together. */
  get _chunk() {
    const { _about: about, _sizes: sizes } = this.layer;
    const step = this.B * sizes.H * about.plan.gates * Float32Array.BYTES_PER_ELEMENT;
    return Math.min(this.T, Math.max(1, Math.floor(about.chunkBytes / Math.max(step, 1))));
  }

  _lay_forward() {
    const { layer, B, T, keep } = this;
    const { plan, rowsToJoin, output } = layer._about;
    const { I, H, P } = layer._sizes;
    const fields = { ...this._common, ...strided("x", this.x) };
    for (const [name, count] of Object.entries(layer._packed)) fields[name] = this._room(count);
    fields.spills = this._room(B * H * plan.spills);
    const joins = plan.joins && (T === 1 || B >= rowsToJoin);
    if (joins) {
      fields.joined = this._room(B * (I + P));
      fields.chunk = T;
    } else if (this.packing) fields.inputs = this._room(fields.chunk * B * I);
    if (keep && plan.keeps) {
      [this.gates, this.means] = [this._inside(plan.gates * H), this._inside(plan.means)];
      Object.assign(fields, { keep: 1 }, strided("gates", this.gates), strided("means", this.means));
    } else {
      const [width, chunk] = [plan.gates * H, joins ? 1 : fields.chunk];
      Object.assign(fields, { gates: this._room(chunk * B * width), means: this._room(B * plan.means) });
      Object.assign(fields, { "gates.t": joins ? 0 : B * width, "gates.b": width, "means.b": plan.means });
    }
    for (const [n, state] of this.states.entries()) {
      const one = { at: this._room(B * state.width), width: state.width, first: 0, t: 0, b: state.width };
      state.steps = keep || n === 0 ? this._inside(state.width) : one;
      Object.assign(fields, strided(`out_${state.name}`, state.steps));
    }
    if (this.packing) Object.assign(fields, strided("shown", (this.shown = this._outside(P))));
    this.output = this.shown ?? this.states[0].steps;
    this.values = new Map();
    for (const name of this.watch.filter((one) => !output.includes(one))) {
      const values = this._outside(H);
      this.values.set(name, values);
      Object.assign(fields, strided("watch", values), { watch: 1 });
      fields[`watch_${name}`] = values.at + 4 * values.first;
    }
    this.call = layer._programs.forward.call(fields);
  }
}

/** The fields of a sequence: where its walk begins, and its strides. */
function strided(name, { at, first, t, b }) {
  return { [name]: at + Float32Array.BYTES_PER_ELEMENT * first, [`${name}.t`]: t, [`${name}.b`]: b };
}
