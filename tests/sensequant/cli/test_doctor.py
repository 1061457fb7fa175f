"""Facts about the checks: what is well is said, what is wrong comes with a remedy."""

import shutil
from collections.abc import Callable
from contextlib import closing
from datetime import date
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest
from packaging.requirements import Requirement

from blocks.environment import Environment, read_environment
from sensequant.cli import doctor
from sensequant.cli.app import main
from sensequant.cli.doctor import Check, CheckStatus
from sensequant.errors import ConfigError, RegistryError
from sensequant.stages.registry_place import registry_of
from sensequant.storage import write_json

OK, WARN, FAIL = CheckStatus.OK, CheckStatus.WARN, CheckStatus.FAIL
Serve = Callable[[dict[str, str]], int]


def test_python_must_be_new_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three numbers are shown, two are compared."""
    assert doctor.check_python().status is OK

    monkeypatch.setattr(doctor.sys, "version_info", (3, 10, 9))
    check = doctor.check_python()

    assert (check.status, check.found) == (FAIL, "3.10.9")
    assert "3.11" in check.remedy


def test_registry_that_cannot_be_opened_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is not there is no fault; a server that is not, or an address forgotten, is."""
    monkeypatch.setenv("SENSEQUANT_HOME", str(tmp_path))
    assert "not made yet" in doctor.check_registry(read_environment()).found
    with closing(registry_of(tmp_path)) as registry:
        assert registry.get_candidate_runs() == []
    check = doctor.check_registry(read_environment())
    assert (check.status, check.found.split(",")[0]) == (OK, "0 candidates")

    write_json(tmp_path / "registry.json", {"schema_version": 1, "address": "postgresql://h/x"})
    with pytest.raises(ConfigError, match="lies elsewhere"):
        doctor.check_registry(read_environment())
    monkeypatch.setenv("SENSEQUANT_REGISTRY_URL", f"postgresql+psycopg://a:hush@/x?host={tmp_path}")
    with pytest.raises(RegistryError, match="database refused") as caught:
        doctor.check_registry(read_environment())
    assert "hush" not in str(caught.value)


def test_every_package_of_this_project_is_there() -> None:
    """What pyproject.toml requires fits and can be imported."""
    assert doctor.check_packages().status is OK


def test_project_that_is_not_installed_is_said() -> None:
    """Without its metadata nothing can be compared."""
    assert doctor.check_packages("no-such-project").status is FAIL


@pytest.mark.parametrize(
    ("requirement", "fault"),
    [
        ("no-such-package>=1", "no-such-package is missing"),
        ("numpy<1", "instead of <1"),
        ('no-such-package; python_version < "3"', None),
        ("numpy>=1", None),
        ("pyyaml", None),
    ],
)
def test_requirement_is_held_against_what_is_installed(requirement: str, fault: str | None) -> None:
    """A marker that does not hold here asks for nothing."""
    found = doctor._fault_of(Requirement(requirement))

    assert found is None if fault is None else fault in str(found)


def test_package_that_does_not_load_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """LightGBM without the OpenMP runtime is installed and yet not usable."""

    def missing(_name: str) -> None:
        message = "libgomp.so.1: cannot open shared object file"
        raise OSError(message)

    monkeypatch.setattr(doctor.importlib, "import_module", missing)

    assert "libgomp" in str(doctor._fault_of(Requirement("lightgbm")))
    assert doctor.check_packages().status is FAIL


def test_lock_is_compared_where_it_is_at_hand(tmp_path: Path) -> None:
    """Another version, or none, is a warning that names both."""
    lock = tmp_path / "requirements.lock"
    assert doctor.check_lock(lock).status is OK

    lock.write_text(f"numpy=={version('numpy')} \\\n    --hash=sha256:00\n", encoding="utf-8")
    assert doctor.check_lock(lock).status is OK

    lock.write_text(
        "numpy==1.0 \\\n    --hash=sha256:00\n"
        'no-such==2 ; sys_platform == "linux" \\\n    --hash=sha256:00\n'
        'not-here==2 ; sys_platform == "nowhere"\n',
        encoding="utf-8",
    )
    check = doctor.check_lock(lock)
    assert check.status is WARN
    assert check.found == f"numpy {version('numpy')} instead of 1.0; no-such missing instead of 2"


