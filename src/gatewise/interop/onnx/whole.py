"""Exports a whole torch module: `torch.onnx.export` writes it, then the file is compared with the module."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, cast
from warnings import catch_warnings, simplefilter

import torch
from onnx import ModelProto
from torch import Tensor, nn
from torch.export import Dim
from torch.fx.experimental import _config as fx_config
from torch.fx.experimental.symbolic_shapes import is_concrete_int
from torch.utils import _pytree as pytree

from gatewise.extras import needed_by
from gatewise.interop.onnx import OnnxError
from gatewise.interop.onnx.check import compare, run
from gatewise.nn.modules.accelerate import accelerate
from gatewise.nn.modules.layer import Layer

with needed_by("gatewise.export_onnx of a whole module"):
    import onnxscript  # noqa: F401  # torch.onnx.export needs it

# Loggers of the exporter, which are verbose about harmless things.
_TALKING = ("torch.onnx", "onnxscript", "onnx_ir")


class Request(NamedTuple):
    """What to export: the module, example `inputs`, and the options for `torch.onnx.export`."""

    module: nn.Module
    inputs: tuple[Any, ...]
    dynamic_shapes: Any = None
    input_names: Sequence[str] | None = None
    output_names: Sequence[str] | None = None


def whole_model(request: Request) -> bytes:
    """The checked content of the file.

    Raises:
        OnnxError: torch cannot export the module, or the file does not compute what the module does.
        ValueError: a layer is edited.
    """
    for layer in request.module.modules():
        if isinstance(layer, Layer):
            layer.refuse_edits("export_onnx")
    module = copy.deepcopy(request.module).cpu().eval()
    inputs = pytree.tree_map_only(Tensor, lambda tensor: tensor.detach().cpu(), request.inputs)
    # torch's recurrent modules are replaced by gatewise's: the exporter would unroll some of them.
    proto = _exported(request._replace(module=accelerate(module), inputs=inputs))
    accelerate.undo(module)
    model: bytes = proto.SerializeToString()
    _check(model, proto, module, inputs)
    return model


def _exported(request: Request) -> ModelProto:
    module, inputs, shapes = request.module, request.inputs, request.dynamic_shapes
    with _quiet():
        try:
            program = torch.onnx.export(
                module, inputs, dynamo=True, verbose=False, input_names=request.input_names,
                dynamic_shapes=_free_axes(module, inputs) if shapes is None else shapes,
                output_names=request.output_names,
            )  # fmt: skip
        except Exception as error:  # many types, each wrapping the cause
            raise OnnxError(f"export_onnx: torch cannot export {_named(module)}: {_why(error)}") from error
    assert program is not None
    return program.model_proto


def _free_axes(module: nn.Module, inputs: tuple[Any, ...]) -> Any:
    """`Dim.AUTO` for every axis whose size the module does not fix, nested like `inputs`.

    The exporter by itself would also make axes free that can have one size only.
    """
    every = pytree.tree_map(lambda leaf: _axes_that(leaf, lambda size: True), inputs)
    with cast("Any", fx_config).patch(backed_size_oblivious=True):  # axes of size 1 are not special
        program = torch.export.export(module, inputs, dynamic_shapes=every)
    given = [node for node in program.graph.nodes if node.name in program.graph_signature.user_inputs]
    traced = (value for node in given if isinstance(value := node.meta.get("val"), Tensor))
    of_each = [next(traced) if isinstance(leaf, Tensor) else leaf for leaf in pytree.tree_leaves(inputs)]
    ranges = program.range_constraints
    free = [_axes_that(leaf, lambda size: _is_free(size, ranges)) for leaf in of_each]
    return pytree.tree_unflatten(free, pytree.tree_structure(inputs))


def _is_free(size: Any, ranges: Mapping[Any, Any]) -> bool:
    """Whether a size may grow. For a size that must be 1, torch reports the range 1 to 2."""
    if is_concrete_int(size):
        return False
    found = ranges.get(size.node.expr)
    return found is None or bool(found.upper > 2)


def _axes_that(leaf: Any, are_free: Callable[[Any], bool]) -> dict[int, Any] | None:
    if not isinstance(leaf, Tensor):
        return None
    return {axis: Dim.AUTO for axis, size in enumerate(leaf.shape) if are_free(size)}


def _named(module: nn.Module) -> str:
    return f"the {type(module).__name__}"


def _why(error: BaseException) -> str:
    """The first line of the innermost error."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {error}".splitlines()[0]


