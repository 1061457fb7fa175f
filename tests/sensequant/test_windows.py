"""Windows: planned over ranges, cut by listings, counted at every step."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sensequant.errors import ConfigError
from sensequant.labels import UNLABELLED_REASONS
from sensequant.records import SkipReason
from sensequant.splits import Split
from sensequant.windows import (
    PlannedWindow,
    Window,
    WindowConfig,
    WindowFunnel,
    count_funnel,
    feature_rows,
    funnel_skip,
    plan_windows,
    slice_window,
)

START, END = date(2022, 1, 1), date(2023, 12, 31)


def _plan(
    first: date | None,
    last: date | None,
    *,
    market: tuple[date, date] | None = None,
    window_days: int = 180,
) -> list[PlannedWindow]:
    return plan_windows(
        "M&M",
        start=START,
        end=END,
        first_session=first,
        last_session=last,
        config=WindowConfig(window_days=window_days),
        market=market,
    )


def _skips(plan: list[PlannedWindow]) -> list[SkipReason | None]:
    return [planned.skip for planned in plan]


def test_two_years_by_hand() -> None:
    """730 days are four windows of 180 days and one of ten, cut at the end of the range."""
    plan = _plan(date(2020, 1, 1), date(2024, 6, 28))

    assert [planned.window.label for planned in plan] == [
        "M&M_2022-01-01_to_2022-06-29",
        "M&M_2022-06-30_to_2022-12-26",
        "M&M_2022-12-27_to_2023-06-24",
        "M&M_2023-06-25_to_2023-12-21",
        "M&M_2023-12-22_to_2023-12-31",
    ]
    assert plan[0].window.short == "2022-01-01..2022-06-29"
    assert [planned.window.index for planned in plan] == [0, 1, 2, 3, 4]
    assert _skips(plan) == [None] * 5
    assert not any(planned.window.is_cut_by_listing for planned in plan)
    assert {planned.window.listed_on for planned in plan} == {None}


def test_a_listing_cuts_its_window() -> None:
    """Windows before the listing are skipped, the one that holds it starts there and says so."""
    listed = date(2022, 8, 1)
    plan = _plan(listed, date(2024, 6, 28))

    assert _skips(plan) == [SkipReason.PRE_LISTING, None, None, None, None]
    assert plan[1].window == Window(
        symbol="M&M",
        start=listed,
        end=date(2022, 12, 26),
        index=1,
        listed_on=listed,
        is_cut_by_listing=True,
        is_early_life=True,
    )
    assert (plan[2].window.start, plan[2].window.is_cut_by_listing) == (date(2022, 12, 27), False)
    assert plan[2].window.listed_on == listed


def test_the_first_days_after_a_listing_are_early_life() -> None:
    """Listed on 2022-08-01, the windows start 0, 148, 328 and 508 days after it."""

    def marked(early_life_days: int, listed: date = date(2022, 8, 1)) -> list[bool]:
        config = WindowConfig(early_life_days=early_life_days)
        plan = plan_windows(
            "M&M",
            start=START,
            end=END,
            first_session=listed,
            last_session=date(2024, 6, 28),
            config=config,
        )
        return [planned.window.is_early_life for planned in plan]

    assert marked(180) == [False, True, True, False, False]
    assert marked(148) == [False, True, False, False, False]
    assert marked(149) == [False, True, True, False, False]
    assert marked(0) == [False] * 5
    # A symbol that was listed before the range: its listing is not known.
    assert marked(3650, date(2021, 12, 31)) == [False] * 5


def test_a_listing_on_the_first_day_of_a_window_cuts_nothing() -> None:
    """A window that starts with the listing is whole."""
    window = _plan(date(2022, 6, 30), date(2024, 6, 28))[1].window

    assert (window.listed_on, window.is_cut_by_listing) == (date(2022, 6, 30), False)


def test_the_first_session_of_the_market_is_no_listing() -> None:
    """2022-01-03 is the first session of 2022: where the store begins, nobody is newly listed."""
    monday, last = date(2022, 1, 3), date(2024, 6, 28)

    assert _plan(monday, last)[0].window.is_cut_by_listing
    assert _plan(monday, last, market=(monday, last))[0].window.listed_on is None
    assert _plan(monday, last, market=(date(2020, 1, 1), last))[0].window.is_cut_by_listing


def test_before_the_store_begins_there_are_no_data() -> None:
    """Windows before a symbol's first bar are `no_data` where the store has nobody's bars."""
    first, last = date(2022, 8, 1), date(2024, 6, 28)
    plan = _plan(first, last, market=(first, last))

    assert _skips(plan) == [SkipReason.NO_DATA, None, None, None, None]
    assert plan[1].window.start == date(2022, 6, 30)


def test_a_symbol_without_bars_has_no_data() -> None:
    """Every window of a symbol that has no bar is skipped."""
    assert _skips(_plan(None, None)) == [SkipReason.NO_DATA] * 5


def test_silence_while_others_trade_is_a_suspension() -> None:
    """After a symbol's last bar: suspended as long as the store has others' bars, then no data."""
    last = date(2022, 10, 3)
    market = (date(2020, 1, 1), date(2023, 2, 1))

    assert _skips(_plan(date(2020, 1, 1), last)) == [None, None, *[SkipReason.NO_DATA] * 3]
    assert _skips(_plan(date(2020, 1, 1), last, market=market)) == [
        None,
        None,
        SkipReason.SUSPENDED,
        SkipReason.NO_DATA,
        SkipReason.NO_DATA,
    ]


def test_one_day_at_an_edge_counts() -> None:
    """A window whose only session is its last or first day is one; so is the market's last day."""
    listed, second_start = date(2022, 6, 29), date(2022, 6, 30)
    listing = _plan(listed, END)[0]
    market = (date(2020, 1, 1), second_start)

    assert (listing.skip, listing.window.short) == (None, "2022-06-29..2022-06-29")
    assert _skips(_plan(START, second_start))[:3] == [None, None, SkipReason.NO_DATA]
    assert _skips(_plan(START, listed, market=market))[1:3] == [
        SkipReason.SUSPENDED,
        SkipReason.NO_DATA,
    ]


