Object.assign(globalThis.gatewise, {
  layers: (options = {}) => layersFrom(ABOUT, (name) => bytesOf(FILES[name]), options),
  simd,
  kernels,
  Layer,
});
