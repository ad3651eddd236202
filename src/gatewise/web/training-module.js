/** Read the folder at `base`, by default that of this module: its layers, to run, record and train. */
export async function layers(base = new URL(".", import.meta.url), options = {}) {
  const file = fileAt(base);
  return layersFrom(await jsonOf(file("model.json")), file, options);
}

export { simd, kernels, Layer };
