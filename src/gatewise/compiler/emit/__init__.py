"""The pieces of kernels as LLVM instructions: vectors and functions of them, products, loops."""
