// Runs, records and trains layers of any cell with its kernels. No dependencies.
//
//   const kernels = await gatewise.kernels(description, { forward, backward, outer });
//   const layer = new gatewise.Layer(kernels, { inputSize: 2, hiddenSize: 32 });
//   const run = layer.forward(x, { steps: 50, rows: 32, watch: ["f"], keep: true });
//   const { weights } = run.backward({ output });
//
// Shapes are those of Python: T steps, B rows, I inputs, H units, P outputs; time first, the last axis moves
// fastest. All arrays are ordinary Float32Arrays that belong to the page. Types: gatewise.d.ts.

/** The kernels that this browser runs best, and whether their bits are those of Python. */
function simd() {
  const found = relaxed("float32");
  return { kind: found.exists ? "relaxed" : "plain", sameBits: found.rounds === "once" };
}

/**
 * Compile the kernels of a cell. `about` is what Python's `described` says of the cell; `code` has the modules
 * "forward" and, for gradients, "backward" and "outer", as bytes or compiled.
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
    this.trains = "backward" in modules && "outer" in modules;
    this._about = about;
    this._modules = modules;
  }
}

/** A cell with weights, in one direction. */
class Layer {
  constructor(kernels, { inputSize, hiddenSize, outputSize, reverse = false, bias = true }) {
    const { _about: about, _modules: modules } = kernels;
    if (!about.plan.projects && (outputSize ?? hiddenSize) !== hiddenSize)
      throw new Error(`gatewise: outputSize must be hiddenSize, ${hiddenSize}. Got ${outputSize}.`);
    const sizes = { inputSize, hiddenSize, outputSize: outputSize ?? hiddenSize };
    for (const name in sizes) checkCount(name, sizes[name]);
    Object.assign(this, { kernels, ...sizes, reverse, bias });
    this._about = about;
    this._sizes = { I: inputSize, H: hiddenSize, P: this.outputSize };
    this._states = about.states.map((name, n) => ({ name, width: n ? hiddenSize : this.outputSize }));
    this._weights = about.weights.filter(({ name }) => bias || !name.startsWith("bias_"));
    this.shapes = {};
    this.weights = {};
    for (const { name, kind, blocks, axes } of this._weights) {
      const [first, ...rest] = [...axes].map((axis) => this._sizes[axis]);
      this.shapes[name] = [blocks * first, ...rest];
      this.weights[name] = new Float32Array(product(this.shapes[name])).fill(kind === "gain" ? 1 : 0);
    }
    this._machine = new Machine();
    this._programs = {};
    for (const name in modules)
      this._programs[name] = new Program(this._machine, modules[name], about.fields[name], about.table);
    this._pass = null; // the last one: its memory is that of the machine
    this._owner = null; // the run whose results are in it
  }

  /**
   * Run the layer over `x [T, B, I]`. With `keep`, the run can go backward.
   *
   * steps, rows: T and B; by default one row. states: the initial states, by name; zeros by default.
   * lengths: the steps of each row; the output after them is 0, watched values NaN. reset [T, B]: true where a
   * row begins anew from its initial states. watch: the names of values to record, or true for all.
   */
  forward(x, { rows = 1, steps, states, lengths, reset, watch = [], keep = false } = {}) {
    const T = steps ?? x.length / (rows * this.inputSize);
    const given = new Given(this, x, { T, B: rows, states, lengths, reset });
    const named = watch === true ? this.kernels.values : watch;
    const unknown = named.find((name) => !this.kernels.values.includes(name));
    if (unknown !== undefined)
      throw new Error(`gatewise: watch must name some of ${this.kernels.values}. Got ${unknown}.`);
    return new Run(this, given, keep, named);
  }

  /** The sizes of the arrays of packed weights of forward. */
  get _packed() {
    const { plan } = this._about;
    const { I, H, P } = this._sizes;
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
    return Math.ceil(units / this._about.lanes) * this._about.lanes;
  }
}

/** The checked arguments of a call. */
class Given {
  constructor(layer, x, { T, B, states, lengths, reset }) {
    checkCount("rows", B);
    checkCount("steps", T);
    check("x", x, T * B * layer.inputSize);
    Object.assign(this, { x, T, B, states, reset });
    if (states) {
      const names = layer._states.map(({ name }) => name);
      if (Object.keys(states).sort().join() !== [...names].sort().join())
        throw new Error(`gatewise: states must hold ${names}. Got ${Object.keys(states)}.`);
      for (const { name, width } of layer._states) check(`states.${name}`, states[name], B * width);
    }
    if (reset) check("reset", reset, T * B);
    this.packing = null;
    if (lengths) {
      check("lengths", lengths, B);
      const wrong = [...lengths].find((length) => !Number.isInteger(length) || length < 0 || length > T);
      if (wrong !== undefined)
        throw new Error(`gatewise: lengths must be integers from 0 to ${T}. Got ${wrong}.`);
      if ([...lengths].some((length) => length < T)) this.packing = new Packing([...lengths], layer.reverse);
      this.lengths = [...lengths];
    }
  }

