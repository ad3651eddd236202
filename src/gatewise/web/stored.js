/** The layers of a model, from the content of `model.json`; `file(name)` gives that of another file. */
async function layersFrom({ training, weights: stored }, file, { simd: wanted } = {}) {
  const kind = wanted ?? simd().kind;
  if (!(kind in training.kernels)) throw new Error(`gatewise: simd must be relaxed or plain. Got ${kind}.`);
  const names = Object.entries(training.kernels[kind]);
  const contents = await Promise.all(names.map(([, name]) => file(name)));
  const code = Object.fromEntries(names.map(([kernel], n) => [kernel, contents[n]]));
  const cell = await kernels(training.cell, code, { kind });
  const numbers = await file(stored);
  return training.layers.map(({ weights, ...options }) => {
    const layer = new Layer(cell, options);
    for (const [name, { at, count }] of Object.entries(weights))
      layer.weights[name].set(new Float32Array(numbers, at, count));
    return layer;
  });
}
