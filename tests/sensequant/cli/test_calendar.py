"""Facts about the calendar held against bars."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from sensequant.cli.app import main
from sensequant.cli.calendar import observed_sessions
from sensequant.market.bars import BAR_SCHEMA, DAILY
from sensequant.market.sessions import nse_calendar
from sensequant.market.store import BarStore

HEADER = "timestamp,open,high,low,close,volume\n"
WEEK = nse_calendar().sessions(date(2024, 6, 3), date(2024, 6, 7))


def write_cache(folder: Path, sessions: list[date], symbol: str = "TCS") -> None:
    for session in sessions:
        path = folder / symbol / "1day" / f"{session}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{HEADER}{session} 00:00:00,10,11,9,10,100\n", encoding="utf-8")


def test_files_that_agree_exit_with_zero(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Five sessions of a week are five sessions of the calendar."""
    write_cache(tmp_path, WEEK)

    assert main(["calendar", "check", "--bars", str(tmp_path)]) == 0
    assert capsys.readouterr().out == (
        "observed: 5 sessions, 2024-06-03 to 2024-06-07\nagreement: ok\n"
    )


def test_missing_and_extra_sessions_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A row on a Saturday is a witness although its bar was refused; a gap is one, too."""
    write_cache(tmp_path, [WEEK[0], WEEK[2], WEEK[4], date(2024, 6, 8)])

    assert main(["calendar", "check", "--bars", str(tmp_path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "not in the calendar: 2024-06-08 (Saturday)" in lines
    assert "without trade: 2024-06-04 (Tuesday)" in lines
    assert lines[-1] == "agreement: fail"


def test_symbol_without_a_valid_bar_is_no_witness(tmp_path: Path) -> None:
    """Its files do not end the check of the others."""
    write_cache(tmp_path, WEEK)
    write_cache(tmp_path, [date(2024, 6, 8)], symbol="SBIN")

    assert set(observed_sessions(tmp_path)) == set(WEEK)


def test_stored_bars_of_the_home_are_the_default(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without --bars the home's own store is compared."""
    values = {name: [1.0] * 5 for name in ("open", "high", "low", "close")}
    frame = pl.DataFrame(
        {
            "symbol": ["TCS"] * 5,
            "session": WEEK,
            **values,
            "volume": [10] * 5,
            "source_symbol": ["TCS"] * 5,
            "source": ["test"] * 5,
            "is_simulated": [False] * 5,
        }
    )
    missing = [
        pl.lit(None, dtype=dtype).alias(name)
        for name, dtype in BAR_SCHEMA.items()
        if name not in frame.columns
    ]
    bars = frame.with_columns(missing).select(
        pl.col(name).cast(dtype) for name, dtype in BAR_SCHEMA.items()
    )
    fetched_at = datetime(2024, 6, 8, tzinfo=UTC) + timedelta(hours=1)
    BarStore(tmp_path).write(bars, interval=DAILY, fetched_at=fetched_at)

    assert main(["calendar", "check", "--home", str(tmp_path)]) == 0
    assert "observed: 5 sessions" in capsys.readouterr().out


def test_folder_without_bars_is_a_wrong_request(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing observed is no agreement."""
    assert main(["calendar", "check", "--bars", str(tmp_path)]) == 2
    assert str(tmp_path) in capsys.readouterr().err
