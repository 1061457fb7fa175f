"""Facts about twins of a run: the same pipeline, nothing to find, nothing left behind."""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from sensequant.market.sources.build import SourceConfig
from sensequant.market.sources.simulated import SimulatedConfig
from sensequant.release.certificate import TwinRecord
from sensequant.runs import RunFolder, Stage
from sensequant.settings import RunRequest, TrainingConfig
from sensequant.stages import certificate
from sensequant.stages.context import Run, RunSettings
from sensequant.stages.evidence import read_summary
from sensequant.storage import read_json, read_table
from sensequant.twins import signs_of

UP_TO_VALIDATION = tuple(Stage)[:4]


def with_twins(settings: RunSettings, n_twins: int, **changes: Any) -> RunSettings:
    values = settings.config.model_dump() | {"twins": {"n_twins": n_twins}} | changes
    return settings.model_copy(update={"config": TrainingConfig.model_validate(values)})


@pytest.fixture(scope="module")
def edged(
    tmp_path_factory: pytest.TempPathFactory, settings: RunSettings, execute: Callable[..., Run]
) -> Run:
    """Return a validated run on four stocks with a large edge, which asks for one twin."""
    market = SimulatedConfig(n_symbols=4, planted_edge_bps=100.0, has_regimes=False)
    request = RunRequest(
        start=date(2022, 1, 1),
        end=date(2023, 6, 30),
        source=SourceConfig(simulated=market),
    )
    asked = with_twins(settings.model_copy(update={"request": request}), 1)
    return execute(tmp_path_factory.mktemp("edged"), asked, stages=UP_TO_VALIDATION)


@pytest.fixture(scope="module")
def twin(edged: Run) -> TwinRecord:
    """Return the record of its twin."""
    certificate.try_twin(edged, 1)
    (record,) = certificate.read_twins(edged)
    return record


def test_an_edge_stands_clear_of_its_twin(edged: Run, twin: TwinRecord) -> None:
    """The candidate's interval lies above the twin's, whose own contains one half."""
    own = read_summary(edged).classification.auc

    assert own.lower is not None
    assert twin.auc.lower is not None
    assert twin.auc.upper is not None
    assert twin.auc.lower < 0.5 < twin.auc.upper
    assert own.lower > twin.auc.upper
    assert twin.is_simulated
    assert twin.decision is not None


def test_nothing_is_left_but_the_record(edged: Run, twin: TwinRecord) -> None:
    """The twin's home, trials and runs are gone; the run's own ledger has none of them."""
    home = edged.folder.home
    trials = (home / "trials" / "ledger.jsonl").read_bytes()

    again = certificate.try_twin(edged, 1)

    assert read_json(edged.folder.root / str(again.path)) == twin.model_dump(mode="json")
    assert list((home / "twins").iterdir()) == []
    assert [path.name for path in (home / "runs").iterdir()] == [edged.folder.run_id]
    assert (home / "trials" / "ledger.jsonl").read_bytes() == trials


def test_a_random_walk_does_not_stand_clear_of_its_twin(
    tmp_path: Path, settings: RunSettings, execute: Callable[..., Run]
) -> None:
    """All eight stages with a twin: intervals overlap, both are shown, no gate has changed."""
    run = execute(tmp_path, with_twins(settings, 1))

    briefing = read_json(run.folder.briefing.with_suffix(".json"))
    shown = briefing["certificate"]
    own, twin = shown["candidate"]["auc"], shown["twins"][0]["auc"]
    assert own["lower"] < twin["upper"]
    assert twin["lower"] < own["upper"]
    assert shown["candidate"]["decision"] == run.record.verdict
    assert shown["auc_p_value"] in {0.5, 1.0}
    units = read_table(run.folder.units("twin"))
    assert units["name"].to_list() == ["twin 1"]
    manifest = (run.folder.root / "SHA256SUMS").read_text()
    assert "audit/twins/twin_001.json" in manifest
    assert "twin_runs.parquet" not in manifest


def test_a_twin_has_the_listings_sessions_and_windows_of_its_run(
    edged: Run, tmp_path: Path
) -> None:
    """What stage 1 would say of the twin's bars is what is handed to it."""
    folder = RunFolder(tmp_path, edged.folder.run_id)

    certificate._mirror(edged, folder, signs_of(edged.config.seed, 1))

    known, data = read_table(edged.folder.data), read_table(folder.data)
    assert data.drop("bars_digest", "is_simulated", "source").equals(
        known.drop("bars_digest", "is_simulated", "source")
    )
    assert data["is_simulated"].all()
    assert folder.plan.read_bytes() == edged.folder.plan.read_bytes()
    for symbol in edged.symbols:
        bars, own = (read_table(each.bars(symbol)) for each in (folder, edged.folder))
        assert bars["session"].equals(own["session"])
        assert not bars["close"].equals(own["close"])
    assert read_table(folder.benchmark)["session"].equals(
        read_table(edged.folder.benchmark)["session"]
    )


def test_the_key_of_a_twin_holds_all_that_it_follows_from(
    edged: Run, settings: RunSettings
) -> None:
    """Its number and the settings count; how many twins there are does not."""
    key = certificate.twin_key(edged, 1)
    more = Run(edged.folder, edged.request, with_twins(settings, 5).config)
    other = Run(edged.folder, edged.request, edged.config.model_copy(update={"seed": 1}))

    assert certificate.twin_key(more, 1) == key
    assert len({key, certificate.twin_key(edged, 2), certificate.twin_key(other, 1)}) == 3
    assert certificate.planned_twins(more) == [1, 2, 3, 4, 5]
