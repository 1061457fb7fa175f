"""Facts about prices without the jumps of corporate actions, and with dividends in them."""

import math
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensequant.errors import InvalidBarsError
from sensequant.market.action_gaps import market_moves
from sensequant.market.action_ratios import OPEN_OVER_PREVIOUS_CLOSE, price_ratios
from sensequant.market.adjustments import (
    ACTION_SCHEMA,
    ADJUSTED_SCHEMA,
    GAP_LIMIT_LOG,
    actions_frame,
    adjust_bars,
    total_return_bars,
)
from sensequant.market.bars import BAR_SCHEMA
from sensequant.market.sessions import SessionCalendar, nse_calendar
from sensequant.market.sources.base import Chunk
from sensequant.market.sources.files.action_files import read_actions
from sensequant.market.sources.files.source import FilesSource
from sensequant.market.symbols import NIFTY50

SESSIONS = nse_calendar().sessions(date(2024, 1, 1), date(2024, 1, 31))


def actions(*rows: tuple[date, str, float | None], symbol: str = "TCS") -> pl.DataFrame:
    return actions_frame(
        (symbol, ex_date, kind, ratio, kind, "test") for ex_date, kind, ratio in rows
    )


def bars(
    closes: list[float], *, symbol: str = "TCS", sessions: list[date] | None = None
) -> pl.DataFrame:
    used = sessions or SESSIONS[: len(closes)]
    rows: list[dict[str, Any]] = [
        {
            "symbol": symbol,
            "session": session,
            "open": close,
            "high": close * 1.01,
            "low": close * 0.99,
            "close": close,
            "volume": 1000,
            "source_symbol": symbol,
            "source": "test",
            "is_simulated": False,
        }
        for session, close in zip(used, closes, strict=True)
    ]
    blank: dict[str, Any] = dict.fromkeys(BAR_SCHEMA)
    return pl.DataFrame([blank | row for row in rows], schema=BAR_SCHEMA)


def test_prices_are_adjusted_forward_by_hand() -> None:
    """A split 10:1 multiplies later prices by ten and divides later volumes by ten."""
    adjusted = adjust_bars(
        bars([100.0, 102.0, 10.3, 10.4]), actions((SESSIONS[2], "split", 0.1)), nse_calendar()
    )

    assert adjusted.schema == ADJUSTED_SCHEMA
    assert adjusted["close"].to_list() == pytest.approx([100.0, 102.0, 103.0, 104.0])
    assert adjusted["low"].to_list() == pytest.approx([99.0, 100.98, 101.97, 102.96])
    assert adjusted["volume"].to_list() == pytest.approx([1000.0, 1000.0, 100.0, 100.0])
    assert adjusted["session_number"].to_list() == [
        nse_calendar().number_of(session) for session in SESSIONS[:4]
    ]
    assert not adjusted["is_unexplained_gap"].any()
    assert not adjusted["is_short_session"].any()


def test_delivered_volumes_are_adjusted_like_volumes_and_stay_missing() -> None:
    """A split 10:1 leaves the delivered share of the volume as it was; none given stays none."""
    raw = bars([100.0, 102.0, 10.3, 10.4]).with_columns(
        delivered_volume=pl.Series([500, None, 250, 0], dtype=pl.Int64)
    )
    split = actions((SESSIONS[2], "split", 0.1))

    for adjust in (adjust_bars, total_return_bars):
        adjusted = adjust(raw, split, nse_calendar())
        assert adjusted["delivered_volume"].to_list() == [500.0, None, 25.0, 0.0]
        assert adjusted["volume"].to_list() == [1000.0, 1000.0, 100.0, 100.0]


def test_ratios_accumulate_and_belong_to_their_symbol() -> None:
    """Each symbol has the product of its own ratios; rows come out sorted by symbol."""
    both = pl.concat(
        [bars([100.0, 50.0, 10.0], symbol="B"), bars([100.0, 100.0, 100.0], symbol="A")]
    )
    own = actions((SESSIONS[1], "bonus", 0.5), (SESSIONS[2], "split", 0.2), symbol="B")

    adjusted = adjust_bars(both, own, nse_calendar())

    assert adjusted["symbol"].to_list() == ["A"] * 3 + ["B"] * 3
    assert adjusted["close"].to_list() == pytest.approx([100.0] * 6)
    assert not adjusted["is_unexplained_gap"].any()


