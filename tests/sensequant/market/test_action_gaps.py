"""Facts about moves over a night that no known action explains."""

import math
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sensequant.market.action_gaps import (
    JUMP_SCHEMA,
    SIMPLE_RATIOS,
    JumpConfig,
    market_moves,
    unexplained_jumps,
)
from sensequant.market.actions import ACTION_SCHEMA, actions_frame
from sensequant.market.bars import BAR_SCHEMA
from sensequant.market.sessions import nse_calendar
from sensequant.market.sources.base import Chunk
from sensequant.market.sources.files.action_files import read_actions
from sensequant.market.sources.files.source import FilesSource
from sensequant.market.symbols import NIFTY50

CALENDAR = nse_calendar()
SESSIONS = CALENDAR.sessions(date(2024, 1, 1), date(2024, 3, 28))
NO_ACTIONS = ACTION_SCHEMA.to_frame()
NO_MOVES = pl.DataFrame(schema={"session": pl.Date, "market_move": pl.Float64})


def bars(
    closes: Sequence[float],
    *,
    opens: Sequence[float] | None = None,
    volumes: Sequence[int] | None = None,
    names: Sequence[str] | None = None,
    symbol: str = "TCS",
    sessions: Sequence[date] | None = None,
) -> pl.DataFrame:
    rows: list[dict[str, Any]] = [
        dict.fromkeys(BAR_SCHEMA)
        | {
            "symbol": symbol,
            "session": (sessions or SESSIONS)[at],
            "open": opens[at] if opens else close,
            "high": close * 2.0,
            "low": close / 2.0,
            "close": close,
            "volume": volumes[at] if volumes else 1000,
            "source_symbol": names[at] if names else symbol,
            "source": "test",
            "is_simulated": False,
        }
        for at, close in enumerate(closes)
    ]
    return pl.DataFrame(rows, schema=BAR_SCHEMA)


def found(
    frame: pl.DataFrame,
    actions: pl.DataFrame = NO_ACTIONS,
    moves: pl.DataFrame = NO_MOVES,
    **limits: Any,
) -> list[dict[str, Any]]:
    jumps = unexplained_jumps(frame, actions, moves, CALENDAR, config=JumpConfig(**limits))
    assert jumps.schema == JUMP_SCHEMA
    return jumps.to_dicts()


def listed(at: int, kind: str, ratio: float | None, symbol: str = "TCS") -> pl.DataFrame:
    return actions_frame([(symbol, SESSIONS[at], kind, ratio, "words", "test")])


def test_a_split_that_no_list_has_is_found_with_its_terms() -> None:
    """From 1000 to 101 with ten times the shares traded: a split 10:1, by all appearances."""
    closes = [1000.0] * 5 + [101.0] * 5
    volumes = [1000] * 5 + [9000] * 5

    (jump,) = found(bars(closes, volumes=volumes))

    assert jump["symbol"] == "TCS"
    assert (jump["previous_session"], jump["session"]) == (SESSIONS[4], SESSIONS[5])
    assert jump["n_sessions_missing"] == 0
    assert jump["open_over_previous_close"] == pytest.approx(0.101)
    assert jump["close_over_previous_close"] == pytest.approx(0.101)
    assert (jump["nearest_terms"], jump["nearest_ratio"]) == ("split 10:1", 0.1)
    assert jump["volume_ratio"] == 9.0
    assert jump["is_volume_consistent"]
    assert not jump["is_only_open"]
    assert not jump["is_other_name"]
    assert jump["market_move"] is None
    assert jump["listed_nearby"] is None


def test_a_known_action_explains_its_jump() -> None:
    """A listed ratio leaves nothing; a demerger is explained by its own open."""
    fallen = bars([100.0, 50.0, 50.0])

    assert found(fallen, listed(1, "bonus", 0.5)) == []
    assert found(fallen, listed(1, "demerger", None)) == []
    assert len(found(fallen, listed(1, "split", None))) == 1


def test_a_wrong_ratio_leaves_the_rest() -> None:
    """A bonus of one for one where the price fell to a fifth leaves two fifths unexplained."""
    (jump,) = found(bars([100.0, 20.0, 20.0]), listed(1, "bonus", 0.5))

    assert jump["open_over_previous_close"] == pytest.approx(0.4)
    assert jump["listed_nearby"] == "bonus 2024-01-02"


