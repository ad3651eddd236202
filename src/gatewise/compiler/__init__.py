"""From a cell's graph to machine code, on llvmlite; never imports torch."""