def test_an_action_in_a_hole_takes_effect_after_it() -> None:
    """The first bar after the ex-date carries the ratio, and the mark of an unknown one."""
    used = [SESSIONS[0], SESSIONS[1], SESSIONS[5], SESSIONS[6]]
    known = adjust_bars(
        bars([100.0, 100.0, 50.0, 50.0], sessions=used),
        actions((SESSIONS[3], "bonus", 0.5)),
        nse_calendar(),
    )
    unknown = adjust_bars(
        bars([100.0, 100.0, 90.0, 90.0], sessions=used),
        actions((SESSIONS[3], "demerger", None)),
        nse_calendar(),
    )

    assert known["close"].to_list() == pytest.approx([100.0] * 4)
    assert known["is_unexplained_gap"].to_list() == [False] * 4
    assert unknown["is_unexplained_gap"].to_list() == [False, False, True, False]


def test_a_jump_without_action_is_marked_and_left_as_it_is() -> None:
    """A 2:1 fall overnight without an action keeps its price and is unexplained."""
    adjusted = adjust_bars(bars([100.0, 49.0, 49.0]), ACTION_SCHEMA.to_frame(), nse_calendar())

    assert adjusted["close"].to_list() == [100.0, 49.0, 49.0]
    assert adjusted["is_unexplained_gap"].to_list() == [False, True, False]


@pytest.mark.parametrize(
    ("open_price", "is_marked"),
    [(134.9, False), (135.1, True), (74.2, False), (74.0, True)],
)
def test_the_limit_is_thirty_five_percent_on_the_log_scale(
    open_price: float, is_marked: bool
) -> None:
    """Up by more than 35 percent or down by more than 1 - 1/1.35 is a gap."""
    adjusted = adjust_bars(bars([100.0, open_price]), ACTION_SCHEMA.to_frame(), nse_calendar())

    assert adjusted["is_unexplained_gap"].to_list() == [False, is_marked]
    assert math.exp(GAP_LIMIT_LOG) == pytest.approx(1.35)


def test_an_unknown_ratio_before_the_first_bar_marks_nothing() -> None:
    """The first bar has no previous close that could have jumped."""
    before = nse_calendar().offset(SESSIONS[0], -5)
    later = SESSIONS[10]

    adjusted = adjust_bars(
        bars([100.0, 100.0]),
        actions((before, "demerger", None), (later, "arrangement", None)),
        nse_calendar(),
    )

    assert not adjusted["is_unexplained_gap"].any()


def test_short_sessions_are_marked() -> None:
    """The Muhurat evening of 2023-11-12 and the drill of 2024-03-02 are short sessions."""
    used = [date(2023, 11, 10), date(2023, 11, 12), date(2024, 3, 1), date(2024, 3, 2)]

    adjusted = adjust_bars(bars([1.0] * 4, sessions=used), ACTION_SCHEMA.to_frame(), nse_calendar())

    assert adjusted["is_short_session"].to_list() == [False, True, False, True]


def test_a_bar_on_a_holiday_is_refused() -> None:
    """Saturday 2024-01-06 was no session."""
    with pytest.raises(InvalidBarsError, match="not on a session"):
        adjust_bars(
            bars([1.0], sessions=[date(2024, 1, 6)]), ACTION_SCHEMA.to_frame(), nse_calendar()
        )


def test_sources_that_agree_count_once_and_others_are_refused() -> None:
    """The same split from two lists is one split; two ratios for it are an error of that symbol."""
    one = actions((SESSIONS[1], "split", 0.5))
    again = one.with_columns(source=pl.lit("other"))
    other = one.with_columns(price_ratio=pl.lit(0.2), source=pl.lit("other"))

    adjusted = adjust_bars(bars([100.0, 50.0]), pl.concat([one, again]), nse_calendar())

    assert adjusted["close"].to_list() == [100.0, 100.0]
    with pytest.raises(InvalidBarsError, match="disagree"):
        adjust_bars(bars([100.0, 50.0]), pl.concat([one, other]), nse_calendar())
    adjust_bars(bars([1.0], symbol="INFY"), pl.concat([one, other]), nse_calendar())


steps = st.lists(
    st.tuples(st.integers(0, 11), st.sampled_from([0.1, 0.2, 0.5, 2 / 3, None])), max_size=4
)