def test_an_action_with_a_wrong_date_is_named() -> None:
    """The list has the split three sessions late: two jumps, each naming it; others do not."""
    closes = [1000.0] * 5 + [100.0] * 15
    far = pl.concat([listed(8, "split", 0.1), listed(8, "bonus", 0.5, symbol="INFY")])

    early, late = found(bars(closes), far)

    assert early["session"] == SESSIONS[5]
    assert late["session"] == SESSIONS[8]
    assert early["listed_nearby"] == late["listed_nearby"] == f"split {SESSIONS[8]}"
    (near, _) = found(bars(closes), far, n_nearby_sessions=2)
    assert near["listed_nearby"] is None


@pytest.mark.parametrize(
    ("ratio", "is_found"), [(0.84, False), (0.83, True), (1.19, False), (1.21, True)]
)
def test_the_limit_is_the_price_band(ratio: float, is_found: bool) -> None:
    """Up by more than a fifth, or down by as much on the log scale, wants an explanation."""
    assert bool(found(bars([100.0, 100.0 * ratio]))) is is_found
    assert not found(bars([100.0, 100.0 * ratio]), band_frac=0.5)


def test_a_market_that_fell_widens_the_band() -> None:
    """Down by 22 percent on a day on which the index lost 13 is no jump (2020-03-23)."""
    fell = pl.DataFrame({"session": [SESSIONS[1]], "market_move": [-0.13]})

    assert found(bars([100.0, 78.0]))
    assert not found(bars([100.0, 78.0]), moves=fell)


def test_the_ratio_is_sought_behind_the_market() -> None:
    """Down to 0.44 on a day of minus 12 percent: a bonus of one for one."""
    fell = pl.DataFrame({"session": [SESSIONS[1]], "market_move": [-0.12]})

    assert found(bars([100.0, 44.0]))[0]["nearest_terms"] == "split 5:2"
    assert found(bars([100.0, 44.0]), moves=fell)[0]["nearest_terms"] == "split 2:1"


def test_no_ratio_is_hinted_at_far_from_all() -> None:
    """Up by 40 percent is like no split, unless the tolerance is made absurd."""
    (jump,) = found(bars([100.0, 140.0]))
    assert jump["nearest_ratio"] is jump["nearest_terms"] is jump["is_volume_consistent"] is None

    (jump,) = found(bars([100.0, 140.0]), ratio_tolerance_log=0.4)
    assert jump["nearest_terms"] == "consolidation 1:2"


def test_volumes_that_do_not_grow_speak_against_a_split() -> None:
    """Trade as before, in shares, is not what five times the shares would bring."""
    (jump,) = found(bars([100.0] * 4 + [20.0] * 4))

    assert jump["volume_ratio"] == 1.0
    assert not jump["is_volume_consistent"]


def test_volumes_are_compared_over_the_sessions_that_are_asked_for() -> None:
    """One bar on each side: 3000 over 1000; three: 5000 over 2000."""
    frame = bars([100.0] * 3 + [20.0] * 3, volumes=[2000, 2000, 1000, 3000, 5000, 9000])

    assert found(frame, n_volume_sessions=1)[0]["volume_ratio"] == 3.0
    assert found(frame, n_volume_sessions=3)[0]["volume_ratio"] == 2.5


def test_no_volume_is_no_ratio() -> None:
    """An index has no volume."""
    (jump,) = found(bars([100.0, 50.0], volumes=[0, 0]))

    assert jump["volume_ratio"] is None
    assert jump["is_volume_consistent"] is None


def test_a_print_that_is_back_by_the_close_is_told_apart() -> None:
    """Opened at 81 and closed at 100: nobody's shares were split."""
    (jump,) = found(bars([100.0, 100.0, 100.0], opens=[100.0, 81.0, 100.0]))

    assert jump["is_only_open"]


def test_a_change_of_name_is_told() -> None:
    """Under one symbol the source has another security from that bar on."""
    (jump,) = found(bars([100.0, 300.0], names=["OLD", "NEW"]))

    assert jump["is_other_name"]


def test_a_hole_is_counted() -> None:
    """Four sessions lack between the bars."""
    (jump,) = found(bars([100.0, 300.0], sessions=[SESSIONS[0], SESSIONS[5]]))

    assert jump["n_sessions_missing"] == 4


