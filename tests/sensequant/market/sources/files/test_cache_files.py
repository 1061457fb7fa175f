"""Facts about the cache of the replaced system."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from sensequant.errors import ConfigError, InvalidBarsError, MissingBarsError
from sensequant.market.bars import validate_bars
from sensequant.market.intervals import Interval
from sensequant.market.sessions import nse_calendar
from sensequant.market.sources.base import Chunk
from sensequant.market.sources.files.cache_files import cache_folders, read_cache
from sensequant.market.sources.files.source import FilesSource

HEADER = "timestamp,open,high,low,close,volume\n"


def cache(root: Path, interval: Interval = "1day", **days: str) -> Path:
    folder = root / "TCS" / interval
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


def session_of_bars(label: str, first: str, n_bars: int, minutes: int = 5) -> str:
    start = datetime.fromisoformat(first).replace(tzinfo=UTC)
    stamps = (start + timedelta(minutes=minutes * n) for n in range(n_bars))
    return "".join(f"{at:%Y-%m-%d{label}},100,101,99,100.5,{at.minute}\n" for at in stamps)


@pytest.mark.parametrize(
    ("label", "first"),
    [
        ("T%H:%M:%S+05:30", "2024-01-02 09:15"),
        (" %H:%M:%S", "2024-01-02 09:15"),
        ("T%H:%M:%SZ", "2024-01-02 09:15"),
        ("T%H:%M:%S+00:00", "2024-01-02 03:45"),
        ("T%H:%M:%SZ", "2024-01-02 03:45"),
        (" %H:%M:%S", "2024-01-02 03:45"),
    ],
    ids=["ist", "naive ist", "ist called utc", "offset utc", "utc", "naive utc"],
)
@pytest.mark.parametrize("n_bars", [75, 40])
def test_intraday_bars_are_found_in_their_session(
    tmp_path: Path, label: str, first: str, n_bars: int
) -> None:
    """Whatever zone a file claims, its bars are those of the hours of its session."""
    folder = cache(tmp_path, "5minute", d2024_01_02=session_of_bars(label, first, n_bars))

    fetched = FilesSource(folder).fetch(Chunk("TCS", "5minute"))

    opened = nse_calendar().opens(date(2024, 1, 2))
    assert opened is not None
    assert validate_bars(fetched.bars, "5minute")["starts_at"].to_list() == [
        opened + timedelta(minutes=5 * n) for n in range(n_bars)
    ]
    assert fetched.bars["source"].unique().to_list() == ["prior_cache"]


def test_every_interval_of_the_cache(tmp_path: Path) -> None:
    """Each interval has its folder, and files of one do not stand in for another."""
    cache(
        tmp_path,
        "1minute",
        d2024_01_02=session_of_bars("T%H:%M:%S+05:30", "2024-01-02 09:15", 9, 1),
    )
    cache(
        tmp_path,
        "30minute",
        d2024_01_02=session_of_bars("T%H:%M:%S+05:30", "2024-01-02 09:15", 13, 30),
    )
    (tmp_path / "INFY" / "1minute").mkdir(parents=True)
    (tmp_path / "INFY" / "1minute" / "2024-01-02.csv").write_text(HEADER)
    source = FilesSource(tmp_path)

    assert source.intervals == ("30minute", "1minute")
    assert source.fetch(Chunk("TCS", "1minute")).bars.height == 9
    assert source.fetch(Chunk("TCS", "30minute")).bars.height == 13
    with pytest.raises(ConfigError, match="folder has no bars of this interval"):
        source.fetch(Chunk("TCS", "5minute"))
    with pytest.raises(MissingBarsError, match="symbol has no bars of this interval"):
        source.fetch(Chunk("INFY", "30minute"))


def test_hours_that_nobody_can_tell(tmp_path: Path) -> None:
    """Bars from 09:15 to 10:00 `Z` lie in the session either way, so they are kept apart."""
    folder = cache(
        tmp_path, "5minute", d2024_01_02=session_of_bars("T%H:%M:%SZ", "2024-01-02 09:15", 9)
    )

    fetched = FilesSource(folder).fetch(Chunk("TCS", "5minute"))

    assert fetched.bars.is_empty()
    assert fetched.report.n_by_reason == {"bad_date": 9}


def test_intraday_defects_are_kept_apart(tmp_path: Path) -> None:
    """Invented bars, bars of another day, holidays, no stamps, off the grid, after the close."""
    good = session_of_bars("T%H:%M:%S+05:30", "2024-01-02 09:15", 3)
    folder = cache(
        tmp_path,
        "5minute",
        d2024_01_01="2024-01-01T09:15:00+05:30,2450,2455.0,2448,2453,100000\n",
        d2024_01_02=good,
        d2024_01_03="2024-01-02T09:15:00+05:30,100,101,99,100.5,15\n"
        "never,100,101,99,100.5,15\n"
        "2024-01-03T09:17:00+05:30,100,101,99,100.5,15\n"
        "2024-01-03T15:30:00+05:30,100,101,99,100.5,15\n",
        d2024_01_06=session_of_bars("T%H:%M:%S+05:30", "2024-01-06 09:15", 1),
        summary=good,
    )

    fetched = FilesSource(folder).fetch(Chunk("TCS", "5minute"))

    assert fetched.bars["session"].to_list() == [date(2024, 1, 2)] * 3
    assert fetched.quarantine.select("session", "reason").rows() == [
        (date(2024, 1, 1), "fabricated"),
        (None, "bad_date"),
        (None, "bad_date"),
        (date(2024, 1, 3), "off_grid"),
        (date(2024, 1, 3), "outside_hours"),
        (date(2024, 1, 6), "not_a_session"),
        *[(None, "bad_date")] * 3,
    ]


def test_the_evening_of_muhurat(tmp_path: Path) -> None:
    """On 2023-11-12 the session was an hour in the evening, and the bars are looked for there."""
    line = session_of_bars("T%H:%M:%SZ", "2023-11-12 12:45", 12)
    folder = cache(tmp_path, "5minute", d2023_11_12=line)

    bars = FilesSource(folder).fetch(Chunk("TCS", "5minute")).bars

    assert bars["starts_at"].to_list()[0] == datetime(2023, 11, 12, 12, 45, tzinfo=UTC)
    assert bars.height == 12
