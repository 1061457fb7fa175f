"""Who asks the Breeze API: key, secret and session token, none of which may be shown.

Belongs here: the values and their check. Does not belong here: where they come from (the
environment, a Prefect block), or what the SDK makes of them (`sdk`).
"""

import dataclasses
import hashlib

from pydantic import SecretStr

from sensequant.errors import ConfigError

__all__ = ["BreezeLogin", "SharedLogin"]


@dataclasses.dataclass(frozen=True, slots=True, repr=False)
class BreezeLogin:
    """What a person has after logging in by browser.

    Parameters
    ----------
    api_key
        App key; it is sent with every request.
    secret_key
        Secret of the app; it signs requests and is never sent.
    session_token
        API session of today, from the address at which the login page ends.

    Raises
    ------
    ConfigError
        One is empty or holds a blank or another character that no key has. It is not shown.
    """

    api_key: SecretStr
    secret_key: SecretStr
    session_token: SecretStr

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            _require_key(field.name, getattr(self, field.name))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"

    @property
    def key_digest(self) -> str:
        """Name of the app key in records: 12 hexadecimal digits that do not tell the key."""
        return hashlib.sha256(self.api_key.get_secret_value().encode()).hexdigest()[:12]


@dataclasses.dataclass(frozen=True, slots=True, repr=False)
class SharedLogin:
    """What a login yields, with which other workers need no login of their own.

    Parameters
    ----------
    user_id
        The user, as the service names him.
    session_key
        What stands in the header of every request.
    """

    user_id: SecretStr
    session_key: SecretStr

    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"


def _require_key(name: str, secret: SecretStr) -> None:
    text = secret.get_secret_value()
    if not text:
        found = "nothing"
    elif not all("!" <= character <= "~" for character in text):
        found = "a blank, a line break or another character that no key has"
    else:
        return
    raise ConfigError(
        "Breeze login is not usable",
        where=name,
        expected="the text as the vendor's page shows it",
        found=found,
        remedy="copy it again, without anything around it",
    )
