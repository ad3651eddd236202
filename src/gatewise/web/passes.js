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
    this.size = 0;
    this.starts = this.counts.map((count) => (this.size += count) - count);
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
    const turned = (table) => [...(this.reverse ? [...table].reverse() : table), 0];
    return { starts: turned(this.starts), counts: turned(this.counts) };
  }
}

/** The memory of a forward call of a layer, and of the backward call after it, for certain sizes. */
class Pass {
  constructor(layer, machine, given) {
    const { T: steps, B: rows, keep, watch } = given;
    const packing = given.isRagged ? new Packing(given.lengths, layer.reverse) : null;
    const { key, sizes } = given;
    Object.assign(this, { layer, machine, steps, rows, packing, keep, watch, key, sizes });
    this.back = null; // the backward call
    machine.end = STACK; // the pass before gives its memory
    [this.T, this.B, this.places] = packing
      ? [packing.T, packing.B, packing.size]
      : [steps, rows, steps * rows];
    const { I, H, P } = this.sizes;
    this.zeros = this._numbers(this._padded(Math.max(I, H, P)));
    this.states = layer._states.map(({ name, width }) => ({
      name,
      width,
      initial: given.states ? this._numbers(this.B * width) : null,
    }));
    this.weights = mapped(given.weights, (numbers) => this._numbers(numbers.length));
    this.x = this._outside(I);
    if (packing) this._layPacking();
    this.marks = given.reset ? this.machine.bytes(this.places) : null;
    this._layForward();
    this.clear(this.zeros);
  }

  /** Compute the output, the final states and the watched values. */
  run({ x, weights, states, reset }) {
    this.view(this.x).set(x);
    for (const name in this.weights) this.view(this.weights[name]).set(weights[name]);
    if (states) for (const { name, initial, width } of this.states) this.fill(initial, states[name], width);
    if (reset) this._mark(reset);
    if (this.packing) {
      this.clear(this.output);
      for (const values of this.values.values()) this.view(values).fill(NaN);
    }
    this.layer._programs.forward.run(this.call);
  }

  /** A view of numbers of this pass. */
  view({ at, count }) {
    return this.machine.numbers(at, count);
  }

  copied(numbers) {
    return this.view(numbers).slice();
  }

  clear(numbers) {
    this.view(numbers).fill(0);
  }

  /** Fill in values of each row, in the order of packed rows. */
  fill(numbers, values, width) {
    const to = this.view(numbers);
    if (!this.packing) to.set(values);
    else
      this.packing.order.forEach((row, n) => {
        for (let unit = 0; unit < width; unit++) to[n * width + unit] = values[row * width + unit];
      });
  }

  /** The final values of a state; a row without steps keeps its initial ones. */
  final({ name, width, steps }, given) {
    const { packing, B } = this;
    const all = this.view(steps);
    if (!packing) {
      const last = this.layer.reverse || steps.t === 0 ? 0 : this.T - 1;
      return all.slice(last * B * width, (last + 1) * B * width);
    }
    const finals = Float32Array.from(entryOf(given.states, name) ?? new Float32Array(this.rows * width));
    packing.order.forEach((row, n) => {
      const place = steps.t === 0 ? n : packing.last[n];
      finals.set(all.subarray(place * width, (place + 1) * width), row * width);
    });
    return finals;
  }

  /** A watched value at every step; NaN past the end of a row. */
  watched(name, { lengths }) {
    if (this.values.has(name)) return this.copied(this.values.get(name));
    const { steps, rows, packing, output } = this;
    const values = this.copied(output); // a projected output is watched as the output
    for (let t = 0; packing && t < steps; t++)
      for (let row = 0; row < rows; row++) {
        const place = (t * rows + row) * output.width;
        if (t >= lengths[row]) values.fill(NaN, place, place + output.width);
      }
    return values;
  }

  /** Mark the rows that are reset. A reset before step t takes effect, in a reverse layer, before step t - 1. */
  _mark(reset) {
    const { steps, rows, packing, places, machine } = this;
    const later = Number(this.layer.reverse);
    const isMarked = (t, row) => Number(Boolean(reset[((t + later) % steps) * rows + row]));
    const marks = new Uint8Array(machine.memory.buffer, this.marks, places);
    if (packing) packing.each((place, t, n) => (marks[place] = isMarked(t, packing.order[n])));
    else for (let n = 0; n < places; n++) marks[n] = isMarked(Math.floor(n / rows), n % rows);
  }