  /** What the layout of memory depends on. */
  get key() {
    return `${this.T} ${this.B} ${this.packing && this.lengths} ${Boolean(this.states)} ${Boolean(this.reset)}`;
  }
}

/** The results of a forward call: `output [T, B, P]`, final `states`, watched `values [T, B, H]`. */
class Run {
  constructor(layer, given, keep, watch) {
    Object.assign(this, { layer, _given: given, _keep: keep, _watch: watch });
    const pass = this._forward();
    this.output = pass.numbers(pass.output.at, pass.output.count).slice();
    this.states = Object.fromEntries(pass.states.map((state) => [state.name, this._final(pass, state)]));
    this.values = Object.fromEntries(watch.map((name) => [name, this._watched(pass, name)]));
  }

  /** Compute the forward call in the memory of the layer. */
  _forward() {
    const { layer, _given: given, _keep: keep, _watch: watch } = this;
    const key = `${given.key} ${keep} ${watch}`;
    if (layer._pass?.key !== key) {
      const { T: steps, B: rows, packing } = given;
      const has = { given: Boolean(given.states), reset: Boolean(given.reset) };
      layer._pass = new Pass(layer, { steps, rows, packing, keep, watch, ...has });
      layer._pass.key = key;
    }
    const pass = layer._pass;
    layer._owner = this;
    pass.numbers(pass.x.at, pass.x.count).set(given.x);
    for (const { name } of layer._weights) {
      const numbers = layer.weights[name];
      check(`weights.${name}`, numbers, product(layer.shapes[name]));
      pass.numbers(pass.weights[name], numbers.length).set(numbers);
    }
    if (given.states) for (const state of pass.states) this._fill(pass, state, given.states[state.name]);
    if (given.reset) this._mark(pass, given.reset);
    pass.forward();
    return pass;
  }

  /** Fill in the initial values of a state, in the order of packed rows. */
  _fill(pass, { initial, width }, values) {
    const numbers = pass.numbers(initial, pass.B * width);
    const order = pass.packing?.order;
    if (!order) numbers.set(values);
    else order.forEach((row, n) => {
      for (let unit = 0; unit < width; unit++) numbers[n * width + unit] = values[row * width + unit];
    });
  }

  /** Mark the rows that begin anew. */
  _mark(pass, reset) {
    const { steps, rows, packing } = pass;
    const marks = new Uint8Array(pass.machine.memory.buffer, pass.resets, pass.places);
    // Backwards, a row begins anew after the step that was its first one forwards.
    const at = (t, row) => Number(Boolean(reset[((t + Number(pass.layer.reverse)) % steps) * rows + row]));
    if (packing) packing.each((place, t, n) => (marks[place] = at(t, packing.order[n])));
    else marks.forEach((_, n) => (marks[n] = at(Math.floor(n / rows), n % rows)));
  }

  _final(pass, { name, width, steps }) {
    const { packing } = pass;
    const last = this.layer.reverse || steps.t === 0 ? 0 : pass.T - 1;
    if (!packing) {
      return pass.numbers(steps.at, (last + 1) * pass.B * width).slice(last * pass.B * width);
    }
    const finals = Float32Array.from(this._given.states?.[name] ?? new Float32Array(pass.rows * width));
    packing.order.forEach((row, n) => {
      const place = steps.t === 0 ? n : packing.last[n];
      finals.set(pass.numbers(steps.at + 4 * place * width, width), row * width);
    });
    return finals;
  }

  _watched(pass, name) {
    const values = pass.values.get(name);
    if (values) return pass.numbers(values.at, values.count).slice();
    const output = this.output.slice(); // a projected one
    const { T, B, lengths } = this._given;
    const width = this.layer.outputSize;
    if (pass.packing)
      for (let t = 0; t < T; t++)
        for (let row = 0; row < B; row++)
          if (t >= lengths[row]) output.fill(NaN, (t * B + row) * width, (t * B + row + 1) * width);
    return output;
  }
}

function checkCount(name, count) {
  if (!Number.isInteger(count) || count < 1)
    throw new Error(`gatewise: ${name} must be a positive integer. Got ${count}.`);
}

const product = (numbers) => numbers.reduce((total, number) => total * number, 1);
