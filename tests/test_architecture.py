"""The architecture of the package: its parts import each other in one direction only."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import gatewise
from gatewise import extras

ROOT = Path(gatewise.__file__).parent
SOURCES = sorted(ROOT.rglob("*.py"))

# Each part, and the parts that it may import.
BELOW: dict[str, set[str]] = {
    "language": set(),
    "cells": {"language"},
    "compiler": {"language"},
    "runtime": {"compiler", "language"},
    "nn": {"runtime", "compiler", "language", "cells"},
    "web": {"nn", "runtime", "compiler", "language"},
    "insight": {"web", "nn", "compiler", "language", "cells"},
    "interop": {"nn", "runtime", "language", "cells"},
    "tasks": {"insight", "nn", "runtime", "compiler", "language", "cells"},
    "learn": {"tasks", "insight", "web", "nn", "runtime", "compiler", "language", "cells"},
    "apps": {"learn", "tasks", "insight", "nn", "runtime", "compiler", "language", "cells"},
}

# Modules below all parts, which import nothing of the package.
GROUND = {"extras", "files"}

WITHOUT_TORCH = (*sorted(GROUND), "language", "cells", "compiler", "runtime")


def part_of(source: Path) -> str:
    """The part of the package that a file belongs to; empty for files above all parts."""
    name = source.relative_to(ROOT).parts[0].removesuffix(".py")
    return "" if name.startswith("_") else name


def imported(source: Path) -> Iterator[str]:
    """The full names of all imports of a file, also inside functions and for types only."""
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{source}:{node.lineno}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: str(source.relative_to(ROOT)))
def test_parts_import_only_the_parts_they_may(source: Path) -> None:
    part = part_of(source)
    names = [name.split(".") for name in imported(source)]
    if part in WITHOUT_TORCH or not part:
        assert "torch" not in {name[0] for name in names}
    if part:
        used = {part_ for name in names if name[0] == "gatewise" for part_ in name[1:2]}
        used &= BELOW.keys() | GROUND
        assert used - {part} <= (set() if part in GROUND else BELOW[part] | GROUND)


def test_every_part_is_in_the_table() -> None:
    assert {part_of(source) for source in SOURCES} - {""} == BELOW.keys() | GROUND


# The wings of a part, lowest first. Files of one wing may import each other; scan and checkpoint are files.
WINGS = {
    "compiler": ("plan", "emit", "kernels", "run", "wasm"),
    "nn": ("walk", "kernels", "scan", "checkpoint", "modules", "explain"),
}


@pytest.mark.parametrize("part", WINGS)
def test_the_wings_of_a_part_import_only_lower_ones(part: str) -> None:
    wings, found = WINGS[part], set()
    for source in (ROOT / part).rglob("*.py"):
        wing = source.relative_to(ROOT / part).parts[0].removesuffix(".py")
        if wing != "__init__":
            names = (name.split(".") for name in imported(source))
            used = {name[2] for name in names if name[:2] == ["gatewise", part]}
            assert used <= set(wings[: wings.index(wing) + 1]), source
            found.add(wing)
    assert found == set(wings)


BLOCKED = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name == "torch" or name.startswith("torch."):
            raise ModuleNotFoundError(f"No module named {name!r}", name="torch")

sys.meta_path.insert(0, Blocked())
"""


def without_torch(code: str) -> str:
    """The output of `code` in a new process in which torch cannot be imported."""
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", BLOCKED + code],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def test_the_language_works_without_torch() -> None:
    code = "import gatewise; print(gatewise.cells.rnn); assert 'torch' not in sys.modules"
    assert without_torch(code).startswith("rnn(h, *, a)")


@pytest.mark.parametrize("part", WITHOUT_TORCH)
def test_every_module_of_a_part_imports_without_torch(part: str) -> None:
    sources = [source.relative_to(ROOT.parent) for source in SOURCES if part_of(source) == part]
    modules = [".".join(source.with_suffix("").parts).removesuffix(".__init__") for source in sources]
    assert without_torch(f"import {', '.join(modules)}; print('imported')") == "imported"


@pytest.mark.parametrize("name", ["nn", "watch", "accelerate", "explain", "strict", "save", "load"])
def test_a_function_that_needs_torch_says_so(name: str) -> None:
    code = f"""
import gatewise
try:
    gatewise.{name}
except ImportError as error:
    print(error)
"""
    assert without_torch(code) == f"gatewise.{name} needs torch: pip install 'gatewise[torch]'"


def without(package: str, code: str) -> str:
    """The error of `code` in a new process in which a package cannot be imported."""
    blocked = f"import sys; sys.modules[{package!r}] = None"
    code = f"{blocked}\ntry: {code}\nexcept ImportError as error: print(error)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return run.stdout.strip()


