"""Recurrent layers of any cell, with the interface of `torch.nn`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence

from gatewise.language import Cell
from gatewise.language.names import initial
from gatewise.nn.checkpoint import scan_in_segments
from gatewise.nn.kernels.plain.call import Results
from gatewise.nn.modules import checks, initialisation
from gatewise.nn.modules.arguments import LayerArguments, RecurrentArguments, takes
from gatewise.nn.modules.autocast import in_type_of, without_autocast
from gatewise.nn.modules.layer import Hidden, Layer
from gatewise.nn.scan import overlaps, scan_stack, scan_together
from gatewise.nn.walk import under_compile
from gatewise.nn.walk.obstacles import PLAIN, traced
from gatewise.nn.walk.packing import Packing, like
from gatewise.nn.walk.rows import row_lengths, shape_of_lengths
from gatewise.nn.walk.storage import is_stored
from gatewise.nn.walk.walk import Scanned, Walk, Weights
from gatewise.runtime.layer_options import DEFAULTS, OWN
from gatewise.runtime.weights import initial_shapes

States: TypeAlias = tuple[Tensor, ...]


class Recurrent(Layer):
    """A stack of recurrent layers of one cell, with the arguments, parameters and shapes of `torch.nn`.

    Args:
        cell: the equations; any `gatewise.Cell`.
        input_size: I, the width of the input.
        hidden_size: H, the number of units.
        num_layers: L, the number of layers. The input of each is the output of the layer below.
        bias: whether the gates have biases.
        batch_first: whether input and output are ``[B, T, ...]``, not ``[T, B, ...]``. States are the same.
        dropout: in training, the probability of zeroing each output of a layer, for all layers except the
            last.
        bidirectional: whether each layer has a second direction, from the last step to the first (D is 2,
            else 1).
        proj_size: P, the width of the projected output of each step; 0 for no projection. Only for cells
            whose body does not use their output (that of the LSTM does not).
        device: the device of the parameters.
        dtype: the element type of the parameters.
        checkpoint: k, for training in less memory. Only the states after every k steps are saved; backward
            computes the rest again, k steps at a time. 0 saves everything. Outputs have the same bits, and
            gradients differ by rounding. The memory is smallest near ``k = sqrt(T)``.
        zoneout: in training, the probability that a unit of a state keeps its old value, drawn for each step
            (Krueger et al. 2017): one number for all states, or a tuple with one for each state. In
            evaluation mode, a state is its expected value.
        recurrent_dropout: in training, the probability of zeroing what the gates see of the previous output,
            with one mask for each sequence (Gal & Ghahramani 2016).
        weight_drop: in training, the probability of zeroing each recurrent weight, drawn for each call
            (Merity et al. 2018).
        init: the initialisation of parameters: "torch", "orthogonal" or "chrono" (see
            `gatewise.nn.modules.initialisation.fill`).
        forget_bias: the initial bias of gates that keep a state (f of the LSTM, z of the GRU).
        max_steps: with ``init="chrono"``, the longest memory, in steps.
        learn_initial_state: whether initial states are learned. They are used when a call passes none.

        Random masks depend only on the seed from torch's generator, the row, the step and the unit: they are
        the same on any number of threads.

    Shape:
        - input: ``[T, B, I]``, ``[B, T, I]`` with `batch_first`, ``[T, I]`` without a batch, or a
          `PackedSequence`.
        - hx: the initial state ``[L*D, B, H]`` (``[L*D, H]`` without a batch), or a tuple of them, one for
          each state of the cell; by default zeros. With a projection the first is ``[L*D, B, P]``.
        - lengths: ``[B]``, the number of steps of each row, from 0 to T, in any order; by default T. Only for
          padded input with a batch.
        - reset: booleans ``[T, B]`` (``[B, T]`` with `batch_first`, ``[T]`` without a batch). Where true, the
          row starts this step from its initial state, as if a sequence began there. The second direction
          is reset at the same boundary, between this step and the one before it in time. Not for a
          `PackedSequence`.
        - output: shaped like the input, but D*H wide (D*P with a projection); zeros past the end of a row.
        - second output: the final states, in the form of `hx`. They are the states of each row after its own
          last step (in the second direction, after its first step); a row without steps keeps its initial
          state.

    Attributes:
        weight_ih_l{k}: ``[G*H, I]``, above the first layer ``[G*H, D*H]``; the gates are stacked.
        weight_hh_l{k}: ``[G*H, H]`` (``[G*H, P]``); only gates that see the state.
        bias_ih_l{k}, bias_hh_l{k}: ``[G*H]`` each.
        {vector}_l{k}: ``[H]``, for each `Vector` of the cell.
        weight_hr_l{k}: ``[P, H]``, with a projection.
        weight_linear_l{k}, bias_linear_l{k}: ``[N*H, H]``, ``[N*H]``, for N products `linear` in the cell.
        norm_gain_{n}_l{k}, norm_bias_{n}_l{k}: ``[H]``, for each vector of a `layer_norm`.
        initial_{state}_l{k}: ``[H]`` (``[P]``), with `learn_initial_state`.

        The names of the second direction end in ``_reverse``.

    Raises:
        TypeError, ValueError, RuntimeError: as in `torch.nn`, with the same messages; also if `lengths`,
            `reset` or `checkpoint` are wrong.

    Example:
        >>> import torch
        >>> from gatewise import cells, nn
        >>> layer = nn.Recurrent(cells.gru, 3, 8, num_layers=2)
        >>> output, h_n = layer(torch.randn(5, 2, 3), lengths=[2, 5])
        >>> output.shape, h_n.shape
        (torch.Size([5, 2, 8]), torch.Size([2, 2, 8]))
        >>> bool((output[2:, 0] == 0).all())
        True
    """

    @takes(RecurrentArguments)
    def __init__(self, given: RecurrentArguments) -> None:
        self._set_up(given.cell, given)

    def _set_up(self, cell: Cell, given: LayerArguments) -> None:
        """Initialise the layer. Called by the constructors of this class and of its subclasses."""
        super().__init__(cell, given.input_size, given.hidden_size, given.bias, given.proj_size)
        self.dropout = float(given.dropout)
        checks.options(cell, given)
        initialisation.check(given.init, given.forget_bias, given.max_steps, cell, given.bias)
        checks.learned_states(cell, given.learn_initial_state)
        self.num_layers, self.bidirectional = given.num_layers, given.bidirectional
        self.batch_first, self.checkpoint = given.batch_first, given.checkpoint
        self.zoneout = checks.zoneout(cell, given.zoneout, given.proj_size)
        self.recurrent_dropout = checks.rate("recurrent_dropout", given.recurrent_dropout, cell)
        self.weight_drop = checks.rate("weight_drop", given.weight_drop, cell)
        self.init, self.forget_bias, self.max_steps = given.init, given.forget_bias, given.max_steps
        self.learn_initial_state = given.learn_initial_state
        above = (given.proj_size or given.hidden_size) * self._num_directions
        self._names = [
            self._declare(suffix, above if layer else given.input_size, given.device, given.dtype)
            for layer in range(given.num_layers)
            for suffix in self._suffixes(layer)
        ]
        self.reset_parameters()

    def _declare(
        self, suffix: str, input_size: int, device: torch.device | str | None, dtype: torch.dtype | None
    ) -> list[str]:
        declared = super()._declare(suffix, input_size, device, dtype)
        if self.learn_initial_state:
            learned = initial_shapes(self.cell, self.hidden_size, self.proj_size)
            declared += self._register(learned, suffix, device, dtype)
        return declared

    def reset_parameters(self) -> None:
        """Initialise all parameters, by `init`, `forget_bias` and `max_steps`."""
        for names, suffix in zip(self._names, self._all_suffixes, strict=True):
            named = {name.removesuffix(suffix): getattr(self, name) for name in names}
            ways = self.init, self.forget_bias, self.max_steps
            initialisation.fill(self.cell, named, self.hidden_size, *ways)

    @property
    def _all_suffixes(self) -> list[str]:
        directions = ("", "_reverse")[: self._num_directions]
        return [f"_l{layer}{direction}" for layer in range(self.num_layers) for direction in directions]

    @property
    def _layer_names(self) -> list[str]:
        """The names of the layers and directions, as in `gatewise.watch`: "l0", "l0_reverse", ..."""
        return [suffix[1:] for suffix in self._all_suffixes]

    @property
    def _num_directions(self) -> int:
        return 2 if self.bidirectional else 1

    def _suffixes(self, layer: int) -> tuple[str, ...]:
        D = self._num_directions
        return tuple(self._all_suffixes[layer * D : (layer + 1) * D])

    @property
    def all_weights(self) -> list[list[nn.Parameter]]:
        """The parameters of each layer and direction."""
        return [[getattr(self, name) for name in names] for names in self._names]

    def flatten_parameters(self) -> None:
        """Do nothing, because there is no flattened copy of the weights. It exists for code that calls it."""

    def forward(
        self,
        input: Tensor | PackedSequence,
        hx: Hidden | None = None,
        lengths: Tensor | Sequence[int] | None = None,
        reset: Tensor | None = None,
    ) -> tuple[Tensor | PackedSequence, Hidden]:
        """Run the layers over a sequence; shapes as in the class."""
        if not torch.compiler.is_compiling() and lengths is None and reset is None:
            results = self._plain_call(input, hx)
            if results is not None:
                return results[0], self._taken(tuple(results[1:]))
        exporting = under_compile.is_exporting()
        if exporting:
            checks.can_be_exported(input)
        elif torch.compiler.is_compiling() and (lengths is not None or isinstance(input, PackedSequence)):
            between: tuple[Tensor | PackedSequence, Hidden] = _between_graphs(self, input, hx, lengths, reset)
            return between
        if isinstance(input, PackedSequence):
            checks.alone(lengths, reset)
            return self._over_packed(input, hx)
        x, given = input, self._given(hx)
        batched = checks.is_batched(type(self).__name__, input)
        batch_axis = 0 if self.batch_first else 1
        states = given
        checks.state_dimensions(self.cell, states, batched)
        if reset is not None:
            checks.reset_mask(reset, input)
        if not batched:
            checks.has_batch(lengths)
            input, states = input.unsqueeze(batch_axis), tuple(state.unsqueeze(1) for state in states)
            reset = None if reset is None else reset.unsqueeze(batch_axis)
        B, T = input.size(batch_axis), input.size(1 - batch_axis)
        self._check_sizes(states, B)
        checks.has_steps(T)
        packing, rows = None, None
        if exporting and lengths is not None:  # unknown until the program runs
            rows = shape_of_lengths(lengths, B)
        elif lengths is not None:
            packing = Packing.of_lengths(row_lengths(lengths, B, T), T)
            if packing.size == B * T:  # all rows have T steps: a plain batch, whose rows threads may divide
                packing = None
        output, finals = self._run(input, states, packing, reset, rows)
        if not batched:
            output, finals = output.squeeze(batch_axis), tuple(state.squeeze(1) for state in finals)
        if self._is_single and lengths is None and reset is None and not torch.compiler.is_compiling():
            self._prepare_plain_call("_l0", x, given, Results(output, finals), self.batch_first)
        return output, self._taken(finals)

    @property
    def _is_single(self) -> bool:
        """Whether a call is a single scan, without further work before or after it."""
        drops = self.training and self.weight_drop
        learned = self.learn_initial_state or self.checkpoint
        return self.num_layers == 1 and not (self.bidirectional or learned or drops)

    def _over_packed(self, packed: PackedSequence, hx: Hidden | None) -> tuple[PackedSequence, Hidden]:
        checks.is_packed(packed.data)
        states, packing = self._given(hx), Packing.of(packed)
        self._check_sizes(states, packing.B)
        output, finals = self._run(packed.data, states, packing, None)
        return like(packed, output), self._taken(finals)

    def _given(self, hx: Hidden | None) -> States:
        """The initial states as a tuple, empty if none are passed."""
        if hx is None:
            return ()
        checks.is_hidden(hx)
        if len(self.cell.states) == 1:
            return (hx,)  # type: ignore[return-value]  # a tuple here is refused by the first check
        states = tuple(hx[k] for k in range(len(self.cell.states)))
        checks.state_count(self.cell, len(hx))
        return states

    def _taken(self, finals: States) -> Hidden:
        return finals[0] if len(finals) == 1 else finals

    def _run(
        self,
        x: Tensor,
        states: States,
        packing: Packing | None,
        reset: Tensor | None,
        lengths: Tensor | None = None,
    ) -> tuple[Tensor, States]:
        """Check the types of the arguments, convert them to that of the weights, and run the layers."""
        weights = {suffix[1:]: self._dropped_weights(self._weights(suffix)) for suffix in self._all_suffixes}
        weight = weights["l0"].weight_ih
        x, *given = (in_type_of(weight, tensor) for tensor in (x, *states))
        checks.input_matches(x, self.input_size, weight.dtype)
        checks.same_device(x, given, weight)
        checks.same_type(given, weight)
        written_down = under_compile.is_exporting() or traced()
        if x.dim() == 3 and self.batch_first and torch.is_grad_enabled() and not written_down:
            # Backward reads a copy, as in torch, since users may change the input in place: x += layer(x)[0].
            if type(x) in PLAIN and not torch.compiler.is_compiling():
                is_stored(x)  # raises before torch's clone reads past the end of its memory
            x = x.clone()
        with without_autocast(x.device.type):
            given = given or self._learned_states(x, packing)
            initial = packing.pack_states(given) if packing else tuple(given)
            directions = self._directions(x, weights["l0"], packing, reset, lengths)
            output, finals = self._layers(directions, weights, initial, packing)
            return output, packing.pad_states(finals, given) if packing else finals

    def _directions(
        self,
        x: Tensor,
        weights: Weights,
        packing: Packing | None,
        reset: Tensor | None,
        lengths: Tensor | None,
    ) -> list[Walk]:
        """The walks of the first layer from zeros, one for each direction; other layers replace tensors."""
        padded = x.dim() == 3

        def mask(reset: Tensor | None) -> Tensor | None:
            return reset if reset is None or packing is None else packing.pack(reset, self.batch_first)

        forward = Walk(
            self._equations(), x, weights, batch_first=self.batch_first and padded,
            record=self._names_to_record, reset=mask(reset), padding=packing if padded else None,
            batch_sizes=None if packing is None else packing.batch_sizes, lengths=lengths,
        )  # fmt: skip
        if not self.bidirectional:
            return [forward]
        # Backwards, a row is reset at step t if the mask is true at t + 1. At the last step, where every
        # row starts anyway, the value that rolls over from step 0 has no effect.
        back = None if reset is None else reset.roll(-1, 1 if self.batch_first else 0)
        return [forward, forward._replace(reverse=True, reset=mask(back))]

    def _check_sizes(self, states: States, batch: int) -> None:
        scans = self.num_layers * self._num_directions
        for k, state in enumerate(states):
            width = self.hidden_size if k else self.proj_size or self.hidden_size
            checks.state_size(state, (scans, batch, width), "hidden" if len(states) == 1 else f"hidden[{k}]")

    def _layers(
        self,
        directions: list[Walk],
        weights: dict[str, Weights],
        states: States,
        packing: Packing | None,
    ) -> tuple[Tensor, States]:
        """The output of the last layer and the final states, each ``[L*D, B, H]``.

        `weights` are by the name of the layer and direction: "l0", "l0_reverse", ...
        """
        equations, x, D = directions[0].cell, directions[0].x, len(directions)
        names, edits = list(weights), self._edits_here

        def walk_of(k: int, x: Tensor, inner: bool) -> Walk:
            given = tuple([state[k] for state in states]) or None
            return directions[k % D]._replace(x=x, weights=weights[names[k]], states=given, inner=inner)

        if self._may_overlap:
            stack = [walk_of(k, x, inner=False) for k in range(self.num_layers)]
            if overlaps(stack):
                return self._at_once([w._replace(chance=self._chance(equations)) for w in stack])
        finals: list[States] = []
        for layer in range(self.num_layers):
            x = self._dropped(x, packing) if layer else x
            # The outputs of two directions are returned concatenated, in another tensor.
            inner = layer < self.num_layers - 1 or self.bidirectional
            these = range(layer * D, (layer + 1) * D)
            walks = [walk_of(k, x, inner) for k in these]
            if equations.is_random:
                walks = [walk._replace(chance=self._chance(equations)) for walk in walks]
            if edits:
                pairs = [(names[k], walk) for k, walk in zip(these, walks, strict=True)]
                walks = [edits[n].walk(n, walk, packing) if n in edits else walk for n, walk in pairs]
            found = self._scan(walks)
            for k, walk, scanned in zip(these, walks, found, strict=True):
                values = _padded(scanned.recorded, packing if walk.padding is None else None)
                self._hand_over(names[k], values, walk, scanned, packing)
            finals += [scanned.states for scanned in found]
            x = torch.cat([scanned.output for scanned in found], -1) if len(found) > 1 else found[0].output
        return x, _each_stacked(finals)

    @property
    def _may_overlap(self) -> bool:
        """Whether the layers of a stack may overlap: nothing has to be done between or inside them."""
        if self.num_layers == 1 or self.bidirectional or self.checkpoint:
            return False
        if torch.compiler.is_compiling():  # the number of rows may be unknown
            return False
        return not (self._edits_here or self._is_recorded or (self.training and self.dropout))

    def _at_once(self, stack: list[Walk]) -> tuple[Tensor, States]:
        found = scan_stack(stack)
        for name in self._layer_names:
            self._hand_over(name, {})
        return found[-1].output, _each_stacked([scanned.states for scanned in found])

    def _scan(self, walks: list[Walk]) -> list[Scanned]:
        """Run the directions of a layer."""
        if self.checkpoint and not under_compile.is_exporting():  # the number of steps of a program is free
            return [scan_in_segments(self.checkpoint, walk) for walk in walks]
        if any(walk.cell is not walks[0].cell for walk in walks[1:]):
            return [scan_together([walk])[0] for walk in walks]
        return scan_together(walks)

    def _learned_states(self, x: Tensor, packing: Packing | None) -> list[Tensor]:
        """The learned initial states, each ``[L*D, B, H]``; empty if they are not learned."""
        if not self.learn_initial_state:
            return []
        B = packing.B if packing else x.size(0 if self.batch_first else 1)
        return [
            torch.stack([getattr(self, initial(state) + suffix) for suffix in self._all_suffixes])
            .unsqueeze(1)
            .expand(-1, B, -1)
            for state in self.cell.states
        ]

    def _dropped_weights(self, weights: Weights) -> Weights:
        """The weights, with `weight_drop` in training."""
        if not self.training or not self.weight_drop:
            return weights
        return weights._replace(weight_hh=F.dropout(weights.weight_hh, self.weight_drop))

    def _dropped(self, x: Tensor, packing: Packing | None) -> Tensor:
        """Dropout between layers.

        It runs on packed or time-first data, so that a seed drops the same units as in torch.
        """
        if not self.training or not self.dropout:
            return x
        if packing and x.dim() == 3:
            dropped = F.dropout(packing.pack(x, self.batch_first), self.dropout)
            return packing.pad(dropped, self.batch_first)
        if self.batch_first and x.dim() == 3:
            return F.dropout(x.transpose(0, 1).contiguous(), self.dropout).transpose(0, 1)
        return F.dropout(x, self.dropout)

    def extra_repr(self) -> str:
        """The cell and the arguments that differ from their defaults."""
        return f"{self.cell.name}, {self._sizes()}"

    def _sizes(self) -> str:
        names = ["proj_size", *(name for name in DEFAULTS if name != "proj_size")]  # in the order of torch
        values = {name: getattr(self, name) for name in names}
        changed = [f"{name}={value}" for name, value in values.items() if value != DEFAULTS[name]]
        changed += [f"edited={list(self._edits_here)}"] if self._edits_here else []
        return ", ".join([f"{self.input_size}, {self.hidden_size}", *changed])


for _name in OWN:  # class-level defaults, for layers pickled by older versions, and for swapped ones
    setattr(Recurrent, _name, DEFAULTS[_name])


def _between_graphs(layer: Recurrent, *given: Any) -> tuple[Tensor | PackedSequence, Hidden]:
    """Run a call with lengths, which a tracer cannot know, between two graphs of `torch.compile`."""
    # This is not a decorator, because that would import the tracer at once.
    call: Any = torch.compiler.disable(layer.forward)  # type: ignore[no-untyped-call]
    found: tuple[Tensor | PackedSequence, Hidden] = call(*given)
    return found


def _padded(recorded: dict[str, Tensor], packing: Packing | None) -> dict[str, Tensor]:
    """Recorded values as ``[T, B, H]``, NaN past the end of a row."""
    if packing is None or not recorded:
        return recorded
    steps = next(iter(recorded.values()))
    past = packing.pad_with_nan(steps.new_zeros(len(steps), 1))  # [T, B, 1], 0 where a row runs
    return {name: packing.pad(values, batch_first=False).add_(past) for name, values in recorded.items()}


def _each_stacked(finals: Sequence[States]) -> States:
    """Stack the final states ``[B, H]`` of all scans to ``[L*D, B, H]`` each.

    This copies: torch cannot detach views in place.
    """
    return tuple([torch.stack(column) for column in zip(*finals, strict=True)])
