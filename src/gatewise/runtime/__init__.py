"""Trained models without torch: the model file."""
