"""Facts about one world: a verdict like any run's, and nothing left behind or taken along."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from sensequant.calibration.request import CalibrationRequest
from sensequant.calibration.throwaway import throwaway_home
from sensequant.calibration.worlds import WorldRecord, planned, try_world
from sensequant.errors import ConfigError
from sensequant.release.gates import GateOutcome, Verdict
from sensequant.runs import RunFolder
from sensequant.settings import RunOptions
from sensequant.stages.context import RunRecord, RunSettings
from sensequant.stages.inline import run_inline
from sensequant.stages.release import judge_run
from sensequant.storage import read_json

AT = datetime(2024, 2, 3, tzinfo=UTC)
RUN_ID = "live_candidate_20240203_000000_0000000a"
UNIVERSES = Path(__file__).parents[3] / "deployments" / "universes"


def test_the_verdict_is_that_of_a_whole_run(
    tiny: CalibrationRequest, judged: WorldRecord, tmp_path: Path
) -> None:
    """Report, manifest, briefing and registry follow from a verdict: with them it is the same."""
    market = tiny.market(seed=planned(tiny)[0].seed, edge_bps=0.0)
    record = RunRecord(
        run_id=RUN_ID,
        started_at=AT,
        options=RunOptions(),
        workers=3,
        host="another",
        code_version="0" * 64,
        versions={},
        is_simulated=True,
    )

    whole = run_inline(
        RunFolder(tmp_path, RUN_ID),
        RunSettings(request=tiny.run_request(market), config=tiny.config),
        record,
        universes=UNIVERSES,
        at=AT,
    )

    written = Verdict.model_validate(read_json(whole.folder.audit / "gates.json"))
    assert judge_run(whole) == written
    assert judged.decision == written.decision
    for name in ("name", "outcome", "observed", "lower", "upper", "limit"):
        said, expected = ([getattr(gate, name) for gate in one.gates] for one in (judged, written))
        assert said == expected


def test_a_record_says_what_there_was_to_find(judged: WorldRecord) -> None:
    """Its truth, the figures that the gates saw, and what an oracle earned there."""
    assert judged.world.name == "walk_0000"
    assert judged.edge_bps == 0.0
    assert judged.oracle_sharpe is not None
    assert judged.n_scored_sessions > 200
    gates = {gate.name: gate for gate in judged.gates}
    assert gates["auc"].observed == judged.auc
    assert gates["scored_sessions"].outcome is GateOutcome.PASS


def test_a_home_is_removed_whatever_happens(tmp_path: Path) -> None:
    """Also what a killed process left; homes of other worlds stay."""
    (tmp_path / "walk_0001-left").mkdir()
    (tmp_path / "walk_0002-working").mkdir()

    def stop() -> None:
        with throwaway_home(tmp_path, "walk_0001") as home:
            (home / "runs").mkdir()
            assert [path.name for path in tmp_path.glob("walk_0001-*")] == [home.name]
            message = "stopped"
            raise RuntimeError(message)

    with pytest.raises(RuntimeError, match="stopped"):
        stop()

    assert [path.name for path in tmp_path.iterdir()] == ["walk_0002-working"]


def test_a_world_that_cannot_be_run_is_no_verdict(tiny: CalibrationRequest, tmp_path: Path) -> None:
    """An error of the pipeline is raised, and leaves no home."""
    refused = tiny.model_copy(
        update={"config": tiny.config.model_copy(update={"features": _unknown_family(tiny)})}
    )

    with pytest.raises(ConfigError, match="features"):
        try_world(refused, planned(tiny)[0], edge_bps=0.0, work=tmp_path, universes=UNIVERSES)

    assert list(tmp_path.iterdir()) == []


def _unknown_family(tiny: CalibrationRequest) -> object:
    return tiny.config.features.model_copy(update={"market_context": True})
