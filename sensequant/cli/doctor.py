"""Whether this machine can do the work: one check per thing that has been seen to be wrong.

Belongs here: checks, each with what was found and what to do about it. Does not belong here:
repairing anything.
"""

import importlib
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from importlib.metadata import Distribution, PackageNotFoundError, distribution, version
from pathlib import Path
from types import ModuleType

from packaging.requirements import Requirement

from blocks.environment import Environment
from sensequant.cli.server import Answering, own_server, probe
from sensequant.errors import SenseQuantError
from sensequant.records import code_version

__all__ = ["Check", "CheckStatus", "check_all", "pinned_versions"]

_LOCK_FILE = Path(__file__).parents[2] / "requirements.lock"
_PYTHON = (3, 11)
_GIB = 1 << 30
_DISK_FAIL_GIB = 1
_DISK_WARN_GIB = 10
_CALENDAR_AHEAD = timedelta(days=21)


class CheckStatus(StrEnum):
    """How a check ended; only `fail` means that a run would not work."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Parameters
    ----------
    name
        What.
    status
        How it is.
    found
        What was found, in words.
    remedy
        What to do, where something is to be done.
    """

    name: str
    status: CheckStatus
    found: str
    remedy: str = ""


def check_all(env: Environment) -> Iterator[Check]:
    """Yield every check, each as soon as it is done.

    A check that raises an error of this project has failed, and says so with its remedy.
    """
    checks: tuple[tuple[str, Callable[[], Check]], ...] = (
        ("python", check_python),
        ("packages", check_packages),
        ("lock", check_lock),
        ("home", lambda: check_home(env.home)),
        ("disk", lambda: check_disk(env.home)),
        ("registry", lambda: check_registry(env)),
        ("server", lambda: check_server(env)),
        ("pools", lambda: _operation().check_pools(env)),
        ("workers", lambda: _operation().check_workers(env)),
        ("automations", lambda: _operation().check_automations(env)),
        ("schedules", lambda: _operation().check_schedules(env)),
        ("code", check_code),
        ("lightgbm", check_lightgbm),
        ("calendar", check_calendar),
    )
    for name, check in checks:
        try:
            yield check()
        except SenseQuantError as error:
            yield Check(name, CheckStatus.FAIL, error.found or error.what, error.remedy)


def check_python() -> Check:
    """Check the version of the interpreter."""
    found = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info[:2] >= _PYTHON:
        return Check("python", CheckStatus.OK, f"{found}, {sys.executable}")
    wanted = ".".join(str(part) for part in _PYTHON)
    return Check("python", CheckStatus.FAIL, found, f"make the environment with Python {wanted}")


def check_packages(name: str = "sensequant") -> Check:
    """Check that every package that this one requires is there, fits and can be imported."""
    try:
        requirements = distribution(name).requires or []
    except PackageNotFoundError:
        return Check(
            "packages", CheckStatus.FAIL, f"{name} is not installed", "install it with `make`"
        )
    faults = [fault for text in requirements if (fault := _fault_of(Requirement(text)))]
    if faults:
        return Check(
            "packages", CheckStatus.FAIL, "; ".join(faults), "install again from requirements.lock"
        )
    return Check("packages", CheckStatus.OK, f"{len(requirements)} fit and can be imported")


def check_lock(lock: Path = _LOCK_FILE) -> Check:
    """Check installed versions against the lock, where its file is at hand."""
    if not lock.exists():
        return Check("lock", CheckStatus.OK, "not at hand; installed as a wheel")
    different: list[str] = []
    for name, pinned in pinned_versions(lock.read_text(encoding="utf-8")).items():
        found = _installed(name)
        if found != pinned:
            different.append(f"{name} {found or 'missing'} instead of {pinned}")
    if different:
        return Check(
            "lock", CheckStatus.WARN, "; ".join(different), "install again from requirements.lock"
        )
    return Check("lock", CheckStatus.OK, "every installed version is the locked one")


def check_home(home: Path) -> Check:
    """Check that data can be written below the home."""
    folder = _nearest_existing(home)
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        return Check(
            "home",
            CheckStatus.FAIL,
            f"{folder}: {error.strerror}",
            "choose a writable folder with --home or SENSEQUANT_HOME",
        )
    return Check("home", CheckStatus.OK, f"{home}{'' if home.exists() else ' (not made yet)'}")


def check_disk(home: Path) -> Check:
    """Check the space that is left where the home is."""
    free = shutil.disk_usage(_nearest_existing(home)).free / _GIB
    found = f"{free:.1f} GiB free"
    if free < _DISK_FAIL_GIB:
        return Check("disk", CheckStatus.FAIL, found, "free space or choose another home")
    if free < _DISK_WARN_GIB:
        return Check("disk", CheckStatus.WARN, found, "a run of 100 symbols may need more")
    return Check("disk", CheckStatus.OK, found)


