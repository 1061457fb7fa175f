"""Facts about wrong requests and wrong files: what is told, what is kept, what goes on.

Each case ends in one of three ways. A wrong request stops with a `ConfigError`. A file that cannot
be used skips its symbol. A row that is no bar goes into the quarantine, and the symbol goes on
without it. In none of them is anything half-written, or another symbol affected.
"""

import errno
import gzip
import os
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Self

import polars as pl
import pytest
from pydantic import ValidationError

from sensequant.errors import (
    ConfigError,
    InvalidBarsError,
    MissingBarsError,
    SenseQuantError,
    StorageError,
)
from sensequant.ingestion.context import IngestContext
from sensequant.market.bars import DAILY
from sensequant.market.sources.base import Chunk
from sensequant.market.symbols import NIFTY50
from sensequant.records import Outcome
from sensequant.runs import Stage
from sensequant.stages import ingestion
from sensequant.stages.context import Run, RunSettings
from sensequant.storage import read_json, read_table, sha256_of

AT = datetime(2025, 6, 7, tzinfo=UTC)
FIRST, LAST = date(2023, 1, 2), date(2023, 6, 30)
ONLY = {"stages": (Stage.DATA_INGESTION,)}
ROW = 20
"""Number of the row, from 1, that a test spoils."""

Execute = Callable[..., Run]
Settings = Callable[..., RunSettings]


@pytest.fixture
def folder(write_stock: Callable[..., None], tmp_path: Path) -> Path:
    """Return a folder with two good stocks; tests spoil AAA and look at BBB."""
    place = tmp_path / "bars"
    for seed, symbol in enumerate(("AAA", "BBB")):
        write_stock(place, symbol, FIRST, LAST, seed)
    return place


def spoil(folder: Path, *, column: int, text: str) -> str:
    """Write a text into one cell of AAA's file and return the date of its row."""
    path = folder / "AAA.csv"
    lines = path.read_text().splitlines()
    cells = lines[ROW].split(", ")
    cells[column] = text
    lines[ROW] = ", ".join(cells)
    path.write_text("\n".join(lines) + "\n")
    return cells[2]


def leftovers(home: Path) -> list[Path]:
    """Return hidden files that are no locks: what an interrupted write would leave."""
    return [path for path in home.rglob(".*") if path.is_file() and path.suffix != ".lock"]


def skips_of(run: Run) -> list[dict[str, Any]]:
    units = read_table(run.folder.units("chunk"))
    return units.filter(pl.col("outcome") == Outcome.SKIPPED).to_dicts()


def require_told(error: SenseQuantError) -> None:
    """Require that an error names what, where, expected, found and what to do."""
    fields = {name: getattr(error, name) for name in ("what", "expected", "found", "remedy")}
    assert all(fields.values()), fields
    for text in (*fields.values(), error.where):
        assert text in str(error)


def require_untouched(run: Run) -> None:
    """Require that BBB went on alone, from file to store to run, and nothing is half-written."""
    assert run.symbols == ["BBB"]
    assert run.store.symbols(DAILY) == ("BBB",)
    assert {planned.window.symbol for planned in run.windows} == {"BBB"}
    assert leftovers(run.folder.home) == []


@pytest.mark.parametrize(
    ("symbols", "found", "remedy"),
    [(("AAAA",), "AAAA", "did you mean AAA?"), (("XYZ", "BBB"), "XYZ", "list the symbols")],
    ids=["near", "strange"],
)
def test_an_unknown_symbol_stops_before_anything_is_fetched(
    execute: Execute,
    files_settings: Settings,
    folder: Path,
    tmp_path: Path,
    symbols: tuple[str, ...],
    found: str,
    remedy: str,
) -> None:
    """The nearest names are listed; the store stays empty."""
    with pytest.raises(ConfigError, match="symbol is not in the source") as caught:
        execute(tmp_path / "home", files_settings(folder, symbols=symbols))

    require_told(caught.value)
    assert caught.value.where == str(folder)
    assert caught.value.found == found
    assert remedy in caught.value.remedy
    assert not (tmp_path / "home" / "bars").exists()


