"""Facts about the build: locks, targets, hooks and the script of the continuous integration."""

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest
import yaml

ROOT = Path(__file__).parent.parent
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")

PROJECT = """
[project]
dependencies = ["numpy>=2", "Some_Package[extra]>=1"]
[dependency-groups]
dev = ["pytest>=9"]
"""
HASH = " \\\n    --hash=sha256:00\n"


@pytest.fixture
def check_locks() -> ModuleType:
    """Return the script that checks the locks."""
    path = ROOT / ".ci" / "check_locks.py"
    spec = importlib.util.spec_from_file_location("check_locks", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a project whose locks are in order."""
    (tmp_path / "pyproject.toml").write_text(PROJECT, encoding="utf-8")
    runtime = f"numpy==2.4.1{HASH}some-package==1.5{HASH}"
    (tmp_path / "requirements.lock").write_text(runtime, encoding="utf-8")
    (tmp_path / "requirements-dev.lock").write_text(f"{runtime}pytest==9.2{HASH}")
    (tmp_path / "requirements-uv.lock").write_text(f"uv==1{HASH}", encoding="utf-8")
    return tmp_path


def test_locks_in_order_have_no_faults(check_locks: ModuleType, project: Path) -> None:
    """Names are compared as the registry does: case, dashes and dots do not matter."""
    assert list(check_locks.faults_of_locks(project)) == []


@pytest.mark.parametrize(
    ("name", "old", "new", "fault"),
    [
        ("requirements.lock", "some-package==1.5", "other==1.5", "Some_Package is missing"),
        ("requirements.lock", "numpy==2.4.1", "numpy==1.9", "numpy 1.9 does not meet >=2"),
        ("requirements.lock", "numpy==2.4.1", "numpy==2.4.2", "numpy is pinned differently"),
        ("requirements-dev.lock", "pytest==9.2", "pytest==8.0", "pytest 8.0 does not meet"),
        ("requirements-dev.lock", "pytest==9.2" + HASH, "pytest==9.2\n", "pytest has no hash"),
        ("requirements-uv.lock", "uv==1", "--index-url x\nuv==1", "loaded from"),
    ],
)
def test_fault_of_a_lock_is_named(
    check_locks: ModuleType, project: Path, name: str, old: str, new: str, fault: str
) -> None:
    """A lock that does not belong to pyproject.toml is found without a registry."""
    path = project / name
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")

    assert any(fault in found for found in check_locks.faults_of_locks(project))


def test_locks_of_this_project_are_in_order(check_locks: ModuleType) -> None:
    """What `make check` checks holds."""
    assert list(check_locks.faults_of_locks(ROOT)) == []


def test_make_alone_lists_every_target() -> None:
    """Targets that a person calls are named with what they do."""
    if shutil.which("make") is None:
        pytest.skip("make is not there")
    done = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True)
    listed = set(re.findall(r"^make (\w+)", done.stdout, flags=re.MULTILINE))
    phony = set(re.findall(r"^\.PHONY: (.+)$", MAKEFILE, flags=re.MULTILINE)[0].split())

    assert listed == phony - {"help"}


def test_makefile_needs_no_extension_of_gnu() -> None:
    """No conditionals, functions or pattern rules: any POSIX make reads it."""
    assert not re.search(r"\$\((shell|wildcard|patsubst|foreach|if) ", MAKEFILE)
    assert not re.search(r"^(ifeq|ifdef|ifneq|include|define|export)\b", MAKEFILE, re.MULTILINE)
    assert not re.search(r"[^:]:?:=|\?=|\+=", MAKEFILE)
    assert "%:" not in MAKEFILE


def test_script_of_the_integration_can_be_started() -> None:
    """It is executable and parses."""
    script = ROOT / ".ci" / "run"

    assert os.access(script, os.X_OK)
    assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0


def test_hooks_call_tools_of_the_environment_only() -> None:
    """No repository is fetched for a hook; every file that a hook names exists."""
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    hooks = [hook for repo in config["repos"] for hook in repo["hooks"]]

    assert [repo["repo"] for repo in config["repos"]] == ["local"]
    assert {hook["language"] for hook in hooks} == {"system"}
    for hook in hooks:
        for word in hook["entry"].split():
            if word.startswith((".venv/bin/", ".ci/")):
                path = ROOT / word
                assert path.exists() or not (ROOT / ".venv").exists(), word
