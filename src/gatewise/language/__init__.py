"""What equations are written in: symbols, graph, gradient, writing."""

import gatewise.language.pickling  # noqa: F401 -- how cells are pickled
from gatewise.language.cell import Cell, Input, Kind, Parameter, Split, Vector, cell
from gatewise.language.operations import (
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
from gatewise.language.reading import read_cell
from gatewise.language.symbols import CellError

__all__ = [
    "Cell", "CellError", "Input", "Kind", "Parameter", "Split", "Vector", "cell", "read_cell",
    "exp", "log", "maximum", "minimum", "relu", "sigmoid", "softplus", "sqrt", "tanh", "where",
    "dropout", "layer_norm", "linear", "project", "zoneout",
]  # fmt: skip
