"""Context reaches the rows of a run when its flag is on: from the import to a score."""

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sensequant.context.depth import DEPTH
from sensequant.context.depth_sessions import depth_by_session
from sensequant.context.headline_sessions import sentiment_by_session
from sensequant.context.headlines import HEADLINES
from sensequant.context.hours import decisions_of
from sensequant.context.macro import MACRO
from sensequant.context.macro_sessions import macro_by_session
from sensequant.context.option_sessions import options_by_session
from sensequant.context.options import OPTIONS
from sensequant.context.sessions import OF_CONTEXT
from sensequant.context.store import ContextStore
from sensequant.errors import ConfigError
from sensequant.features.registry import fed_families
from sensequant.features.spec import Family
from sensequant.ingestion.context_imports import ContextImport, import_context
from sensequant.ingestion.places import context_store_at
from sensequant.market.intervals import DAILY
from sensequant.market.sessions import nse_calendar
from sensequant.market.sources.build import SourceConfig
from sensequant.market.symbols import NIFTY50
from sensequant.runs import Stage
from sensequant.settings import TrainingConfig
from sensequant.stages.context import Run, RunSettings
from sensequant.stages.scoring import ScoringRequest, score_stored
from sensequant.stages.students_evidence import candidate_files
from sensequant.storage import read_json, read_table
from sensequant.student_file import read_student
from sensequant.windows import POOLED

CALENDAR = nse_calendar()
KNOWN = CALENDAR.sessions(date(2022, 1, 1), date(2023, 12, 29))
AT = datetime(2024, 1, 1, tzinfo=UTC)
TRAINED = (Stage.DATA_INGESTION, Stage.TEACHER_TRAINING, Stage.STUDENT_TRAINING)


def books_of(symbol: str) -> pl.DataFrame:
    """Return seven snapshots in the first half hour of each session, another book each day."""
    opens = [opens for session in KNOWN if (opens := CALENDAR.opens(session)) is not None]
    moments = [
        (number, at + timedelta(minutes=5 * step))
        for number, at in enumerate(opens)
        for step in range(7)
    ]
    return pl.DataFrame(
        {
            "symbol": [symbol] * len(moments),
            "at": [at for _, at in moments],
            "known_at": [at for _, at in moments],
            "source": ["test"] * len(moments),
            "is_simulated": [True] * len(moments),
            "bid_price": [[99.0, 98.0] for _ in moments],
            "bid_quantity": [[1.0 + number % 7, 5.0] for number, _ in moments],
            "ask_price": [[101.0] for _ in moments],
            "ask_quantity": [[1.0 + number % 5] for number, _ in moments],
        },
        schema=DEPTH.schema,
    )


def headlines_of(symbol: str) -> pl.DataFrame:
    """Return a headline at noon of every third session, good and bad in turn."""
    moments = [at + timedelta(hours=3) for session in KNOWN[::3] if (at := CALENDAR.opens(session))]
    texts = ["Profit surges", "Fraud probe widens", "Rating upgraded"]
    return pl.DataFrame(
        [
            (symbol, at, at, "test", True, f"{texts[number % 3]} {number}", True)
            for number, at in enumerate(moments)
        ],
        schema=HEADLINES.schema,
        orient="row",
    )


def rupee() -> pl.DataFrame:
    """Return a rate for every second session, published in the evening of its day."""
    moments = [at for session in KNOWN[::2] if (at := CALENDAR.opens(session)) is not None]
    return pl.DataFrame(
        [
            ("USDINR", at, at + timedelta(hours=10), "test", True, 80.0 + number % 9)
            for number, at in enumerate(moments)
        ],
        schema=MACRO.schema,
        orient="row",
    )


def options_of(symbol: str, sessions: Sequence[date] = KNOWN) -> pl.DataFrame:
    """Return two contracts of each session, once too early and once in time."""
    rows: list[tuple[Any, ...]] = []
    for number, session in enumerate(sessions):
        closes = CALENDAR.closes(session)
        if closes is None:
            continue
        level = 0.2 + 0.01 * (number % 5)
        for at in (closes - timedelta(hours=2), closes - timedelta(minutes=10)):
            rows += [
                (symbol, at, at, "test", True, session + timedelta(days=30), strike, strike > 100.0,
                 1.0, session, None, None, 1.0 + number % 3, 2.0, 100.0, 0.0, 0.0, level, None)
                for strike in (90.0, 110.0)
            ]  # fmt: skip
    return pl.DataFrame(rows, schema=OPTIONS.schema, orient="row")


