"""Run folders: names that are safe as paths, kinds of files, and counting of outcomes."""

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from sensequant.devices import SeenDevice
from sensequant.errors import ConfigError, MissingBarsError, RecordError
from sensequant.records import Outcome
from sensequant.runs import RunFolder, Stage, StageOutcome, StageRecord, describe, make_run_id
from sensequant.storage import read_table, write_json
from sensequant.units import UnitRecord, summarise_units, unit_table, units_of, write_units

AT = datetime(2024, 3, 2, 9, 15, tzinfo=UTC)
RUN_ID = make_run_id(AT, "0a1b2c3d-ffff-ffff")


def unit(name: str, outcome: Outcome, *, reason: str | None = None) -> UnitRecord:
    return UnitRecord(kind="teacher", name=name, outcome=outcome, reason=reason, seconds=0.1)


def stage_record(stage: Stage) -> StageRecord:
    return StageRecord(
        run_id=RUN_ID, stage=stage, outcome=StageOutcome.SUCCESS, started_at=AT, seconds=1.0
    )


def test_a_run_id_tells_its_time_and_is_unique() -> None:
    """The id holds the start and the first digits of something unique."""
    assert RUN_ID == "live_candidate_20240302_091500_0a1b2c3d"


@pytest.mark.parametrize("run_id", ["../x", "", "live_candidate_1", f"{RUN_ID}/..", "/etc"])
def test_a_name_that_is_no_run_id_never_becomes_a_path(tmp_path: Path, run_id: str) -> None:
    """Anything but a run id is refused before it is joined to a folder."""
    with pytest.raises(ConfigError, match="run id is malformed"):
        RunFolder(tmp_path, run_id)


def test_a_run_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    """A folder without a configuration is no run."""
    with pytest.raises(ConfigError, match="run is unknown"):
        RunFolder(tmp_path, RUN_ID).require()


def test_every_path_of_a_run_lies_below_its_folder(tmp_path: Path) -> None:
    """No name leads out of the run, and each stands for one path."""
    folder = RunFolder(tmp_path, RUN_ID)
    paths = [
        folder.config,
        folder.run,
        folder.telemetry,
        folder.plan,
        folder.data,
        folder.quarantine,
        folder.benchmark,
        folder.predictions,
        folder.validation,
        folder.significance,
        folder.stress,
        folder.audit,
        folder.manifest,
        folder.report,
        folder.briefing,
        folder.units("teacher"),
        folder.rows("M&M"),
        folder.bars("M&M"),
        folder.teacher("M&M_2024-01-01_to_2024-06-28"),
        folder.student("M&M_2024-01-01_to_2024-06-28"),
        folder.stage_record(Stage.RELEASE_AUDIT),
    ]

    assert all(path.is_relative_to(tmp_path / "runs" / RUN_ID) for path in paths)
    assert len(set(paths)) == len(paths)


def test_artifacts_and_records_are_told_apart(tmp_path: Path) -> None:
    """What differs between equal runs is a record; hidden and temporary files are neither."""
    folder = RunFolder(tmp_path, RUN_ID)
    write_json(folder.config, {"a": 1})
    write_json(folder.run, {})
    write_json(folder.manifest, {})
    write_json(folder.teacher("w") / "metadata.json", {})
    (folder.root / ".x.lock").touch()
    folder.write_stage(stage_record(Stage.RELEASE_AUDIT))

    names = [path.relative_to(folder.root).as_posix() for path in folder.artifacts()]
    assert names == ["config.json", "teachers/w/metadata.json"]
    names = [path.relative_to(folder.root).as_posix() for path in folder.records()]
    assert names == ["run.json", "stages/release_audit.json"]
    assert folder.require().settings == {"a": 1}


def test_a_configuration_that_is_no_object_is_refused(tmp_path: Path) -> None:
    """A list cannot be the settings of a run."""
    folder = RunFolder(tmp_path, RUN_ID)
    write_json(folder.config, [1])

    with pytest.raises(RecordError, match="no object"):
        _ = folder.settings


def test_stage_records_come_back_in_the_order_of_the_stages(tmp_path: Path) -> None:
    """However they were written, stages are read in order."""
    folder = RunFolder(tmp_path, RUN_ID)
    for stage in (Stage.RELEASE_AUDIT, Stage.DATA_INGESTION):
        folder.write_stage(stage_record(stage))

    assert [record.stage for record in folder.stages()] == [
        Stage.DATA_INGESTION,
        Stage.RELEASE_AUDIT,
    ]


