"""Further cases, each with its target: ``python -m benchmarks.cases``."""
