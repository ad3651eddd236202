"""Accuracy and speed of whole jobs on real data, beside what a user would take instead."""
