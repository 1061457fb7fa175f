"""The vendor's SDK `breeze-connect`, as it is on disk, without what it does to a process.

Belongs here: how the SDK is loaded, and the few of its methods that are used. Does not belong here:
its socket (`depth_socket`), what replies mean (`classify`), retries (`client`).

Executed plainly, the SDK downloads a file, makes a folder of logs in the working directory, writes
customer details into it and into the loggers of the process, imports a top-level module `config`
after changing `sys.path`, and switches IPv6 off for every library. All of this happens in import
statements and calls of its module, so it is executed with an `__import__` of its own, which hands
it substitutes (`sdk_substitutes`) for `config`, `logging`, `os`, `sys`, `requests`,
`urllib.request`, `datetime`, `pandas` and `socketio`. Nothing of the process is touched and so
nothing needs to be restored; the file on disk is unchanged.

The addresses of the API stand in `config`, one per process. Each `Endpoints` therefore gets a copy
of the module of its own, which is in no table of modules; two simulators and the vendor can live in
one process.
"""

import base64
import builtins
import dataclasses
import importlib
import importlib.util
import threading
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Self
from urllib.parse import quote

from pydantic import SecretStr

from sensequant.errors import ConfigError
from sensequant.market.intervals import Interval
from sensequant.market.sources.breeze.config import HistoryVersion
from sensequant.market.sources.breeze.credentials import BreezeLogin, SharedLogin
from sensequant.market.sources.breeze.endpoints import Endpoints
from sensequant.market.sources.breeze.sdk_substitutes import (
    Datetime,
    Pandas,
    Paths,
    Silent,
    empty_master,
    nothing,
    socket_library,
)
from sensequant.market.sources.breeze.transport import RawReply, Transport, TransportConfig

__all__ = ["EXCHANGE", "Outcome", "SdkSession", "load_sdk", "open_sdk", "resolved"]

EXCHANGE = "NSE"
"""Exchange of every request but those for options."""

_PACKAGE = "breeze_connect"
_PRODUCT = "cash"

_ADDRESSES = {
    "v1": "API_URL",
    "v2": "BREEZE_NEW_URL",
    "master": "SECURITY_MASTER_URL",
    "stream": "LIVE_STREAM_URL",
    "ohlc_stream": "LIVE_OHLC_STREAM_URL",
    "orders": "LIVE_FEEDS_URL",
}

# Copies of the module that are kept; a process with more endpoints than this loads again.
_N_COPIES = 8

_DEFAULT_TRANSPORT = TransportConfig(
    connect_seconds=3.0, read_seconds=25.0, is_direct=False, has_ipv4_only=False
)

# A secret of fewer characters would blacken words of a message that it is not in.
_MIN_REDACTED = 4

_loading = threading.Lock()
_active = threading.local()


@dataclasses.dataclass(frozen=True, slots=True, repr=False)
class Outcome:
    """What came of one use of the SDK.

    Parameters
    ----------
    reply
        The reply as it came; None where none came or none was asked for.
    value
        What the SDK returned.
    failures
        Types of the exceptions that it raised, the outermost first. The exceptions themselves are
        not kept, because their texts can hold headers.
    n_requests
        Requests that were sent.
    """

    reply: RawReply | None
    value: Any
    failures: tuple[type[BaseException], ...]
    n_requests: int


