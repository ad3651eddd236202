// What the networks of the scenes run on.
//
//   engine.live                 whether a server compiles what the learner writes
//   engine.simd                 { kind, sameBits } of this browser
//   engine.names                the names of all cells of the palette
//   engine.text(name)           the equations of a cell as text that the learner can edit, or null
//   await engine.cell(name)     its kernels, for `new gatewise.Layer(kernels, ...)`
//   await engine.compile(text)  { kernels }, or { error: { line, message, remedy } }; the line may be null
//   await engine.trainer(...)   a trainer of a cell, by its name or its kernels: see training.js
//   await engine.weights(name)  trained weights: { about, shapes, tensors }, Float32Arrays by name

const engine = (() => {
  const simd = gatewise.simd();
  const kept = new Map();

  const stored = (id) => JSON.parse(document.getElementById(id).textContent);
  /** What `make` gave the first time; a failure is forgotten. */
  const once = (name, make) => {
    if (!kept.has(name)) kept.set(name, make());
    kept.get(name).catch?.(() => kept.delete(name));
    return kept.get(name);
  };

  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

  /** Bytes that Python has compressed. */
  async function unpacked(text) {
    const stream = new Blob([bytes(text)]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  /** The kernels of a cell from what Python wrote of it. */
  async function made({ about, ...kinds }) {
    const packed = kinds[simd.kind];
    const code = Object.fromEntries(
      await Promise.all(Object.entries(packed).map(async ([name, text]) => [name, await unpacked(text)])),
    );
    const kernels = await gatewise.kernels(about, code, { kind: simd.kind });
    return Object.assign(kernels, { beginning: about.beginning, form: about.form });
  }

  /** Ask the server for kernels: of a cell by its name, or of a text. */
  async function ask(question) {
    const body = JSON.stringify({ ...question, simd: simd.kind });
    const headers = { "Content-Type": "application/json" };
    const answer = await fetch("compile", { method: "POST", headers, body }).catch(() => null);
    if (answer === null || answer.status === 404) throw new Error(textOf("kit", "gone")); // stopped, or started again
    if (!answer.ok) throw new Error(await answer.text());
    return answer.json();
  }

  async function fromPage(name) {
    const palette = once("palette", () => stored("palette"));
    const entry = palette[name];
    if (!entry) throw new Error(`There is no cell "${name}".`);
    return made({ about: entry.about, [simd.kind]: { ...palette[""][simd.kind], ...entry[simd.kind] } });
  }

  /** The arrays of a file of safetensors. */
  function arrays(file) {
    const length = Number(new DataView(file.buffer).getBigUint64(0, true));
    const { __metadata__: about = {}, ...entries } = JSON.parse(new TextDecoder().decode(file.subarray(8, 8 + length)));
    const [shapes, tensors] = [{}, {}];
    for (const [name, { dtype, shape, data_offsets: [first, stop] }] of Object.entries(entries)) {
      if (dtype !== "F32") throw new Error(`${name} must be float32. Got ${dtype}.`);
      shapes[name] = shape;
      tensors[name] = new Float32Array(file.slice(8 + length + first, 8 + length + stop).buffer);
    }
    return { about, shapes, tensors };
  }

  return {
    live: data.live,
    simd,
    names: data.cells.map(({ name }) => name),
    text: (name) => data.cells.find((cell) => cell.name === name)?.text ?? null,
    cell: (name) => once(`cell ${name}`, async () => (data.live ? made(await ask({ name })) : fromPage(name))),
    async compile(text) {
      try {
        if (!data.live) throw new Error(textOf("kit", "static"));
        const answer = await ask({ text });
        return answer.error ? { error: answer.error } : { kernels: await made(answer) };
      } catch (error) {
        return { error: { line: null, message: error.message, remedy: "" } };
      }
    },
    weights: (name) =>
      once(`weights ${name}`, async () => {
        const packed = once("weights", () => stored("weights"))[name];
        if (!packed) throw new Error(`There are no weights "${name}".`);
        return arrays(await unpacked(packed));
      }),
  };
})();
