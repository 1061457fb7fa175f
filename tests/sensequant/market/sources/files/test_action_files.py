"""Facts about NSE's lists of actions and of changed names."""

from datetime import date, datetime
from pathlib import Path

import polars as pl
import pytest

from sensequant.errors import InvalidBarsError
from sensequant.market.sources.files.action_files import read_actions


@pytest.fixture
def path(tmp_path: Path) -> Path:
    listed = {
        "symbol": ["TMPV", "LTM", "LTM", " TCS", "INFY"],
        "series": ["EQ"] * 5,
        "subject": ["Demerger", "Bonus 1:1", "Bonus 1:2", "Bonus 1:1", "Dividend - Rs 5"],
        "exDate": [
            datetime(2025, 10, 14),  # noqa: DTZ001
            datetime(2020, 1, 6),  # noqa: DTZ001
            datetime(2024, 1, 5),  # noqa: DTZ001
            datetime(2018, 5, 31),  # noqa: DTZ001
            datetime(2018, 5, 31),  # noqa: DTZ001
        ],
    }
    pl.DataFrame(listed).write_parquet(tmp_path / "corporate_actions.parquet")
    return tmp_path / "corporate_actions.parquet"


def test_actions_that_move_prices_are_read(path: Path) -> None:
    """Dividends stay out; an ex-date is a date."""
    actions = read_actions(path)

    assert actions.select("symbol", "ex_date", "kind", "price_ratio").rows() == [
        ("LTM", date(2020, 1, 6), "bonus", 0.5),
        ("LTM", date(2024, 1, 5), "bonus", 2 / 3),
        ("TCS", date(2018, 5, 31), "bonus", 0.5),
        ("TMPV", date(2025, 10, 14), "demerger", None),
    ]
    assert actions["source"].unique().to_list() == ["nse_corporate_actions"]


def test_former_names_have_the_actions_before_the_change(path: Path) -> None:
    """LTI became LTIM and then LTM; TATAMOTORS became TMPV ten days after the demerger."""
    changes = {
        "company": ["a", "b", "c", "d"],
        "old": ["LTI ", "LTIM", "TATAMOTORS", "X"],
        "new": ["LTIM", " LTM", "TMPV", "TCS"],
        "date": ["05-DEC-2022", "27-FEB-2026", "24-OCT-2025", "never"],
    }
    pl.DataFrame(changes).write_parquet(path.with_name("symbolchange.parquet"))

    actions = read_actions(path)

    assert set(actions.select("symbol", "ex_date").rows()) == {
        ("LTM", date(2020, 1, 6)),
        ("LTM", date(2024, 1, 5)),
        ("LTIM", date(2020, 1, 6)),
        ("LTIM", date(2024, 1, 5)),
        ("LTI", date(2020, 1, 6)),
        ("TCS", date(2018, 5, 31)),
        ("TMPV", date(2025, 10, 14)),
        ("TATAMOTORS", date(2025, 10, 14)),
    }


def test_lists_that_cannot_be_used_are_named(path: Path) -> None:
    """A file without the columns, and a file that is no Parquet, are refused by name."""
    pl.DataFrame({"old": ["A"]}).write_parquet(path.with_name("symbolchange.parquet"))
    with pytest.raises(
        InvalidBarsError, match=r"symbolchange\.parquet.*old, new, date.*found: old"
    ):
        read_actions(path)

    path.write_bytes(b"nonsense")
    with pytest.raises(InvalidBarsError, match=r"corporate_actions\.parquet"):
        read_actions(path)
