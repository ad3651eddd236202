"""The scan of one layer in one direction over a sequence (a walk), and the eager interpreter that runs it."""
