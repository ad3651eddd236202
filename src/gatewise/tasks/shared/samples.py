"""Data sets that are there without a download: in scikit-learn, and in Python's own library.

Those of Python's library differ a little between versions of Python, and so do results on them. Its modules
are read as text and parsed; nothing is imported or run.
"""

from __future__ import annotations

import ast
import builtins
import io
import keyword
import re
import sys
import sysconfig
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gatewise.tasks.shared.sequences import Labelled, Sequences, as_sequences

PACKAGES = "asyncio decimal email http importlib logging mailbox multiprocessing unittest xml".split()
MODULES = """
argparse collections configparser contextlib csv dataclasses difflib enum fractions ftplib gettext heapq
imaplib json logging optparse pathlib pickle queue random sched shutil statistics string tarfile tempfile
textwrap threading tokenize traceback uuid zipfile
""".split()
TAGS = "attribute class function keyword module number operator parameter string variable".split()
SHORTEST, LONGEST = 3, 40  # tokens in a line
LEAST_CHARACTERS = 20  # in a docstring
STRING = '"..."'  # in place of the text in quotes


@dataclass(frozen=True)
class TaggedWords:
    """Sentences of words with a tag each.

    Attributes:
        name: the name of the data set.
        words: ``[N]`` lists of words.
        tags: ``[N]`` lists of tags, as long as those of words.
        groups: ``[N]``, where each sentence is from. To test on unseen text, hold out whole groups.
    """

    name: str
    words: list[list[str]]
    tags: list[list[str]]
    groups: list[str]

    def __len__(self) -> int:
        return len(self.words)


def digits() -> Labelled:
    """1,797 handwritten digits, each an image of 8 by 8 that is read row by row: a sequence ``[8, 8]``.

    From scikit-learn (Alpaydin & Kaynak 1998, UCI). The pixels are 0 to 16; labels are ``"0"`` to ``"9"``.

    >>> found = digits()
    >>> len(found), found.sequences.arrays[0].shape, found.labels[:3].tolist()
    (1797, (8, 8), ['0', '1', '2'])
    """
    from sklearn.datasets import load_digits

    found = load_digits()
    sequences = as_sequences(found.images)
    pixels = tuple(f"pixel {number}" for number in range(8))
    named = Sequences(sequences.values, sequences.ids, pixels)
    return Labelled("digits", named, np.array([str(label) for label in found.target]))


def docstrings() -> Labelled:
    """Texts: first paragraphs of docstrings of Python's library; the label is the package that each is from.

    About 2,200 texts of 10 packages. A paragraph that occurs more than once is omitted.
    """
    found: dict[str, set[str]] = {}
    for package in PACKAGES:
        for source in _sources(package):
            for text in _paragraphs(source):
                found.setdefault(text, set()).add(package)
    texts = {text: next(iter(of)) for text, of in found.items() if len(of) == 1}
    return Labelled("docstrings", as_sequences(list(texts)), np.array(list(texts.values())))


def python_tokens() -> TaggedWords:
    """Lines of Python's library as words, each tagged with what it is for: semantic highlighting.

    A sentence is a logical line of 3 to 40 tokens; a string is written as ``"..."``. The tags (`TAGS`) of
    names are from the syntax tree: ``function`` for what is defined as one or called, ``class``,
    ``parameter`` in a definition or before ``=`` in a call, ``attribute``, ``module`` for what is imported,
    ``variable``.
    ``name`` can be a variable, a parameter or an attribute. Groups are modules.
    """
    words: list[list[str]] = []
    tags: list[list[str]] = []
    groups: list[str] = []
    seen: set[tuple[str, ...]] = set()
    for module in MODULES:
        for source in _sources(module):
            for line, roles in _lines(source):
                if tuple(line) not in seen:
                    seen.add(tuple(line))
                    words.append(line)
                    tags.append(roles)
                    groups.append(module)
    return TaggedWords("python_tokens", words, tags, groups)


def python_topics() -> str:
    """The reference manual that ``help()`` of Python shows: half a megabyte of English with code between."""
    from pydoc_data.topics import topics

    return "\n\n".join(topics[name].strip("\n") for name in sorted(topics)) + "\n"


