"""The recurrent modules of a model, and why `gatewise.accelerate` does not swap some of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from inspect import unwrap
from types import CodeType

import torch
from torch import Tensor, nn

from gatewise.nn.modules.layer import Layer
from gatewise.nn.modules.swapped import class_for, kind_of, swapped_class

_COMPILED = (torch.float32, torch.float64)
_RECURRENT_NAME = re.compile("lstm|gru|rnn|recurrent", re.IGNORECASE)
_MODULE_ATTRIBUTES = vars(nn.Module()).keys()
# Methods and attributes that torch's forward uses, and gatewise's does not.
_TORCH_FORWARD_USES = {
    "_flat_weights", "_init_flat_weights", "_update_flat_weights", "check_forward_args", "check_hidden_size",
    "check_input", "get_expected_cell_size", "get_expected_hidden_size", "permute_hidden",
}  # fmt: skip


def everything(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """All modules of a model, each once, with their paths: also those in lists, tuples and dictionaries."""
    return _walk("", model, set())


def _walk(path: str, thing: object, seen: set[int]) -> Iterator[tuple[str, nn.Module]]:
    if not isinstance(thing, nn.Module | list | tuple | dict) or id(thing) in seen:
        return
    seen.add(id(thing))
    if isinstance(thing, nn.Module):
        yield path, thing
        children: dict[str, object] = dict(thing.named_children())
        children |= {name: value for name, value in vars(thing).items() if name not in _MODULE_ATTRIBUTES}
        for name, child in children.items():
            yield from _walk(f"{path}.{name}" if path else name, child, seen)
    else:
        for key, child in thing.items() if isinstance(thing, dict) else enumerate(thing):
            yield from _walk(f"{path}[{key!r}]", child, seen)


def is_theirs(module: nn.Module) -> bool:
    """Whether a module is a recurrent module of torch, and is not swapped."""
    return isinstance(module, nn.RNNBase | nn.RNNCellBase) and not isinstance(module, Layer)


def recurrent(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The recurrent modules of a model, with their paths.

    These include modules that look recurrent and contain no known recurrent module; the modules inside them
    are left out.
    """
    inside: set[nn.Module] = set()
    for path, module in everything(model):
        if isinstance(module, Layer) or is_theirs(module):
            yield path, module
        elif module not in inside and _looks_recurrent(module):
            inside |= set(module.modules())
            yield path, module


def _looks_recurrent(module: nn.Module) -> bool:
    """Whether a module has a recurrent name and weights, but contains no known recurrent module."""
    name = getattr(module, "original_name", type(module).__name__)  # the class name before torch.jit.script
    if not (_RECURRENT_NAME.search(name) and module.state_dict()):
        return False
    return not any(isinstance(inner, Layer) or is_theirs(inner) for inner in module.modules())


def why_not_swapped(module: nn.Module) -> str:
    """The reason why a recurrent module is not swapped, or "" if it can be swapped."""
    if not is_theirs(module):
        return _why_not_torchs(module)
    if isinstance(module, nn.RNNCell):
        return "a single step with so few products that torch trains it in less time"
    kind = kind_of(type(module))
    if kind is None:
        return f"a subclass of {type(module).__mro__[1].__name__}, which has no equations"
    if "forward" in vars(module):
        return "its forward was replaced by another"
    if not _reaches(type(module), kind):
        return f"a subclass, {type(module).__name__}, whose own forward does not call super().forward"
    if clash := sorted(_names_of_its_own(module, kind) & _names_of_ours(kind)):
        return f"its own {', '.join(clash)} would replace what gatewise's forward uses"
    return _why_not_subclassed(module) or _why_not_compiled(_weights(module))


def _why_not_torchs(module: nn.Module) -> str:
    source = type(module).__module__
    if isinstance(module, torch.jit.ScriptModule):
        return "compiled by torch.jit: call accelerate before torch.jit"
    if source.startswith(("torch.ao.", "torchao.")):
        return "quantized"
    if source.startswith("keras."):
        return "a layer of Keras: gatewise.interop.keras takes its weights"
    return "recurrent by its name, but not a module of torch: gatewise.cell compiles equations"


def _why_not_subclassed(module: nn.Module) -> str:
    try:
        class_for(module)
    except TypeError as error:
        return f"its class {type(module).__name__} cannot be subclassed: {error}"
    return ""


def _reaches(theirs: type, kind: type) -> bool:
    """Whether a subclass inherits `forward` from torch's class, or calls it by ``super()``."""
    own = [vars(base) for base in theirs.__mro__[: theirs.__mro__.index(kind)]]
    return all(_calls_super(own[k:]) for k, names in enumerate(own) if "forward" in names)


def _calls_super(namespaces: Sequence[Mapping[str, object]]) -> bool:
    """Whether a function in the namespaces of some classes calls ``super().forward``."""
    functions = [unwrap(value) for names in namespaces for value in names.values() if callable(value)]
    return any({"super", "forward"} <= _mentioned(getattr(f, "__code__", None)) for f in functions)


def _mentioned(code: object) -> set[str]:
    """The names that a function uses, including those in nested functions."""
    if not isinstance(code, CodeType):
        return set()
    return set(code.co_names).union(*map(_mentioned, code.co_consts))


def _names_of_its_own(module: nn.Module, kind: type) -> set[str]:
    """The names that a module, or its class below torch's class `kind`, defines."""
    theirs = type(module)
    defined = {name for base in theirs.__mro__[: theirs.__mro__.index(kind)] for name in vars(base)}
    given = vars(module).keys() | module._parameters.keys() | module._buffers.keys() | module._modules.keys()
    return (defined - {"forward"}) | (given - {"_flat_weights"})


def _names_of_ours(kind: type[nn.Module]) -> set[str]:
    return _TORCH_FORWARD_USES | (set(dir(swapped_class(kind))) - set(dir(kind)) - {"proj_size"})


def _weights(module: nn.Module) -> list[Tensor]:
    step = ["weight_ih", "weight_hh", "bias_ih", "bias_hh"]
    weights = [getattr(module, name, None) for name in getattr(module, "_flat_weights_names", step)]
    return [weight for weight in weights if weight is not None]


def _why_not_compiled(weights: list[Tensor]) -> str:
    devices = {str(weight.device) for weight in weights}
    if devices - {"cpu"}:
        return f"its weights are on {', '.join(sorted(devices))}; kernels are compiled for the CPU"
    types = {weight.dtype for weight in weights}
    if len(types) > 1 or not types <= set(_COMPILED):
        named = ", ".join(sorted(map(str, types)))
        return f"its weights are {named}; kernels are compiled for float32 and float64"
    return ""
