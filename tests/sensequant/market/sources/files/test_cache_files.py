"""Facts about the cache of the replaced system."""

from datetime import date
from pathlib import Path

import pytest

from sensequant.errors import InvalidBarsError, MissingBarsError
from sensequant.market.sources.base import Chunk
from sensequant.market.sources.files.cache_files import cache_folders, read_cache
from sensequant.market.sources.files.source import FilesSource

HEADER = "timestamp,open,high,low,close,volume\n"


def cache(root: Path, **days: str) -> Path:
    folder = root / "TCS" / "1day"
    folder.mkdir(parents=True)
    for day, line in days.items():
        (folder / f"{day.removeprefix('d').replace('_', '-')}.csv").write_text(HEADER + line)
    return root


def test_files_of_one_session_each_become_one_series(tmp_path: Path) -> None:
    """The file's name is the session, in whatever zone its timestamp was written."""
    folder = cache(
        tmp_path,
        d2024_01_03="2024-01-03T09:15:00+05:30,102,103,101,102.5,300\n",
        d2024_01_01="2024-01-01 00:00:00,100,101,99,100.5,100\n",
        d2024_01_02="2024-01-01T18:30:00Z,101,102,100,101.5,200\n",
        d2024_01_04="",
    )

    fetched = FilesSource(folder).fetch(Chunk("TCS"))

    assert fetched.bars.select("session", "close", "volume", "source").rows() == [
        (date(2024, 1, 1), 100.5, 100, "prior_cache"),
        (date(2024, 1, 2), 101.5, 200, "prior_cache"),
        (date(2024, 1, 3), 102.5, 300, "prior_cache"),
    ]
    assert fetched.quarantine.is_empty()


def test_its_defects_are_kept_apart(tmp_path: Path) -> None:
    """Invented dry-run bars, foreign timestamps, weekends and odd names are quarantined."""
    folder = cache(
        tmp_path,
        d2024_01_01="2024-01-01,100,101,99,100.5,100\n",
        d2024_01_02="2024-01-02,2450.0,2455,2448,2453,100000\n",
        d2024_01_03="2024-02-03,100,101,99,100.5,100\n",
        d2024_01_04="never,100,101,99,100.5,100\n",
        d2024_01_06="2024-01-06,100,101,99,100.5,100\n",
        summary="2024-01-01,100,101,99,100.5,100\n",
    )

    fetched = FilesSource(folder).fetch(Chunk("TCS"))

    assert fetched.bars["session"].to_list() == [date(2024, 1, 1)]
    assert fetched.quarantine["reason"].to_list() == [
        "fabricated",
        "bad_date",
        "bad_date",
        "not_a_session",
        "bad_date",
    ]
    assert '"file":"2024-01-02"' in fetched.quarantine["raw_values"][0]


def test_another_header_is_refused(tmp_path: Path) -> None:
    """A file of the cache with other columns is named."""
    folder = cache(tmp_path, d2024_01_01="")
    (folder / "TCS" / "1day" / "2024-01-01.csv").write_text("time,price\n1,2\n")

    with pytest.raises(InvalidBarsError, match=r"2024-01-01\.csv.*timestamp,open.*time,price"):
        read_cache(folder / "TCS" / "1day")


def test_a_cache_of_empty_files_has_no_bars(tmp_path: Path) -> None:
    """Empty sessions are no error each, but a symbol with nothing else has no bars."""
    folder = cache(tmp_path, d2024_01_01="")
    (folder / "TCS" / "1day" / "notes.txt").write_text("x")
    (folder / "INFY" / "1day").mkdir(parents=True)

    assert list(cache_folders(folder)) == ["TCS"]
    with pytest.raises(MissingBarsError, match="only empty files"):
        read_cache(folder / "TCS" / "1day")


def test_the_digest_names_the_files(tmp_path: Path) -> None:
    """The same bytes under another session are another delivery."""
    line = "2024-01-02,100,101,99,100.5,100\n"
    one = cache(tmp_path / "one", d2024_01_01=line)
    other = cache(tmp_path / "other", d2024_01_02=line)

    digests = {
        FilesSource(folder).fetch(Chunk("TCS")).source_digest for folder in (one, one, other)
    }

    assert len(digests) == 2
