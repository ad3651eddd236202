"""Text to machine code on this machine, its cache, its threads, and how kernels are called."""
