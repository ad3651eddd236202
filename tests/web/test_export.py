"""Exported layers in a real browser, from a web server and from a file, compared with a stream in Python."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

import gatewise
from gatewise import Cell, cells
from gatewise.compiler.kernels.forward import ForwardKernel
from gatewise.compiler.plan.plan import plan
from gatewise.compiler.wasm.binary import ELEMENTS, Reader, sections_of
from gatewise.nn import Recurrent
from gatewise.runtime import ModelFileError, Stream
from gatewise.web import export
from gatewise.web.export import export_wasm
from tests.tabs import Tabs

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

I, H, T = 3, 10, 40
FILES = [
    *("gatewise.d.ts", "gatewise.js", "kernel-plain.wasm", "kernel-relaxed.wasm"),
    *("model-file.js", "model.json", "weights.bin"),
]
LOADS = {
    "server": '<script type="module">import {{ load }} from "./gatewise.js"; {} </script>',
    "file": '<script src="model-file.js"></script><script>(async () => {{ {} }})()</script>',
}


def layers(cell: Cell = cells.lstm, dtype: torch.dtype = torch.float32, **options: Any) -> Recurrent:
    torch.manual_seed(0)
    return Recurrent(cell, I, H, dtype=dtype, **options).eval()


def inputs(*shape: int, dtype: str = "float32") -> Any:
    return np.random.default_rng(0).normal(size=shape).astype(dtype)


Opened = Callable[..., Any]


@pytest.fixture
def opened(tabs: Tabs, tmp_path: Path, served: str) -> Iterator[Opened]:
    """Opens a page beside the model, with the model loaded as `model`."""
    pages = ExitStack()

    def open_page(from_: str = "server", options: str = "") -> Page:
        arguments = f"undefined, {options}" if options and from_ == "server" else options
        script = f"globalThis.model = await {'gatewise.' * (from_ == 'file')}load({arguments});"
        (tmp_path / f"{from_}.html").write_text(LOADS[from_].format(script), encoding="utf-8")
        page = pages.enter_context(tabs.open())
        page.goto(f"{served}/server.html" if from_ == "server" else (tmp_path / "file.html").as_uri())
        page.wait_for_function("globalThis.model")
        return page

    with pages:
        yield open_page


SHOWN = "Object.fromEntries(Object.entries(stream.state).map(([name, v]) => [name, [...v]]))"
PIECES = """
([x, batch, pieces]) => {
  const stream = model.stream({ batch });
  const numbers = model.dtype === "float64" ? Float64Array : Float32Array;
  const wide = batch * model.inputSize;
  const outputs = [];
  let t = 0;
  for (const count of pieces) {
    const piece = numbers.from(x.slice(t * wide, (t + count) * wide));
    outputs.push(...(count === 1 ? stream.step(piece) : stream.run(piece)));
    t += count;
  }
  return [outputs, SHOWN];
}""".replace("SHOWN", SHOWN)


def streamed(page: Page, x: Any, pieces: list[int]) -> tuple[Any, dict[str, Any]]:
    """The outputs of the page, and its states."""
    outputs, states = page.evaluate(PIECES, [x.ravel().tolist(), x.shape[1], pieces])
    return np.array(outputs, x.dtype), {s: np.array(v, x.dtype) for s, v in states.items()}


def assert_same(page: Page, stream: Stream, x: Any, pieces: list[int]) -> None:
    assert page.evaluate("[model.simd, model.sameBits]") == ["relaxed", True]
    outputs, states = streamed(page, x, pieces)
    stream.reset()
    np.testing.assert_array_equal(outputs, stream.run(x).ravel())
    for name, values in stream.state.items():
        np.testing.assert_array_equal(states[name], values.ravel())


def stream_of(layer: Recurrent, batch: int) -> Stream:
    dtype = next(layer.parameters()).dtype
    return Stream(layer.cell, layer.state_dict(), batch, str(dtype).removeprefix("torch."))


@pytest.mark.parametrize("from_", LOADS)
@pytest.mark.parametrize("batch", [1, 9])
def test_steps_and_pieces_give_the_bits_of_python(
    from_: str, batch: int, opened: Opened, tmp_path: Path
) -> None:
    layer = layers(num_layers=2)
    export_wasm(layer, tmp_path)
    pieces = [1, 1, 7, 1, T - 10]
    assert_same(opened(from_), stream_of(layer, batch), inputs(T, batch, I), pieces)


@pytest.mark.parametrize(
    ("cell", "options"),
    [
        (cells.lstm, {"proj_size": 4, "num_layers": 2}),
        (cells.gru, {"dtype": torch.float64}),
        (cells.gru_layer_norm, {"bias": False}),
        (cells.lstm_peephole, {"learn_initial_state": True, "num_layers": 2}),
    ],
    ids=["projected", "float64", "layer-norm", "vectors-and-initial-states"],
)
def test_layers_of_every_kind(cell: Cell, options: dict[str, Any], opened: Opened, tmp_path: Path) -> None:
    layer = layers(cell, **options)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.uniform_(-0.6, 0.6)
    export_wasm(layer, tmp_path)
    gatewise.save(layer, tmp_path / "layers.safetensors")
    dtype = str(options.get("dtype", torch.float32)).removeprefix("torch.")
    stream = Stream.load(tmp_path / "layers.safetensors", 2)
    assert_same(opened(), stream, inputs(T, 2, I, dtype=dtype), [T - 1, 1])


def test_blocks_longer_than_the_cache_are_divided(opened: Opened, tmp_path: Path) -> None:
    layer = layers()
    export_wasm(layer, tmp_path)
    page, x = opened(), inputs(2000, 1, I)
    assert page.evaluate("model.stream()._room.chunk") < 2000
    assert_same(page, stream_of(layer, 1), x, [2000])


def test_the_state_is_explicit(opened: Opened, tmp_path: Path) -> None:
    layer = layers(num_layers=2)
    export_wasm(layer, tmp_path)
    same = opened().evaluate(
        """() => {
          const x = Float32Array.from({ length: 30 * 3 }, (_, n) => Math.sin(n));
          const [first, rest] = [x.subarray(0, 30), x.subarray(30)];
          const stream = model.stream();
          stream.run(first);
          const state = stream.state;
          const fork = stream.fork();
          const expected = stream.run(rest);
          const other = model.stream();
          other.state = state;
          stream.reset();
          const again = model.stream();
          const equal = (a, b) => a.length === b.length && a.every((v, n) => v === b[n]);
          return [
            equal(fork.run(rest), expected), equal(other.run(rest), expected),
            equal(stream.run(x), again.run(x)), Object.keys(state), state.c.length,
          ];
        }"""
    )
    assert same == [True, True, True, ["h", "c"], 2 * H]


def test_the_memory_of_a_closed_stream_is_used_again(opened: Opened, tmp_path: Path) -> None:
    export_wasm(layers(), tmp_path)
    sizes = opened().evaluate(
        """() => {
          const used = () => { model.stream({ batch: 3 }).close(); return model._machine.end; };
          const first = used();
          const open = model.stream({ batch: 3 });
          return [first, used(), used()];
        }"""
    )
    assert sizes[1] == sizes[2] > sizes[0]


def test_plain_simd_is_close_and_says_that_its_bits_differ(opened: Opened, tmp_path: Path) -> None:
    layer, x = layers(), inputs(T, 1, I)
    export_wasm(layer, tmp_path)
    for from_ in LOADS:
        page = opened(from_, '{ simd: "plain" }')
        assert page.evaluate("[model.simd, model.sameBits]") == ["plain", False]
        outputs, _ = streamed(page, x, [T])
        expected = stream_of(layer, 1).run(x).ravel()
        np.testing.assert_allclose(outputs, expected, rtol=0, atol=1e-5)
        assert (outputs != expected).any()


def test_a_browser_without_relaxed_simd_takes_the_plain_kernel(
    browser: Browser, served: str, tmp_path: Path
) -> None:
    export_wasm(layers(), tmp_path)
    script = "globalThis.model = await load(undefined, {});"
    (tmp_path / "page.html").write_text(LOADS["server"].format(script), encoding="utf-8")
    page = browser.new_page()
    page.add_init_script("WebAssembly.validate = () => false")
    page.goto(f"{served}/page.html")
    page.wait_for_function("globalThis.model")
    assert page.evaluate("[model.simd, model.sameBits]") == ["plain", False]
    page.close()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_processor_that_rounds_twice_is_detected(dtype: str, tabs: Tabs) -> None:
    """A processor that rounds the product first would compute the probe like this."""
    machine = (Path(export.__file__).parent / "machine.js").read_text("utf-8")
    rounded = "Math.fround" if dtype == "float32" else ""
    with tabs.open() as page:
        rounds = page.evaluate(
            f"""(dtype) => {{
              {machine}
              const here = relaxed(dtype);
              const f = (a, b, c) => {rounded}({rounded}(a * b) + c);
              WebAssembly.Instance = function () {{ this.exports = {{ f }}; }};
              return [here, relaxed(dtype)];
            }}""",
            dtype,
        )
        assert rounds == [{"exists": True, "rounds": "once"}, {"exists": True, "rounds": "twice"}]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("model.stream({ batch: 0 })", "batch must be a positive integer. Got 0."),
        ("model.stream().step(new Float32Array(4))", "x must have 3 numbers. Got 4."),
        ("model.stream().run(new Float32Array(4))", "x must have 6 numbers. Got 4."),
        ("model.stream().state = { h: new Float32Array(10) }", "state must hold h,c. Got h."),
        ("model.stream().state = { h: new Float32Array(9), c: [] }", "state.h must have 10 numbers. Got 9."),
    ],
)
def test_a_wrong_call_is_refused(call: str, message: str, opened: Opened, tmp_path: Path) -> None:
    export_wasm(layers(), tmp_path)
    said = opened().evaluate(f"() => {{ try {{ {call}; }} catch (error) {{ return error.message; }} }}")
    assert said == f"gatewise: {message}"


def test_a_model_file_gives_the_same_folder(tmp_path: Path) -> None:
    layer = layers()
    gatewise.save(layer, tmp_path / "layers.safetensors")
    export_wasm(layer, tmp_path / "from_layers")
    export_wasm(tmp_path / "layers.safetensors", tmp_path / "from_file")
    assert sorted(path.name for path in (tmp_path / "from_file").iterdir()) == FILES
    for name in FILES:
        assert (tmp_path / "from_file" / name).read_bytes() == (tmp_path / "from_layers" / name).read_bytes()


def test_a_model_file_is_exported_without_torch(tmp_path: Path) -> None:
    gatewise.save(layers(), tmp_path / "layers.safetensors")
    code = "import sys, gatewise; gatewise.export_wasm(*sys.argv[1:]); assert 'torch' not in sys.modules"
    paths = str(tmp_path / "layers.safetensors"), str(tmp_path / "from_file")
    subprocess.run([sys.executable, "-W", "error", "-c", code, *paths], check=True, timeout=120)
    assert (tmp_path / "from_file" / "gatewise.js").exists()


def test_what_cannot_be_exported(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"must be a gatewise\.nn\.Recurrent or a path\. Got Linear"):
        export_wasm(torch.nn.Linear(1, 1), tmp_path)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="cannot run step by step"):
        export_wasm(layers(bidirectional=True), tmp_path / "both")
    (tmp_path / "nonsense").write_bytes(b"nonsense")
    with pytest.raises(ModelFileError):
        export_wasm(tmp_path / "nonsense", tmp_path / "damaged")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["nonsense"]


@pytest.mark.parametrize("from_", LOADS)
def test_layers_that_the_page_can_train(from_: str, opened: Opened, tmp_path: Path) -> None:
    """They have the weights of the model, and its output."""
    layer, x = layers(num_layers=2, proj_size=4), torch.randn(T, 2, I)
    export_wasm(layer, tmp_path, training=True)
    backward = [f"{kernel}-{kind}.wasm" for kernel in ("backward", "outer") for kind in ("plain", "relaxed")]
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".html") == sorted(
        [*FILES, *backward]
    )
    page = opened(from_)
    if from_ == "server":
        page.evaluate("import('./gatewise.js').then((module) => { globalThis.gatewise = module; })")
    shapes, output, gradients = page.evaluate(
        """async (x) => {
          const [first, second] = await gatewise.layers();
          const below = first.forward(Float32Array.from(x), { rows: 2, keep: true });
          const run = second.forward(below.output, { rows: 2, keep: true });
          const ones = new Float32Array(run.output.length).fill(1);
          const { x: output, weights } = run.backward({ output: ones });
          const more = below.backward({ output }).weights;
          const listed = (all) => Object.fromEntries(Object.entries(all).map(([name, v]) => [name, [...v]]));
          return [second.shapes, [...run.output], [listed(more), listed(weights)]];
        }""",
        x.flatten().tolist(),
    )
    expected = layer(x)[0]
    expected.sum().backward()
    np.testing.assert_array_equal(np.array(output, "float32"), expected.detach().numpy().ravel())
    for name, weight in layer.named_parameters():
        base, _, k = name.rpartition("_l")
        assert weight.grad is not None
        np.testing.assert_array_equal(
            np.array(gradients[int(k)][base], "float32"), weight.grad.numpy().ravel()
        )
        if k == "1":
            assert shapes[base] == list(weight.shape)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": torch.float64}, r"training in a page is in float32\. The model is in float64"),
        ({"learn_initial_state": True}, r"or from zeros\. The model learns initial_c, initial_h"),
    ],
)
def test_layers_that_a_page_cannot_train(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        export_wasm(layers(**options), tmp_path / "folder", training=True)
    assert not (tmp_path / "folder").exists()


@pytest.mark.parametrize(
    ("source", "declarations", "names"),
    [
        ("core.js", "gatewise.d.ts", ["Model", "Stream"]),
        ("engine.js", "training.d.ts", ["Kernels", "Layer", "Run"]),
    ],
)
def test_all_types_are_declared(source: str, declarations: str, names: list[str]) -> None:
    """Every public member of the classes is in the types, and nothing else."""
    here = Path(export.__file__).parent
    code, types = (here / source).read_text("utf-8"), (here / declarations).read_text("utf-8")
    for name in names:
        body = re.search(rf"^class {name} {{(.*?)^}}", code, re.DOTALL | re.MULTILINE)
        kinds = "interface|class"
        declared = re.search(rf"^export (?:{kinds}) {name} {{(.*?)^}}", types, re.DOTALL | re.MULTILINE)
        assert body is not None
        assert declared is not None
        members = set(re.findall(r"^  (?:get |set )?([a-z]\w*)\(", body[1], re.MULTILINE)) - {"constructor"}
        members |= set(re.findall(r"this\.([a-z]\w*) = ", body[1]))
        listed = re.search(r"Object\.assign\(this, {(.*)}\)", body[1])
        members |= {word.strip() for word in listed[1].split(",")} if listed else set()
        told = set(re.findall(r"^  (?:readonly )?(\w+)[(:]", declared[1], re.MULTILINE)) - {"constructor"}
        assert told == members


def test_the_table_has_room_for_the_functions_of_every_cell(tmp_path: Path) -> None:
    """A cell with many phases has the most functions that are called by address."""
    export_wasm(layers(cells.lstm_layer_norm), tmp_path)
    about = json.loads((tmp_path / "model.json").read_text("utf-8"))
    assert about["fields"] == list(ForwardKernel(plan(cells.lstm_layer_norm)).arguments.names)
    elements = {s.number: s.content for s in sections_of((tmp_path / "kernel-relaxed.wasm").read_bytes())}
    reader = Reader(elements[ELEMENTS])
    assert reader.unsigned() == 1
    reader.take(4)  # flags, i32.const 1, end
    assert reader.unsigned() + 1 < about["table"] / 2
