"""What `gatewise.look` shows of a classifier: how the layers read sequences, and what led to a class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from gatewise.tasks.classification.classifier import Classifier

_ROWS, _LONGEST = 4, 400  # sequences, and steps of one


def shown(classifier: Classifier, sequences: Sequence[Any]) -> dict[str, Any]:
    """The arguments of `gatewise.look` for the first sequences, which are texts or arrays ``[T, C]``.

    Explained is the logit of the most probable class of each sequence.
    """
    network: Any = classifier.network_
    prepared = classifier.preparation_
    inputs = [torch.from_numpy(prepared(value)[:_LONGEST]) for value in sequences[:_ROWS]]
    lengths = [len(some) for some in inputs]
    x, ends, rows = torch.nn.utils.rnn.pad_sequence(inputs), torch.tensor(lengths), torch.arange(len(inputs))
    with torch.no_grad():
        classes = network(x, ends).argmax(-1)
    names = [str(name) for name in classifier.classes_.tolist()]
    arguments = {
        "model": network.eval(),
        "x": x,
        "lengths": lengths,
        "call": lambda x: network(x, ends),
        "output": lambda logits: logits[rows, classes],
        "output_name": f"the logit of the class that is most probable ({names[classes[0]]!r} in row 0)",
        "outputs": names,
        "probabilities": not classifier.labels_.several,
        "title": f"Inside a classifier ({classifier.cell_name})",
    }
    if prepared.scaling is None:
        words = [prepared.units(text)[:_LONGEST] or [""] for text in sequences[:_ROWS]]
        return arguments | {"tokens": words}
    channels = list(classifier.channels_in_)
    known = [
        f"{name} is known"
        for name, is_masked in zip(channels, prepared.scaling.masked, strict=True)
        if is_masked
    ]
    return arguments | {"feature_names": channels + known}
