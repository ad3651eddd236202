// The network itself, run by its kernels in the page.

/** Bytes from base64, decompressed. */
async function unpacked(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const plain = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(plain).arrayBuffer();
}

/** The compiled kernels of a cell: `plain`, and `edited`, whose values can be held. */
async function compiledCell({ values, holds, versions }) {
  const { kind } = gatewise.simd();
  const found = { values, holds };
  for (const [version, { about, code }] of Object.entries(versions)) {
    found[version] = await gatewise.kernels(about, { forward: await unpacked(code[kind]) }, { kind });
  }
  return found;
}

/** A layer in one direction that can be run. */
class Runner {
  constructor(about, cell) {
    this.about = about;
    this.holds = cell.holds;
    this.plain = this.made(cell.plain);
    this.edited = this.made(cell.edited);
    this.values = cell.values;
  }

  made(kernels) {
    const { inputSize, hiddenSize, outputSize, reverse, bias, weights } = this.about;
    const layer = new gatewise.Layer(kernels, { inputSize, hiddenSize, outputSize, reverse, bias });
    for (const [name, packed] of Object.entries(weights)) layer.weights[name].set(numbers(packed));
    return layer;
  }

  /** The states in which a row begins: those before the first step that is shown. */
  begin(row) {
    const whole = this.about.reverse && stop(row) <= page.first + page.steps;
    return Object.fromEntries(
      Object.entries(this.about.states).map(([name, { initial, before }]) => {
        const { shape } = initial;
        return [name, numbers(whole ? initial : before).slice(row * shape[1], (row + 1) * shape[1])];
      }),
    );
  }

  /** Run over `x [T, I]`: every value of every unit at every step. `held` says which values are held, where. */
  run(x, steps, row, held) {
    const layer = held.length ? this.edited : this.plain;
    const states = this.begin(row);
    const edits = held.map(({ name, unit, number, first, stop: last }) => ({
      name,
      value: number,
      units: unit === null ? undefined : [unit],
      steps: range(Math.max(0, first), Math.min(steps, last)),
    }));
    const { values } = layer.forward(x, { steps, rows: 1, states, watch: this.values, edits });
    return { x, begin: states, values, steps };
  }
}

/** Where a row of the page ends, counted from the first step of all. */
function stop(row) {
  return page.lengths ? page.lengths[row] : page.all_steps;
}

const ACTIVATIONS = {
  tanh: Math.tanh,
  relu: (v) => Math.max(v, 0),
  sigmoid: (v) => 1 / (1 + Math.exp(-v)),
};

const ADDING = new Set(["linear", "tanh", "sigmoid"]); // what may round otherwise than torch

/** A signal: numbers [T, F]. */
function signal(data, width) {
  return { data, width, steps: data.length / width };
}

/** The whole model: its input, what happens to it, its output. */
class Network {
  static async of(about) {
    const cells = {};
    for (const [key, cell] of Object.entries(about.cells)) cells[key] = await compiledCell(cell);
    return new Network(about, cells);
  }

  constructor(about, cells) {
    this.about = about;
    this.layers = new Map(
      Object.entries(about.layers).map(([name, layer]) => [name, new Runner(layer, cells[layer.cell])]),
    );
    const last = about.steps.findLastIndex(({ op }) => op === "layer");
    this.output = about.output ?? last;
    this.wide = about.ids ? 1 : about.input.shape[2]; // numbers that it reads at each step
    // With no layer that runs backwards, the answer to a whole sequence can be told after each step.
    const needed = this.needs(this.output).map((k) => about.steps[k]);
    const backward = needed.some(({ op, layer }) => op === "first" || (op === "layer" && about.layers[layer].reverse));
    this.ends = needed.some(({ op }) => op === "last" || op === "first");
    // Whether layers read what is added up here, in another order than in Python.
    this.adds = about.steps.some(({ op }, k) => op === "layer" && this.needs(k).some((part) => ADDING.has(about.steps[part].op)));
    this.outside = needed.some(({ outside }) => outside);
    this.everywhere = !this.ends || !(backward || this.outside);
  }

  needs(k) {
    return [...this.about.steps[k].of.flatMap((part) => this.needs(part)), k];
  }

  /** The input of a row that the page was written with. */
  given(row) {
    const { input } = this.about;
    const [wide, rows] = [this.wide, input.shape[1]];
    const found = new Float32Array(end(row) * wide);
    for (let t = 0; t < end(row); t++) {
      for (let k = 0; k < wide; k++) found[t * wide + k] = numbers(input)[(t * rows + row) * wide + k];
    }
    return found;
  }

