"""Facts about corporate actions: their wording, their ratios, and prices without their jumps."""

import math
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensequant.errors import InvalidBarsError
from sensequant.market.adjustments import (
    ACTION_SCHEMA,
    ADJUSTED_SCHEMA,
    GAP_LIMIT_LOG,
    adjust_bars,
    parse_actions,
    validate_actions,
)
from sensequant.market.bars import BAR_SCHEMA
from sensequant.market.sessions import nse_calendar
from sensequant.market.sources.base import Chunk
from sensequant.market.sources.files.source import FilesSource

SESSIONS = nse_calendar().sessions(date(2024, 1, 1), date(2024, 1, 31))


def parsed(*subjects: str) -> list[tuple[str, float | None]]:
    listed = pl.DataFrame(
        {
            "symbol": ["TCS"] * len(subjects),
            "ex_date": [SESSIONS[3]] * len(subjects),
            "subject": subjects,
        },
        schema={"symbol": pl.String, "ex_date": pl.Date, "subject": pl.String},
    )
    return parse_actions(listed, source="test").select("kind", "price_ratio").rows()


@pytest.mark.parametrize(
    ("subject", "kind", "ratio"),
    [
        ("Bonus 1:1", "bonus", 1 / 2),
        (" Bonus  2:1 ", "bonus", 1 / 3),
        (" Bonus 1: 2", "bonus", 2 / 3),
        ("Bonus- 1:4", "bonus", 4 / 5),
        (
            " Annual General Meeting/Dividend - Rs 2.50 Per Share/Bonus 1:10 (Revised)",
            "bonus",
            1 / 1.1,
        ),
        (
            "Face Value Split (Sub-Division) - From Rs 10/- Per Share To Re 1/- Per Share",
            "split",
            0.1,
        ),
        (
            " Face Value Split (Sub-Division) - From Rs10/- Per Share To Rs 2/- Per Share",
            "split",
            0.2,
        ),
        (" Fv Splt Frm Rs 10 To Re 1", "split", 0.1),
        (" Face Value Split From Rs 5 To Re 1", "split", 0.2),
        (
            " Face Value Split (Sub-Division) - From Rs 2 /- Per Share To Re 1- Per Share",
            "split",
            0.5,
        ),
        (" Face Value Split (Sub-Division) - From Rs 100/- To Rs 1/-", "split", 0.01),
        (
            "Face Value Split (Sub-Division) - From Rs 2503.61/- Per Unit To Rs 250.361/- Per Unit",
            "split",
            0.1,
        ),
        (
            "Interim Div - Rs 3/- + Face Value Split (Sub-Division) - From Rs 2/- To Re 1/- ",
            "split",
            0.5,
        ),
        (
            "Bonus 1:1/Face Value Split (Sub-Division) From Rs 10/- Per Share To Rs 2/- Per Share",
            "split_and_bonus",
            0.1,
        ),
        (
            "Consolidation Of Equity Shares From Re 1 Per Share To Rs 10 Per Share",
            "consolidation",
            10.0,
        ),
        (
            " Capital Reduction Rs 10 To Rs 3.30 / Consolidation Rs 3.30 To Rs.10",
            "consolidation",
            10 / 3.3,
        ),
        ("Face Value Split", "split", None),
        ("Demerger", "demerger", None),
        (" Merger/Demerger", "demerger", None),
        (" Scheme Of Arrangement", "arrangement", None),
        (" Sheme Of Arrangement", "arrangement", None),
        ("Scheme Of Arrangement - Bonus Ncrps 4:1", "arrangement", None),
        ("Bonus Ncrps 1:116", "arrangement", None),
        (
            " Scheme Of Arangement- Bonus - 1 Debenture For 1 Equity Share Held",
            "arrangement",
            None,
        ),
        ("Capital Reduction Pursuant To Nclt Order", "capital_reduction", None),
    ],
)
def test_wordings_of_nse(subject: str, kind: str, ratio: float | None) -> None:
    """Each wording gives its kind and its ratio, price after over price before."""
    ((found_kind, found_ratio),) = parsed(subject)

    assert found_kind == kind
    assert found_ratio == (ratio if ratio is None else pytest.approx(ratio))


@pytest.mark.parametrize(
    "subject",
    [
        "Interim Dividend - Rs 7.10 Per Share",
        "Interest Payment",
        "Rights 1:5 @ Premium Rs 100/-",
        "Annual General Meeting",
    ],
)
def test_what_moves_no_price_is_left_out(subject: str) -> None:
    """Dividends, interest, rights and meetings are no adjustments."""
    assert parsed(subject) == []


def test_two_actions_on_one_day_multiply() -> None:
    """BAJFINANCE 2025-06-16: bonus 4:1 and a split of 2 into 1 leave a tenth of the price."""
    split = "Face Value Split (Sub-Division) - From Rs 2/- Per Share To Re 1/- Per Share"

    assert parsed("Bonus 4:1", split) == [("split_and_bonus", pytest.approx(0.1))]


