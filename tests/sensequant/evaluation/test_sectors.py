"""Figures by sector: each row counted once, by brute force."""

from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn import metrics

from sensequant.evaluation.scoring import ScoredPanel
from sensequant.evaluation.sectors import sector_table

_sklearn: Any = metrics

N_SESSIONS = 40
SECTORS = pl.DataFrame({"symbol": ["A", "B", "C"], "sector": ["Power", "Metals", "Power"]})


@pytest.fixture
def panel() -> ScoredPanel:
    """Return four symbols; the sector of the last is not listed."""
    rng = np.random.default_rng(5)
    size = 4 * N_SESSIONS
    score = rng.random(size)
    rows = pl.DataFrame(
        {
            "symbol": np.repeat(list("ABCD"), N_SESSIONS),
            "session": [date(2024, 1, 1) + timedelta(days=n) for n in range(N_SESSIONS)] * 4,
            "session_number": list(range(N_SESSIONS)) * 4,
            "scored_window": "w",
            "score": score,
            "probability": score,
            "label": (rng.random(size) < score).astype(np.int8),
            "forward_return": rng.normal(0, 0.02, size),
        }
    ).with_columns(is_decided=pl.col("score") >= 0.5)
    return ScoredPanel(
        rows=rows, block_sessions=5, n_draws=100, n_placebo=5, n_bins=5, confidence=0.9, seed=3
    )


def test_a_sector_is_its_symbols_together(panel: ScoredPanel) -> None:
    """AUC by another library, counts by hand; what is not listed stands last."""
    found = sector_table(panel, SECTORS)

    members = {"Metals": ["B"], "Power": ["A", "C"], "unknown": ["D"]}
    assert found["sector"].to_list() == list(members)
    for row in found.iter_rows(named=True):
        rows = panel.rows.filter(pl.col("symbol").is_in(members[row["sector"]]))
        assert (row["n_symbols"], row["n"]) == (len(members[row["sector"]]), rows.height)
        assert row["n_decided"] == rows["is_decided"].sum()
        auc = _sklearn.roc_auc_score(rows["label"], rows["score"])
        assert row["auc"] == pytest.approx(auc)
        assert row["auc_lower"] <= row["auc"] <= row["auc_upper"]


def test_the_order_of_rows_changes_nothing(panel: ScoredPanel) -> None:
    """Neither of the list nor of what it names beyond the panel."""
    more = pl.concat([SECTORS, pl.DataFrame({"symbol": ["Z"], "sector": ["Textiles"]})]).reverse()

    assert sector_table(panel, more).equals(sector_table(panel, SECTORS))
