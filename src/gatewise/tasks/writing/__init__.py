"""Language models: training, scoring and writing texts, and how much of them is copied."""
