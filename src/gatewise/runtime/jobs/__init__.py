"""Predictions without torch: the parts of a network after training, and a class for each kind of job.

The parts are `affine` (linear maps, convolutions over time), `layers` (recurrent layers over rows of
different lengths), `arithmetic` (embeddings, pooling, softmax), `vocabulary` and `scaling` (words and
measurements as numbers). The bits of a row do not depend on the batch that it is in.
"""