  /** New memory for numbers. */
  _numbers(count) {
    return { at: this._room(count), count };
  }

  _room(count) {
    return this.machine.room(count);
  }

  /** A sequence that only kernels read, packed if rows have different lengths. */
  _inside(width) {
    const at = this._room(this.places * width);
    const way = this.packing ? { first: 0, t: 1, b: width } : this._way(this.B * width, width);
    return { at, count: this.places * width, width, ...way };
  }

  /** Memory for one step, of which only the last one remains. */
  _one(width) {
    return { ...this._numbers(this.B * width), width, first: 0, t: 0, b: width };
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

  _layPacking() {
    const { starts, counts } = this.packing.tables;
    const tables = { starts, counts, rows: this.packing.order };
    this.tables = Object.fromEntries(Object.entries(tables).map(([name, t]) => [name, this._table(t)]));
  }

  /** The fields that forward and backward share, with scratch memory of their own. */
  common() {
    const { I, H, P } = this.sizes;
    const fields = { T: this.T, B: this.B, I, H, P, chunk: this._chunk, ...this.tables };
    for (const { name, field } of this.layer._weights) fields[field] = this.weights[name].at;
    for (const { name, width, initial } of this.states) {
      const from = { at: (initial ?? this.zeros).at, b: initial ? width : 0 };
      for (const array of [`init_${name}`, `restart_${name}`])
        Object.assign(fields, { [array]: from.at, [`${array}.b`]: from.b });
      if (this.packing || this.marks !== null) fields[`entering_${name}`] = this._room(this.B * width);
    }
    if (this.marks !== null) {
      const way = this.packing ? { first: 0, t: 1, b: 1 } : this._way(this.B, 1);
      Object.assign(fields, { resets: this.marks + way.first, "resets.t": way.t, "resets.b": way.b });
    }
    return fields;
  }

  /** The number of steps whose input products are computed together. */
  get _chunk() {
    const { layer: { _about: about }, sizes } = this;
    const step = this.B * sizes.H * about.plan.gates * Float32Array.BYTES_PER_ELEMENT;
    return Math.min(this.T, Math.max(1, Math.floor(about.chunkBytes / Math.max(step, 1))));
  }

  /** The sizes of the arrays of packed weights of forward. */
  get _packed() {
    const { plan } = this.layer._about;
    const { I, H, P } = this.sizes;
    const units = this._padded(H);
    return {
      panels: units * (plan.inputSlots * I + plan.stateSlots * P),
      panels_linear: units * H * plan.linears,
      panels_project: plan.projects ? this._padded(P) * H : 0,
      bias: (plan.slots + plan.linears + 1) * units,
    };
  }

  /** A number of units, rounded up to whole vectors. */
  _padded(units) {
    const { lanes } = this.layer._about;
    return Math.ceil(units / lanes) * lanes;
  }

  _layForward() {
    const { layer, B, T, keep } = this;
    const { plan, rowsToJoin, output, called } = layer._about;
    const { I, H, P } = this.sizes;
    const fields = { ...this.common(), ...strided("x", this.x) };
    for (const [name, count] of Object.entries(this._packed)) fields[name] = this._room(count);
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
      state.steps = keep || n === 0 ? this._inside(state.width) : this._one(state.width);
      Object.assign(fields, strided(`out_${state.name}`, state.steps));
    }
    this.output = this.packing ? this._outside(P) : this.states[0].steps;
    if (this.packing) Object.assign(fields, strided("shown", this.output));
    this.values = new Map();
    for (const name of this.watch.filter((one) => !output.includes(one))) {
      const values = this._outside(H);
      this.values.set(name, values);
      Object.assign(fields, strided("watch", values), { watch: 1 });
      fields[`watch_${entryOf(called, name) ?? name}`] = values.at + 4 * values.first;
    }
    this.call = layer._programs.forward.call(fields);
  }
}

/** The fields of a sequence: where its walk begins, and its strides. */
function strided(name, { at, first, t, b }) {
  return { [name]: at + Float32Array.BYTES_PER_ELEMENT * first, [`${name}.t`]: t, [`${name}.b`]: b };
}
