// Runs recurrent layers that gatewise.export_wasm has written. No dependencies.
//
//   const model = await load();
//   const stream = model.stream();
//   const y = stream.step(x); // x: inputSize numbers, y: outputSize numbers
//
// Shapes are those of Python: T steps, B rows, I inputs, H units, P outputs, L layers; the last axis moves
// fastest in every array. Types: gatewise.d.ts.

const STACK = 1 << 19; // bytes at the start of memory
const PAGE = 1 << 16; // bytes in a page of WebAssembly memory
const MOST_STEPS = 1024; // in a block; a longer one is no faster

/** A module with one function: a * b + c by relaxed_madd of f32x4 or f64x2. */
function probe(dtype) {
  const [type, splat, madd, lane] = dtype === "float64" ? [124, 20, 135, 33] : [125, 19, 133, 31];
  return Uint8Array.of(
    0, 97, 115, 109, 1, 0, 0, 0, // header
    1, 8, 1, 96, 3, type, type, type, 1, type, // a type: three numbers to one
    3, 2, 1, 0, // a function of that type
    7, 5, 1, 1, 102, 0, 0, // exported as f
    10, 22, 1, 20, 0, // its code
    32, 0, 253, splat, 32, 1, 253, splat, 32, 2, 253, splat, // each argument in all lanes
    253, madd, 2, 253, lane, 0, 11, // relaxed_madd, lane 0
  );
}

/** Whether relaxed SIMD exists, and whether it rounds a product and its sum once, as Python's kernels do. */
function relaxed(dtype) {
  const code = probe(dtype);
  if (!WebAssembly.validate(code)) return { exists: false, rounds: "twice" };
  const { f } = new WebAssembly.Instance(new WebAssembly.Module(code)).exports;
  const e = dtype === "float64" ? 2 ** -30 : 2 ** -13;
  // The exact result is -e^2; it is 0 if the product is rounded first.
  return { exists: true, rounds: f(1 + e, 1 - e, -1) === -e * e ? "once" : "twice" };
}

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
    this._memory = new WebAssembly.Memory({ initial: STACK / PAGE });
    const env = {
      __linear_memory: this._memory,
      __stack_pointer: new WebAssembly.Global({ value: "i32", mutable: true }, STACK),
      __indirect_function_table: new WebAssembly.Table({ initial: about.table, element: "anyfunc" }),
    };
    this._kernel = new WebAssembly.Instance(module, { env }).exports;
    this._place = Object.fromEntries(about.fields.map((name, n) => [name, n]));
    this._free = new Map(); // memory of closed streams, by number of rows
    this._end = STACK;
    this._pack(weights);
  }

  /** A new stream of `batch` rows, at the initial state. */
  stream({ batch = 1 } = {}) {
    if (!Number.isInteger(batch) || batch < 1)
      throw new Error(`gatewise: batch must be a positive integer. Got ${batch}.`);
    return new Stream(this, batch);
  }

  /** A view of numbers in memory. Copy what must be kept: memory moves when it grows. */
  _numbers(address, count) {
    return new this._type(this._memory.buffer, address, count);
  }

  /** The address of new memory for `count` numbers. */
  _room(count) {
    return this._bytes(count * this._type.BYTES_PER_ELEMENT);
  }

  _bytes(size) {
    const address = this._end;
    this._end += Math.ceil(size / 64) * 64;
    const missing = this._end - this._memory.buffer.byteLength;
    if (missing > 0) this._memory.grow(Math.ceil(missing / PAGE));
    return address;
  }

  /** A call of the kernel: its fields in memory, by name. */
  _call(fields) {
    const address = this._bytes(8 * this._about.fields.length);
    new BigInt64Array(this._memory.buffer, address, this._about.fields.length).fill(0n);
    this._set(address, fields);
    return address;
  }

  _set(address, fields) {
    const numbers = new BigInt64Array(this._memory.buffer, address, this._about.fields.length);
    for (const name in fields) numbers[this._place[name]] = BigInt(fields[name]);
  }

  /** Pack the weights of each layer; the originals are no longer needed. */
  _pack(weights) {
    const about = this._about;
    this._layers = about.layers.map((layer) => {
      const kept = {};
      for (const [name, count] of Object.entries(layer.packed)) kept[name] = this._room(count);
      return { I: layer.inputSize, H: about.hiddenSize, P: about.outputSize, ...kept };
    });
    const end = this._end;
    const came = this._bytes(weights.byteLength);
    new Uint8Array(this._memory.buffer, came).set(new Uint8Array(weights));
    about.layers.forEach((layer, k) => {
      const fields = { ...this._layers[k] };
      for (const [name, { at, count }] of Object.entries(layer.weights)) {
        if (name in layer.packed) this._numbers(fields[name], count).set(this._numbers(came + at, count));
        else fields[name] = came + at;
      }
      this._kernel.prepare(this._call(fields));
    });
    this._initial = about.states.map(({ initial: { at, count } }) => this._numbers(came + at, count).slice());
    this._end = end;
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
    model._numbers(room.x, x.length).set(x);
    for (const call of room.steps[turn]) model._kernel.part(call, 0n, 1n);
    this._turn = 1 - turn;
    return model._numbers(room.state(0, 1 - turn, model.numLayers - 1), this.batch * model.outputSize).slice();
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
      model._numbers(room.x, steps * wide).set(x.subarray(t * wide, (t + steps) * wide));
      room.blocks[this._turn].forEach((call, k) => {
        model._set(call, { T: steps });
        model._kernel.part(call, 0n, 1n);
        const last = model._numbers(room.outputs[k] + (steps - 1) * out * y.BYTES_PER_ELEMENT, out);
        model._numbers(room.state(0, 1 - this._turn, k), out).set(last);
      });
      y.set(model._numbers(room.outputs.at(-1), steps * out), t * out);
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
    return model._numbers(room.state(s, this._turn, 0), room.size(s) * model.numLayers);
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
    this.x = model._room(this.chunk * B * I);
    this.outputs = about.layers.map(() => model._room(this.chunk * B * P));
    this._states = about.states.map(({ width }) => model._room(2 * L * B * width));
    const shared = { gates: model._room(this.chunk * B * gates * H) };
    shared.joined = model._room(B * (Math.max(I, P) + P));
    for (const [name, count] of Object.entries(perRow)) shared[name] = model._room(B * count);
    const calls = (make) => [0, 1].map((turn) => about.layers.map((_, k) => model._call(make(turn, k))));
    const fields = (turn, k, T) => ({ ...this._fields(turn, k, T, shared), ...model._layers[k] });
    this.steps = calls((turn, k) => ({ ...fields(turn, k, 1), x: k ? this.state(0, 1 - turn, k - 1) : this.x }));
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

function check(name, numbers, count) {
  if (numbers?.length !== count)
    throw new Error(`gatewise: ${name} must have ${count} numbers. Got ${numbers?.length}.`);
}
