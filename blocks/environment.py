"""The environment of a process: the only module that reads it, and the one that shapes Prefect's.

Belongs here: which variables this project knows, their bounds, and the variables that a Prefect
server and its clients need. Does not belong here: Prefect itself, which reads its variables when it
is imported, so that everything here must be settled before.

Of two sources of the same value the nearer one wins: an option on the command line, then the
environment, then the default here.
"""

import ipaddress
import os
import re
from collections.abc import Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Any, Self, TypedDict, Unpack
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from sensequant.errors import ConfigError

__all__ = [
    "AUTOMATIONS_FILE",
    "POOLS_FILE",
    "PREFECT_FILES",
    "SERVER_SETTINGS_FILE",
    "UNIVERSES_FOLDER",
    "Environment",
    "Given",
    "apply_variables",
    "child_environment",
    "environment_now",
    "prefect_environment",
    "read_environment",
    "server_environment",
    "server_settings",
]

_DEPLOYMENTS = Path(__file__).parent.parent / "deployments"

SERVER_SETTINGS_FILE = _DEPLOYMENTS / "server.env"
"""Settings of the Prefect server that an operator may override by the environment."""

UNIVERSES_FOLDER = _DEPLOYMENTS / "universes"
"""Dated lists of symbols by name."""

POOLS_FILE = _DEPLOYMENTS / "pools.yaml"
"""Work pools, with one entry that is made once for each GPU."""

AUTOMATIONS_FILE = _DEPLOYMENTS / "automations.yaml"
"""What the server does by itself when something happens, or does not."""

PREFECT_FILES = (_DEPLOYMENTS.parent / "prefect.yaml", _DEPLOYMENTS / "prefect.yaml")
"""Where the deployments stand: at the root of the sources, or inside the wheel."""

_VARIABLES = {
    "home": "SENSEQUANT_HOME",
    "host": "SENSEQUANT_HOST",
    "port": "SENSEQUANT_PORT",
    "workers": "SENSEQUANT_WORKERS",
    "gpus": "SENSEQUANT_GPUS",
    "database": "SENSEQUANT_DATABASE",
    "notify": "SENSEQUANT_NOTIFY",
    "api_url": "PREFECT_API_URL",
}

_FOR_THE_SERVER_ALONE = (
    "SENSEQUANT_DATABASE",
    "PREFECT_SERVER_DATABASE_CONNECTION_URL",
    "PREFECT_API_DATABASE_CONNECTION_URL",
)
"""Variables that may hold the password of the server's database."""


def _absolute(path: Path) -> Path:
    return path.expanduser().absolute()


_LOOPBACK = ipaddress.IPv4Address("127.0.0.1")


