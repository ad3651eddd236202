/** The memory of the backward call after a pass, and of the sums that give the gradients of weights. */
class BackwardPass {
  constructor(pass) {
    const { layer } = pass;
    const { plan } = layer._about;
    const { I, H, P } = pass.sizes;
    const ofStates = () => pass.states.map(({ width }) => pass._numbers(pass.B * width));
    Object.assign(this, { pass, layer, sums: [] });
    this.derivatives = plan.overwrites ? pass.gates : pass._inside(plan.derivatives * H);
    this.projected = plan.projects ? pass._inside(P) : null;
    this.byOutput = pass._outside(P);
    this.byInput = pass._outside(I);
    this.carries = ofStates();
    this.byRestart = pass.marks === null ? [] : ofStates();
    this.byVectors = pass._numbers(pass.B * plan.vectors.length * H);
    this.weights = mapped(layer.weights, (numbers) => pass._numbers(numbers.length));
    this.slotSums = pass._numbers(layer.bias ? plan.derivatives * H : 0);
    this.vectorSums = pass._numbers(plan.vectors.length * H);
    this.call = layer._programs.backward.call(this._fields());
    this._layTables();
    this._laySums();
  }

  /** The gradients, from the derivatives by the output and by the final states. */
  run({ output, states, stepByStep }) {
    const { pass, byOutput, carries } = this;
    if (output) pass.view(byOutput).set(output);
    else pass.clear(byOutput);
    pass.states.forEach(({ name, width }, n) => {
      const given = entryOf(states, name);
      if (given) pass.fill(carries[n], given, width);
      else pass.clear(carries[n]);
    });
    const added = [this.byVectors, ...this.byRestart, ...Object.values(this.weights), this.slotSums];
    added.push(this.vectorSums, ...(pass.packing ? [this.byInput] : []));
    for (const numbers of added) pass.clear(numbers);
    const { backward, outer } = this.layer._programs;
    const byEach = stepByStep ? this._stepByStep() : backward.run(this.call);
    if (this.entering) this._fillEntering();
    for (const call of this.sums) outer.run(call);
    const initial = pass.states.map((state, n) => [state.name, this._byInitial(state, n, states)]);
    const byInput = pass.copied(this.byInput);
    return { x: byInput, weights: this._byWeights(), states: Object.fromEntries(initial), byEach };
  }

  _byWeights() {
    const { pass, layer, weights, slotSums, vectorSums } = this;
    const { plan } = layer._about;
    const { H } = pass.sizes;
    const found = mapped(weights, (numbers) => pass.copied(numbers));
    const take = (to, row, sums, n) => to.set(pass.view(sums).subarray(n * H, (n + 1) * H), row * H);
    if (layer.bias) {
      const before = plan.slots - plan.rowsHh.length;
      plan.rowsIh.forEach((row, n) => take(found.bias_ih, row, slotSums, n));
      plan.rowsHh.forEach((row, n) => take(found.bias_hh, row, slotSums, before + n));
      plan.multiplied.forEach((_, n) => take(found.bias_linear, n, slotSums, plan.slots + n));
    }
    plan.vectors.forEach((names, n) => names.forEach((name) => take(found[name], 0, vectorSums, n)));
    return found;
  }

  /** The derivatives by an initial state; of a row without steps, those by its final state. */
  _byInitial({ name, width }, n, states) {
    const { pass, carries, byRestart } = this;
    const by = pass.copied(carries[n]);
    if (byRestart.length) pass.view(byRestart[n]).forEach((more, k) => (by[k] += more));
    if (!pass.packing) return by;
    const all = Float32Array.from(entryOf(states, name) ?? new Float32Array(pass.rows * width));
    pass.packing.order.forEach((row, k) => all.set(by.subarray(k * width, (k + 1) * width), row * width));
    return all;
  }

