"""What a stage keeps of its GPUs, that it does without any, and what a unit says of its device."""

import platform
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sensequant.booster_config import BoosterConfig
from sensequant.device_timing import DeviceTiming
from sensequant.devices import Device, DeviceReading, SeenDevice
from sensequant.errors import ConfigError
from sensequant.runs import RunFolder, Stage
from sensequant.storage import read_table
from tasks import devices, watching
from tasks.plans import PlannedWindows

RUN_ID = "live_candidate_20250101_000000_0000abcd"
WINDOWS = PlannedWindows(["A"], ["2020-01-01..2020-06-30"])


class OneDevice:
    """A machine with one GPU."""

    def devices(self) -> list[Device]:
        """Return it."""
        return [Device(index=0, uuid="GPU-0", name="Some GPU")]

    def read(self, device: Device) -> DeviceReading:
        """Say that it is half busy."""
        assert device.index == 0
        return DeviceReading(
            utilisation_frac=0.5,
            memory_used_bytes=2**30,
            memory_total_bytes=2**33,
            temperature_celsius=40,
        )


def _with_gpu() -> OneDevice:
    return OneDevice()


def _without_gpu() -> OneDevice:
    raise ConfigError("no GPU of NVIDIA can be watched", found="no driver")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """Return the folder of an empty run."""
    monkeypatch.setenv("SENSEQUANT_HOME", str(tmp_path))
    folder = RunFolder(tmp_path, RUN_ID)
    folder.root.mkdir(parents=True)
    return folder


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the drawings that are shown; there is no server in these tests."""
    drawings: list[str] = []

    def show(_key: str, svg: str, *, description: str) -> None:
        assert RUN_ID in description
        drawings.append(svg)

    monkeypatch.setattr(watching, "show_chart", show)
    return drawings


def test_a_stage_leaves_lines_a_table_and_a_chart(
    folder: RunFolder, shown: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even when the stage fails: what was sampled until then is there."""
    monkeypatch.setattr(watching, "open_nvml", _with_gpu)

    with pytest.raises(KeyError), watching.watching_gpus(RUN_ID):
        raise KeyError

    table = read_table(folder.gpu_table)
    assert folder.gpu_samples.read_text().count("\n") == table.height > 0
    assert set(table["utilisation_frac"]) == {0.5}
    assert len(shown) == 1
    assert shown[0].startswith("<?xml")


def test_without_a_gpu_nothing_is_written(
    folder: RunFolder, shown: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said in the log, and the work is done."""
    said: list[dict[str, Any]] = []

    def say(event: str, **fields: Any) -> None:
        said.append({"event": event, **fields})

    monkeypatch.setattr(watching, "open_nvml", _without_gpu)
    monkeypatch.setattr(watching, "say", say)

    with watching.watching_gpus(RUN_ID):
        done = True

    assert done
    assert said == [{"event": "no GPU is watched", "reason": "no driver"}]
    assert list(folder.root.iterdir()) == shown == []


@pytest.mark.parametrize(("host", "is_sampled"), [(platform.node(), False), ("other", True)])
def test_a_share_is_watched_where_its_run_does_not_look(
    host: str,
    is_sampled: bool,
    folder: RunFolder,
    shown: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On the host of the run the GPUs are sampled once, on another host by the share."""

    def load(_: RunFolder) -> Any:
        return SimpleNamespace(record=SimpleNamespace(host=host))

    monkeypatch.setattr(watching, "open_nvml", _with_gpu)
    monkeypatch.setattr(watching, "load_run", load)

    with watching.watching_share(RUN_ID):
        pass

    assert folder.gpu_samples.exists() == bool(shown) == is_sampled


@pytest.mark.parametrize(("device", "is_measured"), [("cpu", False), ("cuda", True)])
def test_the_faster_device_is_told_in_words(
    device: str,
    is_measured: bool,
    folder: RunFolder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where a GPU was chosen, both figures are said, as a warning if the CPU is faster."""
    assert folder
    timing = DeviceTiming(
        device=device, n_rows=7, n_columns=3, n_rounds=5, cpu_seconds=0.1, device_seconds=0.2
    )
    booster = BoosterConfig.model_validate({"device": device})
    run = SimpleNamespace(config=SimpleNamespace(teacher=SimpleNamespace(booster=booster)))
    said: list[tuple[str, bool]] = []

    def load(_: RunFolder) -> Any:
        return run

    def costs(*_: Any) -> Any:
        return SimpleNamespace(typical_rows=7, n_columns=3)

    def compare(config: BoosterConfig, n_rows: int, n_columns: int) -> DeviceTiming:
        assert (config, n_rows, n_columns) == (booster, 7, 3)
        return timing

    def say(event: str, *, is_warning: bool, **_: Any) -> None:
        said.append((event, is_warning))

    monkeypatch.setattr(watching, "load_run", load)
    monkeypatch.setattr(watching, "WindowCosts", costs)
    monkeypatch.setattr(watching, "compare_with_cpu", compare)
    monkeypatch.setattr(watching, "say", say)

    found = watching.tell_faster_device(RUN_ID, Stage.TEACHER_TRAINING, WINDOWS)

    assert (found, said) == ((timing, [(timing.verdict, True)]) if is_measured else (None, []))


def test_a_unit_outside_a_run_sees_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a flow there is no pool, and without a driver no index; the environment is there."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    monkeypatch.setattr(devices, "open_nvml", _without_gpu)
    devices._library.cache_clear()

    assert devices.seen_here() == SeenDevice(visible_devices="3", n_threads=1)

    devices._library.cache_clear()
