// Runs, records and trains layers of any cell with its kernels. No dependencies.
//
//   const kernels = await gatewise.kernels(description, { forward, backward, outer });
//   const layer = new gatewise.Layer(kernels, { inputSize: 2, hiddenSize: 32 });
//   const run = layer.forward(x, { steps: 50, rows: 32, watch: ["f"], keep: true });
//   const { weights } = run.backward({ output });
//
// Shapes are those of Python: T steps, B rows, I inputs, H units, P outputs; time first, the last axis moves
// fastest. All arrays are ordinary Float32Arrays that belong to the page. Types: gatewise.d.ts.

const MOST_MEMORIES = 16; // a browser gives a page about 100
const memories = []; // of layers, which take turns if they are more
let layersMade = 0;

/** The kernels that this browser runs best, and whether their bits are those of Python. */
function simd() {
  const found = relaxed("float32");
  return { kind: found.exists ? "relaxed" : "plain", sameBits: found.rounds === "once" };
}

/**
 * Compile the kernels of a cell. `about` is what Python's `described` says of the cell; `code` has the
 * modules "forward" and, for gradients, "backward" and "outer", as bytes or compiled.
 */
async function kernels(about, code, { kind = simd().kind } = {}) {
  const names = Object.keys(about.fields).filter((name) => code[name]);
  if (!names.includes("forward")) throw new Error("gatewise: kernels must have forward. Got none.");
  const compiled = names.map((name) =>
    code[name] instanceof WebAssembly.Module ? code[name] : WebAssembly.compile(code[name]),
  );
  const modules = await Promise.all(compiled);
  return new Kernels(about, Object.fromEntries(names.map((name, n) => [name, modules[n]])), kind);
}

/** The compiled kernels of a cell, shared by any number of layers. */
class Kernels {
  constructor(about, modules, kind) {
    this.cell = about.cell;
    this.states = about.states;
    this.values = about.values;
    this.simd = kind;
    this.sameBits = kind === "relaxed" && simd().sameBits;
    this.holds = Object.keys(about.edits);
    this.trains = "backward" in modules && "outer" in modules && !this.holds.length;
    this._about = about;
    this._modules = modules;
  }
}

/** A cell with weights, in one direction. */
class Layer {
  constructor(kernels, { inputSize, hiddenSize, outputSize, reverse = false, bias = true }) {
    const { _about: about, _modules: modules } = kernels;
    this.outputSize = outputSize ?? hiddenSize;
    Object.assign(this, { kernels, inputSize, hiddenSize, reverse, bias });
    for (const name of ["inputSize", "hiddenSize", "outputSize"]) checkCount(name, this[name]);
    if (!about.plan.projects && this.outputSize !== hiddenSize)
      throw new Error(`gatewise: outputSize must be hiddenSize, ${hiddenSize}. Got ${outputSize}.`);
    this._about = about;
    this._sizes = { I: inputSize, H: hiddenSize, P: this.outputSize };
    this._states = about.states.map((name, n) => ({ name, width: n ? hiddenSize : this.outputSize }));
    this._weights = about.weights
      .filter(({ name, kind }) => bias || kind !== "weight" || !name.startsWith("bias_"))
      .map(({ blocks, axes, ...weight }) => {
        const [first, ...rest] = [...axes].map((axis) => this._sizes[axis]);
        return { ...weight, shape: [blocks * first, ...rest] };
      });
    this.shapes = Object.fromEntries(this._weights.map(({ name, shape }) => [name, shape]));
    this.weights = Object.fromEntries(
      this._weights.map(({ name, kind, shape }) => [
        name,
        new Float32Array(product(shape)).fill(kind === "gain" ? 1 : 0),
      ]),
    );
    this._memory = memories[layersMade++ % MOST_MEMORIES] ??= new LayerMemory();
    const { machine } = this._memory;
    this._programs = {};
    for (const name in modules)
      this._programs[name] = new Program(machine, modules[name], about.fields[name], about.table);
  }

  /**
   * Run the layer over `x [T, B, I]`. With `keep`, the run can go backward.
   *
   * - steps, rows: T and B; by default one row
   * - states: the initial states, by name; zeros by default
   * - lengths: the steps of each row; the output after them is 0, watched values NaN
   * - reset [T, B]: true where a row is reset to its initial states
   * - watch: the names of values to record, or true for all
   * - edits: held values, { name, value, steps, rows, units } each, for kernels of an editable cell
   */
  forward(x, { rows = 1, steps, states, lengths, reset, watch = [], keep = false, edits = [] } = {}) {
    const named = watch === true ? this.kernels.values : watch;
    const unknown = named.find((name) => !this.kernels.values.includes(name));
    if (unknown !== undefined)
      throw new Error(`gatewise: watch must name some of ${this.kernels.values}. Got ${unknown}.`);
    const T = steps ?? x.length / (rows * this.inputSize);
    const more = { states, lengths, reset, keep, watch: named, edits };
    return new Run(this, new Given(this, x, { T, B: rows, ...more }));
  }
}