class Environment(BaseSettings):
    """What the environment says about this machine's place in the project.

    Empty variables count as not given.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    home: Annotated[Path, AfterValidator(_absolute)] = Field(
        default=Path("data"),
        validate_default=True,
        validation_alias="SENSEQUANT_HOME",
        description="Root of all data at rest; a relative path is taken from the working folder.",
    )
    host: ipaddress.IPv4Address = Field(
        default=_LOOPBACK,
        validation_alias="SENSEQUANT_HOST",
        description="Address of this machine on which the Prefect server listens; loopback, which "
        "no other machine reaches, unless another one is asked for.",
    )
    port: int = Field(
        default=4200,
        ge=1024,
        le=65535,
        validation_alias="SENSEQUANT_PORT",
        description="TCP port of the Prefect server on this machine.",
    )
    workers: int | None = Field(
        default=None,
        ge=1,
        le=256,
        validation_alias="SENSEQUANT_WORKERS",
        description="Units of work that run side by side; the number of cores when not given.",
    )
    visible_devices: str | None = Field(
        default=None,
        validation_alias="CUDA_VISIBLE_DEVICES",
        description="GPUs that a process may use, by number or UUID; set by the work pool.",
    )
    gpus: int | None = Field(
        default=None,
        ge=0,
        le=64,
        validation_alias="SENSEQUANT_GPUS",
        description="GPUs of this machine, each a work pool; those that are found when not given.",
    )
    database: SecretStr | None = Field(
        default=None,
        validation_alias="SENSEQUANT_DATABASE",
        description="PostgreSQL database of the Prefect server that is started here; a file of "
        "SQLite below the home without.",
    )
    notify: str | None = Field(
        default=None,
        pattern=r"^[a-z0-9-]+/[a-z0-9-]+$",
        validation_alias="SENSEQUANT_NOTIFY",
        description="Prefect block that is told of failed runs and of what a person must decide, "
        "as type/name: slack-webhook/ops.",
    )
    api_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^/\s]+/api",
        validation_alias="PREFECT_API_URL",
        description="Address of an existing Prefect server; one is started here without.",
    )

    ledger_url: SecretStr | None = Field(
        default=None,
        validation_alias="SENSEQUANT_LEDGER_URL",
        description="Address of the ledger, postgresql+psycopg://user:password@host/name; a file "
        "below SENSEQUANT_HOME when not given. Machines that share it share the home, too.",
    )
    registry_url: SecretStr | None = Field(
        default=None,
        validation_alias="SENSEQUANT_REGISTRY_URL",
        description="Address of the registry of candidates and deployments, "
        "postgresql+psycopg://user:password@host/name; a file below SENSEQUANT_HOME when not "
        "given. One database serves one home.",
    )
    breeze_api_key: SecretStr | None = Field(
        default=None,
        validation_alias="BREEZE_API_KEY",
        description="App key of the Breeze API; a Prefect block may hold it instead.",
    )
    breeze_secret_key: SecretStr | None = Field(
        default=None,
        validation_alias="BREEZE_API_SECRET",
        description="Secret key of the Breeze API.",
    )
    breeze_session_token: SecretStr | None = Field(
        default=None,
        validation_alias="BREEZE_SESSION_TOKEN",
        description="API session of today; it ends at midnight in India.",
    )
    newsapi_key: SecretStr | None = Field(
        default=None,
        validation_alias="NEWSAPI_KEY",
        description="Key of an account of NewsAPI; a Prefect block may hold it instead.",
    )
    signing_key: SecretStr | None = Field(
        default=None,
        validation_alias="SENSEQUANT_SIGNING_KEY",
        description="Ed25519 key that signs manifests, as 64 hexadecimal digits; a Prefect block "
        "may hold it instead.",
    )
    trusted_keys: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        validation_alias="SENSEQUANT_TRUSTED_KEYS",
        description="Public keys whose signature of a manifest counts, separated by commas; any "
        "when empty.",
    )

    @field_validator("trusted_keys", mode="before")
    @classmethod
    def _trusted_keys_are_keys(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        keys = tuple(key.strip().lower() for key in value.split(","))
        if not all(re.fullmatch("[0-9a-f]{64}", key) for key in keys):
            message = "public keys of 64 hexadecimal digits, separated by commas"
            raise ValueError(message)
        return keys

    @field_validator("host")
    @classmethod
    def _host_is_one_address(cls, value: ipaddress.IPv4Address) -> ipaddress.IPv4Address:
        if value.is_unspecified:
            # It would listen on every network that this machine is in, and Prefect asks nobody for
            # a password.
            message = "the one address on which the server shall listen"
            raise ValueError(message)
        return value

    @field_validator("database")
    @classmethod
    def _database_is_postgresql(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        scheme, separator, rest = value.get_secret_value().partition("://")
        if not separator or scheme.partition("+")[0] not in {"postgresql", "postgres"}:
            message = "postgresql://USER:PASSWORD@HOST/NAME"
            raise ValueError(message)
        # Prefect's server speaks to PostgreSQL through this driver alone.
        return SecretStr(f"postgresql+asyncpg://{rest}")

    @model_validator(mode="after")
    def _port_and_address_agree(self) -> Self:
        if self.api_url is not None and self.is_port_given and self.port != self.local_port:
            message = (
                f"SENSEQUANT_PORT or --port says {self.port}, but PREFECT_API_URL says "
                f"{self.api_url}: unset one of them"
            )
            raise ValueError(message)
        return self

    @property
    def is_port_given(self) -> bool:
        """Whether somebody chose the port, so that no other one may be used in its place."""
        return "port" in self.model_fields_set

    @property
    def local_port(self) -> int | None:
        """Port of the server of this machine; None where the server is elsewhere."""
        if self.api_url is None:
            return self.port
        parts = urlsplit(self.api_url)
        is_here = parts.hostname == str(self.host) or _is_loopback(parts.hostname)
        if parts.scheme != "http" or not is_here:
            return None
        return parts.port or 80

    @property
    def server_url(self) -> str:
        """Address of the server's API."""
        return self.api_url or f"http://{self.host}:{self.port}/api"

    @property
    def ui_url(self) -> str:
        """Address of the server's pages, without a trailing slash."""
        return self.server_url.split("/api", maxsplit=1)[0]

    @property
    def ledger(self) -> str | None:
        """Address of the ledger, which may hold a password; None for the file below the home."""
        return None if self.ledger_url is None else self.ledger_url.get_secret_value()

    @cached_property
    def prefect_home(self) -> Path:
        """Folder of the Prefect server's database, log and state, and of stored results."""
        return self.home / "prefect"

    def on_port(self, port: int) -> Self:
        """Return the same environment with the server of this machine on another port."""
        kept = ("home", "host", "workers", "gpus", "database", "notify")
        return type(self).model_validate(
            {_VARIABLES[name]: getattr(self, name) for name in kept}
            | {
                _VARIABLES["port"]: port,
                _VARIABLES["api_url"]: f"http://{self.host}:{port}/api",
            }
        )