@given(
    n_days=st.integers(1, 1_500),
    window_days=st.integers(30, 365),
)
def test_windows_cover_every_day_once(n_days: int, window_days: int) -> None:
    """Windows are consecutive, disjoint, of equal length but the last, and end with the range."""
    end = START + timedelta(days=n_days - 1)
    plan = plan_windows(
        "AAA",
        start=START,
        end=end,
        first_session=START,
        last_session=end,
        config=WindowConfig(window_days=window_days),
    )
    lengths = [(planned.window.end - planned.window.start).days + 1 for planned in plan]
    days = [
        planned.window.start + timedelta(days=day)
        for planned, length in zip(plan, lengths, strict=True)
        for day in range(length)
    ]

    assert days == [START + timedelta(days=day) for day in range(n_days)]
    assert lengths[:-1] == [window_days] * (len(plan) - 1)


@pytest.mark.parametrize(
    ("start", "end", "first", "last", "market"),
    [
        (END, START, START, END, None),
        (START, END, END, START, None),
        (START, END, START, None, None),
        (START, END, None, END, None),
        (START, END, START, END, (END, START)),
    ],
    ids=["range", "sessions", "no last", "no first", "market"],
)
def test_contradictions_are_refused(
    start: date,
    end: date,
    first: date | None,
    last: date | None,
    market: tuple[date, date] | None,
) -> None:
    """First days lie before last days, and a symbol has both its sessions or none."""
    with pytest.raises(ConfigError):
        plan_windows(
            "AAA",
            start=start,
            end=end,
            first_session=first,
            last_session=last,
            config=WindowConfig(),
            market=market,
        )


def test_a_window_survives_the_disk() -> None:
    """Record to JSON to record is the identity."""
    window = _plan(date(2022, 8, 1), END)[1].window

    assert Window.model_validate_json(window.model_dump_json()) == window


def _rows() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "symbol": ["AAA"] * 8 + ["BBB"],
            "session": [date(2022, 1, 3) + timedelta(days=day) for day in [*range(8), 2]],
            "sma_20_to_close": [None, None, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7],
            "return_1": [None, 0.1, None, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7],
            "label": pl.Series([1, 0, 1, *[None] * 5, 1], dtype=pl.Int8),
            "unlabelled_reason": [
                None, None, None, "missing_bar", "unexplained_gap", "beyond_last_bar",
                "missing_volatility", "missing_benchmark", None,
            ],
        }
    )  # fmt: skip