def test_a_start_after_the_end_makes_no_request(files_settings: Settings, tmp_path: Path) -> None:
    """It is refused where the request is built, before there is a run."""
    with pytest.raises((ConfigError, ValidationError), match="range is upside down") as caught:
        files_settings(tmp_path, start=date(2023, 6, 1), end=date(2023, 5, 31))

    assert "2023-06-01 to 2023-05-31" in str(caught.value)
    assert "swap or correct the two dates" in str(caught.value)


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (date(2020, 1, 1), date(2021, 12, 31)),
        (date(2025, 1, 1), date(2025, 12, 31)),
        (date(2040, 1, 1), date(2041, 12, 31)),
        (date(1980, 1, 1), date(1981, 12, 31)),
    ],
    ids=["before", "after", "beyond the calendar", "before the exchange"],
)
def test_a_range_outside_the_data_stops(
    execute: Execute, files_settings: Settings, folder: Path, start: date, end: date
) -> None:
    """The error tells the range that there is."""
    with pytest.raises(MissingBarsError, match="no bars in the requested range") as caught:
        execute(folder.parent / "home", files_settings(folder, start=start, end=end))

    require_told(caught.value)
    assert caught.value.expected == f"sessions from {start} to {end}"
    assert caught.value.found == f"bars from {FIRST} to {LAST}"


def test_a_range_partly_outside_the_data_is_cut(
    execute: Execute, files_settings: Settings, folder: Path
) -> None:
    """Nothing is expected of a symbol before its first and after its last bar."""
    run = execute(
        folder.parent / "home",
        files_settings(folder, start=date(1990, 1, 1), end=date(2050, 12, 31)),
        **ONLY,
    )

    data = read_table(run.folder.data)
    assert data["n_expected"].to_list() == data["n_present"].to_list() == data["n_bars"].to_list()


@pytest.mark.parametrize("is_there", [True, False], ids=["empty", "missing"])
def test_a_folder_without_files_is_refused(
    execute: Execute, files_settings: Settings, tmp_path: Path, is_there: bool
) -> None:
    """It says what a file should be called."""
    place = tmp_path / "bars"
    if is_there:
        place.mkdir()

    with pytest.raises(ConfigError, match="bars cannot be read from there") as caught:
        execute(tmp_path / "home", files_settings(place))

    require_told(caught.value)
    assert caught.value.where == str(place)


def test_a_file_of_another_layout_skips_its_symbol(
    execute: Execute, files_settings: Settings, folder: Path
) -> None:
    """The nearest layout is named with the columns that are lacking."""
    path = folder / "AAA.csv"
    path.write_text(path.read_text().replace("CLOSE_PRICE", "SETTLED_AT"))

    run = execute(folder.parent / "home", files_settings(folder), **ONLY)

    (unit,) = skips_of(run)
    assert (unit["name"], unit["reason"]) == ("chunk AAA", "invalid_bars")
    for text in (str(path), "nse_bhavcopy, it lacks close_price", "settled_at", "what to do"):
        assert text in unit["error_message"]
    require_untouched(run)


def _truncated(content: bytes) -> bytes:
    return gzip.compress(content)[:-40]


def _not_packed(content: bytes) -> bytes:
    return content


