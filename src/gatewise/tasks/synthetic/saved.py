"""The networks that a comparison of cells has trained, as model files."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch

from gatewise.language.form_reading import fields
from gatewise.nn.modules.files import options_of
from gatewise.runtime.layers_file import described, stored_layers
from gatewise.runtime.model_file import ModelFileError, read_model, write_model
from gatewise.tasks.synthetic import TASKS
from gatewise.tasks.synthetic.network import Network
from gatewise.tasks.synthetic.task import Task

TASK = "compare"
_PREFIX = "layer."


class Saved(NamedTuple):
    """A trained network, with the task and the length that it was trained on."""

    network: Network
    task: Task
    length: int


def save_network(path: Path, network: Network, task: Task, length: int) -> None:
    """Write a network to a model file."""
    layer = network.layer
    header = {"problem": {"name": task.name, "length": length}}
    tensors = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    write_model(path, TASK, header | described(layer.cell, options_of(layer), _PREFIX), tensors)


def load_network(path: Path) -> Saved:
    """Read a network that `save_network` wrote. Nothing in the file is executed.

    Raises:
        ModelFileError: the file does not hold one.
    """
    file = read_model(path, TASK)
    stored = stored_layers(file)
    try:
        problem = fields(file.header.get("problem"), "problem", ("name", "length"))
        task, length = TASKS[problem["name"]], problem["length"]
        if type(length) is not int or length > 100_000:
            raise ValueError(f"length must be a whole number up to 100,000. Got {length!r:.60}")
        task.check(length)
        I, H = stored.options["input_size"], stored.options["hidden_size"]
        with torch.device("meta"):
            network = Network(stored.cell, I, H, len(file.tensors["readout.bias"]), {})
        if options_of(network.layer) != stored.options:
            raise ValueError("its layer has options that no comparison gives")
        weights = {name: torch.from_numpy(tensor) for name, tensor in file.tensors.items()}
        network.load_state_dict(weights, assign=True)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ModelFileError(
            f"{path}: the file does not describe a network of a comparison ({error})"
        ) from error
    return Saved(network.eval(), task, length)


def shown(saved: Saved, rows: int = 4, seed: int = 0) -> dict[str, Any]:
    """The arguments of `gatewise.look` for new sequences of the task.

    Explained is the output that the target names (of a class), or the first one, at the last step with a
    target.
    """
    import numpy as np

    drawn = saved.task.sequences(np.random.default_rng(seed), rows, saved.length)
    network, lengths = saved.network, drawn.lengths.tolist()
    steps = torch.from_numpy(len(drawn.asked) - 1 - drawn.asked[::-1].argmax(axis=0))
    places = torch.arange(rows)
    targets = torch.from_numpy(drawn.target)[steps, places].argmax(-1)

    def run(x: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = network.readout(network.layer(x, lengths=lengths)[0])
        return outputs

    return {
        "model": network,
        "x": torch.from_numpy(drawn.input),
        "lengths": lengths,
        "call": run,
        "output": lambda outputs: outputs[steps, places, targets],
        "output_name": "the output for the right answer at the last step that asks for one",
        "title": f"A {network.layer.cell.name} on the task {saved.task.name}, length {saved.length}",
    }