  /** Run the model over the input [T, I] of a row, or over another in its place. */
  run(input, row, held = []) {
    const steps = input.length / this.wide;
    const found = { layers: new Map(), steps };
    const signals = [];
    for (const step of this.about.steps) {
      const of = step.of.map((k) => signals[k]);
      if (step.op === "source") signals.push(signal(input, this.wide));
      else if (step.op === "layer") signals.push(this.layer(step.layer, of[0], row, held, found));
      else signals.push(this.compute(step, of, row));
    }
    found.output = signals[this.output];
    return found;
  }

  layer(name, { data, steps }, row, held, found) {
    const runner = this.layers.get(name);
    const run = runner.run(data, steps, row, held.filter(({ layer }) => layer === name));
    found.layers.set(name, run);
    return signal(run.values[runner.plain.kernels.states[0]], runner.about.outputSize);
  }

  compute(step, [of, other], row) {
    if (step.op === "embedding") return looked(step.weight, of);
    if (step.op === "linear") return mapped(step.weight, step.bias, of);
    if (step.op === "cat") return joined(of, other);
    if (step.op === "affine") return scaled(step, of, row);
    if (step.op in ACTIVATIONS) return signal(of.data.map(ACTIVATIONS[step.op]), of.width);
    if (this.everywhere) return of;
    const t = step.op === "last" ? of.steps - 1 : 0;
    return signal(of.data.slice(t * of.width, (t + 1) * of.width), of.width);
  }
}

/** Rows of a table, by number. */
function looked(weight, { data }) {
  const width = weight.shape[1];
  const found = new Float32Array(data.length * width);
  data.forEach((id, t) => found.set(numbers(weight).subarray(id * width, (id + 1) * width), t * width));
  return signal(found, width);
}

function mapped(weight, bias, { data, width, steps }) {
  const [out, all] = [weight.shape[0], numbers(weight)];
  const found = new Float32Array(steps * out);
  for (let t = 0; t < steps; t++) {
    for (let o = 0; o < out; o++) {
      let sum = bias ? numbers(bias)[o] : 0;
      for (let k = 0; k < width; k++) sum += all[o * width + k] * data[t * width + k];
      found[t * out + o] = sum;
    }
  }
  return signal(found, out);
}

function joined(a, b) {
  const width = a.width + b.width;
  const found = new Float32Array(a.steps * width);
  for (let t = 0; t < a.steps; t++) {
    found.set(a.data.subarray(t * a.width, (t + 1) * a.width), t * width);
    found.set(b.data.subarray(t * b.width, (t + 1) * b.width), t * width + a.width);
  }
  return signal(found, width);
}

function scaled({ factor, summand }, { data, width }, row) {
  return signal(data.map((v, k) => numbers(factor)[k % width] * v + at(summand, row, k % width)), width);
}

/** Run a row again and compare it with what Python recorded: how many numbers, how many differ, how far. */
function compared(network, row) {
  const found = network.run(network.given(row), row);
  const report = { numbers: 0, different: 0, most: 0, output: null };
  for (const layer of layers.filter(({ name }) => found.layers.has(name))) {
    const { values } = found.layers.get(layer.name);
    for (const packed of layer.values.filter(({ name }) => Object.hasOwn(values, name))) {
      const width = values[packed.name].length / found.steps;
      for (let t = 0; t < found.steps; t++) {
        for (let u = 0; u < packed.shape[2]; u++) {
          const [ours, theirs] = [values[packed.name][t * width + layer.units[u]], at(packed, t, row, u)];
          report.numbers += 1;
          if (Object.is(ours, theirs)) continue;
          report.different += 1;
          report.most = Math.max(report.most, Math.abs(ours - theirs));
        }
      }
    }
  }
  return { ...report, output: outputGap(network, found, row) };
}

/** How far the answers are from Python's, which adds up their products in another order. */
function outputGap(network, { output, steps }, row) {
  const { answers } = network.about;
  if (!answers) return null;
  const width = output.width;
  const [by_steps, from] = [answers.shape.length === 3, output.steps - 1];
  let most = 0;
  for (let t = by_steps ? 0 : steps - 1; t < steps; t++) {
    for (let k = 0; k < width; k++) {
      const ours = output.data[(by_steps ? t : from) * width + k];
      const theirs = by_steps ? at(answers, t, row, k) : at(answers, row, k);
      most = Math.max(most, Math.abs(ours - theirs));
    }
  }
  return most;
}
