"""Optional packages, and the error message if one is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

EXTRAS = {
    "torch": "torch",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "onnxscript": "onnx",
    "statsmodels": "classical",
    **dict.fromkeys(("lightning", "pandas", "pyarrow", "sklearn", "matplotlib", "rich", "typer"), "tasks"),
}


@contextmanager
def needed_by(what: str) -> Iterator[None]:
    """Context manager around imports: a missing package raises an error that says how to install it.

    Raises:
        ModuleNotFoundError: a package is missing. The message says what needs it and how to install it.

    Example:
        >>> from gatewise.extras import needed_by
        >>> with needed_by("this example"):
        ...     raise ModuleNotFoundError("No module named 'torch'", name="torch")
        Traceback (most recent call last):
        ModuleNotFoundError: this example needs torch: pip install 'gatewise[torch]'
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS:
            raise
        message = f"{what} needs {package}: pip install 'gatewise[{EXTRAS[package]}]'"
        raise ModuleNotFoundError(message, name=package) from error
