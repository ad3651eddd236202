"""The pieces of kernels as LLVM instructions: vectors and functions of them, products, loops.

Names in all modules: `code` writes a function and `b` is its LLVM builder; `f` are the fields of a call; V is
the number of lanes of a vector, ``i64(n)`` a constant. A comment over a function shows the loop that it
writes.
"""