@given(steps=steps, cut=st.integers(1, 11), price=st.floats(1.0, 1e5))
def test_no_row_depends_on_what_follows_or_on_the_start(
    steps: list[tuple[int, float | None]], cut: int, price: float
) -> None:
    """Later bars and actions change nothing, and adjusting a part gives that part."""
    listed = actions(
        *{number: (SESSIONS[number], "split", ratio) for number, ratio in steps}.values()
    )
    whole = bars([price + number for number in range(12)])
    adjusted = adjust_bars(whole, listed, nse_calendar())

    early = adjust_bars(
        whole[:cut], listed.filter(pl.col("ex_date") <= SESSIONS[cut - 1]), nse_calendar()
    )
    late = adjust_bars(whole[cut:], listed, nse_calendar())

    assert early.equals(adjusted[:cut])
    assert late.drop("is_unexplained_gap").equals(adjusted[cut:].drop("is_unexplained_gap"))


@given(ratio=st.sampled_from([0.01, 0.1, 0.2, 1 / 3, 0.5, 0.9, 10.0]))
def test_value_traded_does_not_change(ratio: float) -> None:
    """Price times volume is the same before and after adjustment."""
    raw = bars([100.0, 100.0 * ratio])

    adjusted = adjust_bars(raw, actions((SESSIONS[1], "split", ratio)), nse_calendar())

    expected = (raw["close"] * raw["volume"]).to_list()
    assert (adjusted["close"] * adjusted["volume"]).to_list() == pytest.approx(expected)


any_action = st.tuples(
    st.just("TCS"),
    st.integers(0, 11).map(SESSIONS.__getitem__),
    st.sampled_from(["split", "bonus", "demerger", "arrangement", "rights", "dividend"]),
    st.sampled_from([None, 0.1, 0.5, 2 / 3]),
    st.just("words"),
    st.just("test"),
    st.none(),
    st.sampled_from([None, 0.5, 3.0]),
    st.sampled_from([None, "1:5", "2:3 at premium 4"]),
)


@pytest.mark.parametrize("adjust", [adjust_bars, total_return_bars])
@given(
    listed=st.lists(any_action, max_size=6, unique_by=lambda row: row[1:3]),
    moves=st.lists(st.floats(0.5, 2.0), min_size=12, max_size=12),
    cut=st.integers(1, 11),
)
def test_no_later_action_or_bar_changes_a_row(
    adjust: Callable[[pl.DataFrame, pl.DataFrame, SessionCalendar], pl.DataFrame],
    listed: list[tuple[Any, ...]],
    moves: list[float],
    cut: int,
) -> None:
    """What is adjusted with the past alone equals what is adjusted with everything known later."""
    table = actions_frame(listed)
    whole = bars([100.0 * move for move in moves])
    expected = adjust(whole, table, nse_calendar())[:cut]

    past = table.filter(pl.col("ex_date") <= SESSIONS[cut - 1])

    assert adjust(whole[:cut], past, nse_calendar()).equals(expected)
    assert adjust(whole[:cut], table, nse_calendar()).equals(expected)


@given(
    listed=st.lists(any_action, max_size=6, unique_by=lambda row: row[1:3]), cut=st.integers(1, 10)
)
def test_a_part_has_the_returns_of_the_whole(listed: list[tuple[Any, ...]], cut: int) -> None:
    """Without the close before, levels may differ by one factor; no return does."""
    table = actions_frame(listed)
    raw = bars([100.0 + number for number in range(12)])

    whole = total_return_bars(raw, table, nse_calendar())[cut:]
    part = total_return_bars(raw[cut:], table, nse_calendar())

    levels = (part["close"] / whole["close"]).to_list()
    assert levels == pytest.approx([levels[0]] * len(levels))


@given(steps=steps)
def test_a_second_engine_finds_the_same_factor(steps: list[tuple[int, float | None]]) -> None:
    """SQL sums the logarithms of all ratios with an ex-date up to each session."""
    listed = actions(
        *{number: (SESSIONS[number], "split", ratio) for number, ratio in steps}.values()
    )
    raw = bars([100.0] * 12)
    query = """
        select exp(coalesce(sum(-ln(a.price_ratio)), 0.0)) as factor
        from raw as b left join listed as a
          on a.symbol = b.symbol and a.ex_date <= b.session and a.price_ratio is not null
        group by b.symbol, b.session order by b.symbol, b.session
    """
    with duckdb.connect() as connection:
        connection.register("raw", raw)
        connection.register("listed", listed)
        expected = [row[0] for row in connection.execute(query).fetchall()]

    adjusted = adjust_bars(raw, listed, nse_calendar())

    assert (adjusted["close"] / raw["close"]).to_list() == pytest.approx(expected)