def check_registry(env: Environment) -> Check:
    """Check that the registry of candidates and deployments can be opened, where there is one."""
    from sensequant.stages.registry_place import (  # noqa: PLC0415 - slow to import
        REGISTRY_FILE,
        address_kept_at,
        registry_of,
    )

    is_file = env.registry_url is None and address_kept_at(env.home) is None
    if is_file and not (env.home / REGISTRY_FILE).exists():
        return Check("registry", CheckStatus.OK, "not made yet; the first run makes it")
    with closing(registry_of(env.home, env.registry_url)) as registry:
        n_candidates = len(registry.get_candidate_runs())
        return Check("registry", CheckStatus.OK, f"{n_candidates} candidates, {registry.address}")


def check_server(env: Environment) -> Check:
    """Check who answers where the server should be, and whether its version is the client's."""
    answer = probe(env.server_url)
    if answer.by is Answering.NOBODY and env.local_port is not None:
        return Check("server", CheckStatus.OK, f"port {env.local_port} is free; a run starts one")
    if answer.by is not Answering.PREFECT:
        return Check(
            "server",
            CheckStatus.FAIL,
            f"{env.server_url}: {answer.found or 'nobody answers'}",
            "choose another port with --port or SENSEQUANT_PORT, or correct PREFECT_API_URL",
        )
    state = own_server(env)
    is_ours = state is not None and state.port == env.local_port
    found = f"Prefect {answer.version} at {env.server_url}, {'ours' if is_ours else 'not ours'}"
    if answer.version != version("prefect"):
        return Check(
            "server",
            CheckStatus.WARN,
            f"{found}; the client is {version('prefect')}",
            "stop it and start it with this version: `sensequant down`, `sensequant up`",
        )
    return Check("server", CheckStatus.OK, found)


def check_code() -> Check:
    """Tell which code this is; runs of other code share no cached results with it."""
    return Check("code", CheckStatus.OK, f"{version('sensequant')}, sources {code_version()[:12]}")


def check_lightgbm() -> Check:
    """Check that LightGBM fits a model, and on which device."""
    from sensequant.booster_config import BoosterConfig  # noqa: PLC0415 - slow to import
    from sensequant.booster_device import resolve_device  # noqa: PLC0415

    device = resolve_device(BoosterConfig(device="auto"))
    found = f"{version('lightgbm')} on {device}"
    return Check("lightgbm", CheckStatus.OK, found)


def check_calendar(today: date | None = None) -> Check:
    """Check that the calendar of NSE knows today and the weeks after it."""
    from sensequant.market.sessions import nse_calendar  # noqa: PLC0415 - slow to import

    calendar, day = nse_calendar(), today or datetime.now(UTC).date()
    found = f"{calendar.first} to {calendar.last}"
    needed = day + _CALENDAR_AHEAD
    if calendar.last.year < needed.year:
        remedy = f"add the holidays of {needed.year} (docs/calendar.md)"
        return Check("calendar", CheckStatus.WARN, found, remedy)
    return Check("calendar", CheckStatus.OK, found)


def pinned_versions(lock: str) -> dict[str, str]:
    """Return name and version of every `name==version` line of a lock that applies here."""
    versions: dict[str, str] = {}
    for line in lock.splitlines():
        if re.match(r"[A-Za-z0-9]", line):
            requirement = Requirement(line.rstrip("\\ "))
            if requirement.marker is None or requirement.marker.evaluate():
                versions[requirement.name] = str(requirement.specifier).removeprefix("==")
    return versions


def _operation() -> ModuleType:
    # These speak to the server through Prefect, which is slow to import.
    return importlib.import_module("sensequant.cli.operation_checks")


def _load_breeze() -> None:
    from sensequant.market.sources.breeze.endpoints import VENDOR  # noqa: PLC0415
    from sensequant.market.sources.breeze.sdk import load_sdk  # noqa: PLC0415

    load_sdk(VENDOR)


# The vendor's SDK downloads a file when it is imported, so only our loader may import it.
_LOADED_OTHERWISE = {"breeze-connect": _load_breeze}


def _fault_of(requirement: Requirement) -> str | None:
    if requirement.marker is not None and not requirement.marker.evaluate():
        return None
    found = _installed(requirement.name)
    if found is None:
        return f"{requirement.name} is missing"
    if not requirement.specifier.contains(found, prereleases=True):
        return f"{requirement.name} {found} instead of {requirement.specifier}"
    for module in _modules_of(distribution(requirement.name)):
        try:
            if requirement.name in _LOADED_OTHERWISE:
                _LOADED_OTHERWISE[requirement.name]()
            else:
                importlib.import_module(module)
        except (ImportError, OSError) as error:
            return f"{requirement.name} cannot be imported: {error}"
    return None


def _modules_of(package: Distribution) -> list[str]:
    names = (package.read_text("top_level.txt") or "").split()
    inits = [file.parts[0] for file in package.files or () if file.name == "__init__.py"]
    candidates = names or inits[:1]
    return [name for name in candidates if not name.startswith("_")][:1]


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _nearest_existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())
