"""Recurrent networks from equations: compiled, readable at every step, the same bits everywhere.

The language, the cells and the compiler need no torch; what does is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gatewise import cells
from gatewise._version import __version__
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
    relu,
    sigmoid,
    softplus,
    sqrt,
    tanh,
    where,
    zoneout,
)

if TYPE_CHECKING:
    from gatewise import nn
    from gatewise.insight import figures
    from gatewise.insight.attribution import attribute
    from gatewise.insight.comparison import contrast
    from gatewise.insight.decomposition import decompose
    from gatewise.insight.dynamics import fixed_points, lyapunov
    from gatewise.insight.edit import edit
    from gatewise.insight.flow import connectivity, gradient_flow
    from gatewise.insight.memory import half_life, ledger, saturation, time_scale
    from gatewise.insight.page.look import look
    from gatewise.insight.ranking import rank_units
    from gatewise.insight.units import match, probe
    from gatewise.insight.watch import watch
    from gatewise.interop.onnx.export import export_onnx
    from gatewise.interop.onnx.load import import_onnx
    from gatewise.nn.accelerate import accelerate
    from gatewise.nn.explain import explain
    from gatewise.nn.saving import load, save
    from gatewise.nn.strict import strict

__all__ = [
    "Cell", "CellError", "Input", "Split", "Vector", "cell", "cells",
    "__version__", "accelerate", "explain", "export_onnx", "figures", "import_onnx", "load", "nn", "save",
    "strict", "watch",
    "attribute", "connectivity", "contrast", "decompose", "edit", "fixed_points", "gradient_flow",
    "half_life", "ledger", "look", "lyapunov", "match", "probe", "rank_units", "saturation", "time_scale",
    "exp", "log", "maximum", "minimum", "relu", "sigmoid", "softplus", "sqrt", "tanh", "where",
    "dropout", "layer_norm", "linear", "project", "zoneout",
]  # fmt: skip

_NEEDS_TORCH = {
    "nn": ("gatewise.nn", None),
    "figures": ("gatewise.insight.figures", None),
    "watch": ("gatewise.insight.watch", "watch"),
    "attribute": ("gatewise.insight.attribution", "attribute"),
    "connectivity": ("gatewise.insight.flow", "connectivity"),
    "contrast": ("gatewise.insight.comparison", "contrast"),
    "decompose": ("gatewise.insight.decomposition", "decompose"),
    "edit": ("gatewise.insight.edit", "edit"),
    "fixed_points": ("gatewise.insight.dynamics", "fixed_points"),
    "gradient_flow": ("gatewise.insight.flow", "gradient_flow"),
    "half_life": ("gatewise.insight.memory", "half_life"),
    "ledger": ("gatewise.insight.memory", "ledger"),
    "look": ("gatewise.insight.page.look", "look"),
    "lyapunov": ("gatewise.insight.dynamics", "lyapunov"),
    "match": ("gatewise.insight.units", "match"),
    "probe": ("gatewise.insight.units", "probe"),
    "rank_units": ("gatewise.insight.ranking", "rank_units"),
    "saturation": ("gatewise.insight.memory", "saturation"),
    "time_scale": ("gatewise.insight.memory", "time_scale"),
    "accelerate": ("gatewise.nn.accelerate", "accelerate"),
    "explain": ("gatewise.nn.explain", "explain"),
    "export_onnx": ("gatewise.interop.onnx.export", "export_onnx"),
    "import_onnx": ("gatewise.interop.onnx.load", "import_onnx"),
    "load": ("gatewise.nn.saving", "load"),
    "save": ("gatewise.nn.saving", "save"),
    "strict": ("gatewise.nn.strict", "strict"),
}


def __getattr__(name: str) -> Any:
    if name not in _NEEDS_TORCH:
        raise AttributeError(f"module 'gatewise' has no attribute {name!r}")
    module, attribute = _NEEDS_TORCH[name]
    try:
        loaded = import_module(module)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ImportError(f"gatewise.{name} needs torch: pip install 'gatewise[torch]'") from error
    return loaded if attribute is None else getattr(loaded, attribute)
