"""What all jobs share: training, batches, estimators, files, run folders."""
