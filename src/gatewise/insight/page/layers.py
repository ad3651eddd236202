"""The data of one layer in one direction for the page.

Shapes: ``T`` steps, ``B`` rows, ``H`` units, counting only those that are shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

from torch import Tensor

from gatewise.insight.flow import Flow
from gatewise.insight.keeping import Kept, kept_states
from gatewise.insight.memory import HalfLife, Ledger, Saturation, half_life, ledger, saturation
from gatewise.insight.page.arrays import Cut, packed
from gatewise.insight.page.expressions import expression, names_of, recorded, remembered
from gatewise.insight.page.sample import Sample, Size
from gatewise.insight.page.sums import sums
from gatewise.insight.threads import one_thread
from gatewise.insight.values import Values
from gatewise.language import Cell
from gatewise.language.graph import Node


@final
@dataclass(frozen=True)
class Studied:
    """A recorded layer and the results of its analyses.

    Attributes:
        values: the recording.
        cell: the equations, including the effect of the layer's options.
        ledgers, half_lives: by name of the kept state.
        saturation: None if the cell has no sigmoid, or all of its sigmoids are NaN.
        flow: None if there is no gradient.
    """

    values: Values
    cell: Cell
    ledgers: dict[str, Ledger]
    half_lives: dict[str, HalfLife]
    saturation: Saturation | None
    flow: Flow | None = None

    @classmethod
    def of(cls, values: Values) -> Studied:
        """Run the analyses on a recording."""
        cell = values.passage.cell
        kept = kept_states(cell)
        gates = [values[name] for name in values.names if values.cell.values[name].op == "sigmoid"]
        return cls(
            values,
            cell,
            {state: ledger(values, state) for state in kept},
            {state: half_life(values, state) for state in kept},
            saturation(values) if any(gate.isfinite().any() for gate in gates) else None,
        )

    @property
    def kept(self) -> dict[str, Kept]:
        """The kept states by name. Those without a ledger only have the form of a kept state."""
        return remembered(self.cell) | kept_states(self.cell)

    @property
    def size(self) -> Size:
        """The size of its data."""
        arrays = len(recorded(self.cell)) + len(self.unwritten) + len(self.ledgers)
        passage = self.values.passage
        weights = sum(part.numel() for part in passage.walk.weights[:4] if isinstance(part, Tensor))
        return Size(arrays, passage.units, passage.x.size(-1), weights)

    @one_thread()
    def shown(self, sample: Sample, running: bool = False) -> dict[str, Any]:
        """The data for the page; `running` tells whether it has the weights of the layer already."""
        passage = self.values.passage
        units = self._units(sample.units)
        cut = Cut(sample, units)
        extra = passage.exact().compute(self.unwritten) if self.unwritten else {}
        return {
            "name": self.values.layer,
            "width_all": passage.units,
            "units": units,
            "reverse": passage.walk.reverse,
            "values": [_value(n, self.values[n], self.cell, cut) for n in recorded(self.cell)],
            "extras": [{"name": n, **packed(cut.array(v))} for n, v in extra.items()],
            "kept": [self._kept(kept, cut) for kept in self.kept.values()],
            "output": self._output(),
            "lines": self._lines(),
            "states": self.states(cut),
            "begins": packed(passage.begins[sample.first : sample.stop, : sample.rows]),
            "vectors": {name: packed(vector) for name, vector in self._vectors(units).items()},
            "sums": sums(passage, cut, with_weights=not running),
            "saturation": self.saturation and self._saturation(self.saturation, units),
            "flow": self.flow and {n: packed(cut.steps(v)) for n, v in self.flow.states.items()},
            "flow_residual": self.flow and self.flow.residual,
        }

    def _units(self, most: int) -> list[int]:
        """The units to show: all, or the `most` units whose output varies most."""
        passage = self.values.passage
        if passage.units <= most:
            return list(range(passage.units))
        state = self.values[self.cell.states[-1]].double().flatten(0, 1)
        moves = (state - state.nanmean(0)).square().nanmean(0)
        return sorted(moves.argsort(descending=True)[:most].tolist())

    @property
    def unwritten(self) -> dict[str, Node]:
        """Nodes that the page needs but cannot compute from recorded values, by a label."""
        names, found = names_of(self.cell), {}
        for state, kept in self.kept.items():
            for what, node in kept.nodes.items():
                if expression(node, names) is None:
                    found[f"{what} of {state}"] = node
        return found

    def _term(self, node: Node, extra: str) -> Any:
        found = expression(node, names_of(self.cell))
        return ["v", extra] if found is None else found

    def _kept(self, kept: Kept, cut: Cut) -> dict[str, Any]:
        memory = {
            "state": kept.state,
            "gate": kept.gate,
            "keep": self._term(kept.keep, f"keep of {kept.state}"),
            "write": self._term(kept.write, f"write of {kept.state}"),
            "ledger": None,
        }
        if kept.state not in self.ledgers:
            return memory
        found, half = self.ledgers[kept.state], self.half_lives[kept.state]
        return memory | {
            "ledger": packed(cut.array(found.written)),
            "start": packed(cut.rows(found.initial)),
            "total": packed(cut.rows(found.total)),
            "residual": found.residual,
            "realised": packed(cut.of_units(half.realised)),
            "expected": packed(cut.of_units(half.expected)),
        }

    def _output(self) -> dict[str, Any]:
        node = self.cell.next_states[0]
        projected = node.op == "project"
        term = node.args[0] if projected else node
        return {
            "state": self.cell.states[0],
            "projected": projected,
            "term": expression(term, names_of(self.cell), by_name=False),
        }

    def _lines(self) -> list[dict[str, Any]]:
        """The equations that the page can evaluate from recorded values."""
        names = names_of(self.cell)
        written = {name: expression(node, names, by_name=False) for node, name in names.items()}
        return [{"name": name, "term": term} for name, term in written.items() if term is not None]

    def states(self, cut: Cut) -> dict[str, Any]:
        """The initial states of each row, and the states before the first shown step."""
        passage, found = self.values.passage, {}
        for state, initial in zip(self.cell.states, passage.initial, strict=True):
            outside = cut.sample.stop if passage.walk.reverse else cut.sample.first - 1
            values = self.values[state]
            before = values[outside] if 0 <= outside < len(values) else initial
            found[state] = {"initial": packed(cut.rows(initial)), "before": packed(cut.rows(before))}
        return found

    def _vectors(self, units: list[int]) -> dict[str, Tensor]:
        weights = self.values.passage.walk.weights.vectors
        return {n: vector[units] for n, vector in zip(self.cell.vectors, weights, strict=True)}

    def _saturation(self, found: Saturation, units: list[int]) -> dict[str, Any]:
        pairs = zip(found.gates, found.left, found.right, strict=True)
        gates = [
            {"name": n, "left": packed(left[units]), "right": packed(right[units])}
            for n, left, right in pairs
        ]
        return {"low": found.low, "high": found.high, "gates": gates}


def _value(name: str, values: Tensor, cell: Cell, cut: Cut) -> dict[str, Any]:
    node = cell.values[name]
    kept = {kept.keep for kept in (remembered(cell) | kept_states(cell)).values()}
    known = values[values.isfinite()]
    within = bool(known.numel()) and bool(((known >= 0) & (known <= 1)).all())
    gate = node.op == "sigmoid" or (node in kept and within)
    kind = "state" if name in cell.states else "gate" if gate else "value"
    return {"name": name, "kind": kind, **packed(cut.array(values))}


def studied(seen: Mapping[str, Values], steps: int, rows: int) -> tuple[list[Studied], list[str]]:
    """The layers to show, and the names of others, which ran over sequences of another length."""
    found, others = [], []
    for name, values in seen.items():
        shape = values[values.cell.states[0]].shape[:2]
        if tuple(shape) == (steps, rows) and values._passage is not None:
            found.append(Studied.of(values))
        else:
            others.append(name)
    return found, others
