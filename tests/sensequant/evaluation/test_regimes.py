"""States of the market: named by what was known, counted whole, read beside a placebo."""

from datetime import date
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensequant.evaluation.measures import roc_auc
from sensequant.evaluation.regimes import UNKNOWN, month_table, regime_table, regimes_of
from sensequant.evaluation.scoring import ScoredPanel
from sensequant.market.sessions import nse_calendar

FIRST = nse_calendar().number_of(date(2022, 1, 3))
N = 260


def days(n: int = N) -> list[date]:
    return [nse_calendar().session_at(FIRST + place) for place in range(n)]


def index(closes: Any) -> pl.DataFrame:
    return pl.DataFrame({"session": days(len(closes)), "close": np.asarray(closes, dtype=float)})


def panel(seed: int = 1, n_symbols: int = 4) -> ScoredPanel:
    rng = np.random.default_rng(seed)
    size = n_symbols * N
    label = (rng.random(size) < 0.5).astype(np.int8)
    score = np.clip(0.5 + 0.2 * (label - 0.5) + rng.normal(0, 0.2, size), 0, 1)
    rows = pl.DataFrame(
        {
            "symbol": np.repeat([f"S{place}" for place in range(n_symbols)], N),
            "session": days() * n_symbols,
            "session_number": list(range(FIRST, FIRST + N)) * n_symbols,
            "scored_window": "w",
            "score": score,
            "probability": score,
            "label": label,
            "forward_return": rng.normal(0, 0.02, size),
        }
    ).with_columns(is_decided=pl.col("score") >= 0.5)
    return ScoredPanel(
        rows=rows, block_sessions=10, n_draws=100, n_placebo=10, n_bins=5, confidence=0.9, seed=3
    )


def returns() -> pl.DataFrame:
    values = np.random.default_rng(9).normal(0.001, 0.01, N)
    return pl.DataFrame({"session": days(), "net_return": values})


@pytest.mark.parametrize(
    ("level", "state"),
    [(10.0, "calm"), (14.99, "calm"), (15.0, "usual"), (24.99, "usual"), (25.0, "nervous")],
)
def test_the_volatility_index_names_three_states(level: float, state: str) -> None:
    """Its cuts belong to the upper state."""
    found = regimes_of(pl.Series(days(1)), nifty=None, vix=index([level]))

    assert found["vix"].item() == state
    assert found["trend"].item() is None


def test_the_trend_needs_two_hundred_closes() -> None:
    """By hand: rising while above the mean of the last 200, falling below, nothing before them."""
    closes = np.concatenate([np.linspace(100, 120, 220), np.linspace(119, 60, 40)])
    found = regimes_of(pl.Series(days()), nifty=index(closes), vix=None)["trend"].to_list()

    expected = [
        None
        if place < 199
        else "rising"
        if close >= closes[place - 199 : place + 1].mean()
        else "falling"
        for place, close in enumerate(closes)
    ]
    assert found == expected
    assert set(found) == {None, "rising", "falling"}


@settings(max_examples=10)
@given(start=st.integers(1, N - 1), seed=st.integers(0, 1000))
def test_no_later_close_changes_a_state(start: int, seed: int) -> None:
    """Whatever the indices do from a session on, the states before it stay."""
    rng = np.random.default_rng(4)
    nifty, vix = 100 + np.cumsum(rng.normal(0, 1, N)), 20 + rng.normal(0, 6, N)
    other = np.random.default_rng(seed)
    later_nifty, later_vix = nifty.copy(), vix.copy()
    later_nifty[start:] = other.uniform(50, 150, N - start)
    later_vix[start:] = other.uniform(5, 60, N - start)

    before, after = (
        regimes_of(pl.Series(days()), nifty=index(a), vix=index(b))
        for a, b in ((nifty, vix), (later_nifty, later_vix))
    )
    assert before.head(start).equals(after.head(start))


def test_every_row_and_session_is_counted_once() -> None:
    """Per rule, states add up to the whole; figures of a state are those of its rows."""
    rng = np.random.default_rng(4)
    known = panel()
    vix = index(rng.choice([12.0, 20.0, 30.0], N)).filter(pl.int_range(pl.len()) % 7 != 0)
    regimes = regimes_of(pl.Series(days()), nifty=index(np.arange(N) + 100.0), vix=vix)
    table = regime_table(known, returns(), regimes)

    for rule in ("vix", "trend"):
        part = table.filter(rule=rule)
        assert part["n"].sum() == known.rows.height
        assert part["n_sessions"].sum() == N
        assert part["state"].to_list()[-1] == UNKNOWN
        assert part.filter(state=UNKNOWN)["reason"].item() is not None
        assert part.filter(pl.col("state") != UNKNOWN)["reason"].null_count() == part.height - 1
    calm = known.rows.join(regimes.filter(vix="calm"), on="session", how="semi")
    row = table.filter(rule="vix", state="calm").row(0, named=True)
    assert row["auc"] == pytest.approx(roc_auc(calm["label"].to_numpy(), calm["score"].to_numpy()))
    assert row["auc_lower"] < row["auc"] < row["auc_upper"]
    assert abs(row["auc_placebo"] - 0.5) < 0.1 < row["auc"] - 0.4
    assert row["net_annual_lower"] < row["net_annual_mean"] < row["net_annual_upper"]


def test_a_return_belongs_to_the_state_in_which_it_was_decided() -> None:
    """The session after a calm one earns for the calm state; the first one for none."""
    levels = np.where(np.arange(N) % 2 == 0, 12.0, 30.0)
    earned = pl.DataFrame(
        {"session": days(), "net_return": np.where(np.arange(N) % 2 == 1, 0.01, -0.02)}
    )
    regimes = regimes_of(pl.Series(days()), nifty=None, vix=index(levels))

    table = regime_table(panel(), earned, regimes).filter(rule="vix")

    means = {row["state"]: row["net_annual_mean"] for row in table.iter_rows(named=True)}
    assert means["calm"] == pytest.approx(2.48)
    assert means["nervous"] == pytest.approx(-4.96)
    assert table.filter(state=UNKNOWN)["n_sessions"].item() == 1


def test_without_indices_everything_is_unknown_and_says_why() -> None:
    """Missing is missing, with its reason, and is still measured as a whole."""
    table = regime_table(panel(), returns(), regimes_of(pl.Series(days()), nifty=None, vix=None))

    assert table["state"].to_list() == [UNKNOWN, UNKNOWN]
    assert table["n"].to_list() == [4 * N, 4 * N]
    assert "India VIX" in table["reason"][0]
    assert "NIFTY 50" in table["reason"][1]


def test_months_are_those_of_the_decisions() -> None:
    """Rows of a month, without an interval, beside their placebo."""
    known = panel()
    table = month_table(known)

    by_hand = known.rows.group_by(pl.col("session").dt.strftime("%Y-%m").alias("month")).len()
    assert dict(table.select("month", "n").iter_rows()) == dict(by_hand.iter_rows())
    assert table["month"].is_sorted()
    assert table["auc_lower"].null_count() == table.height
    assert table["auc_placebo"].null_count() == 0
