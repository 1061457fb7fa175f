"""Facts about the Dockerfile that hold without Docker: sources, pins, users, and no secrets."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def instructions() -> list[tuple[str, str]]:
    """Return each instruction with its arguments, continued lines joined, comments left out."""
    lines = [line for line in TEXT.splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    pairs = (line.split(maxsplit=1) for line in joined.splitlines() if line.strip())
    return [(word, " ".join(rest.split())) for word, rest in pairs]


def stages() -> dict[str, list[tuple[str, str]]]:
    found: dict[str, list[tuple[str, str]]] = {}
    name = ""
    for word, rest in instructions():
        if word == "FROM":
            name = rest.rsplit(" AS ", maxsplit=1)[1]
            found[name] = []
        found[name].append((word, rest))
    return found


def test_every_stage_has_a_name_and_a_version_of_its_base() -> None:
    """A base without a tag would be another one tomorrow."""
    bases = [rest for word, rest in instructions() if word == "FROM"]

    assert list(stages()) == ["build", "cpu", "lightgbm-cuda", "gpu"]
    for base in bases:
        image = base.split()[0]
        assert image in stages() or re.search(r":[0-9]", image), image


def test_python_of_the_image_is_one_that_the_project_allows() -> None:
    """The base's version meets requires-python and the locks' version."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

    assert project["project"]["requires-python"] == ">=3.11"
    assert "FROM python:3.11-" in TEXT


@pytest.mark.parametrize("line", [rest for word, rest in instructions() if word == "COPY"])
def test_what_is_copied_exists_and_reaches_the_build(line: str) -> None:
    """Every source stands in the tree and is let through by .dockerignore."""
    if line.startswith("--from="):
        assert line.split(maxsplit=1)[0].removeprefix("--from=") in stages()
        return
    allowed = {
        entry.removeprefix("!")
        for entry in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if entry.startswith("!")
    }
    for source in line.split()[:-1]:
        assert (ROOT / source).exists(), source
        assert source in allowed


def test_everything_installed_is_pinned_with_hashes() -> None:
    """Each install names a lock with hashes, or packages that were built from one here."""
    installs = [
        part
        for word, rest in instructions()
        if word == "RUN"
        for part in rest.split("&&")
        if re.search(r"\bpip (install|wheel)\b", part)
    ]

    assert len(installs) == 5
    for part in installs:
        assert "--require-hashes" in part or "--no-deps" in part, part
    assert not re.search(r"==\d", TEXT)


def test_lightgbm_for_cuda_is_the_locked_one() -> None:
    """The stage takes the requirement with its hashes out of the lock: exactly one entry."""
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    start = next(n for n, line in enumerate(lock) if line.startswith("lightgbm=="))
    end = next(n for n, line in enumerate(lock[start:], start) if not line.endswith("\\"))
    entry = lock[start : end + 1]

    assert "--no-binary lightgbm --require-hashes" in " ".join(dict(stages())["lightgbm-cuda"][-1])
    assert all("--hash=sha256:" in line for line in entry[1:])
    assert len(entry) > 1


@pytest.mark.parametrize("stage", ["cpu", "gpu"])
def test_images_run_as_an_ordinary_user(stage: str) -> None:
    """The last user that is set is not root."""
    users = [rest for word, rest in stages()[stage] if word == "USER"]

    assert users[-1] == "sensequant"


def test_image_is_the_program() -> None:
    """Arguments of the container are arguments of `sensequant`; data lie in a volume."""
    cpu = stages()["cpu"]

    assert ("ENTRYPOINT", '["sensequant"]') in cpu
    assert ("VOLUME", "/data") in cpu
    assert any(word == "ENV" and "SENSEQUANT_HOME=/data" in rest for word, rest in cpu)


def test_no_secret_and_no_address_is_built_in() -> None:
    """Keys come at run time, packages from wherever the builder is configured to look."""
    assert not re.search(r"(?i)(password|secret|token|api_?key)", TEXT)
    assert not re.search(r"https?://|index-url", TEXT)
    assert not any(word in {"ADD", "ARG"} for word, _ in instructions())
