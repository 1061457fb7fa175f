"""Facts about the table of corporate actions, and which of its rows hold."""

from datetime import date

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensequant.errors import InvalidBarsError
from sensequant.market.actions import (
    ACTION_KEY,
    ACTION_SCHEMA,
    CONFIRMED,
    KINDS,
    actions_frame,
    parse_actions,
    settle_actions,
    validate_actions,
)

DAY = date(2024, 1, 4)


def listed(*subjects: str, face_value_inr: float | None = None) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "symbol": ["TCS"] * len(subjects),
            "ex_date": [DAY] * len(subjects),
            "subject": subjects,
            "face_value_inr": [face_value_inr] * len(subjects),
        },
        schema={
            "symbol": pl.String,
            "ex_date": pl.Date,
            "subject": pl.String,
            "face_value_inr": pl.Float64,
        },
    )


def parsed(*subjects: str) -> list[tuple[str, float | None]]:
    frame = listed(*subjects).drop("face_value_inr")
    return parse_actions(frame, source="test").select("kind", "price_ratio").rows()


def cash(*subjects: str) -> list[tuple[float | None, str | None]]:
    return parse_actions(listed(*subjects), source="test").select("amount_inr", "terms").rows()


def action(
    ratio: float | None, *, source: str = "list", kind: str = "split", amount: float | None = None
) -> tuple[object, ...]:
    return ("TCS", DAY, kind, ratio, "words", source, None, amount)


def test_rows_are_filled_up() -> None:
    """Six values make a row; a ratio that stands there is a listed one."""
    frame = actions_frame([("A", DAY, "split", 0.5, "words", "list")])

    assert frame.schema == ACTION_SCHEMA
    assert frame.row(0) == ("A", DAY, "split", 0.5, "words", "list", "listed", None, None)
    assert actions_frame([]).schema == ACTION_SCHEMA


@pytest.mark.parametrize("row", [("A", DAY, "split", 0.5, "words"), (None,) * 10])
def test_rows_of_another_length_are_refused(row: tuple[object, ...]) -> None:
    """Five values leave the source out, ten are too many."""
    with pytest.raises(InvalidBarsError, match="6 to 9 values"):
        actions_frame([row])


def test_two_actions_on_one_day_multiply() -> None:
    """BAJFINANCE 2025-06-16: bonus 4:1 and a split of 2 into 1 leave a tenth of the price."""
    split = "Face Value Split (Sub-Division) - From Rs 2/- Per Share To Re 1/- Per Share"

    assert parsed("Bonus 4:1", split) == [("split_and_bonus", pytest.approx(0.1))]
    assert parsed(f"Bonus 4:1/{split}") == [("split_and_bonus", pytest.approx(0.1))]


def test_a_repeated_line_counts_once() -> None:
    """The list names some actions twice."""
    assert parsed("Bonus 1:1", " Bonus 1:1 ", "Bonus 1:1/ Agm") == [("bonus", 0.5)]


def test_a_list_that_contradicts_itself_gives_no_ratio() -> None:
    """Two different bonuses on one day are no product: nobody knows which one holds."""
    assert parsed("Bonus 1:1", "Bonus 2:1 (Revised)") == [("bonus", None)]


def test_a_line_without_ratio_says_nothing_beside_one_that_has_it() -> None:
    """A line "Face Value Split" alone adds nothing to the split with its face values."""
    split = "Face Value Split - From Rs 2/- Per Share To Re 1/- Per Share"

    assert parsed("Face Value Split", split) == [("split", 0.5)]


def test_a_demerger_beside_a_split_keeps_its_own_row() -> None:
    """The known ratio is applied, and the unknown one still marks the session."""
    assert parsed("Demerger", "Bonus 1:1") == [("bonus", 0.5), ("demerger", None)]


def test_what_moves_no_price_is_left_out() -> None:
    """Meetings, buybacks, interest and unread lines are no actions."""
    assert parsed("Annual General Meeting", "Buy Back", "Interest Payment", "?") == []


def test_lines_with_gaps_are_left_out() -> None:
    """Without symbol, date or subject there is nothing to apply."""
    frame = pl.DataFrame(
        {
            "symbol": [None, "A", "A"],
            "ex_date": [DAY, None, DAY],
            "subject": ["Bonus 1:1", "Bonus 1:1", None],
        }
    )

    assert parse_actions(frame, source="x").is_empty()


@pytest.mark.parametrize(
    ("subjects", "amount", "terms"),
    [
        (["Dividend - Rs 5 Per Share"], 5.0, "final"),
        (["Dividend - Rs 24", "Special Dividend - Rs 6"], 30.0, "final 24.0 + special 6.0"),
        (["Interim Dividend - Rs 27/ Final Dividend - Rs 75"], 102.0, "final 75.0 + interim 27.0"),
        (["Dividend- Re 0.50", " Annual General Meeting/Dividend - Re 0.50"], 0.5, "final"),
        (["Interim Dividend - Rs 6/-", "Interim Dividend"], 6.0, "interim"),
        (["Dividend - Rs 2/-", "Dividend - Rs 8/-"], None, "final"),
        (["Dividend - Rs 2/-", "Interim Dividend"], None, "final 2.0 + interim"),
        (["Distribution - Rs 3 Per Unit"], 3.0, None),
    ],
)
def test_dividends_of_a_day_are_added(
    subjects: list[str], amount: float | None, terms: str | None
) -> None:
    """Sorts add up, repeated lines count once, and what is contradicted or missing leaves null."""
    assert cash(*subjects) == [(amount, terms)]


