"""Parts of kernels, written as LLVM instructions: operations on vectors, products, loops.

Names in all modules: `code` writes a function and `b` is its LLVM builder; `f` are the fields of a call; V is
the number of lanes of a vector, ``i64(n)`` a constant. A comment above a function shows the loop that it
writes.
"""
