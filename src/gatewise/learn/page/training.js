// Trains one recurrent layer with a linear readout. `gatewise.learn.training` is the same in Python: both give the
// same losses to the last digit. What makes that possible:
//
// - The layer computes in float32, in the kernels of gatewise, which give the same bits in both places.
// - Everything else is computed in float64, one operation at a time, and each sum in the order of its index. Inputs,
//   weights and the derivatives that the layer receives are then rounded to float32.
// - No function of the platform is called that may differ: only sqrt, which IEEE 754 defines to the last bit.
//
// Shapes: T steps, B rows, I inputs, H units, P outputs of the layer, K answers; the last axis moves fastest.

const training = (() => {
  const [DECAY, SQUARES, TINY] = [0.9, 0.999, 1e-8]; // of Adam (Kingma & Ba 2015)
  const WINDOW = 20; // losses whose mean says how well the task is solved

  /** Random numbers that depend only on a seed and a purpose (mulberry32 by Tommy Ettinger). */
  class Random {
    constructor(seed, purpose) {
      let hash = 0x811c9dc5; // FNV-1a of the text
      for (const letter of `${seed}/${purpose}`) hash = Math.imul(hash ^ letter.charCodeAt(0), 0x01000193);
      this._state = hash | 0;
    }

    /** The next number, uniform in [0, 1). */
    next() {
      this._state = (this._state + 0x6d2b79f5) | 0;
      const s = this._state;
      let t = Math.imul(s ^ (s >>> 15), 1 | s);
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
      return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    }
  }

  // A task draws a batch: `x` [T, B, I] and `target`, [B, K] numbers, or one class per answer.
  // `every` says whether there is an answer at each step, [T, B], or only after the last.
  const TASKS = {
    /** The adding problem (Hochreiter & Schmidhuber 1997): two of T numbers are marked; say their sum. */
    adding: {
      inputs: 2, outputs: 1, loss: "squares", every: false,
      draw(random, T, B) {
        const [x, target] = [new Float32Array(T * B * 2), new Float64Array(B)];
        const half = Math.floor(T / 2);
        for (let b = 0; b < B; b++) {
          const first = Math.floor(random.next() * half);
          const second = half + Math.floor(random.next() * (T - half));
          for (let t = 0; t < T; t++) x[(t * B + b) * 2] = random.next();
          for (const t of [first, second]) {
            x[(t * B + b) * 2 + 1] = 1;
            target[b] += x[(t * B + b) * 2];
          }
        }
        return { x, target };
      },
    },
    /** Remember: the first number is marked; say it after the last step. */
    remember: {
      inputs: 2, outputs: 1, loss: "squares", every: false,
      draw(random, T, B) {
        const [x, target] = [new Float32Array(T * B * 2), new Float64Array(B)];
        for (let b = 0; b < B; b++) {
          for (let t = 0; t < T; t++) x[(t * B + b) * 2] = random.next();
          x[b * 2 + 1] = 1;
          target[b] = x[b * 2];
        }
        return { x, target };
      },
    },
    /** Same: each number is -1 or 1, some are marked; say at each step if it is the same as the last marked one. */
    same: {
      inputs: 2, outputs: 2, loss: "classes", every: true,
      draw(random, T, B) {
        const [x, target] = [new Float32Array(T * B * 2), new Int32Array(T * B)];
        for (let b = 0; b < B; b++) {
          let kept = 0;
          for (let t = 0; t < T; t++) {
            const at = (t * B + b) * 2;
            x[at] = random.next() < 0.5 ? -1 : 1;
            x[at + 1] = random.next() < 0.1 || t === 0 ? 1 : 0;
            if (x[at + 1]) kept = x[at];
            target[t * B + b] = x[at] === kept ? 1 : 0;
          }
        }
        return { x, target };
      },
    },
    /** Order: two of T numbers are marked, each is -1 or 1; say which of the four pairs it was. */
    order: {
      inputs: 2, outputs: 4, loss: "classes", every: false,
      draw(random, T, B) {
        const [x, target] = [new Float32Array(T * B * 2), new Int32Array(B)];
        const half = Math.floor(T / 2);
        for (let b = 0; b < B; b++) {
          const first = Math.floor(random.next() * half);
          const second = half + Math.floor(random.next() * (T - half));
          for (let t = 0; t < T; t++) x[(t * B + b) * 2] = random.next() < 0.5 ? -1 : 1;
          for (const t of [first, second]) x[(t * B + b) * 2 + 1] = 1;
          target[b] = (x[(first * B + b) * 2] > 0 ? 2 : 0) + (x[(second * B + b) * 2] > 0 ? 1 : 0);
        }
        return { x, target };
      },
    },
  };

  const LOG2E = 1.4426950408889634, [LN2_HIGH, LN2_LOW] = [0.6931471803691238, 1.9082149292705877e-10];
  const POWERS = [1]; // of one half, exact
  while (POWERS.length < 1024) POWERS.push(POWERS[POWERS.length - 1] * 0.5);

  /** exp(a) for a <= 0, below 2 ULP; 0 below -700. */
  function exp(a) {
    if (a < -700) return 0;
    const k = Math.floor(a * LOG2E + 0.5);
    const r = a - k * LN2_HIGH - k * LN2_LOW;
    let sum = 1;
    for (let n = 14; n > 0; n--) sum = (sum * r) / n + 1;
    return sum * POWERS[-k];
  }

  /** log(a) for a >= 1. */
  function log(a) {
    let k = 0;
    while (a >= 2) [a, k] = [a / 2, k + 1];
    const z = (a - 1) / (a + 1), square = z * z;
    let sum = 0;
    for (let n = 35; n > 0; n -= 2) sum = sum * square + 2 / n;
    return sum * z + k * LN2_LOW + k * LN2_HIGH;
  }

  // Each loss takes answers [N, K] and targets, and returns the mean over N and its derivative by the answers [N, K].
  const LOSSES = {
    /** The square of each error. */
    squares(answers, target, N) {
      let loss = 0;
      const derivative = new Float64Array(answers.length);
      for (let n = 0; n < answers.length; n++) {
        const error = answers[n] - target[n];
        loss += (error * error) / N;
        derivative[n] = (2 * error) / N;
      }
      return { loss, derivative };
    },
    /** Softmax, then the cross-entropy of the right class. */
    classes(answers, target, N) {
      let loss = 0;
      const derivative = new Float64Array(answers.length), K = answers.length / N;
      for (let n = 0; n < N; n++) {
        let [most, sum] = [-Infinity, 0];
        for (let k = 0; k < K; k++) most = Math.max(most, answers[n * K + k]);
        for (let k = 0; k < K; k++) sum += derivative[n * K + k] = exp(answers[n * K + k] - most);
        loss += (log(sum) - (answers[n * K + target[n]] - most)) / N;
        for (let k = 0; k < K; k++) {
          const right = k === target[n] ? 1 : 0;
          derivative[n * K + k] = (derivative[n * K + k] / sum - right) / N;
        }
      }
      return { loss, derivative };
    },
  };

  /** A linear map from the outputs of the layer to the answers: weight [K, P], bias [K]. */
  class Readout {
    constructor(width, answers) {
      Object.assign(this, { width, answers });
      this.weight = new Float32Array(answers * width);
      this.bias = new Float32Array(answers);
    }

    /** The answers [N, K] to outputs [N, P]. */
    forward(h) {
      const { width: P, answers: K, weight, bias } = this, N = h.length / P;
      const y = new Float64Array(N * K);
      for (let n = 0; n < N; n++)
        for (let k = 0; k < K; k++) {
          let sum = bias[k];
          for (let p = 0; p < P; p++) sum += weight[k * P + p] * h[n * P + p];
          y[n * K + k] = sum;
        }
      return y;
    }

    /** From the derivative by the answers: those by weight, bias and outputs. */
    backward(h, g) {
      const { width: P, answers: K, weight } = this, N = h.length / P;
      const [dweight, dbias] = [new Float64Array(K * P), new Float64Array(K)];
      const dh = new Float32Array(N * P), sums = new Float64Array(P);
      for (let n = 0; n < N; n++) {
        sums.fill(0);
        for (let k = 0; k < K; k++) {
          const slope = g[n * K + k];
          dbias[k] += slope;
          for (let p = 0; p < P; p++) {
            dweight[k * P + p] += slope * h[n * P + p];
            sums[p] += slope * weight[k * P + p];
          }
        }
        dh.set(sums, n * P);
      }
      return { weight: dweight, bias: dbias, output: dh };
    }
  }

  /**
   * A layer and its readout in training.
   *
   * Weights of the same name (a matrix and a gate in it) begin with the same numbers in every cell of the same size:
   * a cell without its forget gate trains from the weights of the cell that has one. They are uniform between -k and
   * k, k = 1 / sqrt(H); the bias of a gate that keeps a state is `forgetBias` (Gers et al. 2000).
   */
  class Trainer {
    constructor({
      kernels, task = "adding", steps = 50, rows = 32, units = 32, seed = 1, rate = 0.01, clip = 1, forgetBias = 1,
    }) {
      Object.assign(this, { kernels, steps, rows, units, seed, rate, clip, forgetBias });
      this.task = typeof task === "string" ? TASKS[task] : task;
      if (!this.task) throw new Error(`task must be one of ${Object.keys(TASKS).join(", ")}. Got ${task}.`);
      this.layer = new gatewise.Layer(kernels, { inputSize: this.task.inputs, hiddenSize: units });
      this.readout = new Readout(this.layer.outputSize ?? units, this.task.outputs);
      this.rewind();
    }

    /** All weights by name, in the order of Python. */
    get weights() {
      const { weight, bias } = this.readout;
      return { ...this.layer.weights, "readout.weight": weight, "readout.bias": bias };
    }

    /** How many numbers are learned. */
    get size() {
      return Object.values(this.weights).reduce((sum, w) => sum + w.length, 0);
    }

    /** Return to the initial weights, and to the first batch. */
    rewind() {
      this.losses = [];
      this._random = new Random(this.seed, "train");
      this._powers = [1, 1]; // of DECAY and SQUARES
      fill(this);
      const zeros = () => Object.values(this.weights).map((w) => new Float64Array(w.length));
      [this._means, this._squares] = [zeros(), zeros()];
    }

    /** Train on sequences of another length, from the initial weights. */
    lengthen(steps) {
      Object.assign(this, { steps, _guess: undefined });
      this.rewind();
    }

    /** One iteration on a new batch. Returns its loss, from before the weights changed. */
    iteration() {
      const batch = this.task.draw(this._random, this.steps, this.rows);
      const { loss, run, derivative, outputs } = this._forward(batch, false);
      const readout = this.readout.backward(outputs, derivative);
      const { weights } = run.backward({ output: this._spread(readout.output) });
      const names = Object.keys(this.layer.weights);
      this._adam([...names.map((name) => weights[name]), readout.weight, readout.bias]);
      this.losses.push(loss);
      return loss;
    }

    /** The mean of the last losses; NaN before the first. */
    get recent() {
      const last = this.losses.slice(-WINDOW);
      return last.reduce((sum, loss) => sum + loss, 0) / last.length;
    }

    /** The loss of the best constant answer, measured on rows drawn for it: what guessing gives. */
    get guess() {
      return (this._guess ??= guess(this.task, this.steps));
    }

    /** Whether the task is solved: the recent losses are a tenth of what guessing gives. */
    get solved() {
      return this.losses.length >= WINDOW && this.recent < this.guess / 10;
    }

    /** A batch that is never trained on, the same for every cell. */
    sample(rows = 8) {
      return this.task.draw(new Random(this.seed, "show"), this.steps, rows);
    }

    /** Read a batch with the present weights: `run` with all values of the cell, `answers` and `loss`. */
    show(batch = this.sample()) {
      const { loss, run, answers } = this._forward(batch, true);
      return { run, answers, loss };
    }

    /**
     * How much of the error after the last step reaches each input: the norm of the gradient of the loss with respect
     * to the input, by distance (0: the last step), the mean over rows.
     */
    flow(batch = this.sample()) {
      const { run, derivative, outputs } = this._forward(batch, false);
      const { output } = this.readout.backward(outputs, derivative);
      const { x } = run.backward({ output: this._spread(output) });
      const { steps: T, task: { inputs: I } } = this, B = x.length / T / I;
      const flow = new Float64Array(T);
      for (let t = 0; t < T; t++)
        for (let b = 0; b < B; b++) {
          let square = 0;
          for (let i = 0; i < I; i++) square += x[(t * B + b) * I + i] ** 2;
          flow[T - 1 - t] += Math.sqrt(square) / B;
        }
      return flow;
    }

    _forward({ x, target }, watch) {
      const { steps, task: { inputs, every, loss: kind }, readout } = this, rows = x.length / steps / inputs;
      const run = this.layer.forward(x, { steps, rows, watch: watch || [], keep: !watch });
      const outputs = every ? run.output : run.output.subarray((steps - 1) * rows * readout.width);
      const answers = readout.forward(outputs);
      return { run, outputs, answers, ...LOSSES[kind](answers, target, answers.length / readout.answers) };
    }

    /** Derivatives by all outputs [T, B, P], from those by the outputs that are read. */
    _spread(read) {
      if (this.task.every) return read;
      const all = new Float32Array(this.steps * read.length);
      all.set(read, all.length - read.length);
      return all;
    }

    /** Change the weights by clipped gradients (Pascanu et al. 2013), with Adam. */
    _adam(gradients) {
      let square = 0;
      for (const gradient of gradients) for (let n = 0; n < gradient.length; n++) square += gradient[n] * gradient[n];
      const norm = Math.sqrt(square), scale = norm > this.clip ? this.clip / norm : 1;
      this._powers = [this._powers[0] * DECAY, this._powers[1] * SQUARES];
      const [first, second] = [1 - this._powers[0], 1 - this._powers[1]];
      Object.values(this.weights).forEach((weight, k) => {
        const [gradient, mean, squares] = [gradients[k], this._means[k], this._squares[k]];
        for (let n = 0; n < weight.length; n++) {
          const slope = gradient[n] * scale;
          mean[n] = DECAY * mean[n] + (1 - DECAY) * slope;
          squares[n] = SQUARES * squares[n] + (1 - SQUARES) * slope * slope;
          weight[n] -= (this.rate * (mean[n] / first)) / (Math.sqrt(squares[n] / second) + TINY);
        }
      });
    }
  }

  /** The initial weights of a trainer. */
  function fill({ kernels, layer, readout, units: H, seed, forgetBias }) {
    const k = 1 / Math.sqrt(H);
    const uniform = (numbers, purpose) => {
      const random = new Random(seed, purpose);
      for (let n = 0; n < numbers.length; n++) numbers[n] = (2 * random.next() - 1) * k;
    };
    const { blocks, kept } = kernels.beginning;
    for (const [name, numbers] of Object.entries(layer.weights)) {
      const gates = blocks[name] ?? [""], part = numbers.length / gates.length;
      const fixed = name.startsWith("norm_gain") ? 1 : name.startsWith("norm_bias") ? 0 : null;
      if (fixed !== null) numbers.fill(fixed);
      else gates.forEach((gate, g) => uniform(numbers.subarray(g * part, (g + 1) * part), `${name}/${gate}`));
    }
    for (const [name, block, share] of kept)
      layer.weights[name].fill(share * forgetBias, block * H, (block + 1) * H);
    uniform(readout.weight, "readout.weight/");
    uniform(readout.bias, "readout.bias/");
  }

  function guess(task, steps, rows = 1000) {
    const { target } = task.draw(new Random(0, "guess"), steps, rows);
    const N = target.length;
    if (task.loss === "squares") {
      const mean = target.reduce((sum, y) => sum + y, 0) / N;
      return target.reduce((sum, y) => sum + (y - mean) ** 2, 0) / N;
    }
    const counts = new Float64Array(task.outputs);
    for (const k of target) counts[k] += 1;
    return counts.reduce((sum, n) => (n ? sum - (n / N) * Math.log(n / N) : sum), 0);
  }

  /** Whether a trainer is done: its task is solved, it has had `most` iterations, or it has failed. */
  function isOver(trainer, most, done = ({ solved }) => solved) {
    return trainer.losses.length >= most || !Number.isFinite(trainer.losses.at(-1) ?? 0) || done(trainer);
  }

  /**
   * Let trainers run for some milliseconds, in turns: whoever has had the fewest iterations is next. Returns whether
   * there is more to do.
   */
  function turns(trainers, { most, milliseconds = 12, done }) {
    const end = performance.now() + milliseconds;
    do {
      const open = trainers.filter((trainer) => !isOver(trainer, most, done));
      if (!open.length) return false;
      open.reduce((a, b) => (b.losses.length < a.losses.length ? b : a)).iteration();
    } while (performance.now() < end);
    return true;
  }

  return { Random, TASKS, Trainer, isOver, turns };
})();

// Part of the engine in the page of the lesson; tests use the trainer alone.
if (typeof engine !== "undefined") {
  engine.task = (name) => training.TASKS[name];
  engine.trainer = async ({ cell, kernels, ...given }) =>
    new training.Trainer({ kernels: kernels ?? (await engine.cell(cell)), ...given });
}
