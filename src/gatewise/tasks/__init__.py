"""Estimators that train recurrent networks on people's own data."""