class Given(TypedDict, total=False):
    """What a command line may say in place of the environment; None says nothing."""

    home: Path | None
    host: str | None
    port: int | None
    workers: int | None
    gpus: int | None
    database: str | None
    notify: str | None


def environment_now() -> Environment:
    """Return the environment of this process, read anew where one of its variables has changed.

    Reading it takes a third of a millisecond, which thousands of units of work would each pay.
    """
    given = tuple(os.environ.get(name) for name in _NAMES_OF_VARIABLES)
    return _environment_of(given, Path.cwd())


@lru_cache(maxsize=1)
def _environment_of(_given: tuple[str | None, ...], _folder: Path) -> Environment:
    return Environment()


_NAMES_OF_VARIABLES = tuple(
    str(field.validation_alias) for field in Environment.model_fields.values()
)


def read_environment(**given: Unpack[Given]) -> Environment:
    """Return the environment, with what the command line said in place of it.

    Raises
    ------
    ConfigError
        A value is out of its bounds, or two of them contradict each other.
    """
    said: Mapping[str, Any] = {
        _VARIABLES[name]: value for name, value in given.items() if value is not None
    }
    try:
        return Environment(**said)
    except ValidationError as error:
        first = error.errors()[0]
        names = ".".join(str(part) for part in first["loc"])
        raise ConfigError(
            "environment is wrong",
            where=names or "SENSEQUANT_PORT and PREFECT_API_URL",
            expected=first["msg"].removeprefix("Value error, "),
            # The address of a database holds a password.
            found=repr(first["input"]) if names not in {"", _VARIABLES["database"]} else "",
            remedy="correct the variable or the option of the same name",
        ) from error


def prefect_environment(env: Environment) -> dict[str, str]:
    """Return the variables that a Prefect server and its clients need, complete.

    Returns
    -------
    dict
        The settings of `deployments/server.env` (the environment's own values where it has them),
        then what correctness rests on: where the server is, where its data lie, that no server is
        ever started in passing, and that results are stored as JSON.
    """
    variables = {
        **{name: os.environ.get(name, value) for name, value in server_settings().items()},
        "SENSEQUANT_HOME": str(env.home),
        "PREFECT_API_URL": env.server_url,
        "PREFECT_HOME": str(env.prefect_home),
        "PREFECT_LOCAL_STORAGE_PATH": str(env.prefect_home / "results"),
        "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
        # The server that Prefect starts in passing loses nine of ten task runs.
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
        # By default the pages are unpacked into the installed package, which may be read-only.
        "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(env.prefect_home / "ui"),
    }
    if env.local_port is not None:
        variables["SENSEQUANT_HOST"] = variables["PREFECT_SERVER_API_HOST"] = str(env.host)
        variables["SENSEQUANT_PORT"] = variables["PREFECT_SERVER_API_PORT"] = str(env.local_port)
    return variables


def server_environment(env: Environment) -> dict[str, str]:
    """Return the variables of the server itself: those of everybody, and where its database is.

    The address of a database holds a password, so neither workers nor runs are told.
    """
    given = {name: os.environ[name] for name in _FOR_THE_SERVER_ALONE[1:] if name in os.environ}
    variables = given | prefect_environment(env)
    if env.database is not None:
        address = env.database.get_secret_value()
        variables["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = address
    return variables


def server_settings(path: Path = SERVER_SETTINGS_FILE) -> dict[str, str]:
    """Return the NAME=VALUE lines of a settings file.

    Raises
    ------
    ConfigError
        The file is missing, or a line is neither empty, nor a comment, nor NAME=VALUE.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ConfigError(
            "settings of the server cannot be read",
            where=str(path),
            expected="a file of NAME=VALUE lines",
            found=error.strerror or str(error),
            remedy="install sensequant again; the file is part of it",
        ) from error
    settings: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        name, separator, value = line.partition("=")
        if not separator or not name.isidentifier():
            raise ConfigError(
                "line is no setting",
                where=f"{path}, line {number}",
                expected="NAME=VALUE, a comment or an empty line",
                found=repr(line),
            )
        settings[name] = value.strip()
    return settings


def apply_variables(variables: Mapping[str, str]) -> None:
    """Put variables into this process; must precede the first import of Prefect."""
    os.environ.update(variables)


def child_environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment with `variables` on top, for a child process.

    The address of the server's database is not handed on; `server_environment` has it.
    """
    handed_on = {
        name: value for name, value in os.environ.items() if name not in _FOR_THE_SERVER_ALONE
    }
    return {**handed_on, **variables}


def _is_loopback(host: str | None) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False
