"""The three kernels: forward, backward, weight gradients."""
