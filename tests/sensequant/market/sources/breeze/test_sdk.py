"""Tests of how the SDK is loaded and used."""

import base64
import hashlib
import json
import logging
import os
import subprocess
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from urllib3.util import connection

from sensequant.errors import ConfigError, SenseQuantError
from sensequant.market.sources.breeze import sdk
from sensequant.market.sources.breeze.credentials import BreezeLogin
from sensequant.market.sources.breeze.endpoints import VENDOR, Endpoints
from sensequant.market.sources.breeze.sdk import SdkSession, load_sdk, open_sdk, resolved
from sensequant.market.sources.breeze.transport import TransportConfig

IN_A_FRESH_PROCESS = """
import logging, os, sys, threading
before = set(threading.enumerate()), list(sys.path), os.getcwd()
import urllib.request, socket
def refuse(*_, **__):
    raise AssertionError("the network was reached")
urllib.request.urlopen = socket.socket.connect = socket.getaddrinfo = refuse
from sensequant.market.sources.breeze.endpoints import VENDOR, Endpoints
from sensequant.market.sources.breeze.sdk import load_sdk
import config
assert config.MINE == "the project's own", config
for endpoints in (VENDOR, Endpoints(v1="http://127.0.0.1:1/")):
    load_sdk(endpoints)
assert sys.modules["config"] is config and config.MINE
import urllib3.util.connection
assert urllib3.util.connection.HAS_IPV6
assert "pandas" not in sys.modules and "breeze_connect" not in sys.modules
loggers = logging.Logger.manager.loggerDict
assert not {"APILogger", "WebsocketLogger"} & set(loggers), loggers
assert before == (set(threading.enumerate()), sys.path, os.getcwd())
print("untouched")
"""


@pytest.fixture
def session(service: Any, login: BreezeLogin) -> Iterator[SdkSession]:
    with open_sdk(service.endpoints, login) as made:
        yield made


def _history(session: SdkSession, version: Any = "v2") -> Any:
    return session.history(
        "RELIND",
        interval="1minute",
        from_date="2024-03-01T00:00:00.000Z",
        to_date="2024-03-04T23:59:59.000Z",
        version=version,
    )


def test_process_is_left_as_it_was(tmp_path: Path) -> None:
    """No network, no file, no logger, no path, no module, even where nothing can be written."""
    own = tmp_path / "own"
    own.mkdir()
    (own / "config.py").write_text('MINE = "the project\'s own"\n')
    paths = [str(own), str(Path.cwd()), *filter(None, sys.path)]
    result = subprocess.run(
        [sys.executable, "-c", IN_A_FRESH_PROCESS],
        cwd="/proc",
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.stdout == "untouched\n", result.stderr
    assert result.stderr == ""


def test_nothing_is_written_into_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, service: Any, login: BreezeLogin
) -> None:
    """Neither loading nor calls make the SDK's folder of logs."""
    monkeypatch.chdir(tmp_path)
    sdk._loaded.cache_clear()
    with open_sdk(service.endpoints, login) as session:
        session.log_in()
        session.quotes("NIFTY")

    assert list(tmp_path.iterdir()) == []


def test_two_services_live_in_one_process(
    start_service: Callable[[], Any], login: BreezeLogin
) -> None:
    """Each instance calls its own addresses, v2 too, which the SDK keeps per process."""
    services = [start_service(), start_service()]
    sessions = [open_sdk(service.endpoints, login) for service in services]
    for session in sessions:
        session.log_in()
    for session, version in zip(sessions, ("v1", "v2"), strict=True):
        _history(session, version)
        session.close()

    assert [service.kinds() for service in services] == [
        ["customerdetails", "v1"],
        ["customerdetails", "v2"],
    ]


