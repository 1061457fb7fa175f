"""Facts about what is stored, on a terminal: coverage, forecast, export, imported lists.

The home holds bars of the simulated market, fetched without Prefect; nothing here asks a source.
"""

import json
import shutil
import time
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from blocks.environment import UNIVERSES_FOLDER
from sensequant.breeze_simulator.market import SimulatedFeed
from sensequant.cli import coverage as module
from sensequant.cli.app import main
from sensequant.coverage.summary import CoverageSummary
from sensequant.ingestion.backfill import run_backfill
from sensequant.ingestion.imports import stored_renames
from sensequant.ingestion.opening import Intakes, Outside
from sensequant.ingestion.places import store_at, store_key
from sensequant.ingestion.request import BackfillOptions, BackfillRequest
from sensequant.market.sources.breeze.client import Timing
from sensequant.market.sources.breeze.config import BreezeConfig
from sensequant.market.sources.breeze.credentials import BreezeLogin
from sensequant.market.sources.breeze.pacing import Pacer
from sensequant.market.sources.build import SourceConfig
from sensequant.market.sources.simulated import SimulatedConfig, SimulatedSource
from sensequant.market.store_layout import StoreLayout
from sensequant.storage import read_json

SIMULATED = SourceConfig()


def no_login(_: str | None) -> BreezeLogin:
    raise AssertionError("a login was looked for")


def no_rate(_: str, __: BreezeConfig) -> Pacer:
    raise AssertionError("calls were to be paced")


@pytest.fixture(scope="module")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a home with the whole simulated history of two stocks and the indices."""
    home = tmp_path_factory.mktemp("stocked")
    timing = Timing(lambda: datetime.now(UTC), time.sleep, lambda: 0.5)
    with closing(Intakes(Outside(home, timing, no_login, no_rate))) as intakes:
        run_backfill(
            BackfillRequest(symbols=("SIM01", "SIM02"), source=SIMULATED),
            BackfillOptions(),
            intakes.of(SIMULATED),
            universes=UNIVERSES_FOLDER,
        )
    return home


def facts_of(text: str) -> dict[str, str]:
    return dict(line.split(": ", maxsplit=1) for line in text.splitlines() if ": " in line)


def test_coverage_counts_sessions_and_writes_its_page(
    stocked: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line for each symbol, the least covered first, then the sums."""
    words = ["--symbols", "SIM01,SIM02,NOSUCH", "--start", "2024-03-04", "--end", "2024-03-15"]
    assert main(["coverage", *words, "--home", str(stocked)]) == 0

    told = capsys.readouterr().out
    header, *rows = told.splitlines()[:4]
    assert header.split()[:4] == ["symbol", "interval", "status", "coverage"]
    assert [row.split() for row in rows] == [
        ["NOSUCH", "1day", "missing_local", "0.00%", "0", "9", "0", "none"],
        ["SIM01", "1day", "ok", "100.00%", "9", "0", "0", "2024-03-04"],
        ["SIM02", "1day", "ok", "100.00%", "9", "0", "0", "2024-03-04"],
    ]
    facts = facts_of(told)
    assert facts["coverage"] == "66.67% of 27 expected sessions"
    assert (facts["missing local"], facts["pending"], facts["disputed"]) == ("9", "0", "0")
    assert "--symbols NOSUCH" in facts["to fetch what is missing"]
    page = Path(facts["page"])
    assert page == stocked / "coverage" / store_key(SIMULATED) / "coverage.html"
    assert page.is_file()


