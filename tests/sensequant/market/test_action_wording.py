"""Facts about NSE's wording of corporate actions."""

from pathlib import Path

import polars as pl
import pytest

from sensequant.market.action_wording import (
    NO_EFFECT_KINDS,
    UNCLASSIFIED,
    count_kinds,
    read_subject,
)
from sensequant.market.sources.files.action_files import read_listed_subjects


@pytest.mark.parametrize(
    ("subject", "kind", "ratio"),
    [
        ("Bonus 1:1", "bonus", 1 / 2),
        (" Bonus  2:1 ", "bonus", 1 / 3),
        (" Bonus 1: 2", "bonus", 2 / 3),
        ("Bonus- 1:4", "bonus", 4 / 5),
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
        ("De-Merger", "demerger", None),
        (" Merger/Demerger", "demerger", None),
        ("Scheme Of Arrangement In The Nature Of Demerger", "demerger", None),
        (" Scheme Of Arrangement", "arrangement", None),
        (" Sheme Of Arrangement", "arrangement", None),
        ("Merger", "arrangement", None),
        ("Composite Scheme Of Amalgamation And Arrangement", "arrangement", None),
        ("Scheme Of Arrangement - Bonus Ncrps 4:1", "arrangement", None),
        ("Bonus Ncrps 1:116", "arrangement", None),
        (
            " Scheme Of Arangement- Bonus - 1 Debenture For 1 Equity Share Held",
            "arrangement",
            None,
        ),
        ("Capital Reduction Pursuant To Nclt Order", "capital_reduction", None),
        ("Capital Reduction - From Rs 10/- To Rs 2/- Per Share", "capital_reduction", None),
    ],
)
def test_wordings_of_what_moves_the_price(subject: str, kind: str, ratio: float | None) -> None:
    """Each wording gives its kind and its ratio, price after over price before."""
    (reading,) = read_subject(subject)

    assert reading.kind == kind
    assert reading.price_ratio == (ratio if ratio is None else pytest.approx(ratio))
    assert reading.amount_inr is None


