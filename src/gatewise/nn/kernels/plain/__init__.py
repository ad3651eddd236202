"""Prepared plain calls: one layer, rows of equal length, nothing random, recorded or reset.

Everything that follows from equations, shapes, types and flags is computed once, including the array of
fields that the kernels read (`common`, `forward`, `backward`). A call checks that its tensors are as those
that it was prepared for, copies the array, writes addresses into it, and runs (`call`). Kernels and bits are
the same as in `gatewise.nn.kernels.autograd`.
"""