@contextmanager
def _quiet() -> Iterator[None]:
    """Context manager that silences the exporter."""
    levels = {name: logging.getLogger(name).level for name in _TALKING}
    try:
        for name in _TALKING:
            logging.getLogger(name).setLevel(logging.ERROR)
        with catch_warnings():
            simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def _check(model: bytes, proto: ModelProto, module: nn.Module, inputs: tuple[Any, ...]) -> None:
    """Compare file and module for the example inputs, and for other sizes that the module accepts."""
    leaves, form = pytree.tree_flatten(inputs)
    given = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
    axes = _axes(proto, given)
    _compare(model, proto, given, _called(module, inputs))
    random, compared = torch.Generator("cpu").manual_seed(0), 0
    for sizes in _other_sizes(axes, given):
        drawn = [_drawn(*pair, sizes, random) for pair in zip(given, axes, strict=True)]
        rest = iter(drawn)
        others = [next(rest) if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        try:
            expected = _called(module, pytree.tree_unflatten(others, form))
        except Exception:  # the module does not accept these sizes
            continue
        _compare(model, proto, drawn, expected)
        compared += 1
    if any(map(any, axes)) and not compared:
        raise OnnxError(
            f"export_onnx: {_named(module)} takes no other sizes than those of the inputs given, so that the "
            "free axes of the file cannot be checked. Say with dynamic_shapes which are free."
        )


def _axes(proto: ModelProto, given: Sequence[Tensor]) -> list[list[str]]:
    """The names of the axes of each input, "" for fixed axes."""
    if len(proto.graph.input) != len(given):
        raise OnnxError(
            f"export_onnx: the file has {len(proto.graph.input)} inputs. Got {len(given)} tensors."
        )
    return [[axis.dim_param for axis in value.type.tensor_type.shape.dim] for value in proto.graph.input]


def _other_sizes(axes: Sequence[Sequence[str]], given: Sequence[Tensor]) -> Iterator[dict[str, int]]:
    """Other sizes for all free axes: a little larger, much larger, 1, and one smaller."""
    pairs = (zip(names, tensor.shape, strict=True) for names, tensor in zip(axes, given, strict=True))
    sizes = {name: size for some in pairs for name, size in some if name}
    if sizes:
        yield {name: size + 1 + place for place, (name, size) in enumerate(sizes.items())}
        yield {name: 2 * size + 3 - place for place, (name, size) in enumerate(sizes.items())}
        yield dict.fromkeys(sizes, 1)
        yield {name: max(1, size - 1) for name, size in sizes.items()}


def _drawn(tensor: Tensor, names: Sequence[str], sizes: Mapping[str, int], random: torch.Generator) -> Tensor:
    """A tensor of another shape: values drawn from those of `tensor`, or random if these are all equal."""
    shape = [sizes.get(*pair) for pair in zip(names, tensor.shape, strict=True)]
    values = tensor.flatten()
    if tensor.is_floating_point() and bool((values == values[:1]).all()):
        return torch.randn(shape, generator=random, dtype=tensor.dtype)
    return values[torch.randint(len(values), shape, generator=random)]


def _called(module: nn.Module, inputs: tuple[Any, ...]) -> list[Tensor]:
    """The tensors that the module returns, in order. It gets copies, as it may change its inputs."""
    with torch.no_grad():
        found = module(*pytree.tree_map_only(Tensor, Tensor.clone, inputs))
    return [leaf for leaf in pytree.tree_leaves(found) if isinstance(leaf, Tensor)]


def _compare(model: bytes, proto: ModelProto, given: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
    found = run(model, dict(zip((value.name for value in proto.graph.input), given, strict=True)))
    if len(found) != len(expected):
        raise OnnxError(f"export_onnx: the file gives {len(found)} tensors, and the module {len(expected)}")
    where = "inputs of shapes " + ", ".join(str(tuple(tensor.shape)) for tensor in given)
    for (name, array), tensor in zip(found, expected, strict=True):
        compare(name, where, tensor, torch.from_numpy(array))
