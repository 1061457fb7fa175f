"""Facts about model folders: what is in them, what names them, and that nobody alters them."""

import shutil
import stat
from typing import Any

import pytest

from sensequant.errors import ConfigError, DigestMismatchError, RecordError
from sensequant.release.models import (
    PackedModel,
    models_folder,
    open_model,
    pack_model,
    remove_unfinished_models,
    store_model,
)
from sensequant.runs import RunFolder
from sensequant.storage import sha256_of

World = Any
"""The home that the fixture `world` makes (`tests/conftest.py`)."""


def pack(folder: RunFolder) -> PackedModel:
    return pack_model(folder, manifest_sha256=sha256_of(folder.manifest))


def test_model_is_named_by_its_content_and_read_only(world: World) -> None:
    """The same run gives the same name, another one another; storing twice changes nothing."""
    packed = pack(world.folder(1))
    model = store_model(world.home, packed)
    written = {path: path.stat().st_mtime_ns for path in model.root.rglob("*")}

    assert model.sha256 == sha256_of(model.root / "model.json") == packed.sha256
    assert pack(world.folder(1)).sha256 == packed.sha256 != pack(world.folder(2)).sha256
    assert {path.relative_to(model.root).as_posix() for path in written if path.is_file()} == {
        "model.json",
        "config.json",
        "manifest.yaml",
        "candidate/universe.json",
    }
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o400 for path in written if path.is_file())
    assert store_model(world.home, packed).root == model.root
    assert {path: path.stat().st_mtime_ns for path in model.root.rglob("*")} == written


@pytest.mark.parametrize(
    "name", ["model.json", "config.json", "manifest.yaml", "candidate/universe.json"]
)
@pytest.mark.parametrize("damage", ["altered", "missing"])
def test_damage_to_any_file_is_found(world: World, name: str, damage: str) -> None:
    """And nobody overwrites it: the folder that is there is evidence."""
    packed = pack(world.folder(1))
    path = store_model(world.home, packed).root / name
    content = path.read_bytes()
    path.unlink()
    if damage == "altered":
        path.write_bytes(content + b" ")

    with pytest.raises(DigestMismatchError):
        open_model(world.home, packed.sha256)
    with pytest.raises(DigestMismatchError):
        store_model(world.home, packed)


def test_file_that_does_not_belong_there_is_found(world: World) -> None:
    """A second student beside the first would be a second model."""
    model = store_model(world.home, pack(world.folder(1)))
    (model.root / "candidate" / "SIM01.json").write_text("{}")

    with pytest.raises(DigestMismatchError, match=r"SIM01\.json is unlisted"):
        open_model(world.home, model.sha256)


def test_folder_under_another_name_is_no_model(world: World) -> None:
    """A copy is known by its name."""
    model = store_model(world.home, pack(world.folder(1)))
    shutil.copytree(model.root, models_folder(world.home) / ("0" * 64))

    with pytest.raises(DigestMismatchError, match=f"expected: {'0' * 64}"):
        open_model(world.home, "0" * 64)
    with pytest.raises(RecordError, match="model is missing"):
        open_model(world.home, "1" * 64)


@pytest.mark.parametrize("name", ["config.json", "candidate/universe.json", "manifest.yaml"])
def test_run_that_is_not_the_approved_one_is_not_packed(world: World, name: str) -> None:
    """What is read is what is digested: nothing can change in between."""
    folder = world.folder(1)
    approved = sha256_of(folder.manifest)
    path = folder.root / name
    path.write_bytes(path.read_bytes() + b"\n")

    with pytest.raises(DigestMismatchError, match="not the one that was judged"):
        pack_model(folder, manifest_sha256=approved)


def test_run_without_student_has_no_model(world: World) -> None:
    """Its manifest lists none."""
    folder = world.folder(1)
    shutil.rmtree(folder.candidate)
    shutil.copy(world.home / "registry.db", world.home / "kept.db")
    world.judge(folder)

    with pytest.raises(ConfigError, match="no student to deploy"):
        pack(folder)


def test_what_killed_processes_left_is_removed(world: World) -> None:
    """Unfinished folders only; models stay."""
    model = store_model(world.home, pack(world.folder(1)))
    left = models_folder(world.home) / f".{'ab' * 32}.12345678"
    (left / "candidate").mkdir(parents=True)
    (left / "candidate" / "universe.json").write_text("half")

    remove_unfinished_models(world.home)

    assert [path.name for path in models_folder(world.home).iterdir()] == [model.sha256]
