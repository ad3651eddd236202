"""One network of a classifier: recurrent layers, convolutions beside them, a linear map of their features.

Shapes: ``T`` steps, ``B`` rows, ``I`` inputs, ``C`` channels, ``K`` classes. Time first.
"""

from __future__ import annotations

from typing import Any, final

import numpy as np

from gatewise.language.form_reading import FormError
from gatewise.runtime.arrays import Array
from gatewise.runtime.jobs.affine import Affine, Convolution
from gatewise.runtime.jobs.layers import Layers
from gatewise.runtime.model_file import Tensors
from gatewise.runtime.stream import Stream

_COUNTS = "normalisation.num_batches_tracked"  # torch's counters, which no prediction reads
_NORMALISED = 1e-5  # added to variances, as in torch's BatchNorm1d


@final
class ClassNetwork:
    """A network that gives the logits of whole sequences, of every beginning of one, or step by step.

    Args:
        layers: the recurrent layers.
        tensors: the weights of the file.
        prefix: what the names of this network's weights begin with.
        convolutions: the number of convolutions.

    Raises:
        FormError: there are more convolutions than that, or a weight is not of float32.
    """

    def __init__(self, layers: Layers, tensors: Tensors, prefix: str, convolutions: int) -> None:
        for name, array in tensors.items():
            if array.dtype != np.float32 and not name.endswith(_COUNTS):
                raise FormError(f"{name} must be float32. Got {array.dtype}")
        if f"{prefix}convolutions.{convolutions}.convolution.weight" in tensors:
            raise FormError(f"convolutions must count all convolutions. Got {convolutions}")
        self.layers = layers
        self.convolutions = [
            _convolution(tensors, f"{prefix}convolutions.{k}.", layers.directions == 1)
            for k in range(convolutions)
        ]
        self.head = Affine(tensors[f"{prefix}head.weight"], tensors[f"{prefix}head.bias"])

    def check(self, inputs: int, classes: int) -> None:
        """Check that the parts fit together. Raises a FormError otherwise."""
        if inputs != self.layers.input_size:
            raise FormError(f"the layers read {self.layers.input_size} inputs, not {inputs}")
        features = 3 * self.layers.output_size
        width = inputs
        for convolution in self.convolutions:
            if convolution.inputs != width:
                raise FormError(f"a convolution reads {convolution.inputs} channels, not {width}")
            width = convolution.outputs
        features += 2 * width if self.convolutions else 0
        if (self.head.inputs, self.head.outputs) != (features, classes):
            raise FormError(f"head.weight must have shape ({classes}, {features})")
        if self.layers.dtype != np.float32:
            raise FormError(f"the layers must be float32. Got {self.layers.dtype}")

    def whole(self, x: Array, lengths: Array) -> Array:
        """The logits at the end of each row of ``x [T, B, I]``, ``[B, K]``."""
        end = lengths - 1, np.arange(len(lengths))
        outputs = self.layers(x, lengths)
        features = [outputs.last, _mean(outputs.output, lengths), _most(outputs.output)[end]]
        if self.convolutions:
            found = self._convolved(x, lengths)
            features += [_mean(found, lengths), _most(found)[end]]
        return self.head(np.concatenate(features, axis=-1))

    def running(self, x: Array, lengths: Array) -> Array:
        """The logits after each step, ``[T, B, K]``; without a meaning past an end."""
        output = self.layers(x, lengths).output
        features = [output, _means(output), _most(output)]
        if self.convolutions:
            found = self._convolved(x, lengths)
            features += [_means(found), _most(found)]
        return self.head(np.concatenate(features, axis=-1))

    def stream(self) -> LogitStream:
        """A sequence that is read step by step. Raises a ValueError if the layers are bidirectional."""
        return LogitStream(self)

    def _convolved(self, x: Array, lengths: Array) -> Array:
        for convolution in self.convolutions:
            x = np.maximum(convolution(x, lengths), 0)
        return x


@final
class LogitStream:
    """The logits of one network while a sequence arrives, with the bits of `ClassNetwork.running`."""

    def __init__(self, network: ClassNetwork) -> None:
        self._network = network
        self._stream: Stream = network.layers.stream()
        self.reset()

    def reset(self) -> None:
        """Begin a new sequence."""
        self._stream.reset()
        self._pools = [_Pool(), _Pool()]
        self._seen: list[Array] = [
            np.zeros((c.width - 1, c.inputs), np.float32) for c in self._network.convolutions
        ]

    def step(self, x: Array) -> Array:
        """Read the inputs ``[I]`` of one step. Returns the logits ``[K]``."""
        output = self._stream.step(x)
        features = [output, *self._pools[0].add(output)]
        if self._seen:
            features += self._pools[1].add(self._convolved(x))
        return self._network.head(np.concatenate(features))

    def _convolved(self, x: Array) -> Array:
        for k, convolution in enumerate(self._network.convolutions):
            window = np.concatenate([self._seen[k], x[None]])
            self._seen[k] = window[1:]
            x = np.maximum(convolution.at(window), 0)
        return x


class _Pool:
    """The mean and the maximum of all outputs so far."""

    def __init__(self) -> None:
        self.count = 0
        self.total: Any = 0.0
        self.most: Any = -np.inf

    def add(self, output: Array) -> list[Array]:
        self.count += 1
        self.total = self.total + output.astype(np.float64)
        self.most = np.maximum(self.most, output)
        return [(self.total / self.count).astype(np.float32), self.most.astype(np.float32)]


def _means(x: Array) -> Array:
    """The mean of each beginning of ``x [T, B, C]``, summed in order, in float64."""
    sums = np.add.accumulate(x, axis=0, dtype=np.float64)
    return (sums / np.arange(1, len(x) + 1)[:, None, None]).astype(np.float32)


def _mean(x: Array, lengths: Array) -> Array:
    """The mean of each row, ``[B, C]``, with the bits of `_means`."""
    mean: Array = _means(x)[lengths - 1, np.arange(len(lengths))]
    return mean


def _most(x: Array) -> Array:
    """The maximum of each beginning, ``[T, B, C]``."""
    most: Array = np.maximum.accumulate(x, axis=0)
    return most


def _convolution(tensors: Tensors, name: str, causal: bool) -> Convolution:
    """A convolution of a file, with the batch normalisation that follows it folded into its weights."""
    weight, bias = (tensors[f"{name}convolution.{part}"].astype(np.float64) for part in ("weight", "bias"))
    factor, shift, mean, variance = (
        tensors[f"{name}normalisation.{part}"].astype(np.float64)
        for part in ("weight", "bias", "running_mean", "running_var")
    )
    if (variance < 0).any():
        raise ValueError(f"{name}normalisation.running_var must be at least 0")
    scale = factor / np.sqrt(variance + _NORMALISED)
    folded = weight * scale[:, None, None]
    return Convolution(
        folded.astype(np.float32), ((bias - mean) * scale + shift).astype(np.float32), causal=causal
    )
