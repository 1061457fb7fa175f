"""Where a login to the Breeze API comes from."""

import pytest
from pydantic import SecretStr

from blocks.credentials import BreezeCredentials, NewsApiKey, breeze_login, newsapi_key
from sensequant.errors import ConfigError

NAMES = ("BREEZE_API_KEY", "BREEZE_API_SECRET", "BREEZE_SESSION_TOKEN")


@pytest.fixture(autouse=True)
def stored(monkeypatch: pytest.MonkeyPatch) -> dict[str, BreezeCredentials]:
    """Let no variable of this machine count, and keep blocks in memory in place of a server."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    blocks: dict[str, BreezeCredentials] = {}

    def load(name: str) -> BreezeCredentials:
        if name not in blocks:
            message = f"Unable to find block document named {name}"
            raise ValueError(message)
        return blocks[name]

    monkeypatch.setattr(BreezeCredentials, "load", load)
    return blocks


def block(word: str) -> BreezeCredentials:
    return BreezeCredentials(
        api_key=SecretStr(f"{word}-key"),
        secret_key=SecretStr(f"{word}-secret"),
        session_token=SecretStr(f"{word}-token"),
    )


def key_of(block_name: str | None = None) -> str:
    return breeze_login(block_name).api_key.get_secret_value()


def test_the_environment_comes_before_the_default_block(
    monkeypatch: pytest.MonkeyPatch, stored: dict[str, BreezeCredentials]
) -> None:
    """A person at a terminal wins over what is stored for all."""
    stored["breeze"] = block("stored")
    assert key_of() == "stored-key"
    for name in NAMES:
        monkeypatch.setenv(name, f"given-{name[-5:]}")
    assert key_of() == "given-I_KEY"


def test_a_named_block_is_taken_whatever_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, stored: dict[str, BreezeCredentials]
) -> None:
    """Whoever names a block means that one."""
    stored["mine"] = block("mine")
    for name in NAMES:
        monkeypatch.setenv(name, "given")
    assert key_of("mine") == "mine-key"


@pytest.mark.parametrize("missing", NAMES)
def test_two_of_three_are_no_login(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    """The error says what is expected and shows no secret."""
    for name in NAMES:
        if name != missing:
            monkeypatch.setenv(name, "hush-hush")
    with pytest.raises(ConfigError, match="no login to the Breeze API") as caught:
        breeze_login()
    assert "BREEZE_API_KEY" in str(caught.value)
    assert "hush" not in str(caught.value)


def test_a_block_shows_no_secret() -> None:
    """Neither its text nor its JSON holds key, secret or token; what it hands on holds them."""
    found = block("hush")
    for text in (repr(found), str(found), found.model_dump_json(), repr(found.login)):
        assert "hush" not in text
    assert found.login.session_token.get_secret_value() == "hush-token"


def test_a_key_of_news_is_that_of_the_environment_or_of_a_block(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A named block wins; without any, the message says what to save; no text shows the key."""
    kept = NewsApiKey(api_key=SecretStr("block-key"))

    def load(name: str) -> NewsApiKey:
        if name != "mine":
            raise ValueError(name)
        return kept

    monkeypatch.setattr(NewsApiKey, "load", load)
    monkeypatch.delenv("NEWSAPI_KEY", raising=False)
    with pytest.raises(ConfigError, match="no key of NewsAPI"):
        newsapi_key()
    monkeypatch.setenv("NEWSAPI_KEY", "own-key")
    assert newsapi_key().get_secret_value() == "own-key"
    assert newsapi_key("mine").get_secret_value() == "block-key"
    assert "key" not in str(newsapi_key("mine"))
    assert "block-key" not in repr(kept)