def _altered(content: bytes) -> bytes:
    packed = bytearray(gzip.compress(content))
    packed[len(packed) // 2] ^= 0xFF
    return bytes(packed)


@pytest.mark.parametrize("spoiled", [_truncated, _not_packed, _altered])
def test_a_damaged_archive_skips_its_symbol(
    execute: Execute, files_settings: Settings, folder: Path, spoiled: Callable[[bytes], bytes]
) -> None:
    """Cut off, never packed, or altered on the way: not one row of it is used."""
    plain = folder / "AAA.csv"
    packed = folder / "AAA.csv.gz"
    packed.write_bytes(spoiled(plain.read_bytes()))
    plain.unlink()

    run = execute(folder.parent / "home", files_settings(folder), **ONLY)

    (unit,) = skips_of(run)
    assert (unit["symbol"], unit["reason"]) == ("AAA", "invalid_bars")
    for text in ("archive is damaged or cut off", str(packed), "fetch the file again"):
        assert text in unit["error_message"]
    require_untouched(run)


def test_a_file_that_cannot_be_opened_skips_its_symbol(
    execute: Execute, files_settings: Settings, folder: Path
) -> None:
    """A link to nothing, for one: the system's own words stand in the record."""
    path = folder / "AAA.csv"
    path.unlink()
    path.symlink_to(folder / "nowhere")

    run = execute(folder.parent / "home", files_settings(folder), **ONLY)

    (unit,) = skips_of(run)
    assert "file cannot be opened" in unit["error_message"]
    assert os.strerror(errno.ENOENT) in unit["error_message"]
    require_untouched(run)


@pytest.mark.parametrize(
    ("content", "what"),
    [("", "file is empty"), (None, "file has a header and no rows")],
    ids=["no byte", "no row"],
)
def test_a_file_without_rows_skips_its_symbol(
    execute: Execute, files_settings: Settings, folder: Path, content: str | None, what: str
) -> None:
    """There is no bar to go on with, which is a skip and no fault."""
    path = folder / "AAA.csv"
    path.write_text(path.read_text().splitlines()[0] + "\n" if content is None else content)

    run = execute(folder.parent / "home", files_settings(folder), **ONLY)

    (unit,) = skips_of(run)
    assert (unit["symbol"], unit["reason"]) == ("AAA", "no_data_at_source")
    assert what in unit["error_message"]
    require_untouched(run)


def test_a_file_that_ends_inside_a_row_skips_its_symbol(
    execute: Execute, files_settings: Settings, folder: Path
) -> None:
    """Nobody knows how many rows are missing after the cut."""
    path = folder / "AAA.csv"
    content = path.read_text()
    path.write_text(content[: content.rindex(" 1000,")])

    run = execute(folder.parent / "home", files_settings(folder), **ONLY)

    (unit,) = skips_of(run)
    assert (unit["symbol"], unit["reason"]) == ("AAA", "invalid_bars")
    assert "cut off in its last row" in unit["error_message"]
    require_untouched(run)


def test_a_row_with_too_many_cells_skips_its_symbol(
    execute: Execute, files_settings: Settings, folder: Path
) -> None:
    """Nobody knows which cell is which."""
    path = folder / "AAA.csv"
    lines = path.read_text().splitlines()
    lines[ROW] += ", 1, 2, 3"
    path.write_text("\n".join(lines))

    run = execute(folder.parent / "home", files_settings(folder), **ONLY)

    (unit,) = skips_of(run)
    assert (unit["symbol"], unit["reason"]) == ("AAA", "invalid_bars")
    assert "file is no CSV table" in unit["error_message"]
    require_untouched(run)


def test_a_file_in_another_encoding_skips_its_symbol(
    execute: Execute, files_settings: Settings, folder: Path
) -> None:
    """Bytes that are no UTF-8 are not guessed at."""
    path = folder / "AAA.csv"
    path.write_bytes(path.read_text().replace("AAA", "ÄÄÄ").encode("utf-16"))

    run = execute(folder.parent / "home", files_settings(folder), **ONLY)

    (unit,) = skips_of(run)
    assert (unit["symbol"], unit["reason"]) == ("AAA", "invalid_bars")
    require_untouched(run)


def test_when_no_file_can_be_used_the_stage_stops(
    execute: Execute, files_settings: Settings, folder: Path
) -> None:
    """Skips alone make no run."""
    for path in folder.iterdir():
        path.write_text("what,is,this\n1,2,3\n")

    with pytest.raises(MissingBarsError, match="no bars in the requested range") as caught:
        execute(folder.parent / "home", files_settings(folder))

    require_told(caught.value)
    assert caught.value.found == "no symbol with bars"
    assert leftovers(folder.parent / "home") == []


@pytest.mark.parametrize(
    ("column", "text", "reason"),
    [
        (4, "n/a", "non_numeric_price"),
        (8, "inf", "non_numeric_price"),
        (8, "", "missing_price"),
        (10, "-1000", "negative_volume"),
        (10, "12.5", "invalid_number"),
        (5, "0.05", "high_below_low"),
        (8, "99999.00", "price_outside_range"),
        (8, "0.00", "zero_or_negative_price"),
        (4, "-5.00", "zero_or_negative_price"),
        (2, "31-Feb-2023", "bad_date"),
        (2, "26-Jan-2023", "not_a_session"),
        (2, "03-Jan-1950", "outside_calendar"),
    ],
)
def test_a_row_that_is_no_bar_is_kept_apart(
    execute: Execute, files_settings: Settings, folder: Path, column: int, text: str, reason: str
) -> None:
    """With its number, its reason and its text as delivered; the other rows are bars."""
    session = spoil(folder, column=column, text=text)

    run = execute(folder.parent / "home", files_settings(folder), **ONLY)

    quarantine = read_table(run.folder.quarantine)
    assert quarantine.select("symbol", "row_number", "reason").rows() == [("AAA", ROW, reason)]
    told: str = quarantine["raw_values"].to_list()[0]
    assert session in told
    assert f'"{text}"' in told.replace('" ', '"')
    bars = {symbol: run.store.read(symbol, interval=DAILY).height for symbol in ("AAA", "BBB")}
    assert bars["AAA"] == bars["BBB"] - 1
    findings = read_json(run.folder.stage_record(Stage.DATA_INGESTION))["findings"]
    assert findings["n_quarantined"] == 1
    assert skips_of(run) == []
    assert leftovers(run.folder.home) == []


def test_of_rows_that_contradict_each_other_none_is_used(
    execute: Execute, files_settings: Settings, folder: Path
) -> None:
    """Nobody knows which of two closes was the right one; equal copies are one row."""
    path = folder / "AAA.csv"
    lines = path.read_text().splitlines()
    cells = lines[ROW].split(", ")
    differing = ", ".join([*cells[:10], "2000", *cells[11:]])
    path.write_text("\n".join([*lines, lines[ROW + 1], differing]) + "\n")

    run = execute(folder.parent / "home", files_settings(folder), **ONLY)

    quarantine = read_table(run.folder.quarantine)
    assert quarantine["reason"].to_list() == ["conflicting_duplicate"] * 2
    assert quarantine["row_number"].to_list() == [ROW, len(lines) + 1]
    assert quarantine["session"].n_unique() == 1
    bars = run.store.read("AAA", interval=DAILY)
    assert quarantine["session"].to_list()[0] not in bars["session"].to_list()
    assert bars.height == run.store.read("BBB", interval=DAILY).height - 1
    unit = read_table(run.folder.units("chunk")).row(
        by_predicate=pl.col("name") == "chunk AAA", named=True
    )
    assert (unit["n_quarantined"], unit["n_duplicates_dropped"]) == (2, 1)


def test_a_file_of_wrong_rows_only_skips_its_symbol(
    execute: Execute, files_settings: Settings, folder: Path
) -> None:
    """The skip counts the refused rows by reason."""
    path = folder / "AAA.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], *(line.replace("2023", "20x3") for line in lines[1:])]))

    run = execute(folder.parent / "home", files_settings(folder), **ONLY)

    (unit,) = skips_of(run)
    assert (unit["symbol"], unit["reason"]) == ("AAA", "quarantined")
    assert unit["n_quarantined"] == len(lines) - 1
    require_untouched(run)


@pytest.mark.parametrize("symbol", ["../x", "/etc/passwd", "a", "A B", "", "A" * 33, "NUL\0"])
def test_a_name_that_could_leave_a_folder_is_no_symbol(
    files_settings: Settings, tmp_path: Path, symbol: str
) -> None:
    """It is refused in the request, so that no path is ever made of it."""
    with pytest.raises((ConfigError, ValidationError), match="text is no symbol") as caught:
        files_settings(tmp_path, symbols=(symbol,))

    assert "expected: an NSE ticker" in str(caught.value)
    assert "what to do" in str(caught.value)


def test_a_file_whose_name_is_no_symbol_stops(
    execute: Execute, files_settings: Settings, folder: Path
) -> None:
    """The folder is wrong as a whole: nobody can tell which symbol was meant."""
    (folder / "BBB.csv").rename(folder / "..B B.csv")

    with pytest.raises(ConfigError, match="text is no symbol") as caught:
        execute(folder.parent / "home", files_settings(folder))

    assert caught.value.found == "'..B B'"


def test_two_files_for_one_symbol_stop(
    execute: Execute, files_settings: Settings, folder: Path
) -> None:
    """Nobody knows which one is right; both are named."""
    content = (folder / "AAA.csv").read_bytes()
    (folder / "AAA.csv.gz").write_bytes(gzip.compress(content))

    with pytest.raises(ConfigError, match="symbol has two files") as caught:
        execute(folder.parent / "home", files_settings(folder))

    require_told(caught.value)
    assert caught.value.found == "AAA.csv and AAA.csv.gz"
    assert caught.value.where == str(folder)


def test_an_index_that_cannot_be_read_leaves_the_run_without_a_benchmark(
    execute: Execute, files_settings: Settings, folder: Path
) -> None:
    """It is skipped like any file, and the stocks go on."""
    (folder / "index").mkdir()
    (folder / "index" / "NIFTY50.csv").write_text("level\n10000\n")

    run = execute(folder.parent / "home", files_settings(folder), **ONLY)

    (unit,) = skips_of(run)
    assert (unit["symbol"], unit["reason"]) == (NIFTY50, "invalid_bars")
    assert run.benchmark is None
    assert run.symbols == ["AAA", "BBB"]


@pytest.mark.parametrize("call", ["fsync", "write"])
def test_a_full_disk_leaves_nothing_half_written(
    start: Execute,
    intake: Callable[[Run], IngestContext],
    files_settings: Settings,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
) -> None:
    """The file before it is whole, the temporary one is gone, and the error says what to do."""
    run = start(folder.parent / "home", files_settings(folder))
    context = intake(run)
    ingestion.fetch_chunk(run, Chunk("BBB"), context)
    stored = {path: sha256_of(path) for path in run.folder.home.rglob("*.parquet")}
    fill_disk(monkeypatch, call)

    with pytest.raises(StorageError, match="file was not written") as caught:
        ingestion.fetch_chunk(run, Chunk("AAA"), context)

    monkeypatch.undo()
    require_told(caught.value)
    assert caught.value.found == os.strerror(errno.ENOSPC)
    assert "free space" in caught.value.remedy
    assert leftovers(run.folder.home) == []
    assert {path: sha256_of(path) for path in run.folder.home.rglob("*.parquet")} == stored
    assert run.store.symbols(DAILY) == ("BBB",)


@pytest.mark.parametrize("call", ["fsync", "write"])
def test_a_disk_that_fills_up_in_the_run_leaves_whole_files_only(
    start: Execute,
    intake: Callable[[Run], IngestContext],
    files_settings: Settings,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
) -> None:
    """With space again the same steps finish the run."""
    run = start(folder.parent / "home", files_settings(folder))
    for symbol in ("AAA", "BBB"):
        ingestion.fetch_chunk(run, Chunk(symbol), intake(run))
    fill_disk(monkeypatch, call)
    for work in (
        lambda: ingestion.freeze_bars(run, "AAA"),
        lambda: start(folder.parent / "other", files_settings(folder)),
    ):
        with pytest.raises(StorageError, match="file was not written"):
            work()
    monkeypatch.undo()
    assert leftovers(folder.parent) == []
    assert not run.folder.bars("AAA").exists()
    assert not (folder.parent / "other" / "runs" / run.folder.run_id / "config.json").exists()

    for symbol in ("AAA", "BBB"):
        ingestion.freeze_bars(run, symbol)

    assert ingestion.settle(run, ["AAA", "BBB"]).values["n_symbols"] == 2


def fill_disk(monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """Let every write fail, at its first byte or when it is to be made durable."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if call == "fsync":
        monkeypatch.setattr("sensequant.storage.os.fsync", refuse)
        return
    opened = os.fdopen

    def open_full(descriptor: int, mode: str) -> Any:
        file = opened(descriptor, mode)

        class Full:
            write = staticmethod(refuse)

            def __enter__(self) -> Self:
                return self

            def __exit__(self, *_: object) -> None:
                file.close()

        return Full()

    monkeypatch.setattr("sensequant.storage.os.fdopen", open_full)


def test_an_error_of_bars_is_a_skip_and_never_a_crash() -> None:
    """What a file can do wrong is a data error; the unit that needed it is skipped."""
    assert {InvalidBarsError.reason, MissingBarsError.reason} == {"invalid_bars", "no_data"}