COLUMNS = ("sma_20_to_close", "return_1")


def test_a_slice_holds_both_ends_and_one_symbol() -> None:
    """First and last day belong to the window; other symbols do not."""
    window = Window(symbol="AAA", start=date(2022, 1, 4), end=date(2022, 1, 6), index=0)
    sliced = slice_window(_rows(), window)

    assert sliced["session"].to_list() == [date(2022, 1, day) for day in (4, 5, 6)]
    assert set(sliced["symbol"]) == {"AAA"}


def test_the_funnel_counts_every_step() -> None:
    """Eight bars, seven with a feature, of those two labelled, one unlabelled by each reason."""
    rows = _rows()[:8]
    split = Split(train=np.array([0]), validation=np.array([1]), purged=np.array([], dtype=int))

    assert feature_rows(rows, COLUMNS)["label"].count() == 2
    assert count_funnel(rows, feature_rows(rows, COLUMNS)) == WindowFunnel(
        n_bars=8,
        n_feature_rows=7,
        n_labelled=2,
        n_positive=1,
        n_unlabelled_beyond_last_bar=1,
        n_unlabelled_missing_bar=1,
        n_unlabelled_unexplained_gap=1,
        n_unlabelled_missing_volatility=1,
        n_unlabelled_missing_benchmark=1,
    )
    assert set(rows["unlabelled_reason"].drop_nulls()) == set(UNLABELLED_REASONS)
    counted = count_funnel(rows, feature_rows(rows, COLUMNS), split=split)
    assert (counted.n_train, counted.n_validation, counted.n_purged) == (1, 1, 0)


def test_an_empty_window_has_an_empty_funnel() -> None:
    """No rows: every count is zero, and a split was not made."""
    nothing = _rows()[:0]
    funnel = count_funnel(nothing, nothing)

    assert (funnel.n_bars, funnel.n_labelled, funnel.n_train) == (0, 0, None)


def _funnel(**counts: int | None) -> WindowFunnel:
    usual: dict[str, int | None] = {
        "n_bars": 120,
        "n_feature_rows": 120,
        "n_labelled": 113,
        "n_positive": 40,
        "n_unlabelled_beyond_last_bar": 7,
        "n_unlabelled_missing_bar": 0,
        "n_unlabelled_unexplained_gap": 0,
        "n_unlabelled_missing_volatility": 0,
        "n_unlabelled_missing_benchmark": 0,
    }
    return WindowFunnel.model_validate(usual | counts)


@pytest.mark.parametrize(
    ("funnel", "expected"),
    [
        (_funnel(), None),
        (_funnel(n_bars=0, n_feature_rows=0, n_labelled=0), SkipReason.NO_DATA),
        (_funnel(n_feature_rows=0, n_labelled=0), SkipReason.INSUFFICIENT_HISTORY),
        (_funnel(n_feature_rows=7, n_labelled=0), SkipReason.INSUFFICIENT_FUTURE),
        (_funnel(n_labelled=19), SkipReason.INSUFFICIENT_SAMPLES),
        (_funnel(n_labelled=20), None),
        (_funnel(n_train=19, n_validation=5, n_purged=7), SkipReason.INSUFFICIENT_SAMPLES),
        (_funnel(n_train=20, n_validation=5, n_purged=7), None),
    ],
)
def test_counts_decide_whether_a_window_can_be_trained(
    funnel: WindowFunnel, expected: SkipReason | None
) -> None:
    """The first step at which nothing, or too little, is left names the reason."""
    assert funnel_skip(funnel, WindowConfig()) == expected


def test_the_least_number_of_samples_is_a_setting() -> None:
    """The same window passes or not by `min_samples`."""
    assert funnel_skip(_funnel(), WindowConfig(min_samples=113)) is None
    assert funnel_skip(_funnel(), WindowConfig(min_samples=114)) == SkipReason.INSUFFICIENT_SAMPLES


@pytest.mark.parametrize(
    "setting",
    [
        {"window_days": 29},
        {"window_days": 366},
        {"min_samples": 9},
        {"min_samples": 1001},
        {"early_life_days": -1},
    ],
)
def test_settings_outside_their_bounds_are_refused(setting: dict[str, int]) -> None:
    """Each setting has bounds."""
    with pytest.raises(ValidationError):
        WindowConfig.model_validate(setting)
