"""Facts about the environment: bounds, precedence, and the variables that Prefect is given."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from prefect.settings import (
    PREFECT_SERVER_DATABASE_CONNECTION_URL,
    get_current_settings,
    temporary_settings,
)
from pydantic import ValidationError

from blocks.environment import (
    SERVER_SETTINGS_FILE,
    Environment,
    apply_variables,
    child_environment,
    environment_now,
    prefect_environment,
    read_environment,
    server_environment,
    server_settings,
)
from sensequant.errors import ConfigError


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Take every variable of this project and of Prefect away, and work in an empty folder."""
    for name in list(os.environ):
        if name.startswith(("SENSEQUANT_", "PREFECT_", "DO_NOT_TRACK")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_defaults_stand_where_nothing_is_said(bare: Path) -> None:
    """Home is ./data made absolute, the server is on loopback 4200, workers are not limited."""
    env = read_environment()

    assert bare / "data" == env.home
    assert env.server_url == "http://127.0.0.1:4200/api"
    assert env.workers is None
    assert not env.is_port_given
    assert env.local_port == 4200


def test_environment_now_is_read_again_only_when_something_changed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The same object while nothing changes; a variable, or the folder of a relative home, does."""
    first = environment_now()
    assert environment_now() is first

    for name, value in {"SENSEQUANT_WORKERS": "3", "CUDA_VISIBLE_DEVICES": "1"}.items():
        monkeypatch.setenv(name, value)
        assert environment_now() == Environment() != first
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert environment_now().home == tmp_path / "below" / "data"


def test_environment_says_what_the_default_does_not(
    monkeypatch: pytest.MonkeyPatch, bare: Path
) -> None:
    """Variables are read; an empty one counts as not given."""
    monkeypatch.setenv("SENSEQUANT_HOME", "elsewhere")
    monkeypatch.setenv("SENSEQUANT_PORT", "5001")
    monkeypatch.setenv("SENSEQUANT_WORKERS", "3")
    monkeypatch.setenv("PREFECT_API_URL", "")

    env = Environment()

    assert bare / "elsewhere" == env.home
    assert env.port == 5001
    assert env.workers == 3
    assert env.api_url is None
    assert env.is_port_given


def test_command_line_wins_over_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each of the three options takes the place of its variable."""
    monkeypatch.setenv("SENSEQUANT_HOME", "elsewhere")
    monkeypatch.setenv("SENSEQUANT_PORT", "5001")
    monkeypatch.setenv("SENSEQUANT_WORKERS", "3")

    env = read_environment(home=tmp_path / "mine", port=5002, workers=4)

    assert (tmp_path / "mine", 5002, 4) == (env.home, env.port, env.workers)


def test_home_of_a_user_is_expanded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A tilde means the user's folder, also where no shell expanded it."""
    monkeypatch.setenv("HOME", str(tmp_path))

    assert tmp_path / "quant" == read_environment(home=Path("~/quant")).home


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SENSEQUANT_PORT", "80"),
        ("SENSEQUANT_PORT", "70000"),
        ("SENSEQUANT_PORT", "many"),
        ("SENSEQUANT_WORKERS", "0"),
        ("PREFECT_API_URL", "127.0.0.1:4200"),
        # On all networks of this machine, among them ones that nobody thinks of.
        ("SENSEQUANT_HOST", "0.0.0.0"),  # noqa: S104
        ("SENSEQUANT_HOST", "prefect.example"),
    ],
)
def test_bad_variable_is_refused_by_its_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """The error names the variable and what it was."""
    monkeypatch.setenv(name, value)

    with pytest.raises(ConfigError) as caught:
        read_environment()

    assert caught.value.where == name
    assert value in caught.value.found