@pytest.fixture(scope="module")
def with_context(settings: RunSettings) -> RunSettings:
    """Return the small settings with the families of context on."""
    given = settings.config.model_dump()
    given["features"] |= dict.fromkeys(OF_CONTEXT, True)
    return settings.model_copy(update={"config": TrainingConfig.model_validate(given)})


@pytest.fixture(scope="module")
def run(
    with_context: RunSettings, execute: Callable[..., Run], tmp_path_factory: pytest.TempPathFactory
) -> Run:
    """Return a run on a market with options, order books and headlines on a stock each."""
    home = tmp_path_factory.mktemp("context") / "home"
    store = context_store_at(home, with_context.request.source)
    store.write(DEPTH, books_of("SIM02"), written_at=AT)
    store.write(HEADLINES, headlines_of("SIM03"), written_at=AT)
    store.write(MACRO, rupee(), written_at=AT)
    store.write(OPTIONS, options_of("SIM03"), written_at=AT)
    store.write(OPTIONS, options_of(NIFTY50, KNOWN[::3]), written_at=AT)
    return execute(home, with_context, stages=TRAINED)


def test_rows_hold_what_was_known_at_each_close(run: Run) -> None:
    """The stock with order books has them on its sessions, and nothing after the last of them."""
    rows = read_table(run.folder.rows("SIM02"))
    expected = depth_by_session(books_of("SIM02"), decisions_of(CALENDAR))
    joined = rows.select("session", "depth_imbalance_5").join(
        expected.select("session", "imbalance"), on="session", how="left"
    )

    assert joined["imbalance"].count() > 250
    assert joined["depth_imbalance_5"].equals(joined["imbalance"])
    assert rows.filter(pl.col("session") > KNOWN[-1])["depth_imbalance_5"].count() == 0
    assert read_table(run.folder.rows("SIM03"))["depth_imbalance_5"].count() == 0


def test_rows_hold_the_headlines_of_their_session(run: Run) -> None:
    """One headline is one score and no dispersion; a session without has no count."""
    rows = read_table(run.folder.rows("SIM03")).filter(pl.col("session") <= KNOWN[-1])
    expected = sentiment_by_session(headlines_of("SIM03"), decisions_of(CALENDAR))
    joined = rows.select("session", "sentiment_mean", "sentiment_count").join(
        expected.select("session", "mean"), on="session", how="left"
    )

    assert 20 < joined["mean"].count() < 0.5 * joined.height
    assert joined["sentiment_mean"].equals(joined["mean"])
    assert joined["sentiment_count"].drop_nulls().unique().to_list() == [1.0]
    assert rows["sentiment_dispersion"].count() == 0
    assert read_table(run.folder.rows("SIM02"))["sentiment_count"].count() == 0


def test_rows_hold_the_series_as_they_were_known(run: Run) -> None:
    """A rate of the evening counts from the session after on, for every symbol."""
    known = macro_by_session(rupee(), decisions_of(CALENDAR)).select("session", rate="value")
    moves = known.sort("session").with_columns(move=pl.col("rate") / pl.col("rate").shift(5) - 1)
    first: date = moves["session"][0]

    assert first == KNOWN[1]
    for symbol in ("SIM02", "SIM03"):
        rows = read_table(run.folder.rows(symbol))
        joined = rows.join(moves, on="session", how="left")
        assert joined["move"].count() > 250
        assert joined["macro_usdinr_return_5"].equals(joined["move"])
        assert rows["macro_usdinr_beta_60"].count() > 150
        assert rows["macro_gold_return_5"].count() == 0


def test_rows_hold_the_options_of_their_session(run: Run) -> None:
    """Level and ratios are those of the chain; its rank has to wait for a history."""
    rows = read_table(run.folder.rows("SIM03")).filter(pl.col("session") <= KNOWN[-1])
    expected = options_by_session(options_of("SIM03"), decisions_of(CALENDAR))
    joined = rows.select(pl.col("session", "^options_.*$")).join(
        expected, on="session", how="left", maintain_order="left"
    )

    assert joined["atm_volatility"].count() > 200
    for column in ("atm_volatility", "volatility_rank", "put_call_volume"):
        assert joined[f"options_{column}"].equals(joined[column])
    assert joined["options_volatility_rank"].count() > 100
    assert read_table(run.folder.rows("SIM02"))["options_atm_volatility"].count() == 0


