"""The same walk by machine code: calls of compiled kernels with tensors, and their gradients."""
