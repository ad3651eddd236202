"""What ``gatewise look`` shows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Subject:
    """The arguments for `gatewise.look`."""

    model: nn.Module
    x: Tensor
    title: str
    more: dict[str, Any] = field(default_factory=dict)