def test_a_data_error_is_a_skip_with_its_reason() -> None:
    """Data that cannot be used is an answer; its reason stands in the record."""
    record = UnitRecord.from_error(
        MissingBarsError("no bars"), kind="chunk", name="a", symbol="TCS", seconds=1.0
    )

    assert (record.outcome, record.reason, record.symbol) == (Outcome.SKIPPED, "no_data", "TCS")
    assert record.error_traceback is None


def test_any_other_error_is_a_failure_with_its_traceback() -> None:
    """A fault keeps type, message and traceback."""
    record = UnitRecord.from_error(KeyError("k"), kind="chunk", name="a", seconds=1.0)

    assert (record.outcome, record.error_type) == (Outcome.FAILED, "KeyError")
    assert "KeyError" in (record.error_traceback or "")


@pytest.mark.parametrize(
    ("n_success", "n_skipped", "n_failed", "outcome", "rate"),
    [
        (10, 90, 0, StageOutcome.SUCCESS, 0.0),
        (17, 0, 3, StageOutcome.DEGRADED, 0.15),
        (16, 100, 3, StageOutcome.FAILED, 3 / 19),
        (0, 5, 0, StageOutcome.SKIPPED, None),
        (0, 5, 1, StageOutcome.FAILED, 1.0),
        (0, 0, 0, StageOutcome.SKIPPED, None),
    ],
)
def test_skips_do_not_count_against_the_threshold(
    n_success: int, n_skipped: int, n_failed: int, outcome: StageOutcome, rate: float | None
) -> None:
    """The rate is failed / (success + failed); at the limit a stage still holds."""
    units = [
        *(unit(f"s{i}", Outcome.SUCCESS) for i in range(n_success)),
        *(unit(f"k{i}", Outcome.SKIPPED, reason="pre_listing") for i in range(n_skipped)),
        *(unit(f"f{i}", Outcome.FAILED) for i in range(n_failed)),
    ]

    found, fields = summarise_units(units, max_failure_rate=0.15)

    assert (found, fields["failure_rate"]) == (outcome, rate)
    assert fields["skip_reasons"] == ({"pre_listing": n_skipped} if n_skipped else {})


def test_the_table_of_units_has_one_sorted_row_each_and_null_for_missing(tmp_path: Path) -> None:
    """Counts become columns; a unit without a count has null there, not zero."""
    counted = unit("b", Outcome.SUCCESS).model_copy(update={"counts": {"n_bars": 7}})
    write_units(tmp_path / "u.parquet", [counted, unit("a", Outcome.SKIPPED, reason="no_data")])

    frame = read_table(tmp_path / "u.parquet")
    assert frame["name"].to_list() == ["a", "b"]
    assert frame["n_bars"].to_list() == [None, 7]
    assert frame.schema["seconds"] == pl.Float64


def test_a_table_of_no_units_still_has_its_columns() -> None:
    """An empty table keeps its schema."""
    assert {"name", "outcome", "reason", "error_type", "seconds"} <= set(unit_table([]).columns)


def test_units_come_back_from_their_table() -> None:
    """What a unit says of itself stands in its row; what others count does not."""
    failed = UnitRecord.from_error(ValueError("x"), kind="chunk", name="c", seconds=0.5)
    units = [
        unit("a", Outcome.SUCCESS).model_copy(update={"counts": {"n_bars": 3, "n_added": 0}}),
        unit("b", Outcome.SKIPPED, reason="pre_listing").model_copy(update={"symbol": "M&M"}),
        failed,
    ]

    assert units_of(unit_table(units)) == units


def test_an_error_is_described_by_type_and_message() -> None:
    """One line tells both."""
    assert describe(ValueError("x")) == "ValueError: x"


def test_units_say_where_they_were_done() -> None:
    """What a unit saw of its device stands in columns; a unit that saw none has nulls there."""
    seen = SeenDevice(
        pool="gpu-1", visible_devices="1", device_index=1, device_uuid="u", n_threads=2
    )
    here = unit("a", Outcome.SUCCESS).model_copy(update={"device": seen})

    table = unit_table([here, unit("b", Outcome.SUCCESS)])

    names = ["pool", "visible_devices", "device_index", "device_uuid", "n_threads"]
    assert table.select(names).rows() == [("gpu-1", "1", 1, "u", 2), (None,) * 5]
    assert not set(names) & set(unit_table([unit("b", Outcome.SUCCESS)]).columns)
    assert UnitRecord.model_validate_json(here.model_dump_json()) == here


def test_what_gpus_did_and_telemetry_are_records(tmp_path: Path) -> None:
    """They say when and how fast; two equal runs differ in them."""
    folder = RunFolder(tmp_path, RUN_ID)

    for path in (folder.telemetry, folder.telemetry_table, folder.gpu_samples, folder.gpu_table):
        assert folder.is_record(path)
