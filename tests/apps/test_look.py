"""`gatewise look`, run as users run it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner, Result

import gatewise
from gatewise import cells
from gatewise.apps.commands import app
from gatewise.apps.demo import demo
from gatewise.tasks.forecast.forecaster import Forecaster
from gatewise.tasks.series import TimeSeries, read_panel, read_series
from gatewise.tasks.synthetic import TASKS
from gatewise.tasks.synthetic.network import Network
from tests.insight.page.pages import array, data_of, layer_of, named, sequence

COMMAND = [sys.executable, "-m", "gatewise.apps.command_line", "look"]


def look(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["look", *map(str, arguments)])


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")  # so that the command does not change it


@pytest.fixture
def layers(tmp_path: Path) -> Path:
    gatewise.save(layer_of(cells.gru), tmp_path / "mine.safetensors")
    return tmp_path / "mine.safetensors"


@pytest.fixture(scope="module")
def sold(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run folder with a forecaster of daily sales, and its table."""
    folder = tmp_path_factory.mktemp("sold")
    days = pd.date_range("2024-01-01", periods=150, freq="D")
    steps = np.arange(150)
    table = pd.DataFrame({"day": days, "sold (pieces)": np.sin(steps) + steps % 7, "warm": np.cos(steps / 9)})
    table.to_csv(folder / "sold.csv", index=False)
    series = read_series(folder / "sold.csv", "sold (pieces)", "day")
    forecaster = Forecaster(7, cell="gru", hidden_size=6, max_epochs=1).fit(series)
    (folder / "run").mkdir()
    forecaster.save(folder / "run" / "model.safetensors")
    return folder / "run", folder / "sold.csv"


def test_layers_are_shown_on_arrays(layers: Path, tmp_path: Path) -> None:
    x = sequence(9, 2, 3)
    np.save(tmp_path / "x.npy", x.numpy())
    done = look(layers, "--on", tmp_path / "x.npy")
    assert (done.exit_code, done.stderr) == (0, "")
    page = tmp_path / "mine.html"
    assert str(page) in done.stdout.replace("\n", "")
    assert "remembers longest" in done.stdout
    with gatewise.watch(loaded := gatewise.load(layers)) as seen:
        loaded(x)
    (layer,) = data_of(page)["layers"]
    np.testing.assert_array_equal(array(named(layer["values"], "z")), seen["l0"].z.detach().numpy())


def test_rows_of_different_lengths_and_the_names_of_columns(layers: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=sequence(9, 2, 3).double().numpy(), lengths=np.array([9, 4]))
    assert look(layers, "--on", tmp_path / "x.npz", "--out", tmp_path / "a.html").exit_code == 0
    assert data_of(tmp_path / "a.html")["lengths"] == [9, 4]
    pd.DataFrame(sequence(9, 3).numpy(), columns=["a", "b", "c"]).to_csv(tmp_path / "x.csv", index=False)
    assert look(layers, "--on", tmp_path / "x.csv", "--out", tmp_path / "b.html").exit_code == 0
    data = data_of(tmp_path / "b.html")
    assert (data["inputs"]["names"], data["rows"], data["steps"]) == (["a", "b", "c"], 1, 9)
    np.testing.assert_allclose(array(data["inputs"])[:, 0], sequence(9, 3).numpy(), rtol=1e-6)


def test_a_forecaster_is_shown_on_windows_of_its_series(sold: tuple[Path, Path], tmp_path: Path) -> None:
    run, table = sold
    done = look(run, "--on", table, "--time", "day", "--out", tmp_path / "p.html")
    assert (done.exit_code, done.stderr) == (0, "")
    data = data_of(tmp_path / "p.html")
    forecaster = Forecaster.load(run / "model.safetensors")
    series = read_series(table, "sold (pieces)", "day")
    history = forecaster.prepared_.history
    assert (data["rows"], data["steps"]) == (4, history)
    assert data["times"][0][-1].startswith("2024-05-29")
    assert data["times"][3][0].startswith("2024-01-08")
    assert len(data["inputs"]["names"]) == forecaster.prepared_.encoding.input_size
    assert data["inputs"]["names"][:2] == ["change of sold (pieces) over 1 day", "warm"]
    assert data["explained"] == "the forecast of sold (pieces) 7 days ahead"
    forecasts = [forecaster.predict(_until(series, end)).iloc[-1] for end in data_ends(data, series)]
    np.testing.assert_allclose(array(data["shares"]["scores"]), forecasts, rtol=1e-5)
    recorded = forecaster.watch(series, 5)
    (layer,) = data["layers"]
    np.testing.assert_allclose(array(named(layer["values"], "z"))[-5:, 0], recorded["z"], atol=1e-3)


