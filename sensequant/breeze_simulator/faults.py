"""Which fault acts when.

Belongs here: the switch (`Fault`), its text form, and the table of active switches. Does not belong
here: the list of faults (`fault_catalog`), what they do (`reply_faults`, `row_faults`, `master`,
`depth`).

A switch acts on the requests that it matches by path and symbol: not on the first `after` of them,
then on `times` of them, each with `probability`. With `scope` "request" the counts are kept for
each distinct request apart, so ``times=1`` spoils the first answer to everything that is asked.
Chance depends on seed, name and how often this very request was made, never on the order in which
threads arrive: the same requests meet the same faults. A switch that finds nothing to spoil (no
row, no first candle) does not count as having acted.
"""

import dataclasses
import difflib
import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import date
from typing import Literal, Self, TypeVar

from pydantic import Field, ValidationError, model_validator

from sensequant.breeze_simulator.fault_catalog import (
    CATALOG,
    MASTER,
    FaultKind,
    Layer,
)
from sensequant.errors import ConfigError
from sensequant.records import Config

__all__ = ["Fault", "Faults", "chance", "parse_fault"]

T = TypeVar("T")

_CONDITIONAL = ("symbol", "rate", "sessions", "seconds", "days")


class Fault(Config):
    """One switch."""

    name: str = Field(description="name of the fault (docs/breeze_simulator.md lists them)")
    path: str | None = Field(
        default=None, description="path on which it acts; empty: all on which it can"
    )
    times: int | None = Field(
        default=None, ge=1, description="number of requests on which it acts; empty: without end"
    )
    after: int = Field(default=0, ge=0, description="number of matching requests left alone first")
    scope: Literal["all", "request"] = Field(
        default="all",
        description="all: times and after count all matching requests; request: they count each "
        "distinct request apart",
    )
    probability: float = Field(
        default=1.0, gt=0.0, le=1.0, description="probability with which it acts on a request"
    )
    seed: int = Field(default=0, ge=0, lt=2**31, description="seed of every choice")
    symbol: str | None = Field(
        default=None, description="NSE symbol on which it acts; empty: on all of them"
    )
    rate: float | None = Field(
        default=None,
        gt=0.0,
        le=1.0,
        description="share of the rows, or sessions, that it hits; empty: 0.05, where the fault "
        "chooses rows",
    )
    sessions: tuple[date, ...] | None = Field(
        default=None, min_length=1, description="sessions that it hits, in place of a share"
    )
    seconds: float | None = Field(
        default=None, gt=0.0, le=600.0, description="slow: seconds of silence; empty: 2"
    )
    days: int | None = Field(
        default=None,
        ge=1,
        le=3650,
        description="days back from today in India, today included as the first; empty: 2",
    )

    @model_validator(mode="after")
    def _settings_belong_to_the_fault(self) -> Self:
        kind = _kind(self.name)
        if self.path is not None and self.path not in kind.paths:
            raise _refusal(self.name, "path", f"one of {', '.join(kind.paths)}", self.path)
        for name in _CONDITIONAL:
            value = getattr(self, name)
            if value is not None and name not in kind.readable:
                raise _refusal(
                    self.name, name, "nothing, the fault has no such setting", str(value)
                )
        if self.name == "rename" and self.symbol is None:
            raise _refusal(self.name, "symbol", "the symbol that is renamed", "nothing")
        if self.rate is not None and self.sessions is not None:
            raise _refusal(self.name, "rate, sessions", "one of the two", "both")
        return self

    @property
    def kind(self) -> FaultKind:
        """What the catalog says of it."""
        return CATALOG[self.name]

    def matches(self, path: str, symbol: str | None) -> bool:
        """Return whether it concerns a path and, where one is asked for, a symbol."""
        if path not in (self.kind.paths if self.path is None else (self.path,)):
            return False
        return self.symbol is None or path == MASTER or symbol == self.symbol


@dataclasses.dataclass(slots=True)
class _Switch:
    fault: Fault
    n_seen: Counter[str] = dataclasses.field(default_factory=Counter[str])
    n_acted: Counter[str] = dataclasses.field(default_factory=Counter[str])
    n_asked: Counter[str] = dataclasses.field(default_factory=Counter[str])

    def wants(self, identity: str) -> bool:
        fault = self.fault
        key = identity if fault.scope == "request" else ""
        self.n_seen[key] += 1
        self.n_asked[identity] += 1
        if self.n_seen[key] <= fault.after:
            return False
        if fault.times is not None and self.n_acted[key] >= fault.times:
            return False
        attempt = str(self.n_asked[identity])
        return fault.probability == 1.0 or (
            chance(fault, "request", identity, attempt) < fault.probability
        )

    def count(self, identity: str) -> None:
        self.n_acted[identity if self.fault.scope == "request" else ""] += 1