  /** Go back by one step at a time. Returns the derivatives by the states after each step. */
  _stepByStep() {
    const { pass, carries, byOutput, layer } = this;
    const { T, B, states } = pass;
    const { backward } = layer._programs;
    const call = (this.step ??= backward.call({ ...this._fields(), T: 1, chunk: 1 }));
    const found = states.map(({ width }) => new Float32Array(T * B * width));
    backward.prepare(call);
    for (let t = T - 1; t >= 0; t--) {
      const row = (layer.reverse ? T - 1 - t : t) * B;
      states.forEach(({ width }, n) => found[n].set(pass.view(carries[n]), row * width));
      const [first, end] = [row * states[0].width, (row + B) * states[0].width];
      const by = pass.view(byOutput);
      for (let k = first; k < end; k++) found[0][k] += by[k];
      backward.set(call, this._atStep(t));
      backward.part(call);
    }
    return Object.fromEntries(states.map(({ name }, n) => [name, found[n]]));
  }

  /** The fields that lead a call of one step to a step of the walk. */
  _atStep(t) {
    const { pass, derivatives, projected, byOutput, byInput } = this;
    const { gates, means } = pass;
    const at = (sequence, step) => sequence.at + 4 * (sequence.first + step * sequence.t);
    const sequences = { gates, means, derivatives, projected, dout: byOutput, dx: byInput };
    const fields = {};
    for (const name in sequences) if (sequences[name]) fields[name] = at(sequences[name], t);
    for (const { name, steps, width, initial } of pass.states) {
      const first = { at: (initial ?? pass.zeros).at, b: initial ? width : 0 };
      const before = t ? { at: at(steps, t - 1), b: steps.b } : first;
      const fed = { [`init_${name}`]: before.at, [`init_${name}.b`]: before.b };
      Object.assign(fields, fed, { [`out_${name}`]: at(steps, t) });
    }
    return fields;
  }

  _fields() {
    const { pass, layer } = this;
    const { plan } = layer._about;
    const fields = { ...pass.common(), zeros: pass.zeros.at, by_vectors: this.byVectors.at };
    for (const [name, count] of Object.entries(this._scratch)) fields[name] = pass._room(count);
    if (plan.keeps) Object.assign(fields, strided("gates", pass.gates), strided("means", pass.means));
    if (this.projected) Object.assign(fields, strided("projected", this.projected));
    Object.assign(fields, strided("derivatives", this.derivatives));
    Object.assign(fields, strided("dout", this.byOutput), strided("dx", this.byInput));
    pass.states.forEach(({ name, steps }, n) => {
      Object.assign(fields, strided(`out_${name}`, steps), { [`carry_${name}`]: this.carries[n].at });
      if (pass.marks !== null) fields[`drestart_${name}`] = this.byRestart[n].at;
    });
    return fields;
  }

  /** The sizes of the scratch arrays of the backward call. */
  get _scratch() {
    const { layer, pass } = this;
    const { plan } = layer._about;
    const { I, H, P } = pass.sizes;
    return {
      panels_ih: pass._padded(I) * plan.inputSlots * H,
      panels_hh: pass._padded(P) * plan.stateSlots * H,
      panels_linear: pass._padded(H) * H * plan.linears,
      panels_project: plan.projects ? pass._padded(H) * P : 0,
      spills: pass.B * H * plan.backSpills,
      own_means: pass.B * plan.ownMeans,
      by_inputs: pass.packing ? pass._chunk * pass.B * I : 0,
    };
  }

  /** Tables of the addresses that derivatives are multiplied by, where strides cannot say them. */
  _layTables() {
    const { packing, marks, places, rows, x } = this.pass;
    if (packing) {
      const inputs = new Array(places);
      packing.each((place, t, n) => (inputs[place] = x.at + 4 * (t * rows + packing.order[n]) * x.width));
      this.inputs = this.pass._table(inputs);
    }
    if (packing || marks !== null) this.entering = this.pass._table(new Array(places).fill(0));
  }