def python_source() -> str:
    """Source text of Python's library, about 1 MB."""
    return "\n".join(source for module in MODULES for source in _sources(module))


def python_version() -> str:
    """The version of Python, which these data sets depend on.

    >>> python_version().count(".")
    2
    """
    return ".".join(map(str, sys.version_info[:3]))


_CLASSES = {name for name, value in vars(builtins).items() if isinstance(value, type)}

LABELLED = {"digits": digits, "docstrings": docstrings}
TAGGED = {"python_tokens": python_tokens}
TEXTS = {"python_topics": python_topics, "python_source": python_source}


def _sources(name: str) -> Iterator[str]:
    """The text of the files of a module or package, in order of name. None if this Python lacks it."""
    library = Path(sysconfig.get_path("stdlib"))
    name = {"decimal": "_pydecimal"}.get(name, name)
    file = library / f"{name}.py"
    folder = sorted((library / name).rglob("*.py")) if not file.is_file() else [file]
    for path in folder:
        if not {"test", "tests", "__pycache__"} & {*path.parent.parts[len(library.parts) :]}:
            yield path.read_text(encoding="utf-8")


def _paragraphs(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = re.split(r"\n\s*\n", ast.get_docstring(node) or "", maxsplit=1)[0]
            text = " ".join(first.split())
            if len(text) >= LEAST_CHARACTERS:
                yield text


def _lines(source: str) -> Iterator[tuple[list[str], list[str]]]:
    """The tokens of each logical line, with a tag each."""
    roles = _roles(ast.parse(source))
    words: list[str] = []
    tags: list[str] = []
    usable = True
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        kind = tokenize.tok_name[token.type]
        if kind == "NEWLINE":
            if usable and SHORTEST <= len(words) <= LONGEST:
                yield words, tags
            words, tags, usable = [], [], True
        elif kind in ("NAME", "NUMBER", "OP", "STRING"):
            tag = _tag(token, kind, roles)
            # Tokens of f-strings differ between versions of Python, positions of other letters in the tree.
            usable &= tag is not None and token.line.isascii() and not _is_formatted(token.string, kind)
            words.append(STRING if kind == "STRING" else token.string)
            tags.append(tag or "")
        elif kind.startswith(("FSTRING", "TSTRING")):
            usable = False


def _tag(token: tokenize.TokenInfo, kind: str, roles: dict[tuple[int, int], str]) -> str | None:
    if kind != "NAME":
        return {"NUMBER": "number", "OP": "operator", "STRING": "string"}[kind]
    return "keyword" if keyword.iskeyword(token.string) else roles.get(token.start)


def _is_formatted(text: str, kind: str) -> bool:
    return kind == "STRING" and "f" in text[: text.index(text[-1])].lower()


def _roles(tree: ast.Module) -> dict[tuple[int, int], str]:
    """What the name that starts at a (line, column) of the source is for."""
    roles: dict[tuple[int, int], str] = {}
    classes = {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)} | _CLASSES
    modules = {
        (alias.asname or alias.name).partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            other = "module" if node.id in modules else "function" if id(node) in called else "variable"
            roles[node.lineno, node.col_offset] = "class" if node.id in classes else other
        elif isinstance(node, ast.Attribute):
            assert node.end_lineno is not None
            assert node.end_col_offset is not None
            place = (node.end_lineno, node.end_col_offset - len(node.attr))
            roles[place] = "function" if id(node) in called else "attribute"
        elif isinstance(node, ast.arg | ast.keyword):
            roles[node.lineno, node.col_offset] = "parameter"
        elif isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            before = {ast.FunctionDef: "def ", ast.ClassDef: "class "}.get(type(node), "async def ")
            kind = "class" if isinstance(node, ast.ClassDef) else "function"
            roles[node.lineno, node.col_offset + len(before)] = kind
        elif isinstance(node, ast.Import):
            for alias in node.names:
                roles[alias.lineno, alias.col_offset] = "module"
    return roles
