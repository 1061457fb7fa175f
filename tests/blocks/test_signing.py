"""Where the key that signs manifests comes from."""

import pytest
from pydantic import SecretStr

from blocks.environment import read_environment
from blocks.signing import DEFAULT_BLOCK, ManifestSigningKey, signing_key
from sensequant.errors import ConfigError

VARIABLES = ("SENSEQUANT_SIGNING_KEY", "SENSEQUANT_TRUSTED_KEYS")
KEY = "ab" * 32


@pytest.fixture(autouse=True)
def stored(monkeypatch: pytest.MonkeyPatch) -> dict[str, ManifestSigningKey]:
    """Let no variable of this machine count, and keep blocks in memory in place of a server."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    blocks: dict[str, ManifestSigningKey] = {}

    def load(name: str) -> ManifestSigningKey:
        if name not in blocks:
            message = f"Unable to find block document named {name}"
            raise ValueError(message)
        return blocks[name]

    monkeypatch.setattr(ManifestSigningKey, "load", load)
    return blocks


def test_without_a_key_nothing_is_signed() -> None:
    """Which is allowed."""
    assert signing_key() is None


def test_the_environment_comes_before_the_block(
    monkeypatch: pytest.MonkeyPatch, stored: dict[str, ManifestSigningKey]
) -> None:
    """And neither is shown to whoever prints it."""
    stored[DEFAULT_BLOCK] = ManifestSigningKey(secret_key=SecretStr("cd" * 32))
    found = signing_key()
    assert found is not None
    assert found.get_secret_value() == "cd" * 32

    monkeypatch.setenv("SENSEQUANT_SIGNING_KEY", KEY)
    found = signing_key()
    assert found is not None
    assert (found.get_secret_value(), KEY in repr(found)) == (KEY, False)


def test_trusted_keys_are_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of public keys; anything else is refused by the name of the variable."""
    assert read_environment().trusted_keys == ()
    monkeypatch.setenv("SENSEQUANT_TRUSTED_KEYS", f"{KEY.upper()}, {'0' * 64}")
    assert read_environment().trusted_keys == (KEY, "0" * 64)
    monkeypatch.setenv("SENSEQUANT_TRUSTED_KEYS", f"{KEY},")
    with pytest.raises(ConfigError, match=r"SENSEQUANT_TRUSTED_KEYS.*64 hexadecimal digits"):
        read_environment()