def test_a_demerger_makes_no_step_and_keeps_its_mark() -> None:
    """The night in which it took effect has no return, and no label may span it."""
    raw = bars([100.0, 60.0, 66.0])

    adjusted = adjust_bars(raw, actions((SESSIONS[1], "demerger", None)), nse_calendar())

    assert adjusted["close"].to_list() == pytest.approx([100.0, 100.0, 110.0])
    assert adjusted["is_unexplained_gap"].to_list() == [False, True, False]


def test_a_confirmed_demerger_is_a_ratio_like_any_other() -> None:
    """A company that says 0.6 leaves nothing unexplained, and the night keeps its return."""
    listed = actions((SESSIONS[1], "demerger", None))
    confirmed = actions((SESSIONS[1], "demerger", 0.6)).with_columns(source=pl.lit("confirmed"))

    adjusted = adjust_bars(bars([100.0, 57.0]), pl.concat([listed, confirmed]), nse_calendar())

    assert adjusted["close"].to_list() == pytest.approx([100.0, 95.0])
    assert not adjusted["is_unexplained_gap"].any()


def test_dividends_are_in_the_total_return_only() -> None:
    """Three rupees paid on 103: the price falls by 3, the holder earns 100 / (103 - 3) of it."""
    raw = bars([100.0, 103.0, 100.0, 104.0])
    paid = actions_frame([("TCS", SESSIONS[2], "dividend", None, "words", "test", None, 3.0)])

    price = adjust_bars(raw, paid, nse_calendar())
    total = total_return_bars(raw, paid, nse_calendar())

    assert price["close"].to_list() == [100.0, 103.0, 100.0, 104.0]
    assert total["close"].to_list() == pytest.approx([100.0, 103.0, 103.0, 107.12])
    assert total["open"].to_list() == total["close"].to_list()
    assert total["volume"].to_list() == price["volume"].to_list() == [1000.0] * 4
    assert not total["is_unexplained_gap"].any()
    assert total.schema == ADJUSTED_SCHEMA


def test_shares_and_dividends_combine() -> None:
    """A bonus, a dividend of the new share and a second dividend by hand."""
    raw = bars([100.0, 50.0, 49.0, 48.0])
    listed = actions_frame(
        [
            ("TCS", SESSIONS[1], "bonus", 0.5, "words", "test"),
            ("TCS", SESSIONS[2], "dividend", None, "words", "test", None, 1.0),
            ("TCS", SESSIONS[3], "dividend", None, "words", "test", None, 0.49),
        ]
    )

    total = total_return_bars(raw, listed, nse_calendar())

    expected = [100.0, 100.0, 98.0 / 0.98, 96.0 / 0.98 / 0.99]
    assert total["close"].to_list() == pytest.approx(expected)
    assert total["volume"].to_list() == pytest.approx([1000.0, 500.0, 500.0, 500.0])


def test_an_unknown_dividend_is_a_gap_of_the_total_return() -> None:
    """The price view does not care; the other one cannot say what was earned that night."""
    raw = bars([100.0, 97.0])
    paid = actions((SESSIONS[1], "dividend", None))

    assert not adjust_bars(raw, paid, nse_calendar())["is_unexplained_gap"].any()
    assert total_return_bars(raw, paid, nse_calendar())["is_unexplained_gap"].to_list() == [
        False,
        True,
    ]


FOLDERS = ("daily_bhavcopy_2019_2026", "daily_secwise_2020_2026", "daily_nsepy_2000_2020")


@pytest.fixture(scope="module")
def histories(real_data: Path) -> dict[str, pl.DataFrame]:
    """Return all bars of each daily set."""
    found: dict[str, pl.DataFrame] = {}
    for folder in FOLDERS:
        source = FilesSource(real_data / folder)
        found[folder] = pl.concat(source.fetch(Chunk(name)).bars for name in source.symbols())
    return found