  /** Fill in the addresses of what the gates saw at each step: the output before it, or the initial one. */
  _fillEntering() {
    const { packing, places, machine, zeros, T, B, layer, states } = this.pass;
    const { initial, width, steps } = states[0];
    const table = new Int32Array(machine.memory.buffer, this.entering, 2 * places);
    const marked = this.pass.marks !== null;
    const marks = new Uint8Array(machine.memory.buffer, this.pass.marks ?? 0, marked ? places : 0);
    const begin = (row) => (initial ? initial.at + 4 * row * width : zeros.at);
    const set = (entry, row, mark, before) => {
      const begins = before < 0 || marks[mark];
      write(table, entry, begins ? begin(row) : steps.at + 4 * before * width);
    };
    if (packing) packing.each((place, t, n) => set(place, n, place, packing.before(t, n)));
    else
      for (let s = 0; s < T; s++) {
        const [t, before] = layer.reverse ? [T - 1 - s, T - s] : [s, s - 1];
        for (let row = 0; row < B; row++) set(s * B + row, row, t * B + row, s ? before * B + row : -1);
      }
  }

  /** The calls that sum products of derivatives over all steps and rows. */
  _laySums() {
    const { pass, layer, weights } = this;
    const { plan } = layer._about;
    const { I, H, P } = pass.sizes;
    const met = { ...this._metInputs(), ...this._metOutputs() };
    for (const [first, count, rowIh, rowHh] of plan.runs) {
      const fields = { ...met, ...this._column(first), N: count * H };
      if (rowIh !== null) Object.assign(fields, { M_ih: I, c_ih: weights.weight_ih.at + 4 * rowIh * H * I });
      if (rowHh !== null) Object.assign(fields, { M_hh: P, c_hh: weights.weight_hh.at + 4 * rowHh * H * P });
      this._sum(fields);
    }
    if (this.projected) this._sumProducts(strided("a", this.projected), P, plan.projected, "weight_hr", 0);
    plan.multiplied.forEach((column, n) =>
      this._sumProducts(this._column(plan.slots + n), H, column, "weight_linear", n * H * H),
    );
    if (plan.vectors.length) {
      const width = plan.vectors.length * H;
      this._sum({ T: 1, B: pass.B, a: this.byVectors.at, "a.b": width, N: width, sum: this.vectorSums.at });
    }
  }

  /** Sums of N derivatives times a column of the gates, the vector that a product in a step multiplied. */
  _sumProducts(derivatives, N, column, weight, place) {
    const { H } = this.pass.sizes;
    const { at, ...way } = this.pass.gates;
    const c = this.weights[weight].at + 4 * place;
    this._sum({ ...derivatives, ...met("ih", { at: at + 4 * column * H, ...way }), N, M_ih: H, c_ih: c });
  }

  _sum(fields) {
    const { packing, places, T, B } = this.pass;
    // Packed rows all count as rows of one step.
    const sizes = { T: packing ? 1 : T, B: packing ? places : B, ...fields };
    sizes.chunk = Math.max(1, Math.floor(this.layer._about.rowsToSum / Math.max(sizes.B, 1)));
    this.sums.push(this.layer._programs.outer.call(sizes));
  }

  /** Derivatives from a column on, in rows of units; with biases they are added up too. */
  _column(column) {
    const place = 4 * column * this.pass.sizes.H;
    const { at, ...way } = this.derivatives;
    const added = this.layer.bias ? { sum: this.slotSums.at + place } : {};
    return { ...strided("a", { at: at + place, ...way }), ...added };
  }

  _metInputs() {
    return this.pass.packing ? { rows_ih: this.inputs } : met("ih", this.pass.x);
  }

  _metOutputs() {
    if (this.entering) return { rows_hh: this.entering };
    const { zeros, states: [{ initial, width, steps }] } = this.pass;
    const { at, ...way } = steps;
    const first = { first_hh: (initial ?? zeros).at, "first.b_hh": initial ? width : 0 };
    return { ...met("hh", { at: at - 4 * way.t, ...way }), ...first };
  }
}

/** The fields of one side of a sum: the vectors that derivatives are multiplied by. */
function met(side, { at, first, t, b }) {
  return { [`met_${side}`]: at + 4 * first, [`met.t_${side}`]: t, [`met.b_${side}`]: b };
}
