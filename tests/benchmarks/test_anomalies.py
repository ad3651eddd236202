"""The benchmark of anomalies, on a small series of the shape of its own."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from benchmarks.tasks.anomalies import found


@pytest.mark.usefixtures("quickly")
def test_a_known_anomaly_is_found() -> None:
    wave = np.sin(np.arange(900) / 5) + np.random.default_rng(0).normal(size=900) / 50
    strange = np.isin(np.arange(900), [700, 701, 702])
    frame = pd.DataFrame({"value": np.where(strange, 3.0, wave), "is_anomaly": strange.astype(int)})
    answer = found(frame.head(600), frame, seed=0, epochs=2)
    assert (answer["steps"], answer["labelled"]) == (900, [700, 702])
    assert 700 <= int(str(answer["highest"])) <= 703
    assert answer["highest"] in answer["flagged"]  # type: ignore[operator]