def test_port_and_address_must_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port beside the address of another server would be a setting that does nothing."""
    monkeypatch.setenv("PREFECT_API_URL", "http://prefect.example:4200/api")

    with pytest.raises(ConfigError, match="SENSEQUANT_PORT and PREFECT_API_URL"):
        read_environment(port=4200)
    with pytest.raises(ValidationError):
        Environment(SENSEQUANT_PORT=4201)  # pyright: ignore[reportCallIssue]


@pytest.mark.parametrize(
    ("address", "port"),
    [
        ("http://127.0.0.1:4311/api", 4311),
        ("http://localhost:4312/api", 4312),
        ("http://[::1]:4313/api", 4313),
        ("http://127.0.0.1/api", 80),
        ("https://127.0.0.1:4311/api", None),
        ("http://10.0.0.7:4200/api", None),
        ("https://prefect.example/api", None),
    ],
)
def test_server_is_local_only_on_loopback(
    monkeypatch: pytest.MonkeyPatch, address: str, port: int | None
) -> None:
    """Only a plain loopback address is a server that may be started here."""
    monkeypatch.setenv("PREFECT_API_URL", address)

    env = read_environment()

    assert env.local_port == port
    assert env.server_url == address
    assert env.ui_url == address.removesuffix("/api")


def test_other_port_moves_the_whole_address(tmp_path: Path) -> None:
    """Home and workers stay, the address follows the port."""
    moved = read_environment(home=tmp_path, workers=2).on_port(4999)

    assert moved.server_url == "http://127.0.0.1:4999/api"
    assert (moved.home, moved.workers, moved.local_port) == (tmp_path, 2, 4999)


def test_server_listens_for_others_only_where_it_was_asked_to(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The address is that of the server for this machine, its children and another port as well."""
    env = read_environment(home=tmp_path, host="10.1.2.3", port=4803)

    assert env.server_url == "http://10.1.2.3:4803/api"
    assert env.local_port == 4803
    assert env.on_port(4999).server_url == "http://10.1.2.3:4999/api"
    variables = prefect_environment(env)
    assert variables["PREFECT_SERVER_API_HOST"] == "10.1.2.3"
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert read_environment().local_port == 4803
    assert prefect_environment(read_environment()) == variables


def test_everything_of_prefect_lies_below_the_home(tmp_path: Path) -> None:
    """Database, results and unpacked pages stand in <home>/prefect."""
    variables = prefect_environment(read_environment(home=tmp_path, port=4800))

    assert variables["PREFECT_HOME"] == str(tmp_path / "prefect")
    assert variables["PREFECT_LOCAL_STORAGE_PATH"] == str(tmp_path / "prefect" / "results")
    assert variables["PREFECT_SERVER_UI_STATIC_DIRECTORY"] == str(tmp_path / "prefect" / "ui")
    assert variables["PREFECT_API_URL"] == "http://127.0.0.1:4800/api"
    assert variables["PREFECT_SERVER_API_PORT"] == variables["SENSEQUANT_PORT"] == "4800"
    assert variables["SENSEQUANT_HOME"] == str(tmp_path)