@pytest.mark.parametrize(
    ("subject", "found"),
    [
        ("Dividend - Rs 5 Per Share", {"final": 5.0}),
        ("Interim Dividend - Re 1", {"interim": 1.0}),
        ("Special Dividend - Rs 110 Per Share", {"special": 110.0}),
        ("Special Interim Dividend - Rs 5 Per Share", {"special": 5.0}),
        ("Third Interim Dividend Rs 2/- Per Share (Purpose Revised)", {"interim": 2.0}),
        (" Annual General Meeting/Dividend - Rs 2.50 Per Share", {"final": 2.5}),
        ("Annual General Me0etingdividend - Rs 1.2 Per Share", {"final": 1.2}),
        ("Annual General Meeing/Ividend - Rs 3 Per Share", {"final": 3.0}),
        (" Agm/Spl Div- Rs.5/- Div-7.5/-", {"special": 5.0, "final": 7.5}),
        (
            "Annual General Meeting/Dividend - Rs 12 Per Share/Special Dividend - Rs 3 Per Share",
            {"final": 12.0, "special": 3.0},
        ),
        (
            "Interim Dividend - Rs 17.5 Per Share Special Dividend - Rs 75 Per Share",
            {"interim": 17.5, "special": 75.0},
        ),
        (
            "Dividend - Rs 35 & Special Dividend Of Rs 100 Per Share/ Special Dividend Of Rs 30",
            {"final": 35.0, "special": 130.0},
        ),
        (
            " Interim Dividend - Re 1/- Per Share + Additional Dividend - Re 0.5/- Per Share",
            {"interim": 1.0, "special": 0.5},
        ),
        (
            " Dividend-Rs.8.50 Per Share (Including Special Dividend Of Rs.2/- Per Share).",
            {"final": 8.5},
        ),
        ("Dividend - 5 Per Share", {"final": 5.0}),
        ("Annual General Meeting /Dividend - 1 Rs Per Share", {"final": 1.0}),
        ("Interim Dividend - Rs Per 0.50 Share", {"interim": 0.5}),
        ("Interim Dividend - S 5/- Per Share (Purpose Revised)", {"interim": 5.0}),
        ("Annual General Meeting/Dividend - R E 0.60 Per Share", {"final": 0.6}),
        ("Annual General Meeting/Dividend - Rs Rs 0.50 Per Share", {"final": 0.5}),
        ("Interim Dividend Rs - Rs 4 Per Share", {"interim": 4.0}),
        ("Annual General Meeting/ Dividend * Rs 3/- Per Share", {"final": 3.0}),
        ("Dividend - Rs 0 .70 Per Share", {"final": 0.7}),
        ("Annual General Meeting/Dividend - Re 0..30 Per Share", {"final": 0.3}),
        (
            "Dividend - Rs  1.50 Per Share And Special Dividend - Rs 2. Per Share",
            {"final": 1.5, "special": 2.0},
        ),
        ("Int Div - Rs 0.71 Per Sh", {"interim": 0.71}),
        ("Interest Dividend - Re 1 Per Share", {"interim": 1.0}),
        (" Inteirm Dividend - Rs 30 Per Share", {"interim": 30.0}),
        ("Iinterim Dividend Rs 2/- Per Share", {"interim": 2.0}),
        ("Inerim Dividend- Rs 2.70 Per Share", {"interim": 2.7}),
        ("Nterim Dividend - Rs 5 Per Share", {"interim": 5.0}),
        ("Interimdividend - Rs 3 Per Share", {"interim": 3.0}),
        ("Specia Ldividend - Rs 4 Per Share", {"special": 4.0}),
        ("Interim Divdend - Rs 2 Per Share", {"interim": 2.0}),
        ("Interim Dividned - Rs 2 Per Share", {"interim": 2.0}),
        ("Divivend - Rs 11/- Per Unit", {"final": 11.0}),
        ("Annual General Meeting/ Divided - Re 1/- Per Share", {"final": 1.0}),
        ("Annual General Meeting/Dividend - Rs  Per Share", {"final": None}),
        ("Interim Dividend", {"interim": None}),
        ("Dividend - 45%", {"final": None}),
        ("Dividend - Rs 2 Per Share/Special Dividend", {"final": 2.0, "special": None}),
        ("Interim Dividend - Rs 2/- + Interim Dividend", {"interim": None}),
    ],
)
def test_wordings_of_dividends(subject: str, found: dict[str, float | None]) -> None:
    """Each dividend is named with its sort and its rupees per share, or without what is missing."""
    readings = read_subject(subject)

    assert {reading.kind for reading in readings} == {"dividend"}
    assert {reading.terms: reading.amount_inr for reading in readings} == found


def test_a_percentage_is_of_the_face_value() -> None:
    """45 percent of a face value of 10 rupees are 4.5 rupees."""
    (reading,) = read_subject("AGM/Dividend-45%", face_value_inr=10.0)

    assert reading.amount_inr == pytest.approx(4.5)


@pytest.mark.parametrize(
    ("subject", "amount"),
    [
        ("Distribution - Rs 3.5 Per Unit", 3.5),
        (
            "Distribution - Rs 5.12 Per Unit Consisting Of Dividend - Rs 4.75/ Interest - Re 0.37",
            5.12,
        ),
        (
            "First Distribution - Interest Payment Rs 2.95 / Return Of Capital Re 1.86 Per Unit",
            4.81,
        ),
        ("Interest -Rs 2/Return On Capital -Rs 1/Interim Dividend -Rs 0.5", 3.5),
        ("Nterest Amount- Rs 2/Return Of Capital- Rs 1", 3.0),
        (
            "Nterest Amount - Re 0.69 Per Unit/Dividend - Rs 2.38 Per Unit",
            3.07,
        ),
        ("Interest And Principal Repayment - Rs 4 Per Unit", 4.0),
        (
            "Distribution - 3.04316 Consisting Of Interest Rs 3.04013 / Other Income - Rs 0.00303",
            3.04316,
        ),
        ("Distribution Rs 3 Per Unit For The First Quarter Of Fy 2018-19(Purpose Revised)", 3.0),
        ("Distribution", None),
    ],
)
def test_wordings_of_distributions(subject: str, amount: float | None) -> None:
    """A trust pays one amount per unit, stated or the sum of its parts."""
    (reading,) = read_subject(subject)

    assert reading.kind == "distribution"
    assert reading.amount_inr == (amount if amount is None else pytest.approx(amount))


