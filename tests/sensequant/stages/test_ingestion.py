"""Facts about stage 1: which bars a run stands on, and what it compares itself with."""

import shutil
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sensequant.errors import ConfigError, MissingBarsError
from sensequant.ingestion.context import IngestContext
from sensequant.market.adjustments import actions_frame
from sensequant.market.bars import DAILY, bars_digest
from sensequant.market.sessions import nse_calendar
from sensequant.market.sources.base import Chunk
from sensequant.market.symbols import NIFTY50, NIFTY50_TRI
from sensequant.records import Outcome, SkipReason, digest_of
from sensequant.release.gates import Decision
from sensequant.runs import Stage, StageRecord
from sensequant.settings import RunRequest
from sensequant.stages import ingestion, statistical_tests
from sensequant.stages.context import Run, RunSettings
from sensequant.storage import read_json, read_table, sha256_of

AT = datetime(2025, 6, 7, tzinfo=UTC)
FIRST, LAST = date(2022, 1, 3), date(2024, 6, 28)
ONLY = {"stages": (Stage.DATA_INGESTION,)}

Found = dict[str, Any]
Intake = Callable[[Run], IngestContext]


@pytest.fixture
def folder(write_stock: Callable[..., None], tmp_path: Path) -> Path:
    """Return a folder with two stocks and no index."""
    place = tmp_path / "bars"
    for seed, symbol in enumerate(("AAA", "BBB")):
        write_stock(place, symbol, FIRST, LAST, seed)
    return place


def found_in(run: Run, stage: Stage = Stage.DATA_INGESTION) -> Found:
    record = StageRecord.model_validate(read_json(run.folder.stage_record(stage)))
    return record.findings


def units_of(run: Run) -> pl.DataFrame:
    return read_table(run.folder.units("chunk"))


def test_findings_are_counted_in_the_tables(whole: Run) -> None:
    """Every number of the stage can be counted again in the store and in the run's tables."""
    request, store = whole.request, whole.store
    stored = {symbol: store.read(symbol, interval=DAILY) for symbol in store.symbols(DAILY)}
    stocks = {name: bars for name, bars in stored.items() if name.startswith("SIM")}
    n_present, n_expected = 0, 0
    for bars in stocks.values():
        inside = bars.filter(pl.col("session").is_between(request.start, request.end))
        n_present += inside.height
        listed = max(request.start, bars["session"].to_list()[0])
        n_expected += len(nse_calendar().sessions(listed, request.end))
    gaps = [read_table(whole.folder.bars(name))["is_unexplained_gap"].sum() for name in stocks]

    assert found_in(whole) == {
        "n_symbols": 3,
        "n_bars": sum(bars.height for bars in stocks.values()),
        "n_windows_planned": len(read_json(whole.folder.plan)),
        "coverage_frac": n_present / n_expected,
        "n_quarantined": read_table(whole.folder.quarantine).height,
        "n_unexplained_gaps": sum(gaps),
        "benchmark": NIFTY50_TRI,
        "is_simulated": True,
        "data_digest": digest_of([bars_digest(stored[name]) for name in sorted(stored)]),
    }


def test_the_hole_of_a_stock_is_missing_coverage_and_not_a_bar(whole: Run) -> None:
    """SIM01 lacks forty sessions of the range; SIM03 is expected from its listing on only."""
    data = {row["symbol"]: row for row in read_table(whole.folder.data).iter_rows(named=True)}

    assert data["SIM01"]["n_expected"] - data["SIM01"]["n_present"] == 40
    assert data["SIM02"]["n_expected"] == data["SIM02"]["n_present"]
    assert data["SIM03"]["n_expected"] == data["SIM03"]["n_present"] < data["SIM02"]["n_present"]
    assert data["SIM03"]["first_session"] > whole.request.start


def test_a_window_before_the_listing_says_so(whole: Run) -> None:
    """SIM03 is listed in the fourth window, which then begins with its first bar."""
    windows = [planned for planned in whole.windows if planned.window.symbol == "SIM03"]
    listed = read_table(whole.folder.bars("SIM03"))["session"].to_list()[0]

    skips = [planned.skip for planned in windows]
    assert skips == [SkipReason.PRE_LISTING] * 3 + [None] * 4
    assert windows[3].window.start == listed
    assert windows[3].window.is_cut_by_listing


