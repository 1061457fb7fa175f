"""How figures read."""

import polars as pl
import pytest

from sensequant.evaluation.figures import Figure
from sensequant.reports import tables


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "\u20b90"),
        (999.4, "\u20b9999"),
        (1000, "\u20b91,000"),
        (-45678.2, "\u2212\u20b945,678"),
        (123456, "\u20b91,23,456 (1.23 lakh)"),
        (-12345678.0, "\u2212\u20b91,23,45,678 (\u22121.23 crore)"),
        (-0.2, "\u20b90"),
    ],
)
def test_rupees_are_grouped_as_in_india(value: float, text: str) -> None:
    """Three digits, then pairs; from one lakh on also in words."""
    assert tables.inr(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (999, "999"), (-1234, "\u22121,234"), (123456789, "12,34,56,789")],
)
def test_counts_are_grouped_as_in_india(value: int, text: str) -> None:
    """The same grouping without a sign of currency."""
    assert tables.count(value) == text


def test_fractions_read_in_per_cent_with_one_decimal() -> None:
    """0.1234 is 12.3%, with a minus that does not break."""
    assert [tables.percent(0.1234), tables.percent(-0.05)] == ["12.3%", "\u22125.0%"]


def test_tiny_p_values_are_bounds() -> None:
    """A p-value of zero is never claimed."""
    assert [tables.p_value(0.0), tables.p_value(0.0456)] == ["< 0.001", "0.046"]


@pytest.mark.parametrize(
    "write",
    [
        tables.percent,
        tables.count,
        tables.whole,
        tables.inr,
        tables.p_value,
        tables.words,
        tables.code,
        tables.decimals(2),
    ],
)
def test_missing_values_say_so(write: tables.Format) -> None:
    """None is neither blank nor zero, in any format."""
    assert ">n/a<" in write(None)


def test_reasons_and_codes_are_escaped() -> None:
    """What comes from data cannot become markup."""
    hostile = "<script>x</script>"

    for text in (tables.missing(hostile), tables.code(hostile), tables.mark("pass", hostile)):
        assert "<script>" not in text
        assert "&lt;script&gt;" in text


def test_bar_shows_shares_of_parts() -> None:
    """Parts of zero are not drawn; an empty whole is an empty bar."""
    text = tables.bar(("pass", 3), ("undetermined", 0), ("fail", 1))

    assert '<i class="pass" style="width:75.0%"></i><i class="fail" style="width:25.0%">' in text
    assert "undetermined" not in text
    assert "<i" not in tables.bar(("pass", 0))


@pytest.mark.parametrize(
    ("figure", "cells"),
    [
        (
            Figure(value=0.1, lower=0.0, upper=0.2, n=1234, unit="fraction"),
            ("10.0%", "0.0% to 20.0%", "1,234"),
        ),
        (Figure(value=55.0, lower=44, upper=240, n=9, unit="sessions"), ("55", "44 to 240", "9")),
        (Figure(value=1.5, lower=1, upper=2, n=9, unit="odd"), ("1.50", "1.00 to 2.00", "9")),
    ],
)
def test_figure_reads_by_its_unit(figure: Figure, cells: tuple[str, str, str]) -> None:
    """Value, interval and sample size, in the format of the unit."""
    assert tables.figure_cells(figure) == cells


def test_absent_figure_or_interval_tells_its_reason() -> None:
    """The reason stands where the number would."""
    absent = Figure(value=None, n=0, unit="fraction", reason="no decisions")
    bare = Figure(value=0.5, n=3, unit="fraction", reason="too few draws")

    assert "n/a - no decisions" in tables.figure_cells(absent)[0]
    assert tables.figure_cells(bare)[0] == "50.0%"
    assert "n/a - too few draws" in tables.figure_cells(bare)[1]


def test_columns_that_a_frame_lacks_are_left_out() -> None:
    """Only what was measured gets a column."""
    columns = (
        tables.Column("symbol", "Symbol", str, is_number=False),
        tables.Column("gain", "Gain", tables.inr),
    )
    table = tables.table_of(pl.DataFrame({"symbol": ["A", "B"]}), columns, caption="c")

    assert [column.name for column in table.columns] == ["Symbol"]
    assert table.rows == (("A",), ("B",))
