"""The vendor's rows of an option chain as quotes.

Belongs here: reading fields, and refusing rows that are no contract that was asked for. Does not
belong here: asking (`options`), what a price implies (`context.options`).
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from enum import StrEnum
from typing import Any, NamedTuple, cast

import polars as pl

from sensequant.context.options import QUOTE_SCHEMA

__all__ = ["ChainRead", "ContractRefusal", "read_chain"]


class ContractRefusal(StrEnum):
    """Why a row is no contract."""

    UNREADABLE = "unreadable"
    OTHER_CONTRACT = "other_contract"
    DUPLICATE = "duplicate"
    CONTRADICTION = "contradiction"


class ChainRead(NamedTuple):
    """What a chain says.

    Attributes
    ----------
    quotes
        `context.options.QUOTE_SCHEMA`.
    refused
        Rows of stamp, reason, detail.
    """

    quotes: pl.DataFrame
    refused: list[tuple[str, str, str]]

    @property
    def n_refused(self) -> Counter[str]:
        """Refused rows by reason."""
        return Counter(reason for _, reason, _ in self.refused)


_RIGHTS = {"call": True, "put": False}
_KEY = ("expiry", "strike_inr", "is_call")


def read_chain(rows: Iterable[object], *, expiry: date, is_call: bool) -> ChainRead:
    """Read the answer to a request for one expiry and right.

    Parameters
    ----------
    rows
        As delivered; nothing is known of their shape.
    expiry, is_call
        What was asked for.
    """
    quotes: dict[tuple[float, bool], dict[str, Any]] = {}
    refused: list[tuple[str, str, str]] = []
    torn: set[tuple[float, bool]] = set()
    for row in rows:
        quote = _quote(row)
        if quote is None:
            refused.append(_refusal(row, ContractRefusal.UNREADABLE))
            continue
        if (quote["expiry"], quote["is_call"]) != (expiry, is_call):
            refused.append(_refusal(row, ContractRefusal.OTHER_CONTRACT))
            continue
        key = (quote["strike_inr"], is_call)
        if key in torn or quotes.get(key, quote) != quote:
            # Nobody knows which of the two is right.
            torn.add(key)
            quotes.pop(key, None)
            refused.append(_refusal(row, ContractRefusal.CONTRADICTION))
        elif key in quotes:
            refused.append(_refusal(row, ContractRefusal.DUPLICATE))
        else:
            quotes[key] = quote
    return ChainRead(pl.DataFrame(list(quotes.values()), schema=QUOTE_SCHEMA), refused)


def _quote(row: object) -> dict[str, Any] | None:
    if not isinstance(row, dict):
        return None
    fields = cast("Mapping[str, Any]", row)
    expiry = _date(fields.get("expiry_date"), "%d-%b-%Y")
    is_call = _RIGHTS.get(str(fields.get("right")).lower())
    strike = _number(fields.get("strike_price"))
    if expiry is None or is_call is None or strike is None or strike <= 0:
        return None
    traded = str(fields.get("ltt")).partition(" ")[0]
    return {
        "expiry": expiry,
        "strike_inr": strike,
        "is_call": is_call,
        "last_inr": _number(fields.get("ltp")),
        "last_date": _date(traded, "%d-%b-%Y"),
        "bid_inr": _number(fields.get("best_bid_price")),
        "ask_inr": _number(fields.get("best_offer_price")),
        "volume": _number(fields.get("total_quantity_traded")),
        "open_interest": _number(fields.get("open_interest")),
        "spot_inr": _number(fields.get("spot_price")),
    }


def _number(value: object) -> float | None:
    # Negative prices and quantities are no numbers of a market.
    try:
        number = float(cast("Any", value))
    except (TypeError, ValueError):
        return None
    return number if 0.0 <= number < float("inf") else None


def _date(value: object, form: str) -> date | None:
    try:
        return datetime.strptime(str(value), form).date()  # noqa: DTZ007 - a date has no zone
    except ValueError:
        return None


def _refusal(row: object, reason: ContractRefusal) -> tuple[str, str, str]:
    fields = cast("Mapping[str, Any]", row if isinstance(row, dict) else {})
    named = (str(fields.get(name, "none")) for name in ("expiry_date", "right", "strike_price"))
    return (str(fields.get("ltt", "")), reason.value, " ".join(named))