def test_a_split_does_not_move_an_adjusted_price(whole: Run) -> None:
    """The store keeps the tenfold fall; the run's bars have none, and no unexplained gap."""
    raw = whole.store.read("SIM02", interval=DAILY)["close"].to_numpy()
    adjusted = read_table(whole.folder.bars("SIM02"))

    assert (raw[1:] / raw[:-1]).min() < 0.2
    closes = adjusted["close"].to_numpy()
    assert (closes[1:] / closes[:-1]).min() > 0.7
    assert not adjusted["is_unexplained_gap"].any()


def test_a_record_of_frozen_bars_names_their_digest(copied: Run) -> None:
    """So that a cached unit whose file is gone or altered is done again."""
    unit = ingestion.freeze_bars(copied, "SIM01")

    assert unit.path == "bars/SIM01.parquet"
    assert unit.sha256 == sha256_of(copied.folder.bars("SIM01"))


def test_later_bars_in_the_store_do_not_reach_a_run(
    execute: Callable[..., Run],
    files_settings: Callable[..., RunSettings],
    write_stock: Callable[..., None],
    folder: Path,
    tmp_path: Path,
) -> None:
    """A run stands on the bars that it froze; another run sees the new ones."""
    asked = files_settings(folder)
    run = execute(tmp_path / "home", asked, **ONLY)
    before = sha256_of(run.folder.bars("AAA"))
    write_stock(folder, "AAA", FIRST, date(2024, 7, 31))

    later = execute(
        tmp_path / "home", asked, run_id="live_candidate_20250101_000000_00000000", **ONLY
    )

    assert sha256_of(run.folder.bars("AAA")) == before
    assert read_table(later.folder.bars("AAA"))["session"].to_list()[-1] == date(2024, 7, 31)


def test_the_total_return_index_is_preferred_where_it_covers_the_range(
    execute: Callable[..., Run],
    files_settings: Callable[..., RunSettings],
    write_index: Callable[..., None],
    folder: Path,
    tmp_path: Path,
) -> None:
    """The price index is taken only where the total return index has not every session."""
    write_index(folder / "index" / "NIFTY50.csv", FIRST, LAST)
    write_index(folder / "index" / "NIFTY50TRI.csv", date(2022, 6, 1), LAST)
    chosen = {
        start: found_in(execute(tmp_path / str(start), files_settings(folder, start=start), **ONLY))
        for start in (date(2022, 5, 31), date(2022, 6, 1))
    }

    assert [found["benchmark"] for found in chosen.values()] == [NIFTY50, NIFTY50_TRI]


@pytest.mark.parametrize("end", [date(2023, 12, 31), date(2039, 12, 31)], ids=["within", "beyond"])
def test_an_index_as_long_as_the_stocks_covers_any_range(
    execute: Callable[..., Run],
    files_settings: Callable[..., RunSettings],
    write_index: Callable[..., None],
    folder: Path,
    end: date,
) -> None:
    """Where no stock has a bar there is nothing to compare, even beyond the known calendar."""
    write_index(folder / "index" / "NIFTY50.csv", FIRST, LAST)
    write_index(folder / "index" / "NIFTY50TRI.csv", FIRST, LAST)
    asked = files_settings(folder, start=date(1999, 1, 1), end=end)

    run = execute(folder.parent / "home", asked, **ONLY)

    assert found_in(run)["benchmark"] == NIFTY50_TRI


def test_without_a_benchmark_nothing_is_compared_and_nothing_approved(
    execute: Callable[..., Run],
    files_settings: Callable[..., RunSettings],
    folder: Path,
    tmp_path: Path,
) -> None:
    """Figures that need it are null with a reason, and their gates cannot pass."""
    run = execute(tmp_path / "home", files_settings(folder))
    report = statistical_tests.read_report(run)
    compared = ("mean_excess_bootstrap", "mean_excess_newey_west", "alpha", "beta")
    compared += ("information_ratio", "tracking_error", "sharpe_difference_nifty50")
    compared += ("superior_predictive_ability", "step_m", "false_discovery_runs")

    assert found_in(run)["benchmark"] is None
    assert run.benchmark is None
    assert report.n_benchmark_sessions == 0
    for name in compared:
        test = report.of(name)
        assert (test.estimate, test.p_value) == (None, None)
        assert test.reason
    assert found_in(run, Stage.RELEASE_AUDIT)["verdict"] != Decision.APPROVE
    gates = read_json(run.folder.audit / "gates.json")["gates"]
    told = {gate["name"]: gate["outcome"] for gate in gates}
    assert told["mean_excess_return"] == told["alpha_p_value"] == "undetermined"


