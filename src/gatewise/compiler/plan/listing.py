"""The text of a plan: numbered nodes, one a line, then the phases and passes that compute them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import final

from gatewise.compiler.plan.fusing import product_in
from gatewise.compiler.plan.schedule import Level, Schedule
from gatewise.language.graph import Node, label


@final
class Listing:
    """Names ``v0``, ``v1``, ... for nodes; a node that others share has one name and one line."""

    def __init__(self, nodes: Iterable[Node]) -> None:
        self._names = {node: f"v{n}" for n, node in enumerate(nodes)}

    def names(self, nodes: Iterable[Node]) -> str:
        """The names of some nodes."""
        return " ".join(self._names[node] for node in nodes)

    def nodes(self, nodes: Iterable[Node]) -> Iterator[str]:
        """A line for each node, as ``v12 = mul v3 v7``."""
        for node in nodes:
            fused = product_in(node)
            note = f"  # fma with {self._names[fused]}" if fused else ""
            yield f"  {self._names[node]} = {label(node)} {self.names(node.args)}".rstrip() + note

    def phases(
        self,
        schedule: Schedule,
        first: str,
        meaning: Iterable[tuple[Node, str]],
        seeds: Mapping[Node, Level] | None = None,
    ) -> Iterator[str]:
        """Lines for each phase and pass.

        `first` is the product that the first phase begins with, `meaning` what stored nodes are, `seeds` the
        passes that can read them.
        """
        meanings: dict[Node, list[str]] = {}
        for node, text in meaning:
            meanings.setdefault(node, []).append(text)
        for n, phase in enumerate(schedule.phases):
            yield f"  phase {n}: {self.names(phase.products) if phase.products else first}"
            for one in phase.passes:
                yield f"    pass {one.level.number}"
                read = [seed for seed, level in (seeds or {}).items() if level == one.level]
                stored = dict.fromkeys((*one.outputs, *one.readable))
                parts = {
                    "seeds": self.names(seed for seed in read if seed in self._names),
                    "means": self.names(one.means),
                    "stores": ", ".join(self._stored(node, meanings.get(node)) for node in stored),
                    "spills": self.names(one.spills),
                }
                yield from (f"      {part} {nodes}" for part, nodes in parts.items() if nodes)

    def _stored(self, node: Node, meanings: list[str] | None) -> str:
        return f"{self._names[node]} ({', '.join(meanings)})" if meanings else self._names[node]
