"""Recurrent networks from equations: compiled, readable at every step, the same bits everywhere.

The language, the cells and the compiler do not need torch. Everything else is imported at first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gatewise import cells
from gatewise._version import __version__
from gatewise.extras import needed_by
from gatewise.language import (
    Cell,
    CellError,
    Input,
    Split,
    Vector,
    cell,
    dropout,
    exp,
    layer_norm,
    linear,
    log,
    maximum,
    minimum,
    project,
    read_cell,
    relu,
    sigmoid,
    softplus,
    sqrt,
    tanh,
    where,
    zoneout,
)

# Imported at first use: module -> the names that it has.
_LAZY = {
    name: module
    for module, names in {
        "gatewise.nn.modules.accelerate": "accelerate",
        "gatewise.nn.explain.explain": "explain",
        "gatewise.nn.explain.strict": "strict",
        "gatewise.nn.modules.files": "load save",
        "gatewise.nn.modules.freezing": "freeze unfreeze",
        "gatewise.interop.onnx.export": "export_onnx",
        "gatewise.interop.onnx.load": "import_onnx",
        "gatewise.web.export": "export_wasm",
        "gatewise.insight.watch": "watch",
        "gatewise.insight.edit": "edit",
        "gatewise.insight.page.look": "look",
        "gatewise.insight.attribution": "attribute",
        "gatewise.insight.comparison": "contrast",
        "gatewise.insight.decomposition": "decompose",
        "gatewise.insight.dynamics": "fixed_points lyapunov",
        "gatewise.insight.flow": "connectivity gradient_flow",
        "gatewise.insight.memory": "half_life ledger saturation time_scale",
        "gatewise.insight.ranking": "rank_units",
        "gatewise.insight.units": "match probe",
    }.items()
    for name in names.split()
}
_MODULES = {
    "figures": "gatewise.insight.figures",
    "nn": "gatewise.nn",
    "runtime": "gatewise.runtime",
    "tasks": "gatewise.tasks",
}

__all__ = [
    "Cell", "CellError", "Input", "Split", "Vector", "__version__", "cell", "cells", "read_cell",
    "exp", "log", "maximum", "minimum", "relu", "sigmoid", "softplus", "sqrt", "tanh", "where",
    "dropout", "layer_norm", "linear", "project", "zoneout",
    *_LAZY, *_MODULES,
]  # fmt: skip

if TYPE_CHECKING:  # the same names for type checkers
    from gatewise import nn as nn
    from gatewise import runtime as runtime
    from gatewise import tasks as tasks
    from gatewise.insight import figures as figures
    from gatewise.insight.attribution import attribute as attribute
    from gatewise.insight.comparison import contrast as contrast
    from gatewise.insight.decomposition import decompose as decompose
    from gatewise.insight.dynamics import fixed_points as fixed_points
    from gatewise.insight.dynamics import lyapunov as lyapunov
    from gatewise.insight.edit import edit as edit
    from gatewise.insight.flow import connectivity as connectivity
    from gatewise.insight.flow import gradient_flow as gradient_flow
    from gatewise.insight.memory import half_life as half_life
    from gatewise.insight.memory import ledger as ledger
    from gatewise.insight.memory import saturation as saturation
    from gatewise.insight.memory import time_scale as time_scale
    from gatewise.insight.page.look import look as look
    from gatewise.insight.ranking import rank_units as rank_units
    from gatewise.insight.units import match as match
    from gatewise.insight.units import probe as probe
    from gatewise.insight.watch import watch as watch
    from gatewise.interop.onnx.export import export_onnx as export_onnx
    from gatewise.interop.onnx.load import import_onnx as import_onnx
    from gatewise.nn.explain.explain import explain as explain
    from gatewise.nn.explain.strict import strict as strict
    from gatewise.nn.modules.accelerate import accelerate as accelerate
    from gatewise.nn.modules.files import load as load
    from gatewise.nn.modules.files import save as save
    from gatewise.nn.modules.freezing import freeze as freeze
    from gatewise.nn.modules.freezing import unfreeze as unfreeze
    from gatewise.web.export import export_wasm as export_wasm


def __getattr__(name: str) -> Any:
    if name not in _LAZY and name not in _MODULES:
        raise AttributeError(f"module 'gatewise' has no attribute {name!r}")
    with needed_by(f"gatewise.{name}"):
        if name in _MODULES:
            return import_module(_MODULES[name])
        return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