def test_the_windows_of_a_panel_are_called_by_its_id(tmp_path: Path) -> None:
    days = pd.date_range("2024-01-01", periods=90, freq="D").strftime("%Y-%m-%d")
    parts = [
        pd.DataFrame({"shop": shop, "day": days[:rows], "sold": np.arange(rows) % 7 * 1.5})
        for shop, rows in ((3, 80), (28, 90))
    ]
    pd.concat(parts).to_csv(tmp_path / "shops.csv", index=False)
    panel = read_panel(tmp_path / "shops.csv", "sold", "shop")
    forecaster = Forecaster(7, cell="gru", hidden_size=4, max_epochs=1).fit(panel)
    forecaster.save(tmp_path / "model.safetensors")
    done = look(tmp_path / "model.safetensors", "--on", tmp_path / "shops.csv", "--out", tmp_path / "p.html")
    assert (done.exit_code, done.stderr) == (0, "")
    names = data_of(tmp_path / "p.html")["row_names"]
    assert names[0] == "the window of shop 28 up to 2024-03-30"
    assert "sequence 0" not in done.stdout
    assert forecaster.prepared_.encoding.names(panel.clock.span)[0] == "change of sold over 1 day"


def data_ends(data: dict[str, list[list[str]]], series: TimeSeries) -> list[int]:
    """For each window, the row of the table at which it ends."""
    return [int(series.times.get_indexer(pd.DatetimeIndex([times[-1]]))[0]) for times in data["times"]]


def _until(series: TimeSeries, end: int) -> TimeSeries:
    return series.head(end + 1)


def test_the_demo_shows_a_network_that_remembers(tmp_path: Path) -> None:
    """Every letter that it predicts is right, and at the end a unit holds what it wrote at the start."""
    subject = demo()
    network, rows = subject.model, TASKS["reber"].sequences(np.random.default_rng(1), 256, 40)
    assert isinstance(network, Network)
    assert network.right(TASKS["reber"], rows) > 0.99
    done = look("--demo", "--out", tmp_path / "demo.html")
    assert done.exit_code == 0
    first = data_of(tmp_path / "demo.html")["findings"][0]
    assert first["step"] <= 3
    assert int(first["brief"].rpartition(", ")[2].split()[0]) > 40  # steps before the end


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "Error: MODEL: give the file of a network, or --demo."),
        (("--demo", "mine.safetensors"), "Error: --demo: it has a network and data of its own"),
        (("--demo", "--on", "x.csv"), "Error: --demo: it has a network and data of its own"),
    ],
)
def test_the_demo_and_a_model_exclude_each_other(arguments: tuple[str, ...], expected: str) -> None:
    done = look(*arguments)
    assert done.exit_code == 2
    assert done.stderr.replace("\n", " ").startswith(expected)