/** The memory of some layers. It holds one call at a time. */
class LayerMemory {
  constructor() {
    this.machine = new Machine();
    this.pass = null; // the layout of the last call
    this.owner = null; // the run whose values for backward are in memory
  }

  /** Compute a forward call. */
  forward(layer, given, owner) {
    this.owner = null;
    if (this.pass?.layer !== layer || this.pass.key !== given.key) {
      this.pass = null;
      this.pass = new Pass(layer, this.machine, given);
    }
    this.pass.run(given);
    this.owner = owner;
    return this.pass;
  }

  /** Compute the backward call after the last forward one, which uses up its values. */
  backward(by) {
    this.owner = null;
    this.pass.back ??= new BackwardPass(this.pass);
    return this.pass.back.run(by);
  }
}

/** The checked arguments of a call. With `keep` they are copied, so that the call can be made again. */
class Given {
  constructor(layer, x, { T, B, states, lengths, reset, keep, watch, edits }) {
    checkCount("rows", B);
    checkCount("steps", T);
    check("x", x, T * B * layer.inputSize);
    if (states) checkStates(layer, states, B, true);
    if (reset) check("reset", reset, T * B);
    if (lengths) checkLengths(lengths, T, B);
    for (const { name, shape } of layer._weights)
      check(`weights.${name}`, layer.weights[name], product(shape));
    const taken = keep ? (numbers) => Float32Array.from(numbers) : (numbers) => numbers;
    Object.assign(this, { T, B, keep, watch, reset: reset && (keep ? [...reset] : reset) });
    const holds = layer.kernels.holds.length || edits.length;
    const plain = { I: layer.inputSize, x, weights: layer.weights };
    const { I, x: inputs, weights } = holds ? held(layer, x, edits, T, B) : plain;
    this.sizes = { ...layer._sizes, I };
    this.x = taken(inputs);
    this.weights = mapped(weights, taken);
    this.states = states ? mapped(states, taken) : null;
    this.lengths = lengths ? [...lengths] : null;
    this.isRagged = this.lengths?.some((length) => length < T) ?? false;
  }

  /** What the layout of memory depends on. */
  get key() {
    const { T, B, sizes, keep, watch, states, reset } = this;
    const rows = [this.isRagged && this.lengths, Boolean(states), Boolean(reset)];
    return [T, B, sizes.I, keep, watch, ...rows].join(" ");
  }
}

/** The results of a forward call: `output [T, B, P]`, final `states`, watched `values [T, B, H]`. */
class Run {
  constructor(layer, given) {
    this._layer = layer;
    this._given = given;
    this.derivatives = null;
    const pass = layer._memory.forward(layer, given, this);
    this.output = pass.copied(pass.output);
    this.states = Object.fromEntries(pass.states.map((state) => [state.name, pass.final(state, given)]));
    this.values = Object.fromEntries(given.watch.map((name) => [name, pass.watched(name, given)]));
  }

  /**
   * The gradients by the input `x [T, B, I]`, the `weights` and the initial `states`, from the derivatives of
   * a loss by the output [T, B, P] and by the final states; a missing one is 0. With `derivatives`, those by
   * the states after each step are in `run.derivatives`, [T, B, H] each (the first [T, B, P]).
   */
  backward({ output, states = {}, derivatives = false } = {}) {
    const { _layer: layer, _given: given } = this;
    if (!layer.kernels.trains)
      throw new Error("gatewise: kernels that go backward must have backward and outer, and no edits.");
    if (!given.keep) throw new Error("gatewise: a run that goes backward must be made with keep: true.");
    if (derivatives && (given.isRagged || given.reset))
      throw new Error("gatewise: derivatives by states at each step must be without lengths and reset.");
    checkStates(layer, states, given.B, false);
    if (output) check("output", output, given.T * given.B * layer.outputSize);
    const memory = layer._memory;
    if (memory.owner !== this) memory.forward(layer, given, this);
    const { byEach, ...gradients } = memory.backward({ output, states, stepByStep: derivatives });
    if (derivatives) this.derivatives = byEach;
    return gradients;
  }
}

function checkCount(name, count) {
  if (!Number.isInteger(count) || count < 1)
    throw new Error(`gatewise: ${name} must be a positive integer. Got ${count}.`);
}

function checkStates(layer, states, B, all) {
  const names = layer._states.map(({ name }) => name);
  const given = Object.keys(states);
  if (given.some((name) => !names.includes(name)) || (all && given.length < names.length))
    throw new Error(`gatewise: states must hold ${names}. Got ${given}.`);
  for (const { name, width } of layer._states) {
    const came = entryOf(states, name);
    if (came) check(`states.${name}`, came, B * width);
  }
}

function checkLengths(lengths, T, B) {
  check("lengths", lengths, B);
  const wrong = [...lengths].find((length) => !Number.isInteger(length) || length < 0 || length > T);
  if (wrong !== undefined)
    throw new Error(`gatewise: lengths must be integers from 0 to ${T}. Got ${wrong}.`);
}

const mapped = (object, change) =>
  Object.fromEntries(Object.entries(object).map(([name, value]) => [name, change(value)]));

const product = (numbers) => numbers.reduce((total, number) => total * number, 1);