def test_rights_keep_their_terms() -> None:
    """With the face value the new share has a price; two issues of one day have none together."""
    rights = parse_actions(listed("Rights 1:5 @ Premium Rs 90", face_value_inr=10.0), source="x")
    two = parse_actions(listed("Rights 1:5", "Rights 1:7 @ Premium Rs 5"), source="x")

    assert rights.select("kind", "amount_inr", "terms").rows() == [("rights", 100.0, "1:5")]
    assert two.select("price_ratio", "amount_inr", "terms").rows() == [
        (None, None, "1:5 | 1:7 at premium 5")
    ]


def test_the_source_of_a_ratio_is_kept() -> None:
    """A listed ratio says so, an unknown one has no source."""
    frame = parse_actions(listed("Bonus 1:1", "Demerger", "Dividend - Rs 2"), source="nse")

    assert frame.select("kind", "ratio_source", "source").rows() == [
        ("bonus", "listed", "nse"),
        ("demerger", None, "nse"),
        ("dividend", None, "nse"),
    ]


def test_actions_have_their_columns() -> None:
    """A frame with other columns is refused."""
    with pytest.raises(InvalidBarsError, match="columns of corporate actions"):
        validate_actions(pl.DataFrame({"symbol": ["A"]}))


@pytest.mark.parametrize("ratio", [0.0, -1.0, float("nan"), float("inf")])
def test_a_ratio_is_finite_and_above_zero(ratio: float) -> None:
    """A ratio of zero would divide by zero."""
    with pytest.raises(InvalidBarsError, match="wrong ratio"):
        actions_frame([action(ratio)])


@pytest.mark.parametrize("amount", [-0.5, float("nan"), float("inf")])
def test_an_amount_is_finite_and_not_below_zero(amount: float) -> None:
    """Nobody pays a negative dividend."""
    with pytest.raises(InvalidBarsError, match="wrong amount"):
        actions_frame([action(None, kind="dividend", amount=amount)])


def test_a_kind_is_known() -> None:
    """The kind decides what happens to the price, so a slip in it is refused."""
    with pytest.raises(InvalidBarsError, match=r"unknown kind.*split, bonus.*dividend"):
        actions_frame([action(0.5, kind="splitt")])


@pytest.mark.parametrize("column", ["price_ratio", "amount_inr"])
def test_two_lists_may_not_disagree(column: str) -> None:
    """Two ratios, or two amounts, for one action of one day are refused by name."""
    kind = "split" if column == "price_ratio" else "dividend"
    rows = [
        action(
            value if kind == "split" else None,
            source=source,
            kind=kind,
            amount=value if kind == "dividend" else None,
        )
        for source, value in (("one", 0.5), ("other", 0.2))
    ]

    with pytest.raises(InvalidBarsError, match=rf"disagree.*TCS 2024-01-04 {kind}.*one {column}"):
        actions_frame(rows)


def test_what_is_known_goes_before_what_is_not() -> None:
    """A list without the ratio does not contradict one that has it."""
    frame = actions_frame([action(None, source="a"), action(0.5, source="b")])

    assert settle_actions(frame).select("price_ratio", "source").rows() == [(0.5, "b")]


def test_what_is_confirmed_replaces_the_day() -> None:
    """The listed bonus of that day gives way to the confirmed split; the dividend stays."""
    frame = actions_frame(
        [
            action(0.5, kind="bonus"),
            action(0.9, kind="split"),
            action(None, kind="dividend", amount=2.0),
            action(0.1, kind="split", source=CONFIRMED),
        ]
    )

    assert settle_actions(frame).select("kind", "price_ratio", "amount_inr").rows() == [
        ("dividend", None, 2.0),
        ("split", 0.1, None),
    ]


def test_a_confirmed_dividend_replaces_the_listed_one() -> None:
    """Its amount holds, and the ratio of the day stays."""
    frame = actions_frame(
        [
            action(0.5),
            action(None, kind="dividend", amount=200.0),
            action(None, kind="dividend", amount=2.0, source=CONFIRMED),
        ]
    )

    assert settle_actions(frame)["amount_inr"].to_list() == [2.0, None]


def test_two_confirmations_may_not_disagree() -> None:
    """A person's word against a person's word is refused."""
    with pytest.raises(InvalidBarsError, match="disagree"):
        actions_frame([action(0.5, source=CONFIRMED), action(0.2, source=CONFIRMED)])


rows = st.lists(
    st.tuples(
        st.sampled_from(["A", "B"]),
        st.sampled_from([DAY, date(2024, 1, 5)]),
        st.sampled_from(KINDS),
        st.none() | st.just(0.5),
        st.just("words"),
        st.sampled_from(["x", "y", CONFIRMED]),
    ),
    max_size=12,
)


@given(rows=rows)
def test_settled_actions_are_unique_and_settled(rows: list[tuple[object, ...]]) -> None:
    """One row per symbol, day and kind; order plays no part, and settling again changes nothing."""
    settled = settle_actions(actions_frame(rows))

    assert settled.select(ACTION_KEY).is_unique().all()
    assert settle_actions(settled).equals(settled)
    assert settle_actions(actions_frame(rows[::-1])).equals(settled)