def test_module_is_loaded_once_for_each_address() -> None:
    """Threads that ask at the same time receive the same copy."""
    endpoints = Endpoints(v1="http://127.0.0.1:2/")
    loaded: list[object] = []
    threads = [
        threading.Thread(target=lambda: loaded.append(load_sdk(endpoints))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(loaded) == 8
    assert len({id(module) for module in loaded}) == 1
    assert loaded[0] is not load_sdk(VENDOR)


def test_login_is_one_request_as_the_service_documents_it(
    session: SdkSession, service: Any, login: BreezeLogin
) -> None:
    """A GET with the token and the key in its body; no download of the security master."""
    outcome = session.log_in()

    assert (outcome.failures, outcome.n_requests) == ((), 1)
    assert service.kinds() == ["customerdetails"]
    assert {
        "SessionToken": login.session_token.get_secret_value(),
        "AppKey": login.api_key.get_secret_value(),
    } == json.loads(service.seen[0].fields["body"])


def test_old_history_is_signed_over_its_bytes(
    session: SdkSession, service: Any, login: BreezeLogin
) -> None:
    """The checksum is that of the vendor: sha256 of time, body and secret."""
    session.log_in()
    _history(session, "v1")

    headers, fields = service.seen[1].headers, service.seen[1].fields
    signed = headers["X-Timestamp"] + fields["body"] + login.secret_key.get_secret_value()
    assert headers["X-Checksum"] == f"token {hashlib.sha256(signed.encode()).hexdigest()}"
    assert fields["interval"] == "minute"
    assert fields["exchange_code"] == "NSE"


def test_new_history_is_asked_for_by_query(session: SdkSession, service: Any) -> None:
    """The parameters stand in the address, the session in a header."""
    session.log_in()
    _history(session)

    seen = service.seen[1]
    assert seen.fields == {
        "interval": "1minute",
        "from_date": "2024-03-01T00:00:00.000Z",
        "to_date": "2024-03-04T23:59:59.000Z",
        "stock_code": "RELIND",
        "exch_code": "NSE",
        "product_type": "cash",
    }
    assert base64.b64decode(seen.headers["X-SessionToken"]) == b"ABUSER01:51234567"


def test_login_can_be_shared(session: SdkSession, service: Any, login: BreezeLogin) -> None:
    """Another instance signs with the same session and makes no login of its own."""
    session.log_in()
    with open_sdk(service.endpoints, login) as other:
        other.adopt(session.share())
        outcome = other.quotes("NIFTY")

    assert outcome.failures == ()
    assert service.kinds() == ["customerdetails", "quotes"]
    assert outcome.value["Success"][0]["ltp"] == 100.5


def test_nothing_to_share_before_the_login(session: SdkSession) -> None:
    """Without a login there is no session."""
    with pytest.raises(ConfigError, match="no login to share"):
        session.share()


def test_probe_and_option_chain_travel_too(session: SdkSession, service: Any) -> None:
    """Both reach the service; option chains are asked of the derivatives' exchange."""
    session.log_in()
    session.probe()
    session.option_chain(
        "NIFTY", expiry_date="2024-03-28T06:00:00.000Z", right="call", strike_price=""
    )

    assert service.kinds() == ["customerdetails", "customerdetails", "optionchain"]
    assert service.seen[2].fields["exchange_code"] == "NFO"
    assert "strike_price" not in service.seen[2].fields


def test_exceptions_are_kept_as_types_only(session: SdkSession, service: Any) -> None:
    """The SDK raises bare exceptions; the original is found behind them, its text is not kept."""
    session.log_in()
    service.script("v2", b"", breaks="reset")
    outcome = _history(session)

    assert outcome.reply is None
    assert Exception is outcome.failures[0]
    assert any(issubclass(kind, requests.ConnectionError) for kind in outcome.failures)


def test_a_ring_of_exceptions_ends() -> None:
    """Exceptions that name each other are each counted once."""
    first, second = ValueError(), KeyError()
    first.__context__, second.__context__ = second, first

    assert (ValueError, KeyError) == sdk._chain_of(first)


def test_no_logger_and_no_text_receives_a_secret(
    service: Any,
    login: BreezeLogin,
    secrets: tuple[str, ...],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """At DEBUG on the root logger, with replies that hold the session and with refused ones."""
    caplog.set_level(logging.DEBUG)
    with open_sdk(service.endpoints, login) as session:
        outcomes = [session.log_in(), session.probe(), session.quotes("NIFTY")]
        service.script("v1", {"Success": None, "Status": 500, "Error": secrets[0]})
        service.script("v2", b"", breaks="reset")
        outcomes += [_history(session, "v1"), _history(session, "v2")]
        shown = [repr(session), *(repr(outcome) for outcome in outcomes)]
        redacted = session.redact(" ".join(secrets) + " k3y%2Bwith%3Dsigns%21 rest")
    captured = capfd.readouterr()
    texts = [*shown, redacted, captured.out, captured.err]
    texts += [record.getMessage() + str(vars(record)) for record in caplog.records]

    assert not [text for text in texts for secret in secrets if secret in text]
    assert redacted.endswith(" rest")
    assert "k3y" not in redacted
    # The library that sends does log, so the test would see it.
    assert any(record.name.startswith("urllib3") for record in caplog.records)


def test_header_that_cannot_be_sent_is_not_shown(
    session: SdkSession, secrets: tuple[str, ...]
) -> None:
    """The library's message would show the header's value."""
    session._breeze.api_key = secrets[0] + "\n"
    session.log_in()
    outcome = _history(session)

    assert any(issubclass(kind, requests.exceptions.InvalidHeader) for kind in outcome.failures)
    assert not [secret for secret in secrets if secret in repr(outcome)]


def test_signing_warns_of_nothing(session: SdkSession) -> None:
    """The SDK's utcnow is deprecated from Python 3.12 on, and warnings may be errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        now = load_sdk(VENDOR).datetime.utcnow()

    assert now.tzinfo is None
    assert session.log_in().failures == ()


def test_sdk_finds_pandas_when_it_needs_it() -> None:
    """It is loaded for the one method that uses it, not before."""
    assert callable(load_sdk(VENDOR).pd.read_csv)


def test_copy_of_the_module_works_without_a_session(service: Any) -> None:
    """Somebody may use the copy as the SDK's documentation says; IPv6 stays as it was."""
    service.script("customerdetails", b"[]")
    module = load_sdk(service.endpoints)
    response = module.requests.get(f"{service.base}/v1/customerdetails")

    assert response.json() == []
    assert connection.HAS_IPV6
    assert not hasattr(module.requests, "post")


def test_master_of_the_copy_is_empty() -> None:
    """What the SDK takes for the downloaded file is a zip without a member."""
    assert load_sdk(VENDOR).zip.namelist() == []


def test_resolved_addresses_are_the_vendors_where_none_is_given() -> None:
    """The SDK's own constants fill the gaps."""
    addresses = resolved(Endpoints(v2="http://127.0.0.1:3/"))

    assert addresses.v2 == "http://127.0.0.1:3/"
    assert addresses.v1.startswith("https://")
    assert addresses.master.endswith("SecurityMaster.zip")


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({}, "no config.py"),
        ({"config.py": "API_URL = ''"}, "BREEZE_NEW_URL"),
        ({"config.py": None, "breeze_connect.py": "BreezeConnect = None"}, "ApificationBreeze"),
    ],
)
def test_another_layout_of_the_sdk_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    files: dict[str, str | None],
    found: str,
) -> None:
    """A release that is built otherwise is not half used."""
    package = tmp_path / "breeze_other"
    package.mkdir()
    real = Path(str(load_sdk(VENDOR).__file__)).parent
    for name, text in files.items():
        (package / name).write_text((real / name).read_text() if text is None else text)
    monkeypatch.setattr(sdk, "_PACKAGE", "breeze_other")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])

    with pytest.raises(ConfigError, match=found):
        load_sdk(Endpoints(v1=f"http://127.0.0.1/{found}/"))


def test_missing_sdk_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package the message says which one."""
    monkeypatch.setattr(sdk, "_PACKAGE", "breeze_nowhere")

    with pytest.raises(ConfigError, match="not installed"):
        resolved(VENDOR)


def test_timeouts_fire(service: Any, login: BreezeLogin) -> None:
    """A call ends after the time set, although the SDK itself would wait for ever."""
    service.script("customerdetails", b"{}", delay_seconds=0.6)
    config = TransportConfig(
        connect_seconds=1.0, read_seconds=0.1, is_direct=True, has_ipv4_only=False
    )
    with open_sdk(service.endpoints, login, transport=config) as session:
        outcome = session.log_in()

    assert any(issubclass(kind, requests.ReadTimeout) for kind in outcome.failures)


def test_errors_of_loading_show_nothing(login: BreezeLogin, secrets: tuple[str, ...]) -> None:
    """A message about the SDK cannot hold what the SDK was never given."""
    try:
        sdk._executed("nowhere", {})
    except SenseQuantError as error:
        text = "".join(traceback.format_exception(error))
    else:
        text = ""

    assert "nowhere" in text
    assert not [secret for secret in secrets if secret in text + repr(login)]
