"""Classifying sequences: measurements of several channels, or texts."""
