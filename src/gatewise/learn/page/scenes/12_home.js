// Take it home: the same run in Python gives the same number; the model as a file.

const GIVEN = { cell: "lstm", task: "adding", units: 32, steps: 20, iterations: 400, seed: 1 };
const CODE = (value) => (typeof value === "string" ? `"${value}"` : value);
const PYTHON = `from gatewise.learn.training import train
trainer = train(${["cell", "task"].map((name) => CODE(GIVEN[name])).join(", ")}, ${["units", "steps", "iterations", "seed"].map((name) => `${name}=${GIVEN[name]}`).join(", ")})
print(trainer.losses[-1])`;
const FILE = "adding.safetensors";
const LOAD = `import gatewise
model = gatewise.load("${FILE}")
layer, readout = model["layer"], model["readout"]`;
const ONNX = `gatewise.export_onnx(layer, "adding.onnx")`;
const ROUGH = 0.01; // how near the numbers are in a browser that rounds twice

scene("home", {
  async build({ root, words, kit, engine }) {
    const { iterations, ...given } = GIVEN;
    const runner = (kit.kept.runner ??= new Runner("LSTM", "line-0", await engine.trainer(given)));
    const { trainer } = runner;
    const over = () => runner.count >= iterations;
    const exact = engine.simd.sameBits;
    const now = kit.said();
    const bench = watched(kit, { runners: () => [runner], most: iterations, done: over, said: now, height: 150, on: () => changed() });
    const changed = () => {
      now.say(words(over() ? "ended" : "status", { count: runner.count, all: iterations }));
      after.hidden = !over();
    };
    const own = element("p", { class: "number", role: "status" });
    const check = kit.check({
      ask: words("check"),
      number: { tolerance: exact ? 0 : ROUGH },
      right: () => trainer.losses.at(-1),
      said: (answer, isRight) => words(isRight ? (exact ? "check_right" : "check_rough") : "check_wrong", { answer: String(answer) }),
      then: (_, isRight) => {
        if (isRight) own.replaceChildren(words("number"), " ", element("code", {}, String(trainer.losses.at(-1))));
      },
    });
    const file = kit.button({ label: words("download", { file: FILE }), on: () => save(modelFile(trainer), FILE) });
    const rest = element("div", {},
      kit.text("python"),
      code(words("python_label"), PYTHON),
      kit.text("install"),
      kit.text(exact ? "bits" : "no_bits"),
      check, own,
      kit.heading(words("file_title")), kit.text("file"), kit.row(file),
      code(words("load_label"), LOAD),
      kit.text("onnx"), code(words("onnx_label"), ONNX),
      kit.heading(words("cell_title")), kit.text("cell"),
      code(words("cell_label"), `from gatewise import cell, sigmoid, tanh\n\n@cell\n${engine.text("lstm")}`),
      kit.text("end"));
    const question = kit.question({
      ask: words("ask", { iterations }),
      choices: [0, 1, 2].map((k) => words(`ask_${k}`)),
      said: () => words("asked"),
      hides: rest,
    });
    const after = element("div", {}, question, rest);
    root.append(kit.text("lead", { steps: GIVEN.steps, iterations }), kit.card(bench.element, now), after);
    changed();
    return { hide: () => bench.stop() };
  },
});

function code(label, text) {
  return element("pre", { tabindex: "0", role: "region", "aria-label": label }, text);
}

/** The layer and its readout as a file that `gatewise.load` reads: safetensors, as docs/format.md says. */
function modelFile({ kernels, layer, readout, task, units }) {
  const tensors = Object.entries(layer.weights).map(([name, numbers]) => [`layer.${name}_l0`, layer.shapes[name], numbers]);
  tensors.push(["readout.bias", [task.outputs], readout.bias], ["readout.weight", [task.outputs, units], readout.weight]);
  const part = (kind, args, children = []) => ({ kind, class: kind, arguments: args, children, training: false });
  const options = {
    cell: kernels.form, input_size: task.inputs, hidden_size: units, num_layers: 1, bias: true, batch_first: false, dropout: 0,
    bidirectional: false, proj_size: 0, checkpoint: 0,
  };
  const modules = [
    part("ModuleDict", {}, [["layer", 1], ["readout", 2]]),
    part("Recurrent", options),
    part("Linear", { in_features: units, out_features: task.outputs, bias: true }),
  ];
  const header = { format: 2, version: data.version, task: "module", modules, shared: {}, frozen: [] };
  const entries = { __metadata__: { gatewise: JSON.stringify(header) } };
  let at = 0;
  for (const [name, shape, numbers] of tensors) {
    entries[name] = { dtype: "F32", shape, data_offsets: [at, at + numbers.byteLength] };
    at += numbers.byteLength;
  }
  const text = new TextEncoder().encode(JSON.stringify(entries));
  const length = Math.ceil(text.length / 8) * 8;
  const bytes = new Uint8Array(8 + length + at).fill(32, 8, 8 + length);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true);
  bytes.set(text, 8);
  let place = 8 + length;
  for (const [, , numbers] of tensors) {
    bytes.set(new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength), place);
    place += numbers.byteLength;
  }
  return bytes;
}

function save(bytes, name) {
  const address = URL.createObjectURL(new Blob([bytes], { type: "application/octet-stream" }));
  element("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}
