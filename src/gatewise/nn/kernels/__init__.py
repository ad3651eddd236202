"""Walks run by compiled kernels: calls of kernels with tensors, and their gradients."""
