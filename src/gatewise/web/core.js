// Runs recurrent layers that gatewise.export_wasm has written. No dependencies.
//
//   const model = await load();
//   const stream = model.stream();
//   const y = stream.step(x); // x: inputSize numbers, y: outputSize numbers
//
// Shapes are those of Python: T steps, B rows, I inputs, H units, P outputs, L layers; the last axis moves
// fastest in every array. Types: gatewise.d.ts.

const MOST_STEPS = 1024; // in a block; a longer one is no faster

/** A model, made from the content of `model.json`; `file(name)` gives the content of another file. */
async function loadFrom(about, file, { simd } = {}) {
  const found = relaxed(about.dtype);
  const kind = simd ?? (found.exists ? "relaxed" : "plain");
  if (!(kind in about.kernels)) throw new Error(`gatewise: simd must be relaxed or plain. Got ${kind}.`);
  const module = WebAssembly.compile(await file(about.kernels[kind]));
  const sameBits = kind === "relaxed" && found.rounds === "once";
  return new Model(about, await module, await file(about.weights), kind, sameBits);
}

/** Layers with packed weights, shared by any number of streams. */
class Model {
  constructor(about, module, weights, simd, sameBits) {
    this.simd = simd;
    this.sameBits = sameBits;
    const { cell, dtype, inputSize, hiddenSize, outputSize, numLayers } = about;
    Object.assign(this, { cell, dtype, inputSize, hiddenSize, outputSize, numLayers });
    this.states = about.states.map(({ name }) => name);
    this._about = about;
    this._type = about.dtype === "float64" ? Float64Array : Float32Array;
    this._machine = new Machine(this._type);
    this._kernel = new Program(this._machine, module, about.fields, about.table);
    this._free = new Map(); // memory of closed streams, by number of rows
    this._pack(weights);
  }

  /** A new stream of `batch` rows, at the initial state. */
  stream({ batch = 1 } = {}) {
    if (!Number.isInteger(batch) || batch < 1)
      throw new Error(`gatewise: batch must be a positive integer. Got ${batch}.`);
    return new Stream(this, batch);
  }

  /** Pack the weights of each layer; the originals are no longer needed. */
  _pack(weights) {
    const { _about: about, _machine: machine, _kernel: kernel } = this;
    this._layers = about.layers.map((layer) => {
      const kept = {};
      for (const [name, count] of Object.entries(layer.packed)) kept[name] = machine.room(count);
      return { I: layer.inputSize, H: about.hiddenSize, P: about.outputSize, ...kept };
    });
    const { end } = machine;
    const came = machine.bytes(weights.byteLength);
    new Uint8Array(machine.memory.buffer, came).set(new Uint8Array(weights));
    about.layers.forEach((layer, k) => {
      const fields = { ...this._layers[k] };
      for (const [name, { at, count }] of Object.entries(layer.weights)) {
        if (name in layer.packed) machine.numbers(fields[name], count).set(machine.numbers(came + at, count));
        else fields[name] = came + at;
      }
      kernel.prepare(kernel.call(fields));
    });
    const initial = about.states.map((state) => state.initial);
    this._initial = initial.map(({ at, count }) => machine.numbers(came + at, count).slice());
    machine.end = end;
  }
}

/** Reads a sequence piece by piece and keeps its state in between. Steps and pieces give the same bits. */
class Stream {
  constructor(model, batch) {
    this.model = model;
    this.batch = batch;
    this._turn = 0; // which of the two buffers holds the states
    this._room = model._free.get(batch)?.pop() ?? new Room(model, batch);
    this.reset();
  }

  /** One step: x [B, I] gives the output [B, P]. */
  step(x) {
    const { model, _room: room, _turn: turn } = this;
    check("x", x, this.batch * model.inputSize);
    model._machine.numbers(room.x, x.length).set(x);
    for (const call of room.steps[turn]) model._kernel.part(call);
    this._turn = 1 - turn;
    const output = room.state(0, 1 - turn, model.numLayers - 1);
    return model._machine.numbers(output, this.batch * model.outputSize).slice();
  }

  /** Many steps: x [T, B, I] gives the outputs [T, B, P]. */
  run(x) {
    const { model, _room: room } = this;
    const [wide, out] = [this.batch * model.inputSize, this.batch * model.outputSize];
    const T = x.length / wide;
    check("x", x, Math.ceil(T) * wide);
    const y = new model._type(T * out);
    for (let t = 0; t < T; t += room.chunk) {
      const steps = Math.min(room.chunk, T - t);
      model._machine.numbers(room.x, steps * wide).set(x.subarray(t * wide, (t + steps) * wide));
      room.blocks[this._turn].forEach((call, k) => {
        model._kernel.set(call, { T: steps });
        model._kernel.part(call);
        const last = model._machine.numbers(room.outputs[k] + (steps - 1) * out * y.BYTES_PER_ELEMENT, out);
        model._machine.numbers(room.state(0, 1 - this._turn, k), out).set(last);
      });
      y.set(model._machine.numbers(room.outputs.at(-1), steps * out), t * out);
      this._turn = 1 - this._turn;
    }
    return y;
  }