def test_coverage_as_json_is_the_record(stocked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing else is printed, and without symbols it is about those that are stored."""
    words = ["--start", "2024-03-04", "--end", "2024-03-15", "--json"]
    assert main(["coverage", *words, "--home", str(stocked)]) == 0

    told = json.loads(capsys.readouterr().out)
    record = stocked / "coverage" / store_key(SIMULATED) / "coverage.json"
    assert told == read_json(record)
    summary = CoverageSummary.model_validate(told)
    assert [(each.symbol, each.n_ok) for each in summary.symbols] == [("SIM01", 9), ("SIM02", 9)]


def test_a_long_list_is_cut_on_the_terminal_only(
    stocked: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page and the record have every row."""
    monkeypatch.setattr(module, "_MOST_ROWS", 1)
    words = ["--start", "2024-03-04", "--end", "2024-03-15", "--home", str(stocked)]
    assert main(["coverage", *words]) == 0
    assert "\nand 1 more\n" in capsys.readouterr().out


def test_a_range_without_sessions_has_no_share(
    stocked: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing of nothing is not 100 percent, nor 0."""
    words = ["--symbols", "SIM01", "--start", "2024-03-09", "--end", "2024-03-10"]
    assert main(["coverage", *words, "--home", str(stocked)]) == 0
    told = capsys.readouterr().out
    assert "coverage: n/a of 0 expected sessions\n" in told
    assert told.splitlines()[1].split() == ["SIM01", "1day", "none", "n/a", "0", "0", "0", "none"]


def test_an_empty_home_is_no_error_for_coverage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is stored, so there is nothing to tell of."""
    assert main(["coverage", "--home", str(tmp_path)]) == 0
    assert "coverage: n/a of 0 expected sessions\n" in capsys.readouterr().out


def test_preflight_says_what_would_be_trained(
    stocked: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Four windows of 180 days of each stock that is stored, not the ten days that are left."""
    words = ["--start", "2022-01-01", "--end", "2023-12-31", "--home", str(stocked)]
    assert main(["preflight", "--symbols", "SIM01,SIM02,NOSUCH", *words]) == 0
    told = capsys.readouterr().out
    assert told.startswith("## Before the run: 2022-01-01 to 2023-12-31\n")
    assert "**8 of 15 windows will be trained.**" in told
    assert "Of 3 symbols 0 are ready, 2 are trained in part, 1 are skipped." in told
    assert "NOSUCH" in told

    assert main(["preflight", "--symbols", "NOSUCH", *words]) == 1
    assert "**0 of " in capsys.readouterr().out


def test_export_writes_what_is_stored(stocked: Path, tmp_path: Path, capsys: Any) -> None:
    """A file for each symbol, with the bars of the range as the market has them."""
    words = ["--start", "2024-03-04", "--end", "2024-03-15", "--home", str(stocked)]
    assert main(["export", str(tmp_path / "out"), *words]) == 0

    told = facts_of(capsys.readouterr().out)
    assert told["exported"] == "18 bars of 1day in 2 files"
    assert (told["to"], told["symbols without bars"]) == (str(tmp_path / "out"), "none")
    written = pl.read_csv(tmp_path / "out" / "SIM01.csv", try_parse_dates=True)
    market = SimulatedFeed(SimulatedConfig())
    truth = market.truth("SIM01", "1day", date(2024, 3, 4), date(2024, 3, 15))
    columns = ["session", "open", "high", "low", "close", "volume"]
    assert written.select(columns).equals(truth.select(columns))


def test_export_replaces_nothing_unasked(
    stocked: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file in the way is an error; --overwrite is the word for it."""
    target = tmp_path / "all.parquet"
    words = ["export", str(target), "--parquet", "--one-file", "--adjusted", "--home", str(stocked)]
    assert main(words) == 0
    assert main(words) == 1
    assert str(target) in capsys.readouterr().err
    assert main([*words, "--overwrite"]) == 0
    assert pl.read_parquet(target)["symbol"].unique().sort().to_list() == ["SIM01", "SIM02"]


def test_export_of_two_lengths_keeps_them_apart(stocked: Path, tmp_path: Path) -> None:
    """Each length has a folder, or a file, of its own; one that is not stored is named."""
    home = ["--symbols", "SIM01", "--home", str(stocked)]
    assert main(["export", str(tmp_path / "out"), "--interval", "1day,5minute", *home]) == 1
    assert (tmp_path / "out" / "1day" / "SIM01.csv").is_file()
    file = tmp_path / "all.csv"
    assert main(["export", str(file), "--interval", "1day,5minute", "--one-file", *home]) == 1
    assert (tmp_path / "all_1day.csv").is_file()


def test_export_of_nothing_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It says where it looked."""
    assert main(["export", str(tmp_path / "out"), "--home", str(tmp_path)]) == 1
    told = capsys.readouterr().err
    assert "nothing is stored of this source" in told
    assert str(tmp_path / store_key(SIMULATED)) in told


def test_actions_are_brought_to_the_bars_of_a_source(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As NSE hands them out; counted by kind."""
    listed = tmp_path / "actions.csv"
    listed.write_text(
        "SYMBOL,COMPANY NAME,SERIES,PURPOSE,FACE VALUE,EX-DATE\n"
        "TCS,Tata,EQ,Bonus 1:1,1,31-May-2018\n"
        "TCS,Tata,EQ,Dividend - Rs 5 Per Share,1,04-Jun-2019\n",
        encoding="utf-8",
    )
    assert main(["actions", "import", str(listed), "--home", str(tmp_path)]) == 0

    told = capsys.readouterr().out.splitlines()
    assert told[0] == "actions: 2 for store breeze"
    assert sorted(told[1:]) == ["kind bonus: 1", "kind dividend: 1"]
    stored = store_at(tmp_path, SourceConfig(kind="breeze")).actions()
    assert stored["ex_date"].to_list() == [date(2018, 5, 31), date(2019, 6, 4)]


def test_lists_of_symbols_are_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Changes for the whole home, spells for the bars of one source."""
    changes, spells = tmp_path / "changes.csv", tmp_path / "spells.csv"
    changes.write_text("old,new,date\nLTI,LTIM,2022-12-05\n", encoding="utf-8")
    spells.write_text(
        "symbol,kind,start,end,evidence\nYESBANK,suspended,2020-03-06,2020-03-10,circular\n",
        encoding="utf-8",
    )
    home = tmp_path / "home"
    words = ["--changes", str(changes), "--listings", str(spells), "--home", str(home)]
    assert main(["symbols", "import", *words]) == 0

    told = capsys.readouterr().out
    assert told == "changes of symbols: 1\nspells: 1 for store breeze\n"
    assert stored_renames(home).frame.height == 1
    kept = pl.read_csv(home / "breeze" / "symbols" / "listings.csv")
    assert kept["symbol"].to_list() == ["YESBANK"]


@pytest.mark.parametrize(
    "words", [["symbols", "import", "--changes"], ["actions", "import"]], ids=" ".join
)
def test_a_list_that_is_not_there_is_named(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is kept of it."""
    home = tmp_path / "home"
    assert main([*words, str(tmp_path / "none.csv"), "--home", str(home)]) in {1, 2}
    assert "none.csv" in capsys.readouterr().err
    assert not (home / "symbols").exists()


def test_symbols_import_needs_a_list(capsys: pytest.CaptureFixture[str]) -> None:
    """It names the two that it knows."""
    assert main(["symbols", "import"]) == 2
    assert "expected: --changes, --listings or --sectors" in capsys.readouterr().err


def test_a_move_that_nothing_explains_is_shown(
    stocked: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without the list of actions the split stands out, exit code 1; with it nothing does."""
    home = tmp_path / "home"
    shutil.copytree(stocked, home)
    StoreLayout(home / store_key(SIMULATED)).actions().unlink()
    words = ["actions", "check", "--source", "simulated", "--home", str(home)]
    assert main(words) == 1
    output = capsys.readouterr().out
    assert "split 10:1" in output
    assert facts_of(output)["unexplained"].startswith("1 moves")

    store_at(home, SIMULATED).write_actions(SimulatedSource(SimulatedConfig()).actions())
    assert main(words) == 0
    assert facts_of(capsys.readouterr().out)["unexplained"].startswith("0 moves")
