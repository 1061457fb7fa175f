"""Every error of this project, branched by what the caller can do about it.

Belongs here: the classes and the one way to word a message. Does not belong here: results. A gate
that is not met, a poor Sharpe ratio or a symbol that was not yet listed are answers, not errors.

- `ConfigError`: the request is wrong; change it and ask again (stop).
- `DataError`: this input cannot be used; record why and go on without it (skip).
- `LeakageError`: the future reached the past; always fatal (stop).
- `SourceError`: a source of bars did not deliver; `RetryableError` says that asking again can help,
  `StopSourceError` that nobody may ask it any more until a person or the next day has changed it.
- `RecordError`, `RegistryError`: what is stored is not what was promised (stop).
- `HelperDiedError`: the machine killed a process; do the rest, and that part on a retry.
"""

from typing import Any

__all__ = [
    "AddressDeniedError",
    "AuthExpiredError",
    "AuthInvalidError",
    "BadRequestError",
    "ClockError",
    "ConfigError",
    "DataError",
    "DayLimitError",
    "DegenerateLabelsError",
    "DigestMismatchError",
    "HelperDiedError",
    "InsufficientHistoryError",
    "InvalidBarsError",
    "InvalidContextError",
    "LeakageError",
    "MalformedReplyError",
    "MasterUnavailableError",
    "MinuteLimitError",
    "MissingBarsError",
    "NotReadyError",
    "RecordError",
    "RegistryError",
    "RetryableError",
    "SchemaVersionError",
    "SenseQuantError",
    "SourceError",
    "StopSourceError",
    "StorageError",
    "TransientSourceError",
    "TruncatedReplyError",
    "UnknownSymbolError",
    "rebuild_error",
]


class SenseQuantError(Exception):
    """Base of all errors of this project.

    Parameters
    ----------
    what
        What went wrong, as a short sentence without a full stop.
    where
        File, symbol, window, field or address concerned.
    expected
        What would have been right.
    found
        What it was.
    remedy
        What the reader can do.
    """

    def __init__(
        self,
        what: str,
        *,
        where: str = "",
        expected: str = "",
        found: str = "",
        remedy: str = "",
    ) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.expected = expected
        self.found = found
        self.remedy = remedy

    def __str__(self) -> str:
        parts = [self.what]
        if self.where:
            parts.append(f"where: {self.where}")
        if self.expected:
            parts.append(f"expected: {self.expected}")
        if self.found:
            parts.append(f"found: {self.found}")
        if self.remedy:
            parts.append(f"what to do: {self.remedy}")
        return "; ".join(parts)

    def __reduce__(self) -> tuple[Any, ...]:
        # The default rebuilds from positional arguments only and would lose the fields.
        return (rebuild_error, (type(self), self.what, dict(vars(self))))


class ConfigError(SenseQuantError, ValueError):
    """The request is wrong: unknown symbol, range upside down, conflicting options."""


class DataError(SenseQuantError):
    """The input cannot be used; the unit that needed it is skipped, with the reason code.

    `reason` is one of the codes in `sensequant.records.SkipReason`.
    """

    reason = "no_data"


class MissingBarsError(DataError):
    """No bars where some were needed."""

    reason = "no_data"


class UnknownSymbolError(DataError):
    """The source does not know the symbol."""

    reason = "unknown_symbol"


class InvalidBarsError(DataError):
    """Bars that contradict themselves or their schema."""

    reason = "invalid_bars"


class InvalidContextError(DataError):
    """What is known beside the bars contradicts itself or its schema, or cannot be read."""

    reason = "no_data"


class InsufficientHistoryError(DataError):
    """Too few sessions or samples to learn from."""

    reason = "insufficient_samples"


class DegenerateLabelsError(DataError):
    """Only one class among the labels."""

    reason = "one_class"


class LeakageError(SenseQuantError):
    """Purge, embargo or the time of a feature was violated; never caught."""


class SourceError(SenseQuantError):
    """A source of bars refused or delivered nonsense; asking again will not help."""


class RetryableError(SourceError):
    """A source failed in a way that may pass; asking again can help."""


class TransientSourceError(RetryableError):
    """Network, timeout or an outage of the vendor."""


class MalformedReplyError(RetryableError):
    """A reply that is no answer: HTML, cut off JSON, a shape that nobody described.

    `raw` is the beginning of its body, so that it can be kept and looked at.
    """

    raw: str = ""


class MinuteLimitError(RetryableError):
    """The vendor counts too many calls in this minute; all wait for the next one."""


class MasterUnavailableError(RetryableError):
    """The vendor's list of securities cannot be had, or is damaged."""


class TruncatedReplyError(SourceError):
    """A reply was cut at the vendor's limit of rows and could not be completed by paging."""


class BadRequestError(SourceError):
    """The vendor or its SDK refuses the request itself."""


class StopSourceError(SourceError):
    """No further call can succeed; what is left stays left to do."""


class DayLimitError(StopSourceError):
    """The calls of this day are used up."""


class AuthExpiredError(StopSourceError):
    """The session has ended; a person must log in again."""


class AuthInvalidError(StopSourceError):
    """Key, secret or session are wrong, or the clock of this machine is."""


class ClockError(AuthInvalidError):
    """A signature was refused because the clock of this machine is off; setting it mends it."""


class AddressDeniedError(StopSourceError):
    """The vendor refuses this machine's address."""


class StorageError(SenseQuantError):
    """The disk is full, a file cannot be read, a lock is held by another writer."""


class RecordError(SenseQuantError):
    """A stored record is not what its reader requires."""


class SchemaVersionError(RecordError):
    """A record was written with another schema than this code reads."""


class DigestMismatchError(RecordError):
    """A file is not the one that its digest names."""


class HelperDiedError(SenseQuantError):
    """A process that did a part of the work was killed; that part is left to do."""


class RegistryError(SenseQuantError):
    """The registry refuses: unknown run, illegal transition, conflicting write."""


class NotReadyError(RegistryError):
    """A check of what must hold before a model moves did not pass; nothing has changed.

    `readiness` is the record of all checks, for whoever shows them.
    """

    readiness: Any = None


def rebuild_error(cls: type[SenseQuantError], what: str, fields: dict[str, Any]) -> SenseQuantError:
    """Return an error as it was in the process that raised it, whatever its class asks for."""
    error = cls.__new__(cls)
    SenseQuantError.__init__(error, what)
    vars(error).update(fields)
    return error