@pytest.mark.parametrize(
    ("subject", "terms", "price"),
    [
        ("Rights 1:15 @ Premium Rs 1247", "1:15 at premium 1247", 1257.0),
        (" Rights 12:25@ Premium Rs 0.60/-", "12:25 at premium 0.6", 10.6),
        (" Rights 5: 116 At Premium Rs 244/- Per Share", "5:116 at premium 244", 254.0),
        ("Rights 2:1 @ Premium Rs 0/-", "2:1 at premium 0", 10.0),
        (" Rights 7:10 @ Prm Rs 102/-", "7:10 at premium 102", 112.0),
        (" Rights 1:2@Prem Rs 40", "1:2 at premium 40", 50.0),
        ("Rights 1:9 @ Premium 91", "1:9 at premium 91", 101.0),
        ("Rights Issue 4:17@ Premium Rs 390/-", "4:17 at premium 390", 400.0),
    ],
)
def test_wordings_of_rights(subject: str, terms: str, price: float) -> None:
    """A new share costs the premium plus the face value; without that its price stays open."""
    (reading,) = read_subject(subject)
    assert (reading.kind, reading.terms, reading.amount_inr) == ("rights", terms, None)

    (reading,) = read_subject(subject, face_value_inr=10.0)
    assert reading.terms == terms.split(maxsplit=1)[0]
    assert reading.amount_inr == pytest.approx(price)


@pytest.mark.parametrize(
    ("subject", "terms"),
    [
        ("Rights 2:7", "2:7"),
        ("Rights 9:77 Partly Paid @ Premium Rs 100/-", "9:77 partly paid @ premium rs 100/-"),
        (
            "Rights 1:50 @ Premium Rs 690/- With 17 Warrants For 50 Equity Shares",
            "1:50 @ premium rs 690/- with 17 warrants for 50 equity shares",
        ),
        (
            "Rights - 4:25 Fully Paid Up @ Premium Rs 500/- / 2:25 Partly Paid Up @ Premium Rs 605",
            "4:25 fully paid up @ premium rs 500/- / 2:25 partly paid up @ premium rs 605",
        ),
        (
            "Rights:14 Compulosry Convertible Debentures For Every 15 Equity Shares",
            "14 compulosry convertible debentures for every 15 equity shares",
        ),
        ("Rights", None),
    ],
)
def test_unusual_rights_have_no_price(subject: str, terms: str | None) -> None:
    """What is paid in parts, comes with warrants or has no price, is kept in words."""
    (reading,) = read_subject(subject, face_value_inr=10.0)

    assert (reading.kind, reading.amount_inr) == ("rights", None)
    assert reading.terms == terms


@pytest.mark.parametrize(
    ("subject", "kinds"),
    [
        (
            "Annual General Meeting/Dividend - Rs 2.50 Per Share/Bonus 1:10 (Revised)",
            {"dividend", "bonus"},
        ),
        (
            "Interim Div - Rs 3/- + Face Value Split (Sub-Division) - From Rs 2/- To Re 1/- ",
            {"dividend", "split"},
        ),
        (
            "Bonus 1:1/Face Value Split (Sub-Division) From Rs 10/- Per Share To Rs 2/- Per Share",
            {"bonus", "split"},
        ),
        (" Dividend - Re 0.70/- Per Share/ Right 26:151", {"dividend", "rights"}),
        (" Buyback/Interim Dividend Rs 6/- Per Share (Purpose Revised)", {"dividend"}),
    ],
)
def test_one_line_may_say_several_things(subject: str, kinds: set[str]) -> None:
    """What has no effect is not named beside what has one."""
    assert {reading.kind for reading in read_subject(subject)} == kinds


