"""What every recurrent module is: a cell with weights, whose scans can be listened to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, NoReturn, TypeAlias

import torch
from torch import Tensor, nn

from gatewise.compiler.run.threads import available
from gatewise.language import Cell
from gatewise.language.rewrites import with_options, without_random
from gatewise.nn.kernels.plain import Plain, Results, prepare
from gatewise.nn.modules import checks
from gatewise.nn.modules.edited import Edited
from gatewise.nn.walk import under_compile
from gatewise.nn.walk.listening import here
from gatewise.nn.walk.obstacles import unseen
from gatewise.nn.walk.packing import Packing
from gatewise.nn.walk.random import Chance, drawn
from gatewise.nn.walk.walk import Scanned, Walk, Weights
from gatewise.runtime.weights import shapes

# One state as itself, several as a tuple.
Hidden: TypeAlias = Tensor | tuple[Tensor, ...]


class Recorded(NamedTuple):
    """One scan, as recorders are given it.

    `layer` is its name ("l0", "l0_reverse"), `values` what was recorded, by name, each ``[T, B, H]``. For a
    layer over a sequence also what was walked, what came of it, with the graph of autograd, and how the rows
    were packed if they were. Of an edited layer what was walked is `edited`, and `cell` is not.
    """

    layer: str
    cell: Cell
    values: Mapping[str, Tensor]
    walk: Walk | None = None
    scanned: Scanned | None = None
    packing: Packing | None = None
    edited: Edited | None = None


Recorder: TypeAlias = Callable[[Recorded], None]


class _InThread(threading.local):
    """What is done to one layer in this thread, while a context is open.

    Attributes:
        recorders: each with the names that it wants.
        edits: by layer, in place of the layer's own.
    """

    def __init__(self) -> None:  # attributes of the instance: torch.compile guards no attributes of a class
        self.recorders: tuple[tuple[Recorder, Collection[str]], ...] = ()
        self.edits: Mapping[str, Edited] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy or a pickle is not being watched."""
        return _InThread, ()


_MOST_PLAIN = 16  # shapes for which a module prepares
_NOTHING = _InThread()  # of layers that are not watched; never changed


