"""Facts about the stress tests: which rows a replay gets from a run, and what is summed up."""

from datetime import date
from typing import Any

import polars as pl

from sensequant.market.sessions import nse_calendar
from sensequant.records import Outcome, SkipReason
from sensequant.runs import Stage
from sensequant.stages import crises
from sensequant.stages.context import Run
from sensequant.storage import read_json, read_table, sha256_of, write_table
from sensequant.stress.resilience import ScenarioResult, SkippedScenario, parse_outcome


def outcomes_of(run: Run) -> dict[str, ScenarioResult | SkippedScenario]:
    folder = run.folder.stress / "scenarios"
    return {path.stem: parse_outcome(read_json(path)) for path in sorted(folder.glob("*.json"))}


def evaluated(run: Run) -> dict[str, ScenarioResult]:
    found = outcomes_of(run)
    return {name: each for name, each in found.items() if isinstance(each, ScenarioResult)}


def lessons_of(run: Run, symbol: str) -> pl.DataFrame:
    tables = [
        run.folder.teacher(window.label) / "labels.parquet" for window in run.windows_of(symbol)
    ]
    return pl.concat([read_table(table) for table in tables if table.exists()])


def test_findings_are_counted_in_the_scenarios(whole: Run) -> None:
    """Every selected crisis has one file; counts, mean and worst come from these files."""
    outcomes, results = outcomes_of(whole), evaluated(whole)
    points = {name: result.resilience for name, result in results.items()}
    known = {name: value for name, value in points.items() if value is not None}
    findings = read_json(whole.folder.stage_record(Stage.STRESS_TESTS))["findings"]

    assert sorted(outcomes) == sorted(scenario.name for scenario in whole.scenarios)
    assert findings == {
        "n_evaluated": len(results),
        "n_skipped": len(outcomes) - len(results),
        "n_passed": sum(value >= 50 for value in known.values()),
        "mean_resilience": sum(known.values()) / len(known),
        "worst_resilience": min(known.values()),
        "worst_scenario": min(known, key=lambda name: known[name]),
    }
    summary = crises.read_stress(whole)
    assert {result.scenario.name for result in summary.results} == set(results)


def test_no_row_that_was_learnt_from_is_replayed(whole: Run) -> None:
    """The rows of each kind are exactly those that brute force finds to be unseen."""
    predictions = read_table(whole.folder.predictions)
    results = evaluated(whole)
    assert {"walk_forward", "trained_later", "trained_before"} <= {
        kind for result in results.values() for kind in result.rows_by_kind
    }
    for result in results.values():
        expected: dict[str, int] = {}
        for symbol in whole.symbols:
            lessons = lessons_of(whole, symbol)
            first = min(lessons["session"].to_list())
            last = max(lessons["label_end"].to_list())
            scored = predictions.filter(pl.col("symbol") == symbol)["session"].to_list()
            rows = read_table(whole.folder.rows(symbol)).filter(
                pl.col("session").is_between(result.scenario.start, result.scenario.end)
            )
            for session, label_end in rows.select("session", "label_end").iter_rows():
                kind = kind_of(session, label_end, scored=scored, first=first, last=last)
                if kind is not None:
                    expected[kind] = expected.get(kind, 0) + 1

        assert result.rows_by_kind == dict(sorted(expected.items()))
        assert result.n_rows == sum(expected.values())


def kind_of(
    session: date, label_end: date | None, *, scored: list[date], first: date, last: date
) -> str | None:
    if session in scored:
        return "walk_forward"
    if label_end is not None and label_end < first:
        return "trained_later"
    return "trained_before" if session > last else None


def test_the_record_of_a_unit_is_that_of_its_file(whole: Run) -> None:
    """Rows and sessions where it was replayed, the reason where it was not."""
    units = {row["window"]: row for row in read_table(whole.folder.units("stress")).to_dicts()}
    outcomes = outcomes_of(whole)

    assert units.keys() == outcomes.keys()
    for name, outcome in outcomes.items():
        unit: dict[str, Any] = units[name]
        assert unit["name"] == f"stress {name}"
        assert unit["sha256"] == sha256_of(whole.folder.root / unit["path"])
        if isinstance(outcome, SkippedScenario):
            assert (unit["outcome"], unit["reason"]) == (Outcome.SKIPPED, outcome.skip_reason)
        else:
            assert unit["outcome"] == Outcome.SUCCESS
            assert (unit["n_rows"], unit["n_sessions"]) == (outcome.n_rows, outcome.n_sessions)


def test_a_crisis_before_the_bars_is_skipped(whole: Run) -> None:
    """The simulated history begins in 2018: nothing is said about 2008."""
    outcome = outcomes_of(whole)["global_financial_crisis"]

    assert isinstance(outcome, SkippedScenario)
    assert outcome.skip_reason == SkipReason.NO_DATA
    assert outcome.skipped_symbols == {"no_data": 3}


def test_a_crisis_is_traded_in_its_own_sessions(whole: Run) -> None:
    """From its first to its last one; SIM03 was not listed yet and has no bar."""
    result = evaluated(whole)["rate_hike_selloff_2022"]
    sessions = nse_calendar().sessions(result.scenario.start, result.scenario.end)

    assert (result.first_session, result.last_session) == (sessions[0], sessions[-1])
    assert result.n_sessions == len(sessions)
    assert (result.n_symbols, result.skipped_symbols) == (2, {"no_data": 1})


def test_without_students_nothing_is_replayed(copied: Run) -> None:
    """Where no window could be trained there is no student to judge."""
    for path in (copied.folder.root / "students").glob("*/student.json"):
        path.unlink()
    write_table(copied.folder.predictions, read_table(copied.folder.predictions).clear())

    unit = crises.replay_scenario(copied, "covid_crash_2020")
    for scenario in copied.scenarios:
        crises.replay_scenario(copied, scenario.name)
    page, findings = crises.summarise(copied)

    assert (unit.outcome, unit.reason) == (Outcome.SKIPPED, SkipReason.NO_EARLIER_TRAINING)
    assert findings.values["n_evaluated"] == 0
    assert findings.values["mean_resilience"] is None
    assert "No crisis could be replayed" in page


def test_a_replay_done_again_gives_the_same_bytes(copied: Run) -> None:
    """Scenario, summary and page."""
    files = [path for path in copied.folder.stress.rglob("*") if path.is_file()]
    before = {path: sha256_of(path) for path in files}

    for scenario in copied.scenarios:
        crises.replay_scenario(copied, scenario.name)
    crises.summarise(copied)

    assert {path: sha256_of(path) for path in files} == before