def test_a_benchmark_that_is_gone_leaves_the_run(
    start: Callable[..., Run],
    intake: Intake,
    files_settings: Callable[..., RunSettings],
    write_index: Callable[..., None],
    folder: Path,
    tmp_path: Path,
) -> None:
    """A stage that is done again does not keep the benchmark of the attempt before."""
    write_index(folder / "index" / "NIFTY50.csv", FIRST, LAST)
    run = start(tmp_path / "home", files_settings(folder))
    for symbol in ("AAA", "BBB", NIFTY50):
        ingestion.fetch_chunk(run, Chunk(symbol), intake(run))
        ingestion.freeze_bars(run, symbol)

    first = ingestion.settle(run, ["AAA", "BBB", NIFTY50])
    assert run.benchmark is not None
    second = ingestion.settle(run, ["AAA", "BBB"])

    assert (first.values["benchmark"], second.values["benchmark"]) == (NIFTY50, None)
    assert run.benchmark is None


def test_skip_fetch_asks_the_source_nothing(
    execute: Callable[..., Run],
    files_settings: Callable[..., RunSettings],
    write_index: Callable[..., None],
    folder: Path,
    tmp_path: Path,
) -> None:
    """Bars once stored make a run although their folder is gone, with the very same artifacts."""
    write_index(folder / "index" / "NIFTY50.csv", FIRST, LAST)
    asked = files_settings(folder)
    first = execute(tmp_path / "home", asked, **ONLY)
    shutil.rmtree(folder)

    second = execute(
        tmp_path / "home",
        asked,
        run_id="live_candidate_20250101_000000_00000000",
        skip_fetch=True,
        **ONLY,
    )

    assert found_in(second) == found_in(first)
    assert digests(second) == digests(first)
    assert second.store.symbols(DAILY) == ("AAA", "BBB", NIFTY50)


def test_skip_fetch_skips_what_is_not_stored(
    execute: Callable[..., Run],
    files_settings: Callable[..., RunSettings],
    folder: Path,
    tmp_path: Path,
) -> None:
    """A named symbol without stored bars is a skip with its reason; the run goes on without it."""
    execute(tmp_path / "home", files_settings(folder), **ONLY)

    run = execute(
        tmp_path / "home",
        files_settings(folder, symbols=("AAA", "ZZZ", "AAA")),
        run_id="live_candidate_20250101_000000_00000000",
        skip_fetch=True,
        **ONLY,
    )

    assert run.symbols == ["AAA"]
    skipped = units_of(run).filter(pl.col("outcome") == Outcome.SKIPPED)
    assert skipped.select("name", "symbol", "reason").rows() == [("chunk ZZZ", "ZZZ", "no_data")]
    assert "ingest the symbol first" in skipped["error_message"][0]


def test_skip_fetch_of_a_universe_takes_its_members(
    start: Callable[..., Run], files_settings: Callable[..., RunSettings], folder: Path
) -> None:
    """The list still tells which symbols are meant; nothing is asked of the source."""
    universes = _universe(folder.parent, "AAA", "QQQ")
    asked = files_settings(folder, universe="pair")
    run = start(folder.parent / "home", asked, skip_fetch=True)
    shutil.rmtree(folder)

    assert ingestion.plan_chunks(run, None, universes=universes) == [Chunk("AAA"), Chunk("QQQ")]


def test_an_empty_store_cannot_replace_a_source(
    execute: Callable[..., Run], files_settings: Callable[..., RunSettings], tmp_path: Path
) -> None:
    """With `skip_fetch` and nothing stored there is no bar, and the error says what to do."""
    with pytest.raises(MissingBarsError, match="no bars in the requested range") as caught:
        execute(tmp_path / "home", files_settings(tmp_path / "none"), skip_fetch=True)

    assert caught.value.found == "no symbol with bars"


def test_members_that_the_source_lacks_are_skipped(
    start: Callable[..., Run],
    intake: Intake,
    files_settings: Callable[..., RunSettings],
    folder: Path,
) -> None:
    """A universe is larger than a folder: what is absent is a finding and no wrong request."""
    universes = _universe(folder.parent, "AAA", "QQQ")
    run = start(folder.parent / "home", files_settings(folder, universe="pair"))

    context = intake(run)
    chunks = ingestion.plan_chunks(run, context, universes=universes)

    assert chunks == [Chunk("AAA"), Chunk("QQQ")]
    present, absent = (ingestion.fetch_chunk(run, chunk, context) for chunk in chunks)
    assert present.outcome is Outcome.SUCCESS
    assert (absent.outcome, absent.reason) == (Outcome.SKIPPED, SkipReason.UNKNOWN_SYMBOL)