  /** A copy of the states by name, [L, B, H] (the first [L, B, P]). Setting it copies too. */
  get state() {
    return Object.fromEntries(this.model.states.map((name, s) => [name, this._now(s).slice()]));
  }

  set state(state) {
    const { states } = this.model;
    if (Object.keys(state).sort().join() !== [...states].sort().join())
      throw new Error(`gatewise: state must hold ${states}. Got ${Object.keys(state)}.`);
    states.forEach((name, s) => check(`state.${name}`, state[name], this._now(s).length));
    states.forEach((name, s) => this._now(s).set(state[name]));
  }

  /** Reset the states to their initial values: learned ones, or zeros. */
  reset() {
    const { model, batch } = this;
    model._initial.forEach((initial, s) => {
      const [now, width] = [this._now(s), initial.length / model.numLayers];
      for (let k = 0; k < model.numLayers * batch; k++) {
        const layer = Math.floor(k / batch);
        now.set(initial.subarray(layer * width, (layer + 1) * width), k * width);
      }
    });
  }

  /** An independent stream in the same state. */
  fork() {
    const fork = new Stream(this.model, this.batch);
    fork.state = this.state;
    return fork;
  }

  /** Give the memory of the stream to the next one. The stream can no longer be used. */
  close() {
    const { _free: free } = this.model;
    if (this._room) free.set(this.batch, [...(free.get(this.batch) ?? []), this._room]);
    this._room = null;
  }

  _now(s) {
    const { model, _room: room } = this;
    return model._machine.numbers(room.state(s, this._turn, 0), room.size(s) * model.numLayers);
  }
}

/** The memory of a stream, and its calls of the kernel: a step, and a block, from each buffer of states. */
class Room {
  constructor(model, B) {
    const { _about: about, inputSize: I, hiddenSize: H, outputSize: P, numLayers: L } = model;
    const { gates, perRow } = about;
    this._model = model;
    this._B = B;
    const step = B * H * gates * model._type.BYTES_PER_ELEMENT;
    this.chunk = Math.max(1, Math.min(MOST_STEPS, Math.floor(about.chunkBytes / step)));
    this.x = model._machine.room(this.chunk * B * I);
    this.outputs = about.layers.map(() => model._machine.room(this.chunk * B * P));
    this._states = about.states.map(({ width }) => model._machine.room(2 * L * B * width));
    const shared = { gates: model._machine.room(this.chunk * B * gates * H) };
    shared.joined = model._machine.room(B * (Math.max(I, P) + P));
    for (const [name, count] of Object.entries(perRow)) shared[name] = model._machine.room(B * count);
    const kernel = model._kernel;
    const calls = (make) => [0, 1].map((turn) => about.layers.map((_, k) => kernel.call(make(turn, k))));
    const fields = (turn, k, T) => ({ ...this._fields(turn, k, T, shared), ...model._layers[k] });
    const below = (turn, k) => (k ? this.state(0, 1 - turn, k - 1) : this.x);
    this.steps = calls((turn, k) => ({ ...fields(turn, k, 1), x: below(turn, k) }));
    this.blocks = calls((turn, k) => ({
      ...fields(turn, k, this.chunk),
      x: k ? this.outputs[k - 1] : this.x,
      [`out_${model.states[0]}`]: this.outputs[k],
      [`out_${model.states[0]}.t`]: B * P,
    }));
  }

  /** The numbers of a state of one layer. */
  size(s) {
    return this._B * this._model._about.states[s].width;
  }

  /** The address of a state: of which buffer, of which layer. */
  state(s, turn, layer) {
    const { numLayers, _type: type } = this._model;
    return this._states[s] + (turn * numLayers + layer) * this.size(s) * type.BYTES_PER_ELEMENT;
  }

  _fields(turn, k, T, { joined, ...shared }) {
    const { _model: { _about: about, hiddenSize: H }, _B: B, chunk } = this;
    const I = about.layers[k].inputSize;
    const fields = {
      T, B, chunk, "x.t": B * I, "x.b": I,
      "gates.t": B * about.gates * H, "gates.b": about.gates * H, "means.b": about.perRow.means, ...shared,
    };
    if (about.joins && (T === 1 || B >= about.rowsToJoin)) fields.joined = joined;
    about.states.forEach(({ name, width }, s) => {
      fields[`init_${name}`] = this.state(s, turn, k);
      fields[`out_${name}`] = this.state(s, 1 - turn, k);
      fields[`init_${name}.b`] = fields[`out_${name}.b`] = width;
    });
    return fields;
  }
}
