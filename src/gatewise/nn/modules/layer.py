"""The base class of all recurrent modules: a cell with weights, whose calls can be recorded and edited."""

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
from gatewise.nn.kernels.plain.call import Plain, Results, prepare
from gatewise.nn.modules import checks, notebook
from gatewise.nn.modules.edited import Edited
from gatewise.nn.walk import under_compile
from gatewise.nn.walk.listening import here
from gatewise.nn.walk.obstacles import unseen
from gatewise.nn.walk.packing import Packing
from gatewise.nn.walk.random import Chance, drawn
from gatewise.nn.walk.walk import Scanned, Walk, Weights
from gatewise.runtime.weights import shapes

# One state, or a tuple of several.
Hidden: TypeAlias = Tensor | tuple[Tensor, ...]


class Recorded(NamedTuple):
    """The record of one scan, which recorders receive.

    Attributes:
        layer: the name of the layer and direction ("l0", "l0_reverse").
        cell: the equations, without edits.
        values: the recorded values by name, each ``[T, B, H]``.
        walk: the arguments of the scan; None for a single step.
        scanned: the results of the scan, with their autograd graph; None for a single step.
        packing: how the rows were packed, if they were.
        edited: the edited equations, if the layer is edited. The scan then computed these, not `cell`.
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
    """The recorders and edits of one module in the current thread, while their contexts are open.

    Attributes:
        recorders: each recorder, with the names of the values that it records.
        edits: edited equations by layer, used in place of the module's own edits.
    """

    def __init__(self) -> None:  # instance attributes: torch.compile does not guard class attributes
        self.recorders: tuple[tuple[Recorder, Collection[str]], ...] = ()
        self.edits: Mapping[str, Edited] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles have no recorders and edits."""
        return _InThread, ()


_MOST_PLAIN = 16  # the most prepared calls of a module, one for each shape
_NOTHING = _InThread()  # shared by all modules without recorders and edits; never changed