@pytest.fixture(scope="module")
def listed(real_data: Path) -> pl.DataFrame:
    return read_actions(real_data / "corporate_actions" / "corporate_actions.parquet")


@pytest.fixture(scope="module")
def moves(real_data: Path) -> pl.DataFrame:
    return market_moves(FilesSource(real_data / FOLDERS[2]).fetch(Chunk(NIFTY50)).bars)


def moves_of(raw: pl.DataFrame, table: pl.DataFrame, symbol: str, session: date) -> list[float]:
    own = raw.filter(pl.col("symbol") == symbol)
    adjusted = adjust_bars(own, table, nse_calendar())
    at = adjusted["session"].index_of(session)
    assert at is not None
    found = [frame["close"][at] / frame["close"][at - 1] for frame in (own, adjusted)]
    return [*found, float(adjusted["is_unexplained_gap"][at])]


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("symbol", "session", "raw_move"),
    [
        ("RELIANCE", date(2024, 10, 28), 0.502),
        ("TATASTEEL", date(2022, 7, 28), 0.105),
        ("HDFCBANK", date(2025, 8, 26), 0.496),
        ("BAJFINANCE", date(2025, 6, 16), 0.101),
        ("NESTLEIND", date(2024, 1, 5), 0.098),
        ("KOTAKBANK", date(2026, 1, 14), 0.197),
        ("GOLDBEES", date(2019, 12, 19), 0.01),
        ("NIFTYBEES", date(2019, 12, 19), 0.1),
    ],
)
def test_real_splits_leave_no_jump(
    histories: dict[str, pl.DataFrame],
    listed: pl.DataFrame,
    symbol: str,
    session: date,
    raw_move: float,
) -> None:
    """The raw fall is there in the bars, and gone after adjustment."""
    raw, adjusted, is_gap = moves_of(histories[FOLDERS[0]], listed, symbol, session)

    assert raw == pytest.approx(raw_move, rel=0.03)
    assert adjusted == pytest.approx(1.0, abs=0.06)
    assert not is_gap


@pytest.mark.real_data
@pytest.mark.parametrize(("folder", "symbol"), [(FOLDERS[1], "TMPV"), (FOLDERS[0], "TATAMOTORS")])
def test_the_demerger_of_tata_motors(
    histories: dict[str, pl.DataFrame], listed: pl.DataFrame, folder: str, symbol: str
) -> None:
    """Its ratio is not in the list: the open gives it, under the old name too; the mark stays."""
    raw, adjusted, is_gap = moves_of(histories[folder], listed, symbol, date(2025, 10, 14))

    assert raw == pytest.approx(0.598, abs=0.001)
    assert adjusted == pytest.approx(0.989, abs=0.001)
    assert is_gap


@pytest.mark.real_data
def test_a_hole_is_no_split(histories: dict[str, pl.DataFrame], listed: pl.DataFrame) -> None:
    """ADANIPOWER in trade-to-trade has a hole; no ratio is invented, the move is unexplained."""
    raw, adjusted, is_gap = moves_of(histories[FOLDERS[0]], listed, "ADANIPOWER", date(2021, 9, 20))

    assert raw == adjusted == pytest.approx(0.6436, abs=1e-4)
    assert is_gap


@pytest.mark.real_data
def test_a_real_crash_is_no_gap(histories: dict[str, pl.DataFrame], listed: pl.DataFrame) -> None:
    """YESBANK on 2020-03-06 opened 10 percent down and lost 56 percent within the session."""
    raw, adjusted, is_gap = moves_of(histories[FOLDERS[0]], listed, "YESBANK", date(2020, 3, 6))

    assert raw == adjusted == pytest.approx(0.4389, abs=1e-4)
    assert not is_gap


@pytest.mark.real_data
def test_the_split_of_jswsteel_is_read(
    histories: dict[str, pl.DataFrame], listed: pl.DataFrame
) -> None:
    """NSE worded the split of 2017-01-04 as "Fv Splt Frm Rs 10 To Re 1"."""
    raw, adjusted, is_gap = moves_of(histories[FOLDERS[2]], listed, "JSWSTEEL", date(2017, 1, 4))

    assert raw == pytest.approx(0.1, abs=0.01)
    assert adjusted == pytest.approx(1.0, abs=0.06)
    assert not is_gap


