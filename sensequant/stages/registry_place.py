"""Where the registry of a home lies: a file below it, or a database that several machines reach.

Belongs here: opening it, and the guard that a home has one registry and no second one. Does not
belong here: what is in it (`release.registry`), how a database is reached (`databases`), and who
knows its address (`blocks.environment`).

A home whose registry lies elsewhere says so in `registry.json`, without the password. A process
that was not told the address is then refused; it would find no candidate, and begin another
history beside the one that there is.
"""

from contextlib import closing
from pathlib import Path

from pydantic import SecretStr

from sensequant.errors import ConfigError
from sensequant.records import Record
from sensequant.release.registry import Registry
from sensequant.storage import read_json, write_json

__all__ = ["REGISTRY_FILE", "REGISTRY_VARIABLE", "address_kept_at", "registry_of"]

REGISTRY_FILE = "registry.db"
"""The registry of a home that names no other place."""

REGISTRY_VARIABLE = "SENSEQUANT_REGISTRY_URL"
"""What an operator sets, named in what is refused."""

_MARK = "registry.json"


class _Elsewhere(Record):
    """Where the registry of a home lies, as anybody may read it."""

    address: str


def registry_of(home: Path, url: SecretStr | None = None) -> Registry:
    """Return the registry of all runs below a home; close it after use.

    Parameters
    ----------
    home
        Root of all data; made where it is missing.
    url
        Address of the registry, which may hold a password; None for the file below the home.

    Raises
    ------
    ConfigError
        The registry of this home lies elsewhere, or the address cannot be used.
    RegistryError, SchemaVersionError
        The database refused, or its tables have another layout.
    """
    home.mkdir(parents=True, exist_ok=True)
    if url is None:
        _require_no_other(home)
        return Registry(_address_of_file(home))
    if address_kept_at(home) is None:
        _require_nothing_in_the_file(home)
    registry = Registry(url.get_secret_value())
    if address_kept_at(home) is None:
        write_json(home / _MARK, _Elsewhere(address=registry.address))
    return registry


def address_kept_at(home: Path) -> str | None:
    """Return the address, without password, of a registry elsewhere; None: it is the file.

    Raises
    ------
    RecordError
        What a home says of it is damaged.
    """
    path = home / _MARK
    return _Elsewhere.model_validate(read_json(path)).address if path.exists() else None


def _address_of_file(home: Path) -> str:
    return f"sqlite:///{home / REGISTRY_FILE}"


def _require_no_other(home: Path) -> None:
    address = address_kept_at(home)
    if address is not None:
        raise ConfigError(
            "registry of this home lies elsewhere",
            where=str(home / _MARK),
            expected=f"{REGISTRY_VARIABLE}, with the address {address} and its password",
            found=f"no {REGISTRY_VARIABLE}",
            remedy="set it for everything that works on this home: commands, `up` and workers; "
            f"remove {_MARK} only if nothing was ever recorded there",
        )


def _require_nothing_in_the_file(home: Path) -> None:
    path = home / REGISTRY_FILE
    if not path.exists():
        return
    with closing(Registry(_address_of_file(home))) as registry:
        latest = registry.get_latest_candidate_run()
    if latest is not None:
        raise ConfigError(
            "registry of this home is a file already",
            where=str(path),
            expected="a home without candidates, whose registry may begin elsewhere",
            found=f"candidates, the latest {latest.run_id}",
            remedy=f"unset {REGISTRY_VARIABLE}, or choose a new home: history is not begun twice",
        )