class SdkSession:
    """One instance of the SDK, with a transport of its own. Threads may share it after login.

    Parameters
    ----------
    module
        A copy of the SDK (`load_sdk`).
    login
        Who asks.
    transport
        How requests travel.
    """

    def __init__(self, module: ModuleType, login: BreezeLogin, transport: Transport) -> None:
        self._module = module
        self._login = login
        self._transport = transport
        self._breeze = module.BreezeConnect(login.api_key.get_secret_value())
        # Two downloads of the security master, for websocket tokens that nobody asks for here.
        self._breeze.get_stock_script_list = nothing

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection."""
        self._transport.close()

    def log_in(self) -> Outcome:
        """Exchange the session token for a session: one unsigned request."""
        return self._used(
            self._breeze.generate_session,
            {
                "api_secret": self._login.secret_key.get_secret_value(),
                "session_token": self._login.session_token.get_secret_value(),
            },
        )

    def share(self) -> SharedLogin:
        """Return what another session needs in place of a login of its own.

        Raises
        ------
        ConfigError
            There was no login yet.
        """
        if self._breeze.api_handler is None:
            raise ConfigError("there is no login to share yet", remedy="log in first")
        return SharedLogin(SecretStr(self._breeze.user_id), SecretStr(self._breeze.session_key))

    def adopt(self, shared: SharedLogin) -> None:
        """Go on with the login of another session, without a request."""
        self._breeze.user_id = shared.user_id.get_secret_value()
        self._breeze.session_key = shared.session_key.get_secret_value()
        self._breeze.secret_key = self._login.secret_key.get_secret_value()
        self._breeze.api_handler = self._module.ApificationBreeze(self._breeze)

    def probe(self) -> Outcome:
        """Ask whether the session token still holds: one unsigned request."""
        token = self._login.session_token.get_secret_value()
        return self._used(self._breeze.get_customer_details, {"api_session": token})

    def history(
        self,
        stock_code: str,
        *,
        interval: Interval,
        from_date: str,
        to_date: str,
        version: HistoryVersion,
    ) -> Outcome:
        """Ask for bars; dates as the wire has them."""
        names = {"v1": "get_historical_data", "v2": "get_historical_data_v2"}
        return self._used(
            getattr(self._breeze, names[version]),
            {
                "interval": interval,
                "from_date": from_date,
                "to_date": to_date,
                "stock_code": stock_code,
                "exchange_code": EXCHANGE,
                "product_type": _PRODUCT,
            },
        )

    def quotes(self, stock_code: str) -> Outcome:
        """Ask for the quotes of a share or index: one signed request."""
        return self._used(
            self._breeze.get_quotes,
            {"stock_code": stock_code, "exchange_code": EXCHANGE, "product_type": _PRODUCT},
        )

    def option_chain(
        self, stock_code: str, *, expiry_date: str, right: str, strike_price: str
    ) -> Outcome:
        """Ask for quotes of options; an empty text leaves a condition out."""
        return self._used(
            self._breeze.get_option_chain_quotes,
            {
                "stock_code": stock_code,
                "exchange_code": "NFO",
                "product_type": "options",
                "expiry_date": expiry_date,
                "right": right,
                "strike_price": strike_price,
            },
        )

    def redact(self, text: str) -> str:
        """Return a text without the secrets of this session."""
        for secret in sorted(self._secrets(), key=len, reverse=True):
            text = text.replace(secret, "[secret]")
        return text

    def _used(self, method: Callable[..., Any], arguments: Mapping[str, str]) -> Outcome:
        former = getattr(_active, "transport", None)
        _active.transport = self._transport
        value: Any = None
        failures: tuple[type[BaseException], ...] = ()
        try:
            value = method(**arguments)
        except Exception as error:  # noqa: BLE001 - the SDK raises nothing but bare exceptions
            failures = _chain_of(error)
        finally:
            _active.transport = former
        sent = self._transport.collect()
        return Outcome(sent.reply, value, failures, sent.n_requests)

    def _secrets(self) -> set[str]:
        login = self._login
        texts = {
            field.get_secret_value()
            for field in (login.api_key, login.secret_key, login.session_token)
        }
        user, key = self._breeze.user_id, self._breeze.session_key
        texts |= {text for text in (user, key) if text}
        if user and key:
            texts.add(base64.b64encode(f"{user}:{key}".encode()).decode())
        texts |= {quote(text, safe="") for text in texts}
        return {text for text in texts if len(text) >= _MIN_REDACTED}


def open_sdk(
    endpoints: Endpoints, login: BreezeLogin, *, transport: TransportConfig | None = None
) -> SdkSession:
    """Return an instance of the SDK for these addresses; nothing is sent yet.

    Parameters
    ----------
    endpoints
        Where the service is.
    login
        Who asks.
    transport
        How to reach it; None takes the usual timeouts.

    Raises
    ------
    ConfigError
        The SDK is not installed, or is laid out in another way than this module knows.
    """
    chosen = transport or dataclasses.replace(_DEFAULT_TRANSPORT, is_direct=endpoints.is_loopback)
    return SdkSession(load_sdk(endpoints), login, Transport(chosen))


def load_sdk(endpoints: Endpoints) -> ModuleType:
    """Return the copy of the SDK's module that belongs to these addresses.

    Raises
    ------
    ConfigError
        The SDK is not installed, or is laid out in another way than this module knows.
    """
    with _loading:
        return _loaded(endpoints)


def resolved(endpoints: Endpoints) -> Endpoints:
    """Return the addresses with the vendor's in the place of empty ones.

    Raises
    ------
    ConfigError
        The SDK is not installed, or is laid out in another way than this module knows.
    """
    config = _config_of(endpoints)
    return Endpoints(**{field: getattr(config, name) for field, name in _ADDRESSES.items()})


@lru_cache(maxsize=_N_COPIES)
def _loaded(endpoints: Endpoints) -> ModuleType:
    substitutes = _substitutes(_config_of(endpoints))

    def import_substitute(name: str, *arguments: Any, **options: Any) -> Any:
        if name in substitutes:
            return substitutes[name]
        return builtins.__import__(name, *arguments, **options)

    own_builtins = {**vars(builtins), "__import__": import_substitute}
    module = _executed("breeze_connect", {"__builtins__": own_builtins})
    missing = [name for name in ("BreezeConnect", "ApificationBreeze") if not hasattr(module, name)]
    if missing:
        raise _unknown_layout(f"no {', '.join(missing)}")
    return module


def _config_of(endpoints: Endpoints) -> ModuleType:
    config = _executed("config", {})
    missing = [name for name in _ADDRESSES.values() if not hasattr(config, name)]
    if missing:
        raise _unknown_layout(f"no {', '.join(missing)} in its config")
    for field, name in _ADDRESSES.items():
        address = getattr(endpoints, field)
        if address:
            setattr(config, name, address)
    return config


def _executed(name: str, presets: Mapping[str, Any]) -> ModuleType:
    # Looking for a top-level package does not execute it.
    package = importlib.util.find_spec(_PACKAGE)
    if package is None or not package.submodule_search_locations:
        raise ConfigError(
            "the SDK of the Breeze API is not installed",
            where=_PACKAGE,
            expected="the package breeze-connect",
            found="none",
            remedy="install this project's requirements",
        )
    path = Path(package.submodule_search_locations[0]) / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"_sensequant_{_PACKAGE}_{name}", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise _unknown_layout(f"no {name}.py")
    module = importlib.util.module_from_spec(spec)
    vars(module).update(presets)
    spec.loader.exec_module(module)
    return module


def _unknown_layout(found: str) -> ConfigError:
    return ConfigError(
        "the SDK of the Breeze API is laid out in another way",
        where=_PACKAGE,
        expected="breeze-connect 1.0.69 or one laid out like it",
        found=found,
        remedy="install the version of this project's requirements",
    )


def _substitutes(config: ModuleType) -> dict[str, Any]:
    return {
        "config": config,
        "datetime": SimpleNamespace(datetime=Datetime),
        "logging": SimpleNamespace(
            DEBUG=10, INFO=20, ERROR=40, getLogger=Silent, FileHandler=Silent, Formatter=Silent
        ),
        "os": SimpleNamespace(path=Paths),
        "pandas": Pandas(),
        "requests": _Requests(),
        "socketio": socket_library(),
        "sys": SimpleNamespace(path=[]),
        "urllib.request": SimpleNamespace(urlopen=empty_master),
    }


class _Requests:
    # Stands for the library: what the SDK sends goes through the transport of the session that
    # is used in this thread.

    def __init__(self) -> None:
        connection = SimpleNamespace(HAS_IPV6=True)
        self.packages = SimpleNamespace(
            urllib3=SimpleNamespace(util=SimpleNamespace(connection=connection))
        )

    def get(self, url: str, **options: Any) -> Any:
        transport: Transport | None = getattr(_active, "transport", None)
        if transport is not None:
            return transport.get(url, **options)
        # Somebody uses the copy of the module without a session.
        with closing(Transport(_DEFAULT_TRANSPORT)) as once:
            return once.get(url, **options)


def _chain_of(error: BaseException) -> tuple[type[BaseException], ...]:
    types: list[type[BaseException]] = []
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        types.append(type(current))
        current = current.__cause__ or current.__context__
    return tuple(types)