@pytest.mark.parametrize(
    ("package", "code", "message"),
    [
        ("torch", "from gatewise.nn import LSTM", "gatewise.nn needs torch: pip install 'gatewise[torch]'"),
        ("torch", "from gatewise.tasks import Forecaster",
         "gatewise.tasks.Forecaster needs torch: pip install 'gatewise[torch]'"),
        ("lightning", "from gatewise.tasks import Forecaster; Forecaster(1).fit(None)",
         "Forecaster.fit needs lightning: pip install 'gatewise[tasks]'"),
        ("pandas", "from gatewise.tasks import read_series",
         "gatewise.tasks.read_series needs pandas: pip install 'gatewise[tasks]'"),
        ("matplotlib", "from gatewise import figures",
         "gatewise.figures needs matplotlib: pip install 'gatewise[tasks]'"),
        ("matplotlib", "import gatewise.insight.figures",
         "gatewise.figures needs matplotlib: pip install 'gatewise[tasks]'"),
    ],
)  # fmt: skip
def test_a_missing_package_is_named_with_its_extra(package: str, code: str, message: str) -> None:
    assert without(package, code) == message


def test_another_missing_module_is_not_taken_for_an_extra() -> None:
    with pytest.raises(ModuleNotFoundError, match="No module named 'nowhere'"), extras.needed_by("this"):
        import nowhere  # type: ignore[import-not-found]  # noqa: F401


def test_every_extra_is_declared() -> None:
    """Each package is listed in the extra that the error message names."""
    project = tomllib.loads((ROOT.parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = project["optional-dependencies"]
    for package, extra in extras.EXTRAS.items():
        name = {"sklearn": "scikit-learn"}.get(package, package)
        assert name in {re.split("[>=[]", entry)[0] for entry in declared[extra]}


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sys, gatewise; print([m for m in ('torch', 'llvmlite', 'lightning') if m in sys.modules])"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert run.stdout.strip() == "[]"


def test_all_public_names_are_listed_before_they_are_imported() -> None:
    code = "import sys, gatewise; print(set(gatewise.__all__) - set(dir(gatewise)), 'torch' in sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert run.stdout.strip() == "set() False"
    assert len(gatewise.__all__) == len(set(gatewise.__all__))
    for name in gatewise.__all__:
        assert getattr(gatewise, name) is not None
    namespace: dict[str, object] = {}
    exec("from gatewise import *", namespace)
    assert namespace.keys() >= set(gatewise.__all__)


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(gatewise.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    told = {
        (alias.asname, node.module if node.module != "gatewise" else f"gatewise.{alias.name}")
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    modules = {(name, module) for name, module in gatewise._MODULES.items() if name != "figures"}
    assert told == {*gatewise._LAZY.items(), *modules, ("figures", "gatewise.insight")}


def test_the_package_runs_as_a_command() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "gatewise", "--help"], capture_output=True, text=True, check=True, timeout=120
    )
    assert "forecast" in run.stdout


def test_an_unknown_name_of_the_package() -> None:
    with pytest.raises(AttributeError, match="module 'gatewise' has no attribute 'lstm'"):
        gatewise.lstm  # noqa: B018


CODE = re.compile(r"```.*?```|`[^`\n]*`(?!\])", re.DOTALL)


def test_links_in_the_documentation_are_valid() -> None:
    pages = [*(ROOT.parents[1] / "docs").glob("*.md"), *ROOT.parents[1].glob("*.md")]
    links = [
        (page, link)
        for page in pages
        for link in re.findall(r"\]\(([^)#\s]+)", CODE.sub("", page.read_text(encoding="utf-8")))
        if "://" not in link
    ]
    assert len(links) > 20
    assert [(page.name, link) for page, link in links if not (page.parent / link).exists()] == []


def _module(source: Path) -> str:
    return ".".join(("gatewise", *source.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Imports for types only, and those inside functions, count too."""
    modules = {_module(source): source for source in SOURCES}
    used: dict[str, set[str]] = {}
    for module, source in modules.items():
        names = [name for name in imported(source) if name.startswith("gatewise.")]
        whole = {name if name in modules else name.rpartition(".")[0] for name in names}
        used[module] = {name for name in whole if name in modules and name != module}
    left = dict(used)
    while free := [module for module, below in left.items() if not below & left.keys()]:
        for module in free:
            del left[module]
    assert not left, f"circles among, or above, {sorted(left)}"


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: str(source.relative_to(ROOT)))
def test_no_function_is_longer_than_a_screen(source: Path) -> None:
    """At most 60 lines, without the docstring."""
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno is not None
            text = ast.get_docstring(node, clean=False) or ""
            assert node.end_lineno - node.lineno - len(text.splitlines()) < 60, node.name
