"""Facts about the session that processes of one machine share."""

import os
import stat
import threading
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from sensequant.breeze_simulator import SettableClock
from sensequant.ingestion.kept_logins import KeptLogin
from sensequant.market.sessions import IST
from sensequant.market.sources.breeze.credentials import BreezeLogin, SharedLogin

SHARED = SharedLogin(SecretStr("USER0001"), SecretStr("session-key-of-today"))
KEY, SECRET, TOKEN = "app-key", "secret-of-app", "token-of-today"


def a_login(*, key: str = KEY, secret: str = SECRET, token: str = TOKEN) -> BreezeLogin:
    return BreezeLogin(SecretStr(key), SecretStr(secret), SecretStr(token))


@pytest.fixture
def clock() -> SettableClock:
    """Return a clock one minute before midnight in India."""
    return SettableClock(datetime(2024, 6, 28, 23, 59, tzinfo=IST))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder that is not there yet."""
    return tmp_path / "fetches" / "private"


@pytest.fixture
def kept(folder: Path, clock: SettableClock) -> KeptLogin:
    """Return a place at which a session was left."""
    login = KeptLogin(folder, a_login(), clock)
    with login.alone():
        assert login.kept() is None
        login.keep(SHARED)
    return login


def test_another_process_finds_the_session(kept: KeptLogin, clock: SettableClock) -> None:
    """With the same keys and token, on the same day in India."""
    other = KeptLogin(kept.folder, a_login(), clock)
    found = other.kept()
    clock.advance(timedelta(minutes=1))

    assert found == SHARED
    assert other.kept() is None


@pytest.mark.parametrize(
    "changed", [{"secret": "other"}, {"token": "other"}, {"key": "other"}], ids=str
)
def test_it_is_no_session_for_others(
    kept: KeptLogin, clock: SettableClock, changed: dict[str, str]
) -> None:
    """Who has another token or secret cannot read it; another key has another file."""
    assert KeptLogin(kept.folder, a_login(**changed), clock).kept() is None


def test_the_file_tells_nothing_and_is_its_owners(kept: KeptLogin) -> None:
    """Not one of the secrets is in a file, a name or a representation."""
    content = b"".join(path.read_bytes() for path in kept.folder.iterdir())
    shown = f"{kept!r} {kept.path}".encode()
    secrets = [
        KEY,
        SECRET,
        TOKEN,
        *(field.get_secret_value() for field in (SHARED.user_id, SHARED.session_key)),
    ]

    assert stat.S_IMODE(kept.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.folder.stat().st_mode) == 0o700
    assert not [text for text in secrets if text.encode() in content + shown]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_file_that_others_can_open_is_not_believed(kept: KeptLogin, mode: int) -> None:
    """Somebody may have put it there."""
    kept.path.chmod(mode)

    assert kept.kept() is None


def test_a_file_of_another_user_is_not_believed(
    kept: KeptLogin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it holds."""
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)

    assert kept.kept() is None


@pytest.mark.parametrize("content", [b"", b"gAAAAA", b"\xff\xfe"])
def test_a_damaged_file_is_as_good_as_none(kept: KeptLogin, content: bytes) -> None:
    """The next login replaces it."""
    kept.path.write_bytes(content)
    found = kept.kept()
    kept.keep(SHARED)

    assert found is None
    assert kept.kept() == SHARED


def test_one_at_a_time_looks_or_logs_in(kept: KeptLogin, clock: SettableClock) -> None:
    """Who comes while another logs in waits for it, and finds its session."""
    kept.path.unlink()
    found: list[SharedLogin | None] = []

    def come() -> None:
        other = KeptLogin(kept.folder, a_login(), clock)
        with other.alone():
            found.append(other.kept())

    with kept.alone():
        comer = threading.Thread(target=come)
        comer.start()
        comer.join(0.05)
        assert found == []
        kept.keep(SHARED)
    comer.join(10)

    assert found == [SHARED]