def test_home_must_be_writable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A home that is not there yet is made below the nearest folder that is."""
    assert doctor.check_home(tmp_path).found == str(tmp_path)
    assert doctor.check_home(tmp_path / "a" / "b").found.endswith("(not made yet)")

    def refuse(**_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(doctor.tempfile, "TemporaryFile", refuse)
    check = doctor.check_home(tmp_path)

    assert (check.status, check.found) == (FAIL, f"{tmp_path}: Read-only file system")


@pytest.mark.parametrize(("gib", "status"), [(0.5, FAIL), (5, WARN), (50, OK)])
def test_disk_needs_space(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, gib: float, status: CheckStatus
) -> None:
    """Under one GiB nothing goes, under ten a large run may not."""

    def usage(_path: Path) -> SimpleNamespace:
        return SimpleNamespace(free=int(gib * (1 << 30)))

    monkeypatch.setattr(shutil, "disk_usage", usage)

    assert doctor.check_disk(tmp_path).status is status


def test_free_port_is_well(tmp_path: Path, free_port: int) -> None:
    """A run starts the server itself."""
    check = doctor.check_server(read_environment(home=tmp_path, port=free_port))

    assert check.status is OK
    assert str(free_port) in check.found


@pytest.mark.parametrize(
    ("answers", "status"),
    [
        ({"/api/admin/version": f'"{version("prefect")}"'}, OK),
        ({"/api/admin/version": '"2.0.0"'}, WARN),
        ({"/": "hello"}, FAIL),
    ],
)
def test_server_is_prefect_of_the_same_version(
    serve: Serve, tmp_path: Path, answers: dict[str, str], status: CheckStatus
) -> None:
    """Another version is a warning, another program a failure."""
    check = doctor.check_server(read_environment(home=tmp_path, port=serve(answers)))

    assert check.status is status
    assert (check.remedy == "") == (status is OK)


def test_server_elsewhere_must_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nobody will start it."""
    monkeypatch.setenv("PREFECT_API_URL", "https://127.0.0.1:9/api")

    check = doctor.check_server(read_environment(home=tmp_path))

    assert (check.status, check.found) == (FAIL, "https://127.0.0.1:9/api: nobody answers")


@pytest.mark.parametrize(("today", "status"), [(date(2024, 6, 3), OK), (date(2999, 1, 1), WARN)])
def test_calendar_must_know_the_weeks_ahead(today: date, status: CheckStatus) -> None:
    """A year without holidays in the table would be guessed."""
    assert doctor.check_calendar(today).status is status


def test_calendar_warns_before_its_last_year_ends() -> None:
    """Three weeks before, so that there is time to add the next year."""
    from sensequant.market.sessions import nse_calendar  # noqa: PLC0415

    check = doctor.check_calendar(date(nse_calendar().last.year, 12, 20))

    assert check.status is WARN
    assert str(nse_calendar().last.year + 1) in check.remedy


def test_check_that_raises_has_failed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free_port: int
) -> None:
    """The error's finding and remedy are the check's; the other checks go on."""

    def refuse() -> Check:
        raise ConfigError("no device", found="nothing", remedy="buy one")

    monkeypatch.setattr(doctor, "check_lightgbm", refuse)
    monkeypatch.setattr(doctor, "check_packages", doctor.check_python)
    checks = list(doctor.check_all(read_environment(home=tmp_path, port=free_port)))

    assert Check("lightgbm", FAIL, "nothing", "buy one") in checks
    assert checks[-1].name == "calendar"


@pytest.mark.parametrize(("status", "code"), [(OK, 0), (WARN, 0), (FAIL, 1)])
def test_doctor_fails_only_when_a_run_would(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    status: CheckStatus,
    code: int,
) -> None:
    """A warning is printed with its remedy and changes no exit code."""
    remedy = "" if status is OK else "mend it"

    def check(_env: Environment) -> list[Check]:
        return [Check("disk", status, "5 GiB", remedy)]

    monkeypatch.setattr(doctor, "check_all", check)

    assert main(["doctor"]) == code
    output = capsys.readouterr().out
    assert output.splitlines()[1].split() == [status.value, "disk", "5", "GiB"]
    assert ("what to do about disk: mend it" in output) == (status is not OK)


def test_lightgbm_says_its_device() -> None:
    """A device is found by fitting on it."""
    assert doctor.check_lightgbm().found.startswith(f"{version('lightgbm')} on ")


def test_code_is_named_by_its_digest() -> None:
    """The version alone does not tell two states of a checkout apart."""
    assert doctor.check_code().found.startswith(version("sensequant"))
