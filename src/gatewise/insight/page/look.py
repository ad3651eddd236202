"""`look`: shows a recurrent network at work, as one HTML page that works offline."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn

from gatewise import files
from gatewise.insight.attribution import Attribution, attribute
from gatewise.insight.finding import Finding
from gatewise.insight.flow import gradient_flow
from gatewise.insight.page import frame
from gatewise.insight.page.arrays import packed
from gatewise.insight.page.document import document
from gatewise.insight.page.findings import Names, Words, followed, sentences
from gatewise.insight.page.layers import Studied, studied
from gatewise.insight.page.run import SQUARES, Inputs, Run, evaluating, run_of
from gatewise.insight.page.running import Running, running_of
from gatewise.insight.page.sample import MOST_FEATURES, Sample, Size, fitting, room
from gatewise.insight.watch import watch
from gatewise.language import Cell

_POINTS, _NEAR = (50, 300), 0.01  # points of integrated gradients (two tries), residual to reach


@final
@dataclass(frozen=True, repr=False)
class Look(Finding):
    """A page that was written.

    Attributes:
        path: the file.
        megabytes: the size of the file.
        findings: the findings, sentence by sentence.
        notes: what the page does not show.
    """

    path: Path
    megabytes: float
    findings: tuple[str, ...]
    notes: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"{self.path} ({self.megabytes:.1f} MB)", *self.findings, *self.notes]
        return "\n".join(lines)


def look(
    model: nn.Module,
    x: Inputs,
    path: str | Path,
    *,
    lengths: Sequence[int] | Tensor | None = None,
    batch_first: bool | None = None,
    call: Callable[[Tensor], Any] | None = None,
    output: Callable[[Any], Tensor] | None = None,
    output_name: str | None = None,
    tokens: Words | None = None,
    times: Words | None = None,
    row_names: Sequence[str] | None = None,
    feature_names: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    probabilities: bool = False,
    title: str | None = None,
    megabytes: float = 10.0,
    show: bool = False,
) -> Look:
    """Write an HTML page that shows every gate of a model at every step, and what it remembers.

    The page is one file that works offline. It shows the equations; what each step forgets, writes and
    outputs; all values of all layers; half-lives, ledgers and saturation; gradients through time; which
    inputs mattered; and findings in sentences. The model runs in evaluation mode and is not changed.

    The page also contains the model and runs it, with compiled kernels and weights in float32: the reader
    types another text, drags a point of the input, pastes rows of a table, silences a unit or holds a gate,
    and sees what follows. When it is opened, it computes its first sequence and says whether every number
    equals Python's. This needs to know what happens between the input, the layers and the output: embeddings,
    linear maps, simple activations, and an affine map at the end are found (`gatewise.insight.page.tracing`).
    The page says which layers it does not run, and why.

    Args:
        model: any torch module that contains gatewise layers.
        x: the input ``[T, B, I]``, or ``[T, I]`` for one row; token ids ``[T, B]`` if they are integers.
            Batch first if the layers are. It may also be a `PackedSequence`, or a tuple or dict of all
            arguments of the model, such as ``(ids, lengths)``; the sequence is then the first of the tensors
            with the most dimensions.
        path: the file to write. An existing file is replaced.
        lengths: ``[B]``, the steps of each row, passed to the model as ``model(x, lengths=lengths)``. By
            default, the lengths that the first layer gets.
        batch_first: whether `x` is ``[B, T, ...]``; by default as in the first gatewise layer.
        call: calls the model in another way, as ``lambda x: model(x, masks)``.
        output: takes the result of the model and returns the number to explain for each row, ``[B]``, as
            ``lambda scores: scores[:, 3]``. By default the sum of squares of the last output.
        output_name: the name of that number in the sentences of the page.
        tokens: the words of each row, ``tokens[row][step]``: strings, or lists of strings.
        times: names of the steps of each row, such as dates.
        row_names: the names of the rows in sentences, as ``"shop A"``; by default ``"sequence 0"``, ...
        feature_names: the names of the I inputs.
        outputs: the names of what the model puts out: classes, letters, horizons.
        probabilities: whether the outputs are scores of classes, which the page shows as probabilities
            (softmax).
        title: the title of the page.
        megabytes: the largest size of the page. What does not fit is omitted, and the page says so.
        show: whether to show the page too: in the output of a notebook, which then contains it, or else in
            the browser.

    Raises:
        TypeError: `model` is not a module, or there is no tensor in `x`.
        ValueError: the model has no gatewise layer, no layer ran over the steps of `x`, or an argument has a
            wrong shape.

    Example:
        >>> import pathlib, tempfile, gatewise, torch
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "page.html"
        >>> page = gatewise.look(gatewise.nn.LSTM(3, 8), torch.randn(20, 2, 3), path)
        >>> page.path.exists(), page.megabytes < 1
        (True, True)
    """
    run = run_of(model, x, lengths, batch_first, call, output)
    called = Names(tokens, times, _row_names(run, row_names))
    notes = list(_not_numbers(run, called))
    explained = output_name or (SQUARES if output is None else "the output")
    with evaluating(model):
        layers = _watched(run, notes)
        run = replace(run, lengths=run.lengths or _lengths(layers))
        _check_words(run, tokens, "tokens")
        _check_words(run, times, "times")
        _check_output(run)
        layers = _with_flow(run, layers, notes)
        shares = _attribution(run, notes)
        running = _running(run, layers, tokens, megabytes, notes)
    features = _features(run, feature_names)
    sample = _sample(run, layers, len(features), running, megabytes)
    notes += _left_out(run, layers, sample, feature_names)
    said = sentences(layers, called, sample, shares, explained)
    said += followed(layers, _time_first(run.x, run.batch_first).cpu(), features) if features else []
    cells = _equations(layers)
    keys = {cell.signature(): key for key, cell in cells.items()}
    data = {
        **_rows(run, sample, called),
        "layers": [_shown(layer, sample, running, keys) for layer in layers],
        "running": running and running.shown(sample, outputs, probabilities),
        "inputs": _inputs(run, features, sample),
        "shares": shares and _shares(shares, features, sample),
        "explained": explained,
        "findings": [sentence.shown(sample) for sentence in said],
        "notes": notes,
    }
    title = title or f"Inside {type(model).__name__}"
    page = document(title, cells, data)
    files.save(path, page.encode("utf-8"))
    if show:
        frame.show(page, title, Path(path))
    return Look(Path(path), len(page.encode()) / 1e6, tuple(s.text for s in said), tuple(notes))


def _running(
    run: Run, layers: Sequence[Studied], tokens: Words | None, megabytes: float, notes: list[str]
) -> Running | None:
    """What the page can run of the model, if it takes at most half of the page."""
    running = running_of(run, layers, tokens, notes)
    if running is None or (running.weights < room(megabytes) // 2 and running.taken <= room(megabytes) // 2):
        return running
    notes.append(
        f"The page does not run the model: its {running.weights:,} weights do not fit into half of "
        f"{megabytes:g} MB. Give look a larger megabytes."
    )
    return None


def _sample(
    run: Run, layers: Sequence[Studied], features: int, running: Running | None, megabytes: float
) -> Sample:
    """What the page shows of the recording."""
    sizes = [_size(layer, running) for layer in layers] + [Size(2, features)]
    sizes += [running.source] if running else []
    ends = run.lengths or [run.steps] * run.rows
    return fitting(sizes, run.steps, ends, megabytes, running.taken if running else 0)


def _shown(
    layer: Studied, sample: Sample, running: Running | None, keys: Mapping[str, str]
) -> dict[str, Any]:
    """The data of a layer; `keys` are names of equations by signature."""
    return layer.shown(sample, _runs(layer, running)) | {"equations": keys[layer.cell.signature()]}


def _runs(layer: Studied, running: Running | None) -> bool:
    return running is not None and layer.values.layer in running.layers


def _size(layer: Studied, running: Running | None) -> Size:
    """The size of the data of a layer, without weights that the page has anyway."""
    return layer.size._replace(weights=0) if _runs(layer, running) else layer.size


def _equations(layers: Sequence[Studied]) -> dict[str, Cell]:
    """The distinct cells, each under a unique name."""
    cells = {layer.cell.signature(): layer.cell for layer in layers}.values()
    names = [cell.name for cell in cells]
    return {
        cell.name if names.count(cell.name) == 1 else f"{cell.name} {k}": cell
        for k, cell in enumerate(cells, 1)
    }


def _watched(run: Run, notes: list[str]) -> list[Studied]:
    with torch.no_grad(), watch(run.model, device="cpu") as seen:
        run.call(run.x)
    layers, others = studied(seen, run.steps, run.rows)
    if not layers:
        came = ", ".join(others) or "none"
        raise ValueError(f"look: no layer walks the {run.steps} steps of x. Layers that ran: {came}.")
    if others:
        notes.append(f"Not shown, since they walk another sequence than the input: {', '.join(others)}.")
    return layers


def _not_numbers(run: Run, called: Names) -> Iterator[str]:
    x = _time_first(run.x, run.batch_first)
    if run.x.is_floating_point() and not x.isfinite().all():
        step, row = (~x.isfinite()).any(-1).nonzero()[0].tolist()
        yield f"The input is not a finite number everywhere, first at step {step} of {called.row(row)}."


def _lengths(layers: Sequence[Studied]) -> list[int] | None:
    """The lengths of the rows in the first layer; None if all rows have all steps."""
    running = layers[0].values.passage.running
    return None if bool(running.all()) else running.sum(0).tolist()


def _check_output(run: Run) -> None:
    with torch.no_grad():
        score = run.score(run.x)
    if score.shape != (run.rows,):
        came = list(score.shape)
        raise ValueError(f"look: output must return one number for each row, [{run.rows}]. Got {came}.")


def _with_flow(run: Run, layers: list[Studied], notes: list[str]) -> list[Studied]:
    try:
        flows = gradient_flow(run.model, lambda: run.score(run.x).sum())
    except ValueError as error:
        notes.append(f"No gradients: {error}")
        return layers
    return [replace(layer, flow=flows.get(layer.values.layer)) for layer in layers]


def _attribution(run: Run, notes: list[str]) -> Attribution | None:
    """The attribution to each step, time first. It is repeated with more points if the residual is large."""
    try:
        score, given, rows_first = run.explained()
        for points in _POINTS:
            found = attribute(score, given, lengths=run.lengths, batch_first=rows_first, points=points)
            if found.residual < _NEAR:
                break
    except ValueError as error:
        notes.append(f"No attributions: {error}")
        return None
    return replace(found, values=found.time_first, batch_first=False)


def _features(run: Run, names: Sequence[str] | None) -> list[str]:
    """The names of the shown features."""
    if not run.x.is_floating_point():
        return []
    width = run.x.size(2)
    names = [f"input {k}" for k in range(width)] if names is None else list(map(str, names))
    if len(names) != width:
        raise ValueError(f"look: feature_names must be {width}, one for each input. Got {len(names)}.")
    return names[:MOST_FEATURES]


def _inputs(run: Run, features: list[str], sample: Sample) -> dict[str, Any] | None:
    if not features:
        return None
    x = _time_first(run.x, run.batch_first)[sample.first : sample.stop, : sample.rows, : len(features)]
    return {"names": features, **packed(x)}


def _shares(found: Attribution, features: list[str], sample: Sample) -> dict[str, Any]:
    values = found.values[sample.first : sample.stop, : sample.rows]
    return {
        "steps": packed(values.sum(-1)),
        "features": packed(values[..., : len(features)]) if features else None,
        "scores": packed(found.scores[: sample.rows]),
        "residual": found.residual,
    }


def _left_out(run: Run, layers: Sequence[Studied], sample: Sample, names: Sequence[str] | None) -> list[str]:
    """Sentences on what the page does not show."""
    found = []
    if sample.rows < run.rows:
        found.append(f"Shown are the first {sample.rows} of {run.rows} sequences.")
    if sample.steps < run.steps:
        found.append(f"Shown are the steps {sample.first} to {sample.stop - 1} of {run.steps}.")
    widest = max(layer.size.units for layer in layers)
    if sample.units < widest:
        found.append(f"Shown are those {sample.units} of up to {widest} units whose states move most.")
    if not sample.sums:
        found.append("Not shown is what the sums before the gates are made of: it would not fit.")
    if run.x.is_floating_point() and run.x.size(2) > MOST_FEATURES:
        found.append(f"Shown are the first {MOST_FEATURES} of {run.x.size(2)} inputs.")
    if found:
        found.append("Findings, half-lives and ledgers are of all steps, sequences and units.")
    return found


def _check_words(run: Run, words: Words | None, who: str) -> None:
    if words is None:
        return
    wanted = run.lengths or [run.steps] * run.rows
    if len(words) != run.rows or any(len(row) < n for row, n in zip(words, wanted, strict=True)):
        came = [len(row) for row in words]
        raise ValueError(f"look: {who} must be as many as the steps of each row, {wanted}. Got {came}.")


def _row_names(run: Run, names: Sequence[str] | None) -> list[str] | None:
    if names is not None and len(names) != run.rows:
        raise ValueError(f"look: row_names must be {run.rows}, one for each row. Got {len(names)}.")
    return None if names is None else list(map(str, names))


def _rows(run: Run, sample: Sample, called: Names) -> dict[str, Any]:
    """The data of the rows and steps that are shown."""
    return {
        "rows": sample.rows,
        "first": sample.first,
        "steps": sample.steps,
        "all_steps": run.steps,
        "lengths": run.lengths and list(run.lengths)[: sample.rows],
        "tokens": _cut_words(called.tokens, sample),
        "times": _cut_words(called.times, sample),
        "row_names": called.rows and called.rows[: sample.rows],
    }


def _cut_words(words: Words | None, sample: Sample) -> list[list[str]] | None:
    if words is None:
        return None
    return [[str(word) for word in row[sample.first : sample.stop]] for row in words[: sample.rows]]


def _time_first(values: Tensor, rows_first: bool) -> Tensor:
    return values.transpose(0, 1) if rows_first else values
