"""`explain` and `strict`: which path a call took, why it was not compiled, and what to do about it."""
