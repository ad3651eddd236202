"""Forecasts of tables: panels, carried states, anomalies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from gatewise.runtime import load
from gatewise.runtime.jobs.carried import Carried
from gatewise.runtime.jobs.forecaster import Forecaster as Model
from gatewise.tasks import Forecaster
from gatewise.tasks.forecast.tables import Asked, predict_table, resumed_table, score_table
from gatewise.tasks.series import Panel
from gatewise.tasks.shared.reading.options import Reading

pytestmark = pytest.mark.usefixtures("quickly")

KNOWN = "holiday"


def rows(shops: str, first: int = 0, stop: int = 80) -> pd.DataFrame:
    """A table with a row for each shop and day; shop B has an anomaly on day 70."""
    parts = []
    for place, shop in enumerate(shops):
        rng = np.random.default_rng(place)
        days = np.arange(80)
        sold = (place + 1) * (20 + 5 * np.sin(days * 2 * np.pi / 7) + rng.normal(size=80))
        sold[70] += 60 if shop == "B" else 0
        parts.append(
            pd.DataFrame(
                {
                    "shop": shop,
                    "day": pd.date_range("2024-01-01", periods=80),
                    "sold": sold,
                    KNOWN: (days % 5 == 0).astype(float),
                    "size": 1.0 + place,
                }
            ).iloc[first:stop]
        )
    return pd.concat(parts)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    panel = Panel.from_frame(rows("ABC", 0, 60), "sold", "shop", known=[KNOWN], static=["size"])
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    Forecaster(3, hidden_size=6, history=14, max_epochs=1).fit(panel).save(path)
    found: Model = load(path)
    return found


def table(shops: str, first: int, stop: int, ahead: int = 3) -> pa.Table:
    frame = rows(shops, first, stop + ahead)
    future = frame["day"] >= pd.Timestamp("2024-01-01") + pd.Timedelta(days=stop)
    return pa.Table.from_pandas(frame.assign(sold=frame["sold"].mask(future)), preserve_index=False)


ASKED = Asked(id="shop")


def test_a_panel_is_forecast_as_in_python(model: Model, tmp_path: Path) -> None:
    found = predict_table(model, table("AB", 0, 70), ASKED)
    assert found.column_names == ["shop", "day", "sold"] or found.column_names == ["shop", "time", "sold"]
    assert found["shop"].to_pylist() == ["A"] * 3 + ["B"] * 3


def test_the_states_of_a_panel_are_carried(model: Model) -> None:
    states: dict[str, object] = {}
    for first, stop, shops in ((0, 40, "AB"), (40, 41, "AB"), (41, 60, "A"), (41, 66, "B")):
        asked = replace(ASKED, quantiles=stop > 41)
        found, states = resumed_table(model, table(shops, first, stop), states, asked)  # type: ignore[arg-type, assignment]
        whole = predict_table(model, table(shops, 0, stop), asked)
        assert found.equals(whole)
        assert ("quantile 0.975" in found.column_names) == asked.quantiles
    assert set(states) == {"A", "B"}


def test_a_new_series_of_a_panel_has_no_state(model: Model) -> None:
    frame = rows("A", 0, 73).assign(shop="Z")
    future = frame["day"] >= pd.Timestamp("2024-03-11")
    new = pa.Table.from_pandas(frame.assign(sold=frame["sold"].mask(future)), preserve_index=False)
    assert len(predict_table(model, new, ASKED)) == 3
    with pytest.raises(ValueError, match="the series 'Z' was not trained on"):
        resumed_table(model, new, {}, ASKED)


def test_states_of_series_that_are_too_short_are_carried_until_they_are_forecast(model: Model) -> None:
    states: dict[str, Carried] = {}
    short = r"Left out, with fewer than \d+ rows: 'shop B'\."
    for first, stop in ((0, 40), (40, 41)):
        new = without_first(table("AB", first, stop), 35)
        with pytest.warns(UserWarning, match=short):
            found, states = resumed_table(model, new, states, ASKED)
        assert found.equals(predict_table(model, table("A", 0, stop), ASKED))
    found, states = resumed_table(model, table("AB", 41, 70), states, ASKED)
    assert found.equals(predict_table(model, without_first(table("AB", 0, 70), 35), ASKED))
    alone = table("B", 0, 5)
    with pytest.raises(ValueError, match=f"no series has {model.least} rows"), pytest.warns(match=short):
        resumed_table(model, alone, {}, ASKED)


def test_a_series_without_a_value_has_no_state(model: Model) -> None:
    states: dict[str, Carried] = {}
    for first, stop in ((0, 40), (40, 60)):
        new = pa.concat_tables([table("A", first, stop), blank(table("B", first, stop), "Z")])
        with pytest.warns(UserWarning, match=r"Left out, without a value: '(shop )?Z'\."):
            found, states = resumed_table(model, new, states, ASKED)
        assert found.equals(predict_table(model, table("A", 0, stop), ASKED))
    assert set(states) == {"A"}


def without_first(rows: pa.Table, days: int) -> pa.Table:
    """The rows without the first days of shop B."""
    frame = rows.to_pandas()
    late = frame["day"] >= pd.Timestamp("2024-01-01") + pd.Timedelta(days=days)
    kept = frame[late | (frame["shop"] != "B")]
    return pa.Table.from_pandas(kept, schema=rows.schema, preserve_index=False)


def blank(rows: pa.Table, shop: str) -> pa.Table:
    """The rows of another shop, without its sales."""
    frame = rows.to_pandas().assign(shop=shop, sold=np.nan)
    return pa.Table.from_pandas(frame, schema=rows.schema, preserve_index=False)


def test_every_step_of_a_panel_is_scored_in_its_own_scale(model: Model) -> None:
    found = score_table(model, table("ABC", 0, 77), ASKED)
    assert found.table.column_names[-3:] == ["sold", "score", "anomaly"]
    assert len(found.table) == 3 * 77
    highest = int(np.nanargmax(found.table["score"].to_numpy(zero_copy_only=False)))
    assert highest == 77 + 70
    assert found.table["anomaly"].to_pylist()[highest]


def test_known_inputs_must_reach_the_horizon(model: Model) -> None:
    with pytest.raises(ValueError, match=r"holiday.*has no value at"):
        predict_table(model, table("AB", 0, 70, ahead=2), ASKED)


def test_without_a_word_the_id_of_training_tells_series_apart(model: Model) -> None:
    found = predict_table(model, table("AB", 0, 70), Asked())
    assert found.equals(predict_table(model, table("AB", 0, 70), ASKED))


def test_one_series_of_a_file_is_forecast(model: Model) -> None:
    one = table("B", 0, 70).drop_columns(["shop"])  # what is read with --where
    found = predict_table(model, one, Asked(reading=Reading(where="shop=B")))
    assert found.equals(predict_table(model, table("B", 0, 70)))


def wide(names: str, stop: int) -> pd.DataFrame:
    days, rng = pd.date_range("2024-01-01", periods=stop, freq="D", name="day"), np.random.default_rng(0)
    noise = rng.normal(size=(80, 3))[:stop]
    return pd.DataFrame({name: np.arange(stop) % 7 + noise[:, k] for k, name in enumerate(names)}, index=days)


@pytest.mark.parametrize("names", ["cab", "ab", "b"])
def test_every_column_of_a_wide_table_is_forecast(names: str) -> None:
    forecaster = Forecaster(3, hidden_size=4, max_epochs=1).fit(Panel.from_wide(wide("cab", 80)))
    given = pa.Table.from_pandas(wide("cab", 80)[[*names]].reset_index())
    found = predict_table(forecaster.model_, given).to_pandas()
    assert [*found["id"]] == [name for name in sorted(names) for _ in range(3)]
    expected = forecaster.predict(Panel.from_wide(wide("cab", 80)))
    assert [*found["value"]] == [*expected["value"][expected["id"].isin([*names])]]


def test_series_that_are_too_short_are_left_out_with_a_warning(model: Model) -> None:
    both = pa.concat_tables([table("AB", 0, 70), table("C", 69, 70)])
    with pytest.warns(UserWarning, match=rf"Left out, with fewer than {model.least} rows: 'shop C'\."):
        found = predict_table(model, both)
    assert found.equals(predict_table(model, table("AB", 0, 70)))
    with pytest.warns(UserWarning, match="Left out"):
        assert score_table(model, both).panel.ids == ("A", "B")
    nothing = table("B", 0, 70).to_pandas().assign(sold=np.nan)
    both = pa.concat_tables([table("A", 0, 70), pa.Table.from_pandas(nothing, preserve_index=False)])
    with pytest.warns(UserWarning, match=r"Left out, without a value: 'B'\."):
        assert set(predict_table(model, both)["shop"].to_pylist()) == {"A"}
    with pytest.raises(ValueError, match="the series 'C' must have at least"):
        predict_table(model, table("C", 69, 70))