def test_operator_may_tune_the_server_but_not_the_results(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment wins over server.env, and never over what correctness rests on."""
    monkeypatch.setenv("PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE", "7")
    monkeypatch.setenv("PREFECT_RESULTS_DEFAULT_SERIALIZER", "pickle")
    monkeypatch.setenv("PREFECT_SERVER_ALLOW_EPHEMERAL_MODE", "true")

    variables = prefect_environment(read_environment())

    assert variables["PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE"] == "7"
    assert variables["PREFECT_RESULTS_DEFAULT_SERIALIZER"] == "json"
    assert variables["PREFECT_SERVER_ALLOW_EPHEMERAL_MODE"] == "false"


def test_server_elsewhere_gets_no_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """The port of a server on another machine is not this machine's to set."""
    monkeypatch.setenv("PREFECT_API_URL", "https://prefect.example/api")

    variables = prefect_environment(read_environment())

    assert "SENSEQUANT_PORT" not in variables
    assert "PREFECT_SERVER_API_PORT" not in variables


def test_variables_mean_the_same_when_they_are_read_back(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A child that reads the variables comes to the same home and address."""
    env = read_environment(home=tmp_path, port=4801)
    for name, value in prefect_environment(env).items():
        monkeypatch.setenv(name, value)

    again = read_environment()

    assert (again.home, again.server_url, again.local_port) == (tmp_path, env.server_url, 4801)


def test_prefect_knows_every_variable_and_takes_its_value(tmp_path: Path) -> None:
    """Each name exists in the installed Prefect, and a client comes to the value that was meant."""
    variables = prefect_environment(read_environment(home=tmp_path, port=4802))
    # An entry of Prefect's logging.yml, which has no list of settings; tests of the console see it.
    del variables["PREFECT_LOGGING_HANDLERS_CONSOLE_CLASS"]
    script = """
import os
from prefect.settings import get_current_settings
from prefect.settings.legacy import _get_settings_fields
from prefect.settings.models.root import Settings
names = _get_settings_fields(Settings)
unknown = [name for name in os.environ if name.startswith("PREFECT_") and name not in names]
settings = get_current_settings()
recorder = settings.server.services.task_run_recorder
persister = settings.server.services.event_persister
print(unknown, settings.api.url, settings.home, settings.results.local_storage_path)
print(settings.results.default_serializer, settings.server.ephemeral.enabled)
print(settings.server.analytics_enabled, settings.server.ui.show_promotional_content)
print(recorder.batch_size, recorder.read_batch_size, int(recorder.flush_interval))
print(persister.batch_size, persister.read_batch_size, settings.server.api.port)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=child_environment(variables),
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.split("\n")[:5] == [
        f"[] http://127.0.0.1:4802/api {tmp_path}/prefect {tmp_path}/prefect/results",
        "json False",
        "False False",
        "200 200 1",
        "500 100 4802",
    ]


def test_prefect_is_not_loaded_by_reading_the_environment() -> None:
    """Whoever sets variables for Prefect must come before it."""
    code = "import sys, blocks.environment; sys.exit('prefect' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_settings_file_is_readable_by_other_tools() -> None:
    """Every line is NAME=VALUE without quotes, as shells and container tools read it too."""
    settings = server_settings()

    assert settings["DO_NOT_TRACK"] == "1"
    assert not any(set(value) & set("\"' $") for value in settings.values())
    assert SERVER_SETTINGS_FILE.name == "server.env"


def test_settings_file_that_is_missing_is_named(tmp_path: Path) -> None:
    """The error says which file."""
    with pytest.raises(ConfigError, match=r"server\.env"):
        server_settings(tmp_path / "server.env")


@pytest.mark.parametrize("line", ["PREFECT_HOME", "export A=1", "a-b=1", "=1"])
def test_line_that_is_no_setting_is_named_by_its_number(tmp_path: Path, line: str) -> None:
    """Comments and empty lines count as lines."""
    path = tmp_path / "server.env"
    path.write_text(f"# comment\n\n{line}\n", encoding="utf-8")

    with pytest.raises(ConfigError, match="line 3"):
        server_settings(path)


def test_variables_reach_this_process_and_its_children(monkeypatch: pytest.MonkeyPatch) -> None:
    """Applied ones stay; a child's environment has them on top of everything else."""
    monkeypatch.setenv("SENSEQUANT_WORKERS", "1")

    apply_variables({"SENSEQUANT_WORKERS": "2"})

    assert os.environ["SENSEQUANT_WORKERS"] == "2"
    child = child_environment({"SENSEQUANT_WORKERS": "9"})
    assert child["SENSEQUANT_WORKERS"] == "9"
    assert child["PATH"] == os.environ["PATH"]


def test_the_registry_is_a_file_unless_an_address_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Runs and workers are told it, because they record candidates; nobody is shown it."""
    alone = read_environment().registry_url
    address = "postgresql+psycopg://me:hush@db.example/registry"
    monkeypatch.setenv("SENSEQUANT_REGISTRY_URL", address)
    env = read_environment().on_port(4321)

    assert alone is None
    assert env.registry_url is not None
    assert env.registry_url.get_secret_value() == address
    assert child_environment({})["SENSEQUANT_REGISTRY_URL"] == address
    assert "hush" not in repr(env)


def test_the_ledger_is_a_file_unless_an_address_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """The address may hold a password, so it is not shown."""
    alone = read_environment().ledger
    address = "postgresql+psycopg://me:hush@db.example/ledger"
    monkeypatch.setenv("SENSEQUANT_LEDGER_URL", address)
    env = read_environment()

    assert alone is None
    assert env.ledger == address
    assert "hush" not in repr(env)


@pytest.mark.parametrize(
    "variable", ["SENSEQUANT_DATABASE", "PREFECT_SERVER_DATABASE_CONNECTION_URL"]
)
def test_address_of_the_database_reaches_the_server_alone(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """Workers, runs and commands inherit the environment, but not the password in it."""
    monkeypatch.setenv(variable, "postgresql+asyncpg://ann:swordfish@db/prefect")
    env = read_environment()

    everybody = child_environment(prefect_environment(env))
    server = child_environment(server_environment(env))

    assert "swordfish" not in str(everybody)
    assert "PATH" in everybody
    holding = [name for name, value in server.items() if "swordfish" in value]
    assert holding == ["PREFECT_SERVER_DATABASE_CONNECTION_URL"]
    assert "swordfish" not in repr(env)


def test_address_of_the_database_is_told_to_nobody_who_asks_for_settings() -> None:
    """Prefect's own settings, which its commands and pages print, keep it as a secret."""
    address = "postgresql+asyncpg://ann:swordfish@db/prefect"
    with temporary_settings({PREFECT_SERVER_DATABASE_CONNECTION_URL: address}):
        settings = get_current_settings()

    shown = (str(settings), repr(settings), settings.model_dump_json())
    assert str(settings.server.database.connection_url) != address
    assert not [text for text in shown if "swordfish" in text]
