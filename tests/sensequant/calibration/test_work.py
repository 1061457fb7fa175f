"""Facts about the folder of a calibration: complete after a kill, the same in any order."""

import os
import signal
import time
from multiprocessing import get_context
from pathlib import Path

import pytest

from sensequant.calibration import work
from sensequant.calibration.oracle import EDGES_BPS, EdgeWorth
from sensequant.calibration.request import CalibrationRequest
from sensequant.calibration.work import (
    Calibration,
    close_calibration,
    do_world,
    do_worth,
    open_calibration,
)
from sensequant.calibration.worlds import WorldRecord, planned
from sensequant.errors import ConfigError
from sensequant.storage import write_json

UNIVERSES = Path(__file__).parents[3] / "deployments" / "universes"
PATIENCE_SECONDS = 60.0


def contents(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.suffix != ".lock"
    }


def killed_while_it_works(calibration: Calibration, name: str) -> None:
    """Do a world in another process and kill that once it has trained something."""
    process = get_context("spawn").Process(
        target=do_world, args=(calibration, name), kwargs={"universes": UNIVERSES}
    )
    process.start()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not list(calibration.work.glob("*/runs/*/teachers/*")):
        assert time.monotonic() < deadline, "nothing was trained"
        time.sleep(0.02)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()


def test_a_killed_calibration_goes_on_to_the_same_bytes(
    tiny: CalibrationRequest, judged: WorldRecord, tmp_path: Path
) -> None:
    """What was under way leaves no record; done again, it is the one of a quiet process."""
    one = tiny.model_copy(update={"n_worlds": 1})
    calibration, quiet = (open_calibration(tmp_path / name, one) for name in ("killed", "quiet"))
    killed_while_it_works(calibration, "walk_0000")
    assert calibration.missing == ["walk_0000"]
    assert list(calibration.work.iterdir()) != []

    assert do_world(calibration, "walk_0000", universes=UNIVERSES) == judged
    write_json(quiet.record("walk_0000"), judged)
    for each in (calibration, quiet):
        close_calibration(each)

    assert calibration.missing == []
    assert list(calibration.work.iterdir()) == []
    assert contents(calibration.root) == contents(quiet.root)
    assert {path.name for path in (tmp_path / "killed").iterdir()} == {"calibrations"}


def test_a_world_that_is_judged_is_not_done_again(
    tiny: CalibrationRequest,
    judged: WorldRecord,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its record stands, whoever asks."""
    calibration = open_calibration(tmp_path, tiny)
    write_json(calibration.record("walk_0000"), judged)
    monkeypatch.delattr(work, "try_world")

    assert do_world(calibration, "walk_0000", universes=UNIVERSES) == judged
    assert calibration.missing == ["walk_0001"]
    assert calibration.records() == [judged]


def test_another_method_or_code_has_a_folder_of_its_own(
    tiny: CalibrationRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More worlds share the folder; another law, method, size or version of the code do not."""
    root = Calibration(tmp_path, tiny).root

    assert Calibration(tmp_path, tiny.model_copy(update={"n_worlds": 9})).root == root
    for other in ({"n_symbols": 4}, {"seed": 1}, {"years": 3}, {"config": type(tiny.config)()}):
        assert Calibration(tmp_path, tiny.model_copy(update=other)).root != root
    monkeypatch.setattr(work, "code_version", lambda: "1" * 64)
    assert Calibration(tmp_path, tiny).root != root


def test_the_worth_of_edges_is_asked_for_only_where_one_is_planted(
    tiny: CalibrationRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once for each edge; a known one is kept."""
    asked: list[float] = []

    def price(_: CalibrationRequest, edge_bps: float) -> EdgeWorth:
        asked.append(edge_bps)
        return EdgeWorth(edge_bps=edge_bps, sharpe=edge_bps / 10, standard_error=0.1, n_markets=2)

    monkeypatch.setattr(work, "price_edge", price)
    planting = open_calibration(tmp_path, tiny.model_copy(update={"n_edge_worlds": 1}))

    assert Calibration(tmp_path, tiny).missing_worths == []
    assert planting.missing_worths == list(EDGES_BPS)
    for edge in (0.0, 5.0, 5.0):
        do_worth(planting, edge)
    assert asked == [0.0, 5.0]
    assert [worth.edge_bps for worth in planting.worths()] == [0.0, 5.0]


def test_a_world_that_is_not_planned_is_refused(tiny: CalibrationRequest, tmp_path: Path) -> None:
    """Its name never becomes a path."""
    calibration = open_calibration(tmp_path, tiny)

    for name in ("walk_0002", "../walk_0000"):
        with pytest.raises(ConfigError, match="world is not planned"):
            do_world(calibration, name, universes=UNIVERSES)
    assert {planned(tiny)[0].name, planned(tiny)[1].name} == {"walk_0000", "walk_0001"}
