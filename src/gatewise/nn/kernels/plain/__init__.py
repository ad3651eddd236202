"""Plain calls, prepared: one layer, rows of one length, nothing random, recorded or reset.

All that follows from equations, shapes, types and flags is found once, up to the array of fields that the
kernels read (`common`, `forward`, `backward`). A call compares its tensors with those that it was prepared
for (`tensors`), copies the array, writes addresses into it, and runs (`call`). Kernels and bits are those of
`gatewise.nn.kernels.autograd`.
"""
