"""Trained models in web pages: kernels as WebAssembly, weights, and a small module that runs them."""