def test_the_command_runs_and_prints_the_path_of_the_page(layers: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", sequence(5, 3).numpy())
    done = subprocess.run(
        [*COMMAND, "mine.safetensors", "--on", "x.npy"], cwd=tmp_path, capture_output=True, text=True,
        check=False, encoding="utf-8", timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "mine.html (0.2 MB); open it in a browser."


def test_help_needs_no_torch(tmp_path: Path) -> None:
    code = (
        "import atexit, sys; atexit.register(lambda: print('SLOW', 'torch' in sys.modules)); "
        "sys.argv[1:] = ['look', '--help']; from gatewise.apps.command_line import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert "SLOW False" in done.stdout
    assert "--megabytes" in done.stdout


def test_errors_are_one_sentence_and_nothing_is_written(
    layers: Path, sold: tuple[Path, Path], tmp_path: Path
) -> None:
    np.save(tmp_path / "wide.npy", np.zeros((4, 2)))
    np.save(tmp_path / "nan.npy", np.full((4, 3), np.nan))
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    np.savez(tmp_path / "many.npz", a=np.zeros(1), b=np.zeros(1))
    np.savez(tmp_path / "long.npz", x=np.zeros((4, 1, 3)), lengths=np.array([5]))
    (tmp_path / "words.csv").write_text("a,b,c\n1,x,2\n")
    (tmp_path / "x.txt").write_text("1\n")
    (tmp_path / "broken.safetensors").write_bytes(b"nothing")
    gatewise.save(torch.nn.Sequential(torch.nn.Tanh()), tmp_path / "whole.safetensors")
    before = sorted(tmp_path.iterdir())
    good = tmp_path / "wide.npy"
    cases: list[tuple[list[Path | str], str]] = [
        ([tmp_path / "none.safetensors", "--on", good], "MODEL: there is no file "),
        ([tmp_path / "broken.safetensors", "--on", good], "the file is damaged or not a safetensors file"),
        ([tmp_path / "whole.safetensors", "--on", good], "but it holds a whole module. "),
        ([layers], "--on must name what they read: "),
        ([layers, "--on", tmp_path / "x.txt"], "--on must be of .npy, .npz, .csv. Got "),
        ([layers, "--on", tmp_path / "x.npy"], "x.npy: the file cannot be read (No such file"),
        ([layers, "--on", good], "must be steps by 3 inputs, with rows between. Got (4, 2)."),
        ([layers, "--on", tmp_path / "nan.npy"], "must hold finite numbers alone, up to 1e+30."),
        ([layers, "--on", tmp_path / "objects.npy"], "Object arrays cannot be loaded"),
        ([layers, "--on", tmp_path / "many.npz"], "must have an array x. It has a, b."),
        ([layers, "--on", tmp_path / "long.npz"], "from 0 to 4 steps, not all 0. Got [5]."),
        ([layers, "--on", tmp_path / "words.csv"], "the columns must be numbers. These are not: b."),
        ([layers, "--on", good, "--time", "day"], "--time is for forecasters: "),
        ([layers, "--on", good, "--out", tmp_path / "no" / "p.html"], "cannot be written, as the folder"),
        ([layers, "--on", good, "--out", tmp_path], "is a folder."),
        ([sold[0], "--on", tmp_path / "words.csv"], "words.csv"),
        ([sold[0]], "--on must name what it reads: "),
    ]  # fmt: skip
    for arguments, sentence in cases:
        done = look(*arguments)
        assert done.exit_code == 2, arguments
        assert done.stdout == ""
        assert done.stderr.startswith("Error: ")
        assert sentence in done.stderr
        assert done.stderr.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before
    assert list(sold[0].iterdir()) == [sold[0] / "model.safetensors"]


def test_an_existing_page_is_replaced_but_not_by_a_failed_run(layers: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", sequence(5, 3).numpy())
    page = tmp_path / "mine.html"
    page.write_text("before")
    assert look(layers, "--on", tmp_path / "none.npy").exit_code == 2
    assert page.read_text() == "before"
    assert look(layers, "--on", tmp_path / "x.npy").exit_code == 0
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert {path.name for path in tmp_path.iterdir()} == {"x.npy", "mine.html", "mine.safetensors"}


def test_half_precision_is_read_too(tmp_path: Path) -> None:
    gatewise.save(layer_of(cells.gru).to(torch.float64), tmp_path / "m.safetensors")
    np.save(tmp_path / "x.npy", np.ones((5, 3), dtype=np.int64))
    assert look(tmp_path / "m.safetensors", "--on", tmp_path / "x.npy").exit_code == 0
