"""Facts about twins in the flow of the audit: a task each, found again, and in the manifest."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from prefect.client.schemas.objects import State

from flows.audit_release import audit_release
from sensequant.release.manifest import read_manifest
from sensequant.runs import RunFolder, Stage
from sensequant.stages.certificate import twin_file
from sensequant.storage import read_json, write_json

Ask = Callable[..., list[dict[str, Any]]]
Eventually = Callable[[Callable[[], Any]], Any]


def execute(run_id: str) -> State[Any]:
    # The decorator types `return_state` away where the flow itself returns a state.
    return cast("Callable[..., State[Any]]", audit_release)(run_id, return_state=True)


def twins_of(ask: Ask, state: State[Any]) -> list[tuple[str, str]]:
    flow_run_id = str(state.state_details.flow_run_id)
    runs = ask("task_runs", task_runs={"flow_run_id": {"any_": [flow_run_id]}})
    return [(run["name"], run["state"]["name"]) for run in runs if run["name"].startswith("twin")]


def test_a_twin_is_a_task_that_is_not_done_twice(
    finished: RunFolder, home: Path, ask: Ask, eventually: Eventually
) -> None:
    """The audit done again takes it from the cache; the gates say what they said without it."""
    shutil.copytree(finished.home, home, ignore=shutil.ignore_patterns("prefect"))
    folder = RunFolder(home, finished.run_id)
    before = read_json(folder.audit / "gates.json")
    settings = read_json(folder.config)
    settings["config"]["twins"] = {"n_twins": 1}
    write_json(folder.config, settings)

    first = execute(folder.run_id)
    digest = read_manifest(folder).evidence_digest
    again = execute(folder.run_id)

    assert eventually(lambda: twins_of(ask, first) == [("twin 1", "Completed")])
    assert eventually(lambda: twins_of(ask, again) == [("twin 1", "Cached")])
    assert read_manifest(folder).evidence_digest == digest
    listed = {each.path for each in read_manifest(folder).artifacts}
    assert twin_file(folder, 1).relative_to(folder.root).as_posix() in listed
    assert read_json(folder.audit / "gates.json") == before
    record = read_json(folder.stage_record(Stage.RELEASE_AUDIT))
    assert (record["n_success"], record["n_failed"]) == (1, 0)