class Layer(nn.Module):
    """A cell with its weights: the base class of `Recurrent` and `Step`.

    Parameters are looked up by name at every call. So weight sharing, parametrizations,
    `torch.func.functional_call` and `copy.deepcopy` need no special code.
    """

    # Class-level defaults, so that layers pickled by older versions still load.
    proj_size = 0
    zoneout: tuple[float, ...] = ()
    recurrent_dropout = 0.0
    _in_thread = _NOTHING
    _frozen = False  # whether weights stay packed between calls (see `freezing`)
    _edits: Mapping[str, Edited] = {}  # by layer, "l0" or "l0_reverse"
    _renamed: Mapping[str, str] = {}  # the names of parameters that `_register` had to rename

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

    def _repr_html_(self) -> str:
        """What a Jupyter notebook shows: the equations, and the parameters with their shapes."""
        call = f"{type(self).__name__}({self.extra_repr()})"
        return notebook.shown(call, self.cell, self.named_parameters())

    def _repr_latex_(self) -> str:
        """The equations, where a Jupyter notebook typesets LaTeX."""
        return self.cell._repr_latex_()

    def _declare(
        self, suffix: str, input_size: int, device: torch.device | str | None, dtype: torch.dtype | None
    ) -> list[str]:
        """Register the parameters of one layer and direction, without filling them. Returns their names."""
        shaped = shapes(self.cell, input_size, self.hidden_size, self.bias, self.proj_size)
        return self._register(shaped, suffix, device, dtype)

    def _register(
        self,
        shaped: Mapping[str, tuple[int, ...]],
        suffix: str,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ) -> list[str]:
        """Register parameters. A name that is taken (a vector of a step named ``bias``) gets a ``_``."""
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
        """The cell with the options of the layer (projection, zoneout, recurrent dropout)."""
        make = under_compile.with_options if torch.compiler.is_compiling() else with_options
        return make(self.cell, bool(self.proj_size), self.zoneout, self.recurrent_dropout)

    def _chance(self, equations: Cell) -> Chance | None:
        """The random seed of a call in training, from torch's generator; None if no equation is random."""
        if not self.training or not equations.is_random:
            return None
        return drawn()

    def _weights(self, suffix: str) -> Weights:
        def get(name: str) -> Any:
            name = self._renamed.get(name + suffix, name + suffix)
            found = self._parameters.get(name)  # faster than getattr; a parametrized weight is not in it
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
        """Compute a call for which a prepared one exists. Returns None if there is none."""
        known = self.__dict__.get("_plain")
        if not known or type(x) is not Tensor or not self._is_unwatched or not _is_plain_context():
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
        """Prepare further calls like this one, if it was plain (`gatewise.nn.kernels.plain`)."""
        if not self._is_unwatched or self._edits or not _is_plain_context():
            return
        equations = self._equations()
        if self.training and equations.is_random:
            return
        names = [self._renamed.get(name + suffix, name + suffix) for name in self._weight_names]
        known: dict[Any, Plain] = self.__dict__.setdefault("_plain", {})
        key = x.shape, not states, available(torch.get_num_threads())
        before = known.get(key)
        if before is not None and not before.trains and before.dtype is x.dtype and torch.is_grad_enabled():
            return  # a call without gradients is prepared, but this one needs gradients
        plain = prepare(without_random(equations), x, states, self._parameters, names, results, batch_first)
        if plain is not None:
            if len(known) >= _MOST_PLAIN:
                known.clear()
            known[key] = plain

    @property
    def _weight_names(self) -> list[str]:
        """The weight names of a layer and direction, without suffix, in the order of `Weights.flat`."""
        cell, biased = self.cell, self.bias
        names = ["weight_ih", "weight_hh", *(["bias_ih", "bias_hh"] if biased else []), *cell.vectors]
        names += ["weight_hr"] if self.proj_size else []
        names += ["weight_linear"] if cell.linears else []
        return names + (["bias_linear"] if cell.linears and biased else [])

    def __setattr__(self, name: str, value: Any) -> None:
        # A prepared call may depend on it. On the mode, which changes in each epoch of training, it depends
        # where something is drawn at random.
        if "_plain" in self.__dict__ and (name != "training" or self._draws):
            self.__dict__.pop("_plain", None)
        super().__setattr__(name, value)

    @property
    def _draws(self) -> bool:
        """Whether something is drawn at random in training."""
        return self._equations().is_random or bool(getattr(self, "weight_drop", 0))

    @property
    def _is_unwatched(self) -> bool:
        """Whether no context of this thread records or edits this module."""
        local = self._in_thread
        return local is _NOTHING or not (local.recorders or local.edits)

    @contextmanager
    def recording(self, recorder: Recorder, names: Collection[str] | None = None) -> Iterator[None]:
        """Call `recorder` with the record of every scan of this thread, while the context is open.

        Args:
            recorder: is called with a `Recorded` after each scan.
            names: the values to record; by default all values of the cell. The record also contains the
                values of other open recorders.
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
        """Compute a layer by edited equations in this thread, while the context is open."""
        local = self._of_this_thread()
        before = local.edits
        local.edits = {**before, layer: edited}
        try:
            yield
        finally:
            local.edits = before

    def _of_this_thread(self) -> _InThread:
        # setdefault is atomic, so two threads get the same object.
        found: _InThread = self.__dict__.setdefault("_in_thread", _InThread())
        return found

    @property
    def _edits_here(self) -> Mapping[str, Edited]:
        """The edited equations by layer, "l0" or "l0_reverse". Layers that are not in it compute `cell`."""
        return {**self._edits, **self._in_thread.edits} if self._in_thread.edits else self._edits

    @property
    def _layer_names(self) -> list[str]:
        """The names of the layers and directions, as in `gatewise.watch`: "l0", "l0_reverse", ..."""
        return ["l0"]

    @property
    def _is_recorded(self) -> bool:
        """Whether a context of this thread records this module."""
        return bool(self._in_thread.recorders)

    def refuse_edits(self, who: str) -> None:
        """Refuse an edited layer, for code that reads `cell` as what the layer computes.

        Args:
            who: the name of the caller, for the error.

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
        if not self._is_recorded:
            return
        edited = self._edits_here.get(layer)
        if edited:
            values = {name: values[edited.name_of(name)] for name in self._names_to_record}
        for recorder, _ in self._in_thread.recorders:
            recorder(Recorded(layer, self.cell, values, walk, scanned, packing, edited))

    def __getstate__(self) -> dict[str, Any]:
        """The state without recorders, edits of contexts, and prepared calls."""
        state: dict[str, Any] = super().__getstate__()  # type: ignore[no-untyped-call]
        return {name: value for name, value in state.items() if name not in ("_in_thread", "_plain")}

    def __prepare_scriptable__(self) -> NoReturn:
        """Refuse `torch.jit.script`, which cannot compile autograd functions.

        Raises:
            RuntimeError: always.
        """
        raise RuntimeError(
            f"{type(self).__name__}: torch.jit.script cannot compile gatewise's layers. Use "
            "torch.export.export, gatewise.save or gatewise.export_onnx, or load the weights into a layer of "
            "torch.nn."
        )


def _is_plain_context() -> bool:
    """Whether no tracer, transform, autocast or listener is active."""
    return unseen() and not here.listeners and not torch._C._is_any_autocast_enabled()
