"""Facts about a second run in the same home: what it takes from the first, what it does anew."""

import json
from collections.abc import Callable
from datetime import date
from typing import Any

import polars as pl
import pytest
from prefect.client.schemas.objects import State

from sensequant.records import Outcome
from sensequant.release.manifest import SUMS_NAME, read_manifest
from sensequant.runs import RunFolder, Stage
from sensequant.settings import RunOptions
from sensequant.stages import ingestion
from sensequant.stages.context import Run, RunSettings, load_run
from sensequant.storage import read_json, read_table, sha256_of
from sensequant.windows import POOLED

Ask = Callable[..., list[dict[str, Any]]]
Eventually = Callable[[Callable[[], Any]], Any]
Train = Callable[..., State[Any]]

SECOND_ID = "live_candidate_20260101_000000_0000beef"
UP_TO_STUDENTS = RunOptions(stages=tuple(Stage)[:3], workers=2)


@pytest.fixture
def second(home: Any) -> RunFolder:
    """Return the folder of a second run in the home of the first."""
    return RunFolder(home, SECOND_ID)


def made_by(folder: RunFolder) -> dict[str, str | None]:
    """Return which run made each unit that succeeded, by its name; None: this one."""
    tables = [read_table(folder.units(kind)) for kind in ("teacher", "student")]
    rows = pl.concat(tables, how="diagonal").filter(
        pl.col("outcome") == Outcome.SUCCESS, pl.col("kind") != "features"
    )
    return dict(rows.select("name", "reused_from").iter_rows())


def test_a_second_run_on_the_same_bars_trains_nothing(
    folder: RunFolder,
    second: RunFolder,
    train: Train,
    teaching: Any,
    ask: Ask,
    eventually: Eventually,
) -> None:
    """Every teacher and student is brought from the first run, and the evidence is the same."""
    train()
    teaching.taught.clear()

    state = train(run_id=SECOND_ID)

    assert state.name == "Completed"
    assert teaching.taught == []
    first = made_by(folder)
    assert len(first) == 6 + 6 + 3
    assert set(first.values()) == {None}
    assert made_by(second) == dict.fromkeys(first, folder.run_id)
    assert (second.root / SUMS_NAME).read_bytes() == (folder.root / SUMS_NAME).read_bytes()
    evidence = [read_manifest(each).evidence_digest for each in (folder, second)]
    assert evidence[0] == evidence[1]

    flow_run = read_json(second.run)["prefect_flow_run_id"]
    stages = ask("flow_runs", flow_runs={"parent_flow_run_id": {"any_": [flow_run]}})
    ids = [stage["id"] for stage in stages]

    def known() -> set[tuple[str, str]]:
        runs = ask("task_runs", task_runs={"flow_run_id": {"any_": ids}})
        return {
            (run["state_name"], run["state"]["message"])
            for run in runs
            if run["name"] == "windows done before"
        }

    # Four windows of each of three stocks; students of all symbols at once beside them.
    counts = ("12 of 12 windows, 12", "16 of 16 windows, 16")
    expected = {("Cached", f"{count} of them made by other runs") for count in counts}
    assert eventually(lambda: known() == expected)
    for key, kind in (
        ("teacher-training-cached", "teacher"),
        ("student-training-cached", "student"),
    ):
        rows = _table_of(ask, key, ids)
        units = read_table(second.units(kind)).filter(pl.col("kind") == kind)
        columns = units.select("name", "outcome", pl.col("reason").fill_null(""), "reused_from")
        shown = {
            tuple(row[name] for name in ("unit", "outcome", "reason", "made by")) for row in rows
        }
        assert shown == set(columns.iter_rows())


def _table_of(ask: Ask, key: str, stage_ids: list[str]) -> list[dict[str, str]]:
    tables = ask("artifacts", artifacts={"key": {"any_": [key]}})
    (table,) = [each for each in tables if each["flow_run_id"] in stage_ids]
    return json.loads(table["data"])


def test_what_the_first_run_has_lost_is_made_anew(
    folder: RunFolder, second: RunFolder, train: Train, teaching: Any
) -> None:
    """A teacher that is gone or altered there is trained here, with the same bytes."""
    train(options=UP_TO_STUDENTS)
    label = "SIM01_2022-06-30_to_2022-12-26"
    model = folder.teacher(label) / "model.txt"
    before = sha256_of(model)
    model.write_text(model.read_text() + " ")
    teaching.taught.clear()

    train(run_id=SECOND_ID, options=UP_TO_STUDENTS)

    assert teaching.taught == [("SIM01", "2022-06-30")]
    assert sha256_of(second.teacher(label) / "model.txt") == before
    own = {name for name, run_id in made_by(second).items() if run_id is None}
    assert own == {"teacher SIM01 2022-06-30..2022-12-26"}


def test_other_settings_of_students_leave_the_teachers(
    folder: RunFolder, second: RunFolder, market: RunSettings, train: Train, teaching: Any
) -> None:
    """Only what follows from a setting is done again."""
    train(options=UP_TO_STUDENTS)
    teaching.taught.clear()
    student = market.config.student.model_copy(update={"alpha": 0.3})
    config = market.config.model_copy(update={"student": student})

    train(run_id=SECOND_ID, options=UP_TO_STUDENTS, config=config)

    assert teaching.taught == []
    for name, run_id in made_by(second).items():
        assert run_id == (folder.run_id if name.startswith("teacher") else None)


def rows_of(run: Run, symbol: str) -> pl.DataFrame:
    return read_table(run.folder.rows(symbol))


def test_one_changed_bar_is_learnt_by_those_who_see_it_and_by_no_other(
    folder: RunFolder,
    second: RunFolder,
    train: Train,
    teaching: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Exactly the windows are trained anew in which the rows of the symbol differ."""
    train(options=UP_TO_STUDENTS)
    teaching.taught.clear()
    really, session = ingestion.adjust_bars, date(2023, 3, 1)

    def adjust(bars: pl.DataFrame, *given: Any, **named: Any) -> pl.DataFrame:
        adjusted = really(bars, *given, **named)
        is_it = (pl.col("session") == session) & (pl.col("symbol") == "SIM02")
        prices = ("open", "high", "low", "close")
        return adjusted.with_columns(
            pl.when(is_it).then(pl.col(name) * 1.02).otherwise(name).alias(name) for name in prices
        )

    monkeypatch.setattr(ingestion, "adjust_bars", adjust)
    train(run_id=SECOND_ID, options=UP_TO_STUDENTS)

    before, after = load_run(folder), load_run(second)
    old, new = (rows_of(run, "SIM02") for run in (before, after))
    differs = [one != other for one, other in zip(old.rows(), new.rows(), strict=True)]
    days = old.filter(pl.Series(differs))["session"].to_list()
    assert session in days
    seen = [
        any(window.start <= day <= window.end for day in days) for window in before.pooled_windows
    ]
    assert seen == [False, False, True, True]
    # The student of the window before scores the changed rows.
    expected = {
        "teacher SIM02 2022-12-27..2023-06-24",
        *(
            f"student {symbol} {window}"
            for symbol in ("SIM02", POOLED)
            for window in ("2022-06-30..2022-12-26", "2022-12-27..2023-06-24")
        ),
    }
    made = made_by(second)
    assert {name for name, run_id in made.items() if run_id is None} == expected
    assert {run_id for name, run_id in made.items() if name not in expected} == {folder.run_id}
    assert teaching.taught == [("SIM02", "2022-12-27")]
