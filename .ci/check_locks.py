# noqa: INP001 - a script of the build, no package
"""Check that the locks are what `pyproject.toml` asks for: every requirement, pinned, with hashes.

Resolving anew would need a registry and would fail at every release of any package; this needs
neither. `make lock` writes the locks.
"""

import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

__all__ = ["faults_of_locks", "main", "read_pins"]

RUNTIME, DEV, UV = "requirements.lock", "requirements-dev.lock", "requirements-uv.lock"


def main() -> int:
    """Print every fault and return 1 if there is one."""
    faults = list(faults_of_locks(Path(__file__).parent.parent))
    for fault in faults:
        sys.stderr.write(f"error: {fault}\n")
    if not faults:
        sys.stdout.write("locks: every requirement is pinned, with hashes\n")
    return 1 if faults else 0


def faults_of_locks(root: Path) -> Iterator[str]:
    """Yield what is wrong with the locks of a project, in words."""
    project: dict[str, Any] = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    runtime: list[str] = project["project"]["dependencies"]
    extras: dict[str, list[str]] = project["project"].get("optional-dependencies", {})
    development: list[str] = [*project["dependency-groups"]["dev"], *chain(*extras.values())]
    pins = {name: read_pins((root / name).read_text(encoding="utf-8")) for name in (RUNTIME, DEV)}
    for name in (RUNTIME, DEV, UV):
        yield from _faults_of_lines(name, (root / name).read_text(encoding="utf-8"))
    yield from _unmet(RUNTIME, runtime, pins[RUNTIME])
    yield from _unmet(DEV, [*runtime, *development], pins[DEV])
    for package, versions in pins[RUNTIME].items():
        if pins[DEV].get(package, set()) != versions:
            yield f"{package} is pinned differently in {RUNTIME} and {DEV}"


def read_pins(lock: str) -> dict[str, set[str]]:
    """Return the pinned versions of each package; more than one where markers tell them apart."""
    pins: dict[str, set[str]] = {}
    for line in lock.splitlines():
        match = re.match(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^ ;\\]+)", line)
        if match:
            pins.setdefault(canonicalize_name(match[1]), set()).add(match[2])
    return pins


def _faults_of_lines(name: str, lock: str) -> Iterator[str]:
    entries = re.split(r"(?m)^(?=[A-Za-z0-9])", lock)
    for entry in entries:
        package = entry.split("==")[0].strip()
        if package and "--hash=sha256:" not in entry:
            yield f"{name}: {package.splitlines()[0]} has no hash"
    if re.search(r"https?://|^--(?:extra-)?index", lock, flags=re.MULTILINE):
        yield f"{name}: it says where packages are loaded from"


def _unmet(name: str, asked: Iterable[str], pins: dict[str, set[str]]) -> Iterator[str]:
    for text in asked:
        requirement = Requirement(text)
        versions = pins.get(canonicalize_name(requirement.name), set())
        if not versions:
            yield f"{name}: {requirement.name} is missing"
        for version in sorted(versions):
            if not requirement.specifier.contains(version, prereleases=True):
                yield f"{name}: {requirement.name} {version} does not meet {requirement.specifier}"


if __name__ == "__main__":
    sys.exit(main())
