// What the networks of the scenes run on. `engine.cell(name)` gives the kernels of a cell, `engine.compile(text)`
// those of equations that the learner wrote, `engine.weights(name)` trained weights.

const engine = {
  /** Whether a server compiles what the learner writes. */
  live: data.live,
};
