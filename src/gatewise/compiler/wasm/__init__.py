"""Kernels as WebAssembly modules, for browsers."""