class Faults:
    """The switches that are on; threads may share it.

    Parameters
    ----------
    faults
        Switches that are on from the start.
    """

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._lock = threading.RLock()
        self._switches = [_Switch(fault) for fault in faults]

    def add(self, *faults: Fault) -> None:
        """Turn switches on, with counts of their own."""
        with self._lock:
            self._switches += [_Switch(fault) for fault in faults]

    def clear(self) -> None:
        """Turn every switch off."""
        with self._lock:
            self._switches.clear()

    def n_acted(self, name: str) -> int:
        """Return how many requests a fault has spoilt."""
        with self._lock:
            switches = [one for one in self._switches if one.fault.name == name]
            return sum(sum(one.n_acted.values()) for one in switches)

    def first(self, layer: Layer, path: str, identity: str, symbol: str | None) -> Fault | None:
        """Return the first switch of a layer that acts on a request, and count it."""
        with self._lock:
            for switch in self._matching(layer, path, symbol):
                if switch.wants(identity):
                    switch.count(identity)
                    return switch.fault
        return None

    def acts(self, name: str, identity: str, symbol: str | None = None) -> bool:
        """Return whether a switch of this name acts on a request, and count it."""
        with self._lock:
            for switch in self._switches:
                fault = switch.fault
                concerns = fault.name == name and fault.symbol in (None, symbol)
                if concerns and switch.wants(identity):
                    switch.count(identity)
                    return True
        return False

    def every(self, layer: Layer, path: str, identity: str, symbol: str | None) -> list[Fault]:
        """Return all switches of a layer that act on a request, and count them."""
        with self._lock:
            acting = [one for one in self._matching(layer, path, symbol) if one.wants(identity)]
            for switch in acting:
                switch.count(identity)
            return [switch.fault for switch in acting]

    def change(
        self,
        value: T,
        act: Callable[[Fault, T], T],
        *,
        layer: Layer,
        path: str,
        identity: str,
        symbol: str,
    ) -> tuple[T, list[str]]:
        """Return a value after all switches of a layer, and the names of those that changed it."""
        names: list[str] = []
        with self._lock:
            for switch in self._matching(layer, path, symbol):
                if switch.wants(identity):
                    changed = act(switch.fault, value)
                    if changed != value:
                        switch.count(identity)
                        names.append(switch.fault.name)
                    value = changed
        return value, names

    def renamed(self) -> frozenset[str]:
        """Return the symbols that have another name now."""
        with self._lock:
            return frozenset(
                one.fault.symbol
                for one in self._switches
                if one.fault.name == "rename" and one.fault.symbol is not None
            )

    def _matching(self, layer: Layer, path: str, symbol: str | None) -> list[_Switch]:
        return [
            one
            for one in self._switches
            if one.fault.kind.layer == layer and one.fault.matches(path, symbol)
        ]


def chance(fault: Fault, *names: str) -> float:
    """Return a number in [0, 1) that depends on the fault's seed and name and on `names`."""
    text = "\0".join([str(fault.seed), fault.name, *names])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big") / 2.0**56


def parse_fault(text: str) -> Fault:
    """Return the switch of a text such as ``html_503:path=quotes,times=2,probability=0.1``.

    Several sessions are joined by `+`.

    Raises
    ------
    ConfigError
        The text has another form, names no fault or setting, or a value does not fit.
    """
    name, _, rest = text.partition(":")
    fields: dict[str, object] = {"name": name.strip()}
    for item in filter(None, rest.split(",")):
        key, equals, value = item.partition("=")
        if not equals or key.strip() not in Fault.model_fields:
            raise _refusal(name, item.strip(), "setting=value", "no setting of a fault")
        given = value.strip()
        fields[key.strip()] = tuple(given.split("+")) if key.strip() == "sessions" else given
    _kind(str(fields["name"]))
    try:
        return Fault.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "settings"
        raise _refusal(name, where, first["msg"], text) from error


def _kind(name: str) -> FaultKind:
    kind = CATALOG.get(name)
    if kind is None:
        near = difflib.get_close_matches(name, CATALOG, n=3, cutoff=0.5)
        raise ConfigError(
            "the simulator knows no such fault",
            where="name",
            expected="a fault of docs/breeze_simulator.md",
            found=name or "nothing",
            remedy=f"did you mean {', '.join(near)}?" if near else "look the name up there",
        )
    return kind


def _refusal(name: str, where: str, expected: str, found: str) -> ConfigError:
    return ConfigError(
        f"setting does not fit the fault {name}",
        where=where,
        expected=expected,
        found=found,
        remedy="correct it; docs/breeze_simulator.md lists the settings of each fault",
    )