def test_a_repeated_line_counts_once() -> None:
    """The list names some actions twice."""
    assert parsed("Bonus 1:1", " Bonus 1:1 ", "Bonus 1:1/ Dividend- Rs 5") == [("bonus", 0.5)]


def test_a_list_that_contradicts_itself_gives_no_ratio() -> None:
    """Two different bonuses on one day are no product: nobody knows which one holds."""
    assert parsed("Bonus 1:1", "Bonus 2:1 (Revised)") == [("bonus", None)]


def test_a_demerger_beside_a_split_keeps_its_own_row() -> None:
    """The known ratio is applied, and the unknown one still marks the session."""
    assert parsed("Demerger", "Bonus 1:1") == [("bonus", 0.5), ("demerger", None)]


def test_lines_with_gaps_are_left_out() -> None:
    """Without symbol, date or subject there is nothing to apply."""
    listed = pl.DataFrame(
        {
            "symbol": [None, "A", "A"],
            "ex_date": [SESSIONS[0], None, SESSIONS[0]],
            "subject": ["Bonus 1:1", "Bonus 1:1", None],
        }
    )

    assert parse_actions(listed, source="x").is_empty()


def actions(*rows: tuple[date, str, float | None], symbol: str = "TCS") -> pl.DataFrame:
    full = [(symbol, ex_date, kind, ratio, kind, "test") for ex_date, kind, ratio in rows]
    return pl.DataFrame(full, schema=ACTION_SCHEMA, orient="row")


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


@pytest.mark.parametrize("ratio", [0.0, -1.0, float("nan"), float("inf")])
def test_a_ratio_is_finite_and_above_zero(ratio: float) -> None:
    """A ratio of zero would divide by zero."""
    with pytest.raises(InvalidBarsError, match="wrong ratio"):
        validate_actions(actions((SESSIONS[1], "split", ratio)))


def test_actions_have_their_columns() -> None:
    """A frame with other columns is refused."""
    with pytest.raises(InvalidBarsError, match="columns of corporate actions"):
        validate_actions(pl.DataFrame({"symbol": ["A"]}))


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


@pytest.fixture(scope="module")
def bhavcopy(real_data: Path) -> FilesSource:
    return FilesSource(real_data / "daily_bhavcopy_2019_2026")


def adjusted_move(source: FilesSource, symbol: str, session: date) -> tuple[float, float, bool]:
    raw = source.fetch(Chunk(symbol)).bars
    adjusted = adjust_bars(raw, source.actions(), nse_calendar())
    at = adjusted["session"].index_of(session)
    assert at is not None
    moves = [frame["close"][at] / frame["close"][at - 1] for frame in (raw, adjusted)]
    return moves[0], moves[1], bool(adjusted["is_unexplained_gap"][at])


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
    bhavcopy: FilesSource, symbol: str, session: date, raw_move: float
) -> None:
    """The raw fall is there in the bars, and gone after adjustment."""
    raw, adjusted, is_gap = adjusted_move(bhavcopy, symbol, session)

    assert raw == pytest.approx(raw_move, rel=0.03)
    assert adjusted == pytest.approx(1.0, abs=0.06)
    assert not is_gap


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("folder", "symbol"),
    [("daily_secwise_2020_2026", "TMPV"), ("daily_bhavcopy_2019_2026", "TATAMOTORS")],
)
def test_the_demerger_of_tata_motors_is_marked(real_data: Path, folder: str, symbol: str) -> None:
    """Its ratio is not in the list: the fall stays, marked, under the old name too."""
    raw, adjusted, is_gap = adjusted_move(
        FilesSource(real_data / folder), symbol, date(2025, 10, 14)
    )

    assert raw == adjusted == pytest.approx(0.598, abs=0.001)
    assert is_gap


@pytest.mark.real_data
def test_a_hole_is_no_split(bhavcopy: FilesSource) -> None:
    """ADANIPOWER in trade-to-trade has a hole; no ratio is invented, the move is unexplained."""
    raw, adjusted, is_gap = adjusted_move(bhavcopy, "ADANIPOWER", date(2021, 9, 20))

    assert raw == adjusted == pytest.approx(0.6436, abs=1e-4)
    assert is_gap


@pytest.mark.real_data
def test_a_real_crash_is_no_gap(bhavcopy: FilesSource) -> None:
    """YESBANK on 2020-03-06 opened 10 percent down and lost 56 percent within the session."""
    raw, adjusted, is_gap = adjusted_move(bhavcopy, "YESBANK", date(2020, 3, 6))

    assert raw == adjusted == pytest.approx(0.4389, abs=1e-4)
    assert not is_gap


@pytest.mark.real_data
def test_the_split_of_jswsteel_is_read(real_data: Path) -> None:
    """NSE worded the split of 2017-01-04 as "Fv Splt Frm Rs 10 To Re 1"."""
    source = FilesSource(real_data / "daily_nsepy_2000_2020")

    raw, adjusted, is_gap = adjusted_move(source, "JSWSTEEL", date(2017, 1, 4))

    assert raw == pytest.approx(0.1, abs=0.01)
    assert adjusted == pytest.approx(1.0, abs=0.06)
    assert not is_gap
