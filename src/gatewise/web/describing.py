"""What the engine for web pages (``engine.js``) must know of a cell, and the engine's source."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple, final

from gatewise.compiler.emit.number import FLOAT32
from gatewise.compiler.emit.target import Target
from gatewise.compiler.kernels import weight_gradients
from gatewise.compiler.kernels.backward import BackwardKernel
from gatewise.compiler.kernels.forward import ForwardKernel
from gatewise.compiler.kernels.weight_gradients import WeightGradientKernel
from gatewise.compiler.plan.plan import Plan, plan
from gatewise.compiler.run.program import CHUNK_BYTES, ROWS_TO_JOIN, Kernel
from gatewise.compiler.wasm.modules import module
from gatewise.compiler.wasm.target import RELAXED
from gatewise.language import Cell
from gatewise.language.graph import Graph, Node
from gatewise.language.rewrites import edited, without_random
from gatewise.runtime.weights import shapes

KERNELS = ("forward", "backward", "outer")
TABLE = 64  # functions of a kernel that are called by address; kernels have up to 20
ENGINE = ("passes.js", "gradients.js", "edits.js", "engine.js")
_HERE = Path(__file__).parent
# The fields of the kernels for weights, and the sizes of their axes. Vectors have one number per unit.
_FIELDS = {
    "weight_ih": "w_ih", "weight_hh": "w_hh", "bias_ih": "b_ih", "bias_hh": "b_hh",
    "weight_linear": "w_linear", "bias_linear": "b_linear", "weight_hr": "w_hr",
}  # fmt: skip
_AXES = {
    "weight_ih": "HI", "weight_hh": "HP", "bias_ih": "H", "bias_hh": "H",
    "weight_linear": "HH", "bias_linear": "H", "weight_hr": "PH",
}  # fmt: skip


@final
class Editable(NamedTuple):
    """A cell in which every named value can be held.

    Attributes:
        cell: its equations, with the gates of the edits after all others.
        origin: the cell without edits.
        edits: for each value that can be held, the blocks of rows in the input weights of its mask and of its
            new value.
        called: the names of values in `cell` that differ from those in `origin`.
    """

    cell: Cell
    origin: Cell
    edits: Mapping[str, tuple[int, int]]
    called: Mapping[str, str]


def editable(cell: Cell, names: Container[str] | None = None) -> Editable:
    """The cell in which every named value can be held at a number, at chosen steps, rows and units.

    Each value gets two more gates that see the input alone: where the mask is above 1/2, the value is the
    other one. A layer of ``engine.js`` with kernels of this cell has the weights of the original one; a call
    says what is held, and the layer adds a column to the input for each edit, and its weights::

        layer.forward(x, { edits: [{ name: "f", value: 1, steps: [5, 6, 7], units: [3], rows: [0] }] })

    A later edit goes before an earlier one. Steps, units and rows that are left out are all; `value` is a
    number, or one number for each of all units. Where nothing is edited, the bits are those without edits,
    as in `gatewise.edit`. A projected output cannot be held, nor can such a run go backward. `names` are the
    values that can be held, by default all.

    Example:
        >>> from gatewise import cells
        >>> print(*str(editable(cells.rnn).cell).splitlines()[-2:], sep="\\n")
          edit0_0_a_bar = where(0.5 < edit0_0_bar, edit0_0_given_bar, a_bar)
          h' = where(0.5 < edit0_1_bar, edit0_1_given_bar, tanh(edit0_0_a_bar))
        >>> editable(cells.rnn).edits
        {'a_bar': (1, 2), 'h': (3, 4)}
    """
    origin = cell = without_random(cell)
    taken = " ".join([*cell.values, *cell.states, *(parameter.name for parameter in cell.parameters)])
    prefix = next(prefix for prefix in map("edit{}_".format, count()) if prefix not in taken)
    edits, called, known = dict[str, tuple[int, int]](), dict[str, str](), dict[Node, str]()
    for name, node in origin.values.items():
        if node.op == "project" or (names is not None and name not in names):
            continue
        if node in known:  # two names for one value
            edits[name] = edits[known[node]]
            continue
        known[node], mask = name, f"{prefix}{len(known)}"
        first = len(cell.input_gates)
        edits[name] = first, first + 1
        cell = edited(cell, name, Graph().leaf("gate", f"{mask}_given", "x"), mask, f"{mask}_given")
        called |= {value: f"{mask}_{value}" for value in origin.values if f"{mask}_{value}" in cell.values}
    return Editable(cell, origin, edits, called)


def described(cell: Cell | Editable) -> dict[str, Any]:
    """Everything that ``engine.js`` must know of a cell, as values of JSON.

    Random equations (`dropout`, `zoneout`) compute what they do in evaluation mode.

    Example:
        >>> from gatewise import cells
        >>> about = described(cells.lstm)
        >>> about["states"], about["values"]
        (['h', 'c'], ['i_bar', 'f_bar', 'g_bar', 'o_bar', 'i', 'f', 'g', 'o', 'h', 'c'])
    """
    whole = _whole(cell)
    form, origin = plan(whole.cell), whole.origin
    return {
        "cell": origin.name,
        "states": list(origin.states),
        "values": list(origin.values),
        "called": dict(whole.called),
        "output": [name for name, node in origin.values.items() if node.op == "project"],
        "weights": parameters_of(origin),
        "edits": {name: list(blocks) for name, blocks in whole.edits.items()},
        "inputGates": len(whole.cell.input_gates),
        "fields": {name: list(kernel.arguments.names) for name, kernel in _kernels(form).items()},
        "plan": _counts(form),
        "table": TABLE,
        "lanes": RELAXED.width(FLOAT32),
        "chunkBytes": CHUNK_BYTES,
        "rowsToJoin": ROWS_TO_JOIN,
        "rowsToSum": weight_gradients.chunk(1),
    }


def kernels_of(cell: Cell | Editable, target: Target, names: Iterable[str] = KERNELS) -> dict[str, bytes]:
    """The kernels of a cell as modules of WebAssembly: "forward", "backward" and "outer".

    `target` is ``RELAXED`` or ``PLAIN`` of `gatewise.compiler.wasm.target`. The last one, which sums the
    gradients of weights, is the same for all cells. Without gradients, "forward" is enough.
    """
    kernels = _kernels(plan(_whole(cell).cell))
    return {name: module(name, kernels[name], FLOAT32, target) for name in names}


def _whole(cell: Cell | Editable) -> Editable:
    if isinstance(cell, Editable):
        return cell
    cell = without_random(cell)
    return Editable(cell, cell, {}, {})


def bundle() -> str:
    """The engine as JavaScript that defines ``gatewise``, for pages that put scripts one after another."""
    parts = joined("machine.js", *ENGINE)
    return f'const gatewise = (() => {{\n"use strict";\n{parts}\nreturn {{ simd, kernels, Layer }};\n}})();\n'


def joined(*parts: str) -> str:
    """Files of this folder, one after another."""
    return "\n".join((_HERE / name).read_text("utf-8") for name in parts)


def _kernels(form: Plan) -> dict[str, Kernel]:
    return {
        "forward": ForwardKernel(form),
        "backward": BackwardKernel(form),
        "outer": WeightGradientKernel(),
    }


def parameters_of(cell: Cell) -> list[dict[str, Any]]:
    """Each weight: its name, the field of the kernels, its blocks of rows, and the sizes of its axes."""
    counts = shapes(cell, 1, 1, True, int(cell.projects))
    kinds = {
        parameter.name: parameter.kind.value for parameter in cell.parameters if not parameter.sees_input
    }
    return [
        {
            "name": name,
            "field": _FIELDS.get(name, f"vector_{name}"),
            "kind": kinds.get(name, "weight"),
            "blocks": shape[0],
            "axes": _AXES.get(name, "H"),
        }
        for name, shape in counts.items()
    ]


def _counts(form: Plan) -> dict[str, Any]:
    """The numbers of a plan that the sizes of arrays depend on."""
    cell = form.cell
    (vector,) = cell.next_states[0].args if cell.projects else (None,)
    return {
        "gates": form.gates,
        "derivatives": form.derivatives,
        "means": len(form.forward.means),
        "ownMeans": len(form.backward.means),
        "spills": len(form.forward.spilled),
        "backSpills": len(form.backward.spilled),
        "slots": len(form.slots),
        "inputSlots": len(form.input_slots),
        "stateSlots": len(form.state_slots),
        "linears": len(cell.linears),
        "projects": cell.projects,
        "joins": form.joins,
        "keeps": form.keeps,
        "overwrites": form.overwrites,
        "runs": [[first, len(run), run[0].row_ih, run[0].row_hh] for first, run in form.runs],
        "rowsIh": form.rows_ih,
        "rowsHh": form.rows_hh,
        "multiplied": [form.columns[node.args[0]] for node in cell.linears],
        "projected": None if vector is None else form.columns[vector],
        "vectors": [[cell.vectors[n] for n in numbers] for numbers in form.by_vectors.values()],
    }