def test_universe_all_is_every_symbol_of_the_source(
    start: Callable[..., Run],
    intake: Intake,
    files_settings: Callable[..., RunSettings],
    folder: Path,
) -> None:
    """The reserved name needs no file; neither does a request that names nothing."""
    home = folder.parent / "home"
    named = start(home, files_settings(folder, universe="all"))
    unnamed = start(home, files_settings(folder), run_id="live_candidate_20250101_000000_00000000")

    for run in (named, unnamed):
        symbols = ingestion.requested_symbols(run, intake(run), universes=folder)
        assert symbols == ("AAA", "BBB")


def test_a_symbol_that_is_named_must_exist(
    start: Callable[..., Run], intake: Intake, settings: RunSettings, tmp_path: Path
) -> None:
    """A name that the source does not have is a wrong request; near names are listed."""
    request = RunRequest(symbols=("SIM1",), source=settings.request.source)
    run = start(tmp_path, settings.model_copy(update={"request": request}))

    with pytest.raises(ConfigError, match="symbol is not in the source") as caught:
        ingestion.plan_chunks(run, intake(run), universes=tmp_path)

    assert caught.value.found == "SIM1"
    assert "SIM01" in caught.value.remedy


def test_bars_that_cannot_be_adjusted_are_skipped_alone(
    execute: Callable[..., Run],
    files_settings: Callable[..., RunSettings],
    start: Callable[..., Run],
    folder: Path,
    tmp_path: Path,
) -> None:
    """Two sources disagree on a split of AAA: the run goes on with BBB and says so."""
    asked = files_settings(folder)
    opened = start(tmp_path / "home", asked)
    for source, ratio in (("one", 0.1), ("other", 0.2)):
        action = ("AAA", date(2023, 3, 1), "split", ratio, "Split", source)
        opened.store.write_actions(actions_frame([action]))

    run = execute(tmp_path / "home", asked, **ONLY)

    assert run.symbols == ["BBB"]
    skipped = units_of(run).filter(pl.col("outcome") == Outcome.SKIPPED)
    assert skipped.select("name", "kind", "reason").rows() == [("bars AAA", "bars", "invalid_bars")]


def test_a_corrected_delivery_leaves_no_quarantine_behind(
    execute: Callable[..., Run],
    files_settings: Callable[..., RunSettings],
    folder: Path,
    tmp_path: Path,
) -> None:
    """What was refused the first time and is right the second is refused no longer."""
    asked, file = files_settings(folder), folder / "AAA.csv"
    right = file.read_text()
    lines = right.splitlines()
    lines[10] = lines[10].replace(" 1000,", " -1000,")
    file.write_text("\n".join(lines) + "\n")
    wrong = execute(tmp_path / "home", asked, **ONLY)
    assert read_table(wrong.folder.quarantine)["reason"].to_list() == ["negative_volume"]
    file.write_text(right)

    run = execute(tmp_path / "home", asked, **ONLY)

    assert found_in(run)["n_quarantined"] == 0
    assert read_table(run.folder.quarantine).is_empty()
    clean = execute(tmp_path / "clean", asked, **ONLY)
    assert digests(run) == digests(clean)


def test_a_range_without_bars_is_refused(
    execute: Callable[..., Run],
    files_settings: Callable[..., RunSettings],
    folder: Path,
    tmp_path: Path,
) -> None:
    """The error names the range asked and the range there is."""
    asked = files_settings(folder, start=date(2019, 1, 1), end=date(2020, 12, 31))

    with pytest.raises(MissingBarsError, match="no bars in the requested range") as caught:
        execute(tmp_path / "home", asked, **ONLY)

    assert caught.value.where == "all symbols"
    assert caught.value.expected == "sessions from 2019-01-01 to 2020-12-31"
    assert caught.value.found == f"bars from {FIRST} to {LAST}"
    assert caught.value.remedy


def digests(run: Run) -> dict[str, str]:
    return {
        path.relative_to(run.folder.root).as_posix(): sha256_of(path)
        for path in run.folder.artifacts()
    }


def _universe(place: Path, *members: str) -> Path:
    universes = place / "universes"
    universes.mkdir()
    (universes / "pair.yaml").write_text(
        f"name: pair\ndescription: two\nsource: a test\nmembers: [{', '.join(members)}]\n"
    )
    return universes
