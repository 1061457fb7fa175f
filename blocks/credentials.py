"""Credentials of services: a Prefect block of each, or variables of the environment.

Belongs here: where a login comes from. Does not belong here: what is done with it
(`sensequant.market.sources.breeze`).

A secret is never a parameter of a run, because the pages show parameters. The session token changes
every day: a person logs in by browser and saves it in the block, and running workers read it there.
"""

from typing import cast

from prefect.blocks.core import Block
from pydantic import Field, SecretStr

from blocks.environment import environment_now
from sensequant.errors import ConfigError
from sensequant.market.sources.breeze.credentials import BreezeLogin

__all__ = ["BreezeCredentials", "NewsApiKey", "breeze_login", "newsapi_key"]

DEFAULT_BLOCK = "breeze"


class BreezeCredentials(Block):
    """Key, secret and session token of one user of the Breeze API."""

    _block_type_name = "Breeze Credentials"
    _block_type_slug = "breeze-credentials"
    _description = "Login to the ICICI Breeze API; the session token is renewed every day."

    api_key: SecretStr = Field(description="App key, as the vendor's page shows it.")
    secret_key: SecretStr = Field(description="Secret key of the app; it signs requests.")
    session_token: SecretStr = Field(
        description="API session of today, from the address that the login page ends at."
    )

    @property
    def login(self) -> BreezeLogin:
        """The same for the library, which knows no blocks."""
        return BreezeLogin(self.api_key, self.secret_key, self.session_token)


def breeze_login(block_name: str | None = None) -> BreezeLogin:
    """Return the login of a block; without a name, that of the environment or of block `breeze`.

    Raises
    ------
    ConfigError
        There is no such block, and the environment does not have all three variables.
    """
    if block_name is None:
        env = environment_now()
        if env.breeze_api_key and env.breeze_secret_key and env.breeze_session_token:
            return BreezeLogin(env.breeze_api_key, env.breeze_secret_key, env.breeze_session_token)
    name = block_name or DEFAULT_BLOCK
    try:
        # Outside of an event loop, where tasks of threads are, the block itself comes back.
        block = cast("BreezeCredentials", BreezeCredentials.load(name))
    except ValueError as error:
        raise ConfigError(
            "no login to the Breeze API",
            where=f"block breeze-credentials/{name}",
            expected="a block of that name, or BREEZE_API_KEY, BREEZE_API_SECRET and "
            "BREEZE_SESSION_TOKEN in the environment",
            found="none",
            remedy="save a block of type Breeze Credentials in Prefect's pages, or set the three "
            "variables; --source breeze-simulator needs neither",
        ) from error
    return block.login


class NewsApiKey(Block):
    """Key of an account of NewsAPI."""

    _block_type_name = "NewsAPI Key"
    _block_type_slug = "newsapi-key"
    _description = "Key by which headlines are fetched from NewsAPI; it is sent as a header."

    api_key: SecretStr = Field(description="Key, as the account's page shows it.")


def newsapi_key(block_name: str | None = None) -> SecretStr:
    """Return the key of a block; without a name, that of the environment or of block `newsapi`.

    Raises
    ------
    ConfigError
        There is no such block, and the environment has no key.
    """
    if block_name is None and (key := environment_now().newsapi_key) is not None:
        return key
    name = block_name or "newsapi"
    try:
        block = cast("NewsApiKey", NewsApiKey.load(name))
    except ValueError as error:
        raise ConfigError(
            "no key of NewsAPI",
            where=f"block newsapi-key/{name}",
            expected="a block of that name, or NEWSAPI_KEY in the environment",
            found="none",
            remedy="save a block of type NewsAPI Key in Prefect's pages, or set the variable",
        ) from error
    return block.api_key
