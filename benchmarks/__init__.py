"""Comparison with other libraries, in one run: ``python -m benchmarks``."""
