"""What tests of tasks share: a run that was opened and ingested, without Prefect."""

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from sensequant.market.sources.build import SourceConfig
from sensequant.market.sources.simulated import SimulatedConfig
from sensequant.runs import RunFolder, Stage
from sensequant.settings import RunOptions, RunRequest, TrainingConfig
from sensequant.stages.context import RunRecord, RunSettings
from sensequant.stages.inline import run_inline
from sensequant.stress.scenarios import StressConfig

RUN_ID = "live_candidate_20250101_000000_0000abcd"
AT = datetime(2025, 1, 1, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """Return the folder of a run in the home of this test; empty but for itself."""
    monkeypatch.setenv("SENSEQUANT_HOME", str(tmp_path))
    folder = RunFolder(tmp_path, RUN_ID)
    folder.root.mkdir(parents=True)
    return folder


@pytest.fixture
def ingested(folder: RunFolder) -> RunFolder:
    """Return a run of one stock whose bars are ingested, and which is asked for two stages."""
    market = SimulatedConfig(n_symbols=1, history_start=date(2020, 12, 31), has_events=False)
    options = RunOptions(stages=(Stage.DATA_INGESTION,))
    record = RunRecord(
        run_id=RUN_ID,
        started_at=AT,
        options=options,
        workers=1,
        host="test",
        code_version="0" * 64,
        versions={},
        is_simulated=True,
    )
    run_inline(
        folder,
        RunSettings(
            request=RunRequest(
                start=date(2022, 1, 1),
                end=date(2022, 12, 31),
                source=SourceConfig(simulated=market),
            ),
            config=TrainingConfig(
                max_failure_rate=0.25, stress=StressConfig(periods=("covid_crash_2020",))
            ),
        ),
        record,
        universes=Path(__file__).parents[2] / "deployments" / "universes",
        at=AT,
    )
    return folder
