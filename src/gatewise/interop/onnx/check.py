"""Checks an exported file: runs it and its module, and compares the results."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from gatewise.interop.onnx import OnnxError
from gatewise.nn.modules.recurrent import Recurrent
from gatewise.nn.modules.step import Step

if find_spec("onnxruntime") is None:
    raise ImportError("export_onnx checks its files in ONNX Runtime: pip install 'gatewise[onnx]'")

import onnxruntime

# (steps, rows) of the runs. Few steps, since with large weights rounding errors grow from step to step.
_SIZES = ((1, 1), (2, 3), (6, 1), (5, 4))


def check(model: bytes, module: Recurrent | Step, lengths: bool) -> None:
    """Run a file and its module on random input and states, in several sizes.

    Relative to the largest number they may differ by the square root of the machine epsilon: rounding and
    different approximations stay far below that, different equations go above it.

    Raises:
        OnnxError: ONNX Runtime refuses the file, or the results differ.
    """
    module = copy.deepcopy(module).cpu().eval()
    random = torch.Generator("cpu").manual_seed(0)
    for T, B in _SIZES:
        given = _inputs(module, T, B, lengths, random)
        found = dict(run(model, given))
        for name, expected in _expected(module, given).items():
            compare(name, f"{T} steps of {B} rows", expected, torch.from_numpy(found[name]))


def _inputs(
    module: Recurrent | Step, T: int, B: int, lengths: bool, random: torch.Generator
) -> dict[str, Tensor]:
    weight = next(module.parameters())

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=random, dtype=weight.dtype, device="cpu")

    rows: tuple[int, ...] = (B,)
    sizes = rows
    if isinstance(module, Recurrent):
        rows = module.num_layers * module._num_directions, B
        sizes = (B, T) if module.batch_first else (T, B)
    given = {"X": draw(*sizes, module.input_size)}
    for k, name in enumerate(module.cell.states):
        given[f"initial_{name}"] = draw(*rows, module.hidden_size if k else _output_size(module))
    if lengths:
        given["sequence_lens"] = torch.randint(
            0, T + 1, (B,), generator=random, dtype=torch.int32, device="cpu"
        )
    return given


def _output_size(module: Recurrent | Step) -> int:
    return module.proj_size or module.hidden_size


def _expected(module: Recurrent | Step, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The outputs of the module, by their names in the file."""
    states = tuple(given[f"initial_{name}"] for name in module.cell.states)
    hx = states if len(states) > 1 else states[0]
    found = {}
    with torch.no_grad():
        if isinstance(module, Step):
            finals = module(given["X"], hx)
        else:
            found["Y"], finals = module(given["X"], hx, given.get("sequence_lens"))
    finals = finals if isinstance(finals, tuple) else (finals,)
    return found | {f"Y_{name}": final for name, final in zip(module.cell.states, finals, strict=True)}


def run(model: bytes, given: Mapping[str, Tensor]) -> list[tuple[str, Any]]:
    """Run a file in ONNX Runtime. Returns names and values of the outputs, in order.

    Raises:
        OnnxError: ONNX Runtime refuses the file, or fails.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # no log: errors are raised
    try:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        found = session.run(None, {name: tensor.numpy() for name, tensor in given.items()})
    except Exception as error:  # its exceptions have no common base class
        raise OnnxError(f"export_onnx: ONNX Runtime does not run the file: {error}") from error
    return list(zip((output.name for output in session.get_outputs()), found, strict=True))


def compare(name: str, where: str, expected: Tensor, found: Tensor) -> None:
    """Compare an output of the file with that of the module.

    Raises:
        OnnxError: they differ by more than rounding.
    """
    if found.shape != expected.shape or found.dtype != expected.dtype:
        given, wanted = (f"{t.dtype} of shape {tuple(t.shape)}" for t in (found, expected))
        raise OnnxError(f"export_onnx: over {where} the file gives {name} as {given}, not as {wanted}")
    if not expected.is_floating_point():
        expected, found = expected.double(), found.double()
    finite = expected[expected.isfinite()].abs()
    scale = max(1.0, float(finite.max()) if len(finite) else 0.0)
    bound = torch.finfo(expected.dtype).eps ** 0.5 * scale
    if not torch.allclose(found, expected, rtol=0, atol=bound, equal_nan=True):
        worst = float((found - expected).abs().nan_to_num(nan=torch.inf).max())
        raise OnnxError(
            f"export_onnx: over {where} the file gives another {name} than the module: they differ by "
            f"{worst:.3g}, and {bound:.3g} is allowed. Nothing was written."
        )