NEWS, HOLE, ONE_PRINT, ESTIMATE = "news", "hole", "one print", "estimate"
REMAINING = {
    # Nothing but the market: opened near the adjusted close, moved within the session.
    ("ADANIPOWER", date(2025, 9, 22)): NEWS,
    ("BERGEPAINT", date(2023, 9, 22)): NEWS,
    ("CANBK", date(2024, 5, 15)): NEWS,
    ("IRCTC", date(2021, 10, 28)): NEWS,
    ("SHRIRAMFIN", date(2025, 1, 10)): NEWS,
    # The bars have a hole of several sessions around the ex-date.
    ("ABB", date(2020, 1, 6)): HOLE,
    ("HDFCBANK", date(2019, 10, 1)): HOLE,
    # The first print was out of line; the close is back.
    ("GOLDBEES", date(2019, 12, 19)): ONE_PRINT,
    ("VBL", date(2021, 6, 10)): ONE_PRINT,
    # The open of the demerged share, from which the ratio comes, was far from its close.
    ("NMDC", date(2022, 10, 27)): ESTIMATE,
    ("SIEMENS", date(2025, 4, 7)): ESTIMATE,
    ("VEDL", date(2026, 4, 30)): ESTIMATE,
}
"""Moves that stay around listed actions, of 149 in all three sets; none is a wrong adjustment."""


@pytest.mark.real_data
def test_no_listed_action_leaves_a_jump(
    histories: dict[str, pl.DataFrame], listed: pl.DataFrame, moves: pl.DataFrame
) -> None:
    """Beyond 5 percent or three times the market's move, each exception has its reason."""
    remaining: dict[tuple[str, date], str] = {}
    n_actions = 0
    for raw in histories.values():
        after = around_actions(raw, listed).join(moves, on="session", how="left")
        n_actions += after.height
        limit = pl.max_horizontal(0.05, 3.0 * pl.col("market_move").fill_null(0.0).abs())
        beyond = after.filter(pl.max_horizontal(pl.col("night", "day").abs()) > limit)
        for row in beyond.iter_rows(named=True):
            remaining[row["symbol"], row["session"]] = reason_of(row)

    assert n_actions == 149
    assert remaining == REMAINING


def around_actions(raw: pl.DataFrame, table: pl.DataFrame) -> pl.DataFrame:
    ratios = price_ratios(raw, table, nse_calendar()).drop_nulls("session")
    former = pl.col("close", "session_number").shift(1).over("symbol").name.prefix("former_")
    return (
        adjust_bars(raw, table, nse_calendar())
        .with_columns(former)
        .drop_nulls("former_close")
        .join(ratios, on=["symbol", "session"])
        .with_columns(
            night=pl.col("open") / pl.col("former_close") - 1.0,
            day=pl.col("close") / pl.col("former_close") - 1.0,
            n_missing=pl.col("session_number") - pl.col("former_session_number") - 1,
        )
    )


def reason_of(row: dict[str, Any]) -> str:
    if row["n_missing"]:
        return HOLE
    if row["ratio_source"] == OPEN_OVER_PREVIOUS_CLOSE:
        return ESTIMATE
    return NEWS if abs(row["night"]) < 0.05 else ONE_PRINT


@pytest.mark.real_data
def test_real_dividends_fall_out_of_the_price_and_not_of_the_return(
    histories: dict[str, pl.DataFrame], listed: pl.DataFrame
) -> None:
    """Over all dividends above 1 percent the night costs four fifths of them.

    That a share falls by less than it pays is known since Elton and Gruber (1970): holders are
    taxed on what is paid. The total return puts the whole payment back.
    """
    raw = histories[FOLDERS[1]]
    views = {
        name: adjust(raw, listed, nse_calendar())
        .with_columns(night=pl.col("open") / pl.col("close").shift(1).over("symbol") - 1.0)
        .select("symbol", "session", night=pl.col("night"))
        for name, adjust in (("price", adjust_bars), ("total", total_return_bars))
    }
    both = views["price"].join(views["total"], on=["symbol", "session"], suffix="_total")
    # What the total return adds is the dividend as a fraction of the close.
    paid = both.with_columns(yielded=pl.col("night_total") - pl.col("night")).filter(
        pl.col("yielded") > 0.01
    )

    assert paid.height > 300
    fallen, yielded = -float(paid["night"].sum()), float(paid["yielded"].sum())
    assert fallen / yielded == pytest.approx(0.81, abs=0.02)