@pytest.mark.parametrize(
    ("subject", "kind"),
    [
        ("Annual General Meeting", "meeting"),
        ("Annual General Meting", "meeting"),
        (" Annul General Meeeting (Book Closure Dates Revised)", "meeting"),
        ("Annual Book Closing", "meeting"),
        ("Buy Back", "buyback"),
        ("Buy-Back Of Shares", "buyback"),
        ("Interest Payment", "interest"),
        ("Payment Of Interest & Buyback Amount To Bondholders", "buyback"),
        ("Redemption On Account Of Maturity", "redemption"),
        ("Conversion Of Etf Into Index Scheme", "notice"),
    ],
)
def test_wordings_without_effect(subject: str, kind: str) -> None:
    """Meetings, buybacks, interest and notices leave the price alone."""
    assert [reading.kind for reading in read_subject(subject)] == [kind]
    assert kind in NO_EFFECT_KINDS


@pytest.mark.parametrize(
    "subject",
    [
        "Additonal Issuance 9:1",  # codespell:ignore additonal
        "Annual General Meeting- Re 0.85 Per Share (Purpose Revised)",
        "",
    ],
)
def test_what_no_rule_reads_is_unclassified(subject: str) -> None:
    """An amount that no rule reads makes a line unknown, even if it names a meeting."""
    assert read_subject(subject) == ()


def test_lines_are_counted_by_what_they_say() -> None:
    """A line with two kinds counts once; null and unknown lines are unclassified."""
    lines = pl.Series(["Bonus 1:1", "Bonus 1:1", "Dividend - Rs 2/Bonus 1:1", None, "?"])

    assert count_kinds(lines).rows() == [
        ("bonus", 2),
        (UNCLASSIFIED, 2),
        ("bonus+dividend", 1),
    ]


@pytest.fixture(scope="module")
def listed(real_data: Path) -> pl.DataFrame:
    return read_listed_subjects(real_data / "corporate_actions" / "corporate_actions.parquet")


@pytest.mark.real_data
def test_every_line_of_the_real_list_is_counted(listed: pl.DataFrame) -> None:
    """24,906 lines, two of which no rule reads: a typing error and an odd issue of a fund."""
    counts = count_kinds(listed["subject"])

    assert counts["n_lines"].sum() == listed.height == 24_906
    unread = listed["subject"].filter([not read_subject(text) for text in listed["subject"]])
    assert sorted(text.strip() for text in unread) == [
        "Additonal Issuance 9:1",  # codespell:ignore additonal
        "Annual General Meeting- Re 0.85 Per Share (Purpose Revised)",
    ]


@pytest.mark.real_data
def test_the_parts_of_real_distributions_add_up(listed: pl.DataFrame) -> None:
    """NSE states total and parts; they agree to a paisa in all wordings but two, as do ours."""
    number = r"r[se][ .-]*(\d+(?:\.\d+)?)"
    stated = (
        listed.select(text=pl.col("subject").str.to_lowercase())
        .unique()
        .with_columns(
            total=pl.col("text").str.extract(rf"distribution[ -]*{number}").cast(pl.Float64),
            amounts=pl.col("text").str.extract_all(number),
        )
        .drop_nulls("total")
        .filter(pl.col("amounts").list.len() > 1)
    )
    off: list[float] = []
    for text, total, amounts in stated.iter_rows():
        (reading,) = read_subject(text)
        assert reading.amount_inr == total
        parts = [float(amount.split("r")[-1].lstrip("se .-")) for amount in amounts[1:]]
        if abs(sum(parts) - total) > 0.011:
            off.append(total)

    assert stated.height > 200
    assert sorted(off) == [1.85, 2.2]
