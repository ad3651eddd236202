"""What is asked of a layer, and how the equations answer it: one layer in one direction over a sequence."""
