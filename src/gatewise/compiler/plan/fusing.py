"""Which products are fused into the sums that take them, as one `fma` instruction.

The graph alone decides, never what else is computed: recording a value, or keeping it for backward, changes
no bit of another one.
"""

from __future__ import annotations

from gatewise.language.graph import Node


def product_in(node: Node) -> Node | None:
    """The product that a sum or difference takes in; None for any other node.

    A product is not fused with itself: ``x - x`` is 0, which rounding only one of the two would spoil.
    """
    terms = node.args if node.op in ("add", "sub") and node.args[0] is not node.args[1] else ()
    return next((term for term in terms if term.op == "mul"), None)


def operands(node: Node) -> tuple[Node, ...]:
    """The nodes that the instruction for `node` reads: the factors in place of a fused product."""
    product = product_in(node)
    if product is None:
        return node.args
    a, b = node.args
    return (*product.args, b if product is a else a)
