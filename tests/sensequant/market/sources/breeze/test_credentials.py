"""Tests of the login."""

import dataclasses
import json
import traceback

import pytest
from pydantic import SecretStr

from sensequant.errors import ConfigError
from sensequant.market.sources.breeze.credentials import BreezeLogin, SharedLogin
from sensequant.records import digest_of

SECRETS = ("the-key", "the-secret", "the-token")


def _login(*texts: str) -> BreezeLogin:
    return BreezeLogin(*(SecretStr(text) for text in texts or SECRETS))


def test_nothing_shows_a_secret() -> None:
    """No text that can be made of a login holds a part of it."""
    login = _login()
    shared = SharedLogin(SecretStr("the-user"), SecretStr("the-key"))
    texts = [
        *(shown(value) for shown in (repr, str) for value in (login, shared)),
        f"{login!r:>40} {login}",
        str(dataclasses.asdict(login)),
        str(dataclasses.astuple(shared)),
        json.dumps(dataclasses.asdict(login), default=str),
    ]

    assert not [text for text in texts for secret in (*SECRETS, "the-user") if secret in text]


def test_a_login_has_no_digest() -> None:
    """A login that gets into a record by mistake is refused."""
    with pytest.raises(TypeError):
        digest_of(_login())


def test_key_is_named_by_a_digest() -> None:
    """The name is the beginning of the sha256 of the app key alone."""
    # printf %s the-key | sha256sum | cut -c1-12
    expected = "ad44dc8e51cf"

    assert expected == _login().key_digest
    assert expected == _login("the-key", "other", "token").key_digest


@pytest.mark.parametrize("wrong", ["", " the-token", "the-token\n", "the token", "tokén", "a\x00b"])
def test_text_that_is_no_key_is_refused_without_showing_it(wrong: str) -> None:
    """A blank or a line break that was copied too is found before it reaches a header."""
    with pytest.raises(ConfigError) as caught:
        _login("the-key", "the-secret", wrong)

    assert caught.value.where == "session_token"
    assert not wrong.strip() or wrong not in "".join(traceback.format_exception(caught.value))