def test_symbols_are_kept_apart() -> None:
    """The first bar of a symbol has no night, and its volumes are its own."""
    both = pl.concat(
        [
            bars([10.0, 10.0], volumes=[7, 7], symbol="A"),
            bars([1000.0, 100.0], volumes=[10, 40], symbol="B"),
        ]
    )

    (jump,) = found(both.sample(fraction=1.0, shuffle=True, seed=1))

    assert (jump["symbol"], jump["volume_ratio"]) == ("B", 4.0)


def test_nothing_is_found_in_nothing() -> None:
    """No bars, or calm ones, give an empty table with all columns; defaults need no config."""
    assert found(BAR_SCHEMA.to_frame()) == []
    calm = unexplained_jumps(bars([100.0, 101.0]), NO_ACTIONS, NO_MOVES, CALENDAR)
    assert calm.schema == JUMP_SCHEMA
    assert calm.is_empty()


@given(ratio=st.sampled_from(sorted(SIMPLE_RATIOS.values())), noise=st.floats(-0.015, 0.015))
def test_every_simple_ratio_is_recognised(ratio: float, noise: float) -> None:
    """With 1.5 percent of news on top, the hint is still the ratio itself."""
    (jump,) = found(bars([1000.0, 1000.0 * ratio * math.exp(noise)]), band_frac=0.1)

    assert jump["nearest_ratio"] == ratio
    assert SIMPLE_RATIOS[jump["nearest_terms"]] == ratio


@pytest.mark.parametrize(
    "limits",
    [{"band_frac": 0.0}, {"ratio_tolerance_log": 0.0}, {"n_volume_sessions": 0}, {"other": 1}],
)
def test_limits_are_bounded(limits: dict[str, Any]) -> None:
    """A band of nothing would call every night a jump."""
    with pytest.raises(ValidationError):
        JumpConfig(**limits)


def test_moves_of_an_index() -> None:
    """The first session has no return; order plays no part."""
    index = pl.DataFrame({"session": SESSIONS[:3], "close": [100.0, 110.0, 99.0]})

    moves = market_moves(index.reverse())

    assert moves["session"].to_list() == SESSIONS[1:3]
    assert moves["market_move"].to_list() == pytest.approx([0.1, -0.1])


def real_jumps(real_data: Path, folder: str) -> pl.DataFrame:
    source = FilesSource(real_data / folder)
    raw = pl.concat(source.fetch(Chunk(name)).bars for name in source.symbols())
    index = FilesSource(real_data / "daily_nsepy_2000_2020").fetch(Chunk(NIFTY50)).bars
    table = read_actions(real_data / "corporate_actions" / "corporate_actions.parquet")
    return unexplained_jumps(raw, table, market_moves(index), CALENDAR)


@pytest.mark.real_data
def test_the_splits_before_the_list_begins_are_found(real_data: Path) -> None:
    """The list begins in 2016; of the years before, the 50 files hold 70 actions by their looks."""
    jumps = real_jumps(real_data, "daily_nsepy_2000_2020")
    lasting = jumps.filter(~pl.col("is_only_open") & (pl.col("n_sessions_missing") == 0))

    assert jumps.filter(pl.col("session") >= date(2016, 1, 1)).is_empty()
    hints = {
        (symbol, session): terms
        for symbol, session, terms in lasting.select("symbol", "session", "nearest_terms").rows()
    }
    assert hints["SBIN", date(2014, 11, 20)] == "split 10:1"
    assert hints["HDFCBANK", date(2011, 7, 14)] == "split 5:1"
    assert hints["RELIANCE", date(2009, 11, 26)] == "split 2:1"
    assert hints["ONGC", date(2011, 2, 8)] == "bonus 3:1"
    assert hints["ITC", date(2005, 9, 21)] == "split 10:1 and bonus 1:2"
    assert hints["LT", date(2013, 7, 11)] == "bonus 1:2"
    assert lasting.height == 70
    assert lasting["nearest_terms"].null_count() == 1


@pytest.mark.real_data
def test_the_later_sets_hold_no_unknown_split(real_data: Path) -> None:
    """What is left since 2020 are holes and three days of news about the companies."""
    jumps = real_jumps(real_data, "daily_bhavcopy_2019_2026")
    nights = jumps.filter(pl.col("n_sessions_missing") == 0)

    assert nights.select("symbol", "session").rows() == [
        ("ADANIENSOL", date(2024, 11, 21)),
        ("ADANIGREEN", date(2024, 11, 21)),
        ("YESBANK", date(2020, 7, 23)),
    ]
