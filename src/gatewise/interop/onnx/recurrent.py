"""A node RNN, GRU or LSTM of an ONNX file as a torch module that runs on gatewise's cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import TypeAlias, cast

import torch
from torch import Tensor, nn

from gatewise.interop.onnx import OnnxError
from gatewise.interop.onnx.cells import Variant, cell_of
from gatewise.interop.onnx.node import Node
from gatewise.interop.onnx.reading import as_floats, variants_of, weights_of
from gatewise.interop.onnx.weights import Packed, unpacked
from gatewise.language import Cell
from gatewise.nn.modules import checks
from gatewise.nn.modules.autocast import in_type_of, without_autocast
from gatewise.nn.modules.layer import Layer
from gatewise.nn.scan import scan_together
from gatewise.nn.walk.packing import Packing
from gatewise.nn.walk.walk import Scanned, Walk, Weights

# Whether each direction of a node runs backwards.
_DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
_ATTRIBUTES = {
    "activation_alpha", "activation_beta", "activations", "clip", "direction", "hidden_size", "layout",
    "input_forget", "linear_before_reset",
}  # fmt: skip


class Direction(Layer):
    """A cell with its weights, run over a sequence in one direction."""

    def __init__(self, cell: Cell, weights: Weights, reverse: bool) -> None:
        H = weights.weight_ih.size(0) // len(cell.input_gates)
        super().__init__(cell, weights.weight_ih.size(1), H, weights.bias_ih is not None)
        self.reverse = reverse
        names = self._declare("", self.input_size, None, weights.weight_ih.dtype)
        for name, tensor in zip(names, weights.flat, strict=True):
            self.get_parameter(name).data = tensor.clone()

    def walk(self, x: Tensor, states: tuple[Tensor, ...] | None, packing: Packing | None) -> Walk:
        """The walk over ``x [T, B, I]``, or over packed rows ``[N, I]``."""
        sizes = packing.batch_sizes if packing else None
        return Walk(
            self.cell, x, self._weights(""), states, self.reverse, record=self._names_to_record,
            batch_sizes=sizes,
        )  # fmt: skip

    def hand_over(self, walk: Walk, scanned: Scanned, packing: Packing | None) -> None:
        """Pass what was recorded to the recorders."""
        recorded = scanned.recorded
        if packing:
            recorded = {name: packing.pad_with_nan(values) for name, values in recorded.items()}
        self._hand_over("l0", recorded, walk, scanned, packing)

    def extra_repr(self) -> str:
        """The cell, its sizes and its direction, for printing."""
        way = ", reverse=True" if self.reverse else ""
        return f"{self.cell.name}, {self.input_size}, {self.hidden_size}{way}"


# Layers by their equations, direction and weights.
Layers: TypeAlias = dict[tuple[object, ...], Direction]


class RecurrentNode(nn.Module):
    """A node RNN, GRU or LSTM, with its weights as parameters in the layout of `gatewise.nn`.

    Args:
        node: the node.
        constants: the constants of the file by name.
        layers: the layers of other branches of an If. One with the same equations and weights is shared.

    Shape:
        If ``layout`` is 1, the batch comes first: T and B are swapped, and D is second.

        - x: ``[T, B, I]``.
        - lengths: ``[B]``, the steps of each row; by default T.
        - states: each ``[D, B, H]``; by default zeros.
        - outputs: Y ``[T, D, B, H]``, zeros past the end of a row, and the final states, each ``[D, B, H]``.
          Final states of a row without steps are zeros, as in ONNX Runtime; the standard leaves them open.

    Raises:
        OnnxError: the weights are not constants, or attributes or shapes violate the standard.
    """

    def __init__(self, node: Node, constants: Mapping[str, Tensor], layers: Layers | None = None) -> None:
        super().__init__()
        node, constants = as_floats(node, constants)
        node.knows(_ATTRIBUTES)
        reverse = _DIRECTIONS.get(node.get("direction", "forward"))
        if reverse is None:
            raise OnnxError(
                f"direction is {node.get('direction', '')!r}; the standard has {', '.join(_DIRECTIONS)}"
            )
        self.batch_first = bool(node.get("layout", 0))
        weights = weights_of(node, constants, len(reverse))
        variants = variants_of(node, len(reverse), weights[0].P is not None)
        self.directions = nn.ModuleList(
            _layer(variant, some, back, layers)
            for variant, some, back in zip(variants, weights, reverse, strict=True)
        )

    def forward(self, x: Tensor, lengths: Tensor | None = None, *states: Tensor | None) -> tuple[Tensor, ...]:
        """Run over a sequence. Shapes are as in the class."""
        if self.batch_first:
            x = x.transpose(0, 1)
            states = tuple(s if s is None else s.transpose(0, 1) for s in states)
        x, initial = self._checked(x, states)
        with without_autocast(x.device.type):
            output, finals = self._run(x, initial, _packing(lengths, x))
        if lengths is not None:
            finals = tuple(final.where((lengths > 0).unsqueeze(1), 0) for final in finals)
        if self.batch_first:
            return output.permute(2, 0, 1, 3), *(final.transpose(0, 1) for final in finals)
        return output, *finals

    @property
    def _ways(self) -> list[Direction]:
        return cast("list[Direction]", list(self.directions))

    def _checked(self, x: Tensor, given: Sequence[Tensor | None]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Check the arguments. Returns ``x [T, B, I]`` and the initial states, each ``[D, B, H]``."""
        first = self._ways[0]
        weight = first._weights("").weight_ih
        if x.dim() != 3:
            raise ValueError(f"X must have 3 dimensions. Got {x.dim()}.")
        x = in_type_of(weight, x)
        checks.input_matches(x, first.input_size, weight.dtype)
        checks.has_steps(len(x))
        sizes = len(self.directions), x.size(1), first.hidden_size
        given = [*given, *[None] * (len(first.cell.states) - len(given))]
        states = [x.new_zeros(sizes) if s is None else in_type_of(weight, s) for s in given]
        for name, state in zip(("initial_h", "initial_c"), states, strict=False):
            checks.state_size(state, sizes, name)
        checks.same_device(x, states, weight)
        checks.same_type(states, weight)
        return x, tuple(states)

    def _run(
        self, x: Tensor, states: tuple[Tensor, ...], packing: Packing | None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Run over ``x [T, B, I]``. Returns Y and the final states."""
        initial = states
        if packing:
            x, initial = packing.pack(x, batch_first=False), packing.pack_states(states)
        walks = [
            direction.walk(x, tuple(state[k] for state in initial), packing)
            for k, direction in enumerate(self._ways)
        ]
        found = _scanned(walks)
        for direction, walk, scanned in zip(self._ways, walks, found, strict=True):
            direction.hand_over(walk, scanned, packing)
        outputs = [scanned.output for scanned in found]
        finals = tuple(torch.stack(column) for column in zip(*(s.states for s in found), strict=True))
        if packing:
            outputs = [packing.pad(output, batch_first=False) for output in outputs]
            finals = packing.pad_states(finals, states)
        return torch.stack(outputs, 1), finals


def _layer(variant: Variant, weights: Packed, reverse: bool, layers: Layers | None) -> Direction:
    """The layer in `layers` with the same equations and weights, or else a new one."""
    made = Direction(cell_of(variant), unpacked(variant, weights), reverse)
    if layers is None:
        return made
    return layers.setdefault((variant, reverse, *map(_digest, weights)), made)


def _digest(weight: Tensor | None) -> object:
    if weight is None:
        return None
    return (
        weight.dtype,
        weight.shape,
        sha256(weight.contiguous().view(torch.uint8).numpy().tobytes()).digest(),
    )


def _scanned(walks: list[Walk]) -> list[Scanned]:
    alike = all(walk.cell is walks[0].cell for walk in walks)
    return scan_together(walks) if alike else [scan_together([walk])[0] for walk in walks]


def _packing(lengths: Tensor | None, x: Tensor) -> Packing | None:
    """The packing of rows of these lengths; None if all have T steps."""
    if lengths is None:
        return None
    T, B = x.shape[:2]
    if lengths.shape != (B,) or lengths.is_floating_point():
        came = f"{lengths.dtype} of shape {tuple(lengths.shape)}"
        raise ValueError(f"sequence_lens must be whole numbers of shape ({B},). Got {came}.")
    if bool((lengths == T).all()):
        return None
    if bool(((lengths < 0) | (lengths > T)).any()):
        raise ValueError(f"sequence_lens must be from 0 to {T}, the steps of X. Got {lengths.tolist()}.")
    return Packing.of_lengths(lengths.cpu().long(), T)
