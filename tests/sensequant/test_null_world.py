"""The whole method on worlds whose truth is known: nothing to find, and something planted.

The yardstick is the AUC pooled over windows and symbols, with an interval from a block bootstrap
over both. An average of per-window AUCs is biased upward on short windows and proves nothing.
"""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import NamedTuple

import pytest

from sensequant.evaluation.validation import ValidationConfig, ValidationSummary
from sensequant.market.sources.build import SourceConfig
from sensequant.market.sources.simulated import SimulatedConfig
from sensequant.release.gates import Decision, Verdict
from sensequant.runs import RunFolder
from sensequant.settings import RunOptions, RunRequest, TrainingConfig
from sensequant.stages.context import RunRecord, RunSettings
from sensequant.stages.evidence import read_summary
from sensequant.stages.inline import run_inline
from sensequant.storage import read_json

ROOT = Path(__file__).parents[2]
# Tracing would take longer than the method itself, and every line is covered elsewhere.
pytestmark = [pytest.mark.slow, pytest.mark.no_cover]

AT = datetime(2025, 1, 1, tzinfo=UTC)
RUN_ID = "live_candidate_20250101_000000_00000000"
N_SEEDS = 10
# Ten intervals at once: each must be so wide that all ten hold together in 95 of 100 worlds.
CONFIDENCE = 1 - 0.05 / N_SEEDS


class World(NamedTuple):
    """What a run found in one world, and what the gates made of it."""

    summary: ValidationSummary
    verdict: Verdict


def explore(home: Path, *, seed: int, planted_edge_bps: float) -> World:
    """Run all stages on independent driftless walks of equal volatility, with or without edge."""
    market = SimulatedConfig(
        seed=seed,
        n_symbols=34,
        history_start=date(2019, 1, 1),
        has_regimes=False,
        has_events=False,
        market_correlation=0.0,
        volatility_dispersion=0.0,
        annual_drift_frac=0.0,
        planted_edge_bps=planted_edge_bps,
    )
    run = run_inline(
        RunFolder(home, RUN_ID),
        RunSettings(
            request=RunRequest(source=SourceConfig(kind="simulated", simulated=market)),
            config=TrainingConfig(validation=ValidationConfig(confidence=CONFIDENCE)),
        ),
        RunRecord(
            run_id=RUN_ID,
            started_at=AT,
            options=RunOptions(),
            workers=1,
            host="test",
            code_version="0" * 64,
            versions={},
            is_simulated=True,
        ),
        universes=ROOT / "deployments" / "universes",
        at=AT,
    )
    verdict = Verdict.model_validate(read_json(run.folder.audit / "gates.json"))
    return World(read_summary(run), verdict)


@pytest.mark.parametrize("seed", range(N_SEEDS))
def test_nothing_is_found_where_there_is_nothing(tmp_path: Path, seed: int) -> None:
    """On random walks the pooled AUC's interval contains one half, and nothing is approved."""
    summary, verdict = explore(tmp_path, seed=seed, planted_edge_bps=0.0)

    auc = summary.classification.auc
    assert summary.n_windows >= 200
    assert auc.lower is not None
    assert auc.upper is not None
    assert auc.lower <= 0.5 <= auc.upper
    assert verdict.decision is not Decision.APPROVE


def test_a_planted_edge_is_found(tmp_path: Path) -> None:
    """The same method on the same market with an edge finds it: the null test can fail."""
    summary, verdict = explore(tmp_path, seed=0, planted_edge_bps=60.0)

    assert summary.classification.auc.lower is not None
    assert summary.classification.auc.lower > 0.55
    assert verdict.decision is Decision.APPROVE
