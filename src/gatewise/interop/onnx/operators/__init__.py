"""The operators around recurrent nodes, in torch: one table for each kind.

To support another operator, add a line to the table of its kind.
"""

from __future__ import annotations

from gatewise.interop.onnx.operators.activation import ACTIVATIONS
from gatewise.interop.onnx.operators.common import Operator
from gatewise.interop.onnx.operators.elements import ELEMENTS
from gatewise.interop.onnx.operators.filling import FILLING, RANDOM
from gatewise.interop.onnx.operators.indexing import INDEXING
from gatewise.interop.onnx.operators.normalization import NORMALIZATION
from gatewise.interop.onnx.operators.products import PRODUCTS
from gatewise.interop.onnx.operators.quantized import QUANTIZED
from gatewise.interop.onnx.operators.reductions import REDUCTIONS
from gatewise.interop.onnx.operators.sampling import SAMPLING
from gatewise.interop.onnx.operators.sequences import SEQUENCES
from gatewise.interop.onnx.operators.shapes import SHAPES
from gatewise.interop.onnx.operators.signal import SIGNAL
from gatewise.interop.onnx.operators.windows import WINDOWS

__all__ = ["AT_EACH_CALL", "NO_WEIGHTS", "OPERATORS"]

OPERATORS: dict[str, Operator] = {
    **ELEMENTS, **ACTIVATIONS, **REDUCTIONS, **SHAPES, **FILLING, **INDEXING, **PRODUCTS, **WINDOWS,
    **NORMALIZATION, **QUANTIZED, **SAMPLING, **SIGNAL, **SEQUENCES,
}  # fmt: skip

# Never folded into constants: random values, and lists, which cannot be buffers of a module.
AT_EACH_CALL = RANDOM | SEQUENCES.keys()

# Numbers of the floating-point inputs that are not weights: running statistics, and scale factors.
NO_WEIGHTS: dict[str, tuple[int, ...]] = {
    "BatchNormalization": (3, 4), "Resize": (1, 2), "Upsample": (1,), "Clip": (1, 2), "Dropout": (1,),
    "Pow": (1,), "QuantizeLinear": (1,), "DequantizeLinear": (1,),
}  # fmt: skip
