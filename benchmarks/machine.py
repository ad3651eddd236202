"""The machine and the versions that the figures were measured with."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from gatewise import __version__
from gatewise.compiler.run.host import host

_PACKAGES = ["torch", "onnxruntime"]


@dataclass(frozen=True)
class Machine:
    """The processor, its number of cores, and the versions of what runs on it."""

    name: str
    cores: int
    versions: dict[str, str]

    def __str__(self) -> str:
        versions = ", ".join(f"{name} {number}" for name, number in self.versions.items())
        return f"{self.name}, {self.cores} cores; {versions}"


def this_machine() -> Machine:
    """The name of this processor."""
    versions = {"Python": platform.python_version(), "gatewise": __version__}
    versions |= {name: number for name in _PACKAGES if (number := _version(name))}
    return Machine(f"{_processor()} ({host().cpu})", os.cpu_count() or 1, versions)


def _processor() -> str:
    """The name that Linux gives, or else Python."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