def test_options_on_the_index_reach_every_symbol(run: Run) -> None:
    """Those of NIFTY 50 stand beside those of the symbol, and for it where it has none."""
    market = options_by_session(options_of(NIFTY50, KNOWN[::3]), decisions_of(CALENDAR))
    for symbol in ("SIM02", "SIM03"):
        rows = read_table(run.folder.rows(symbol)).filter(pl.col("session") <= KNOWN[-1])
        joined = rows.select(pl.col("session", "^options_.*$")).join(
            market, on="session", how="left", maintain_order="left"
        )
        assert joined["put_call_volume"].count() > 100
        for column in ("atm_volatility", "put_call_volume"):
            assert joined[f"options_market_{column}"].equals(joined[column])


def test_the_run_keeps_and_counts_what_it_saw(run: Run) -> None:
    """Sessions of depth lie in the run, count among its findings, and belong to its artifacts."""
    table = read_table(run.folder.context(Family.DEPTH))
    (ingestion,) = (each for each in run.folder.stages() if each.stage is Stage.DATA_INGESTION)

    assert ingestion.findings["n_sessions_with_depth"] == table.height > 250
    assert run.folder.context(Family.DEPTH) in list(run.folder.artifacts())


def test_every_window_says_which_families_it_was_fed(run: Run) -> None:
    """Off is null; on is the share of values that were missing, here all of gold and of depth."""
    found: list[dict[str, float | None]] = [
        read_json(path)["missing_by_family"]
        for kind in ("teachers", "students")
        for path in sorted((run.folder.root / kind).glob("*/metadata.json"))
    ]

    fed = fed_families(run.config.features)
    assert len(found) > 10
    for shares in found:
        assert set(shares) == set(Family)
        assert {name for name, share in shares.items() if share is not None} == fed
    # Only one stock of three has order books.
    assert {share == 1 for shares in found if (share := shares["depth"])} == {True, False}


def test_a_student_that_learnt_from_depth_scores_with_it(run: Run) -> None:
    """Context of the store becomes that of the rows of the run, and so the scores are the same."""
    student = read_student(candidate_files(run)[POOLED])
    known = student.file.trained_through
    request = ScoringRequest(start=known + timedelta(days=1), end=known + timedelta(days=60))
    rows = pl.concat([read_table(run.folder.rows(symbol)) for symbol in run.symbols]).filter(
        pl.col("session").is_between(request.start, request.end)
    )
    expected = pl.concat([rows.select("symbol", "session"), student.judge(rows)], how="horizontal")

    scored = score_stored(run, request)

    assert "depth_imbalance_5" in student.file.columns
    assert rows["depth_imbalance_5"].count() > 30
    assert expected["score"].count() > 30
    assert scored.rows.equals(expected.sort("session", "symbol"))


def test_a_flag_without_data_stops_before_training(
    with_context: RunSettings, execute: Callable[..., Run], tmp_path: Path
) -> None:
    """Rows are not built; the error names the flag and the command that brings the data."""
    with pytest.raises(ConfigError, match=r"features\.(\w+).*sensequant \1 (import|snapshot)"):
        execute(tmp_path, with_context, stages=TRAINED)


def test_a_run_without_the_flag_keeps_no_context(whole: Run) -> None:
    """What is not fed is not frozen."""
    assert not whole.folder.context(Family.DEPTH).parent.exists()


def test_bars_of_an_index_become_a_series_known_at_its_closes(copied: Run) -> None:
    """Every final close of NIFTY 50 that the run's market has, marked as invented; once."""
    asked = ContextImport(kind="index_bars", source=copied.request.source)

    first = import_context(copied.folder.home, asked, at=AT)
    again = import_context(copied.folder.home, asked, at=AT)

    bars = copied.store.read(NIFTY50, interval=DAILY, final_only=True)
    rows = copied.context_store.read(MACRO, NIFTY50)
    assert NIFTY50 in first.symbols
    assert again.counts.n_added == again.counts.n_corrected == 0
    assert rows["value"].equals(bars["close"].rename("value"))
    known = dict(zip(bars["session"], rows["known_at"], strict=True))
    assert all(at == (CALENDAR.closes(day) or at) for day, at in known.items())
    assert rows["known_at"].equals(rows["at"].rename("known_at"))
    assert rows["is_simulated"].all()


def test_real_context_is_one_and_simulated_context_apart(tmp_path: Path) -> None:
    """Files and the vendor share the real store; a simulated market has its own, marked."""
    given: list[dict[str, Any]] = [
        {"kind": "breeze"},
        {"kind": "files", "folder": tmp_path},
        {"kind": "simulated"},
    ]
    stores = [context_store_at(tmp_path, SourceConfig.model_validate(each)) for each in given]

    assert [store.is_simulated for store in stores] == [False, False, True]
    roots = {_root_of(store) for store in stores}
    assert len(roots) == 2


def _root_of(store: ContextStore) -> Path:
    return store._root