class Layer(nn.Module):
    """A cell with its weights: what `Recurrent` and `Step` have in common.

    Parameters are ordinary ones, looked up by name at every call, so that weight sharing, parametrizations,
    `torch.func.functional_call` and `copy.deepcopy` need no special care.
    """

    # Defaults of the class, so that layers that older versions pickled still load.
    proj_size = 0
    zoneout: tuple[float, ...] = ()
    recurrent_dropout = 0.0
    _in_thread = _NOTHING
    _frozen = False  # whether weights stay packed between calls (see `freezing`)
    _edits: Mapping[str, Edited] = {}  # by layer, "l0" or "l0_reverse"
    _renamed: Mapping[str, str] = {}  # parameters under other names than those of `_register`

    def __init__(self, cell: Cell, input_size: int, hidden_size: int, bias: bool, proj_size: int = 0) -> None:
        super().__init__()
        if not isinstance(cell, Cell):
            kind = type(cell).__name__
            raise TypeError(f"cell must be a gatewise.Cell. Got {kind}. Put @gatewise.cell on a function.")
        self.cell = cell
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        self.proj_size = proj_size

    def _declare(
        self, suffix: str, input_size: int, device: torch.device | str | None, dtype: torch.dtype | None
    ) -> list[str]:
        """Register the parameters of one scan, not yet filled; give their names."""
        shaped = shapes(self.cell, input_size, self.hidden_size, self.bias, self.proj_size)
        return self._register(shaped, suffix, device, dtype)

    def _register(
        self,
        shaped: Mapping[str, tuple[int, ...]],
        suffix: str,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ) -> list[str]:
        """Register parameters; one whose name is taken (a vector of a step called ``bias``) gets a ``_``."""
        names = []
        for name, shape in shaped.items():
            free = name + suffix
            while hasattr(self, free):
                free += "_"
            self.register_parameter(free, nn.Parameter(torch.empty(shape, device=device, dtype=dtype)))
            if free != name + suffix:
                self._renamed = {**self._renamed, name + suffix: free}
            names.append(free)
        return names

    def _equations(self) -> Cell:
        """The cell with what the layer's arguments make of it."""
        make = under_compile.with_options if torch.compiler.is_compiling() else with_options
        return make(self.cell, bool(self.proj_size), self.zoneout, self.recurrent_dropout)

    def _chance(self, equations: Cell) -> Chance | None:
        """What decides in training where equations leave something to chance, seeded by torch's generator."""
        if not self.training or not equations.is_random:
            return None
        return drawn()

    def _weights(self, suffix: str) -> Weights:
        def get(name: str) -> Any:
            name = self._renamed.get(name + suffix, name + suffix)
            found = self._parameters.get(name)  # faster than an attribute, which may be computed
            return getattr(self, name) if found is None else found

        weight_ih, weight_hh = get("weight_ih"), get("weight_hh")
        checks.matrices(self.cell, weight_ih, weight_hh)
        return Weights(
            weight_ih,
            weight_hh,
            get("bias_ih") if self.bias else None,
            get("bias_hh") if self.bias else None,
            tuple(get(name) for name in self.cell.vectors),
            get("weight_hr") if self.proj_size else None,
            get("weight_linear") if self.cell.linears else None,
            get("bias_linear") if self.cell.linears and self.bias else None,
        )

    def _plain_call(self, x: object, hx: object) -> Sequence[Tensor] | None:
        """The results of a call that was prepared for; None for any other one."""
        known = self.__dict__.get("_plain")
        if not known or type(x) is not Tensor or not self._is_left_alone or not _nobody_is_around():
            return None
        plain: Plain | None = known.get((x.shape, hx is None, available(torch.get_num_threads())))
        if plain is None:
            return None
        states: Any = () if hx is None else hx if plain.several else (hx,)
        if type(states) not in (tuple, list):
            return None
        return plain(x, states, self._parameters, self._frozen)

    def _prepare_plain_call(
        self, suffix: str, x: Tensor, states: Sequence[Tensor], results: Results, batch_first: bool = False
    ) -> None:
        """Prepare for more calls like this one, if it was plain."""
        if not self._is_left_alone or self._edits or not _nobody_is_around():
            return
        equations = self._equations()
        if self.training and equations.is_random:
            return
        names = [self._renamed.get(name + suffix, name + suffix) for name in self._weight_names]
        known: dict[Any, Plain] = self.__dict__.setdefault("_plain", {})
        key = x.shape, not states, available(torch.get_num_threads())
        before = known.get(key)
        if before is not None and not before.trains and before.dtype is x.dtype and torch.is_grad_enabled():
            return  # prepared, but this call wants gradients
        plain = prepare(without_random(equations), x, states, self._parameters, names, results, batch_first)
        if plain is not None:
            if len(known) >= _MOST_PLAIN:
                known.clear()
            known[key] = plain

    @property
    def _weight_names(self) -> list[str]:
        """The names of the weights of a scan without its suffix, in the order of `Weights.flat`."""
        cell, biased = self.cell, self.bias
        names = ["weight_ih", "weight_hh", *(["bias_ih", "bias_hh"] if biased else []), *cell.vectors]
        names += ["weight_hr"] if self.proj_size else []
        names += ["weight_linear"] if cell.linears else []
        return names + (["bias_linear"] if cell.linears and biased else [])

    def __setattr__(self, name: str, value: Any) -> None:
        self.__dict__.pop("_plain", None)  # what was prepared may depend on it
        super().__setattr__(name, value)

    @property
    def _is_left_alone(self) -> bool:
        """Whether nobody records or edits what it computes."""
        local = self._in_thread
        return local is _NOTHING or not (local.recorders or local.edits)

    @contextmanager
    def recording(self, recorder: Recorder, names: Collection[str] | None = None) -> Iterator[None]:
        """Hand every scan of this thread to `recorder` while the context is open, with the values in `names`.

        None stands for every value of the cell. What others record comes along.
        """
        mine = (recorder, tuple(self.cell.values) if names is None else names)
        local = self._of_this_thread()
        local.recorders += (mine,)
        try:
            yield
        finally:
            local.recorders = tuple(entry for entry in local.recorders if entry is not mine)

    @contextmanager
    def editing(self, layer: str, edited: Edited) -> Iterator[None]:
        """Compute a layer by an edited cell while the context is open, in this thread."""
        local = self._of_this_thread()
        before = local.edits
        local.edits = {**before, layer: edited}
        try:
            yield
        finally:
            local.edits = before

    def _of_this_thread(self) -> _InThread:
        found: _InThread = self.__dict__.setdefault(
            "_in_thread", _InThread()
        )  # in one step, for other threads
        return found

    @property
    def _edits_here(self) -> Mapping[str, Edited]:
        """The edited equations by layer, "l0" or "l0_reverse"; those of `cell` stand where there are none."""
        return {**self._edits, **self._in_thread.edits} if self._in_thread.edits else self._edits

    @property
    def _layer_names(self) -> list[str]:
        """What its layers and directions are called where they are watched: "l0", "l0_reverse", ..."""
        return ["l0"]

    @property
    def _is_recorded(self) -> bool:
        """Whether somebody records what it computes in this thread."""
        return bool(self._in_thread.recorders)

    def refuse_edits(self, who: str) -> None:
        """Speak up before the cell is taken for what the layer computes.

        Raises:
            ValueError: the layer is edited.
        """
        if self._edits_here:
            raise ValueError(
                f"{who}: {', '.join(self._edits_here)} is edited. Take the layer before gatewise.edit."
            )

    @property
    def _names_to_record(self) -> tuple[str, ...]:
        if not self._in_thread.recorders:
            return ()
        wanted = {name for _, names in self._in_thread.recorders for name in names}
        return tuple(name for name in self.cell.values if name in wanted)

    def _hand_over(
        self,
        layer: str,
        values: Mapping[str, Tensor],
        walk: Walk | None = None,
        scanned: Scanned | None = None,
        packing: Packing | None = None,
    ) -> None:
        for listener in here.listeners:
            listener.layer(self, layer)
        edited = self._edits_here.get(layer)
        if edited:
            values = {name: values[edited.name_of(name)] for name in self._names_to_record}
        for recorder, _ in self._in_thread.recorders:
            recorder(Recorded(layer, self.cell, values, walk, scanned, packing, edited))

    def __getstate__(self) -> dict[str, Any]:
        """A copy or a pickle is not being watched."""
        state: dict[str, Any] = super().__getstate__()  # type: ignore[no-untyped-call]
        return {name: value for name, value in state.items() if name not in ("_in_thread", "_plain")}

    def __prepare_scriptable__(self) -> NoReturn:
        """Called by `torch.jit.script`, which compiles no autograd functions.

        Raises:
            RuntimeError: always.
        """
        raise RuntimeError(
            f"{type(self).__name__}: torch.jit.script cannot compile gatewise's layers. Use "
            "torch.export.export, gatewise.save or gatewise.export_onnx, or load the weights into a layer of "
            "torch.nn."
        )


def _nobody_is_around() -> bool:
    """Whether no tracer, transform, autocast or listener is at work."""
    return unseen() and not here.listeners and not torch._C._is_any_autocast_enabled()
