"""Which way a call went, what kept it from the kernels, and what could be done about it."""
