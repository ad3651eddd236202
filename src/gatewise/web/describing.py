"""What the engine for web pages (``engine.js``) must know of a cell, and the engine's source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
from gatewise.language.rewrites import without_random
from gatewise.runtime.weights import shapes

_HERE = Path(__file__).parent
TABLE = 64  # functions of a kernel that are called by address; kernels have up to 20
_PARTS = ("machine.js", "passes.js", "gradients.js", "engine.js")
# The fields of the kernels for weights, and the sizes of their axes. Vectors have one number per unit.
_FIELDS = {
    "weight_ih": "w_ih", "weight_hh": "w_hh", "bias_ih": "b_ih", "bias_hh": "b_hh",
    "weight_linear": "w_linear", "bias_linear": "b_linear", "weight_hr": "w_hr",
}  # fmt: skip
_AXES = {
    "weight_ih": "HI", "weight_hh": "HP", "bias_ih": "H", "bias_hh": "H",
    "weight_linear": "HH", "bias_linear": "H", "weight_hr": "PH",
}  # fmt: skip


def described(cell: Cell) -> dict[str, Any]:
    """Everything that ``engine.js`` must know of a cell, as values of JSON.

    Random equations (`dropout`, `zoneout`) compute what they do outside of training.

    Example:
        >>> from gatewise import cells
        >>> about = described(cells.lstm)
        >>> about["states"], about["values"][-5:]
        (['h', 'c'], ['f', 'g', 'o', 'c', 'h'])
    """
    cell = without_random(cell)
    form = plan(cell)
    return {
        "cell": cell.name,
        "states": list(cell.states),
        "values": list(cell.values),
        "output": [name for name, node in cell.values.items() if node.op == "project"],
        "weights": _weights(cell),
        "fields": {name: list(kernel.arguments.names) for name, kernel in _kernels(form).items()},
        "plan": _counts(form),
        "table": TABLE,
        "lanes": RELAXED.width(FLOAT32),
        "chunkBytes": CHUNK_BYTES,
        "rowsToJoin": ROWS_TO_JOIN,
        "rowsToSum": weight_gradients.chunk(1),
    }


def kernels_of(cell: Cell, target: Target) -> dict[str, bytes]:
    """The kernels of a cell as modules of WebAssembly: "forward", "backward" and "outer".

    `target` is ``RELAXED`` or ``PLAIN`` of `gatewise.compiler.wasm.target`. The last one, which sums the
    gradients of weights, is the same for all cells.
    """
    kernels = _kernels(plan(without_random(cell)))
    return {name: module(name, kernel, FLOAT32, target) for name, kernel in kernels.items()}


def bundle() -> str:
    """The engine as JavaScript that defines ``gatewise``, for pages that put scripts one after another."""
    parts = "\n".join((_HERE / name).read_text("utf-8") for name in _PARTS)
    return f'const gatewise = (() => {{\n"use strict";\n{parts}\nreturn {{ simd, kernels, Layer }};\n}})();\n'


def _kernels(form: Plan) -> dict[str, Kernel]:
    return {
        "forward": ForwardKernel(form),
        "backward": BackwardKernel(form),
        "outer": WeightGradientKernel(),
    }


def _weights(cell: Cell) -> list[dict[str, Any]]:
    """Each weight: its name, the field of the kernels, its blocks of rows, and the sizes of its axes."""
    counts = shapes(cell, 1, 1, True, int(cell.projects))
    kinds = {parameter.name: parameter.kind.value for parameter in cell.parameters}
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
