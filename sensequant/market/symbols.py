"""Names of what is traded: which texts are symbols, and how lists of them are read.

Belongs here: the check that a text is a symbol, lists of symbols as people write them, and the
names of the indices. Does not belong here: dated lists (`market.universes`), or the other names
that a source has for a symbol (the source's own module).

A symbol is an NSE ticker in upper case: letters and digits, inside it also `&` and `-`. It becomes
a file name, so whatever could leave a folder is refused.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from sensequant.errors import ConfigError

__all__ = [
    "INDIA_VIX",
    "MAX_SYMBOL_LENGTH",
    "NIFTY50",
    "NIFTY50_TRI",
    "NIFTY_BANK",
    "SYMBOL_PATTERN",
    "is_index",
    "parse_symbols",
    "read_symbols_file",
    "validate_symbol",
]

NIFTY50 = "NIFTY50"
"""NIFTY 50, price index."""

NIFTY50_TRI = "NIFTY50TRI"
"""NIFTY 50, total return index."""

INDIA_VIX = "INDIAVIX"
"""India VIX, annualised volatility in percent as implied by NIFTY options."""

NIFTY_BANK = "BANKNIFTY"
"""NIFTY Bank, price index."""

MAX_SYMBOL_LENGTH = 32

SYMBOL_PATTERN = "[A-Z0-9](?:[A-Z0-9&-]*[A-Z0-9])?"
"""Regular expression of a whole symbol, without its limit of length."""

_INDICES = frozenset({NIFTY50, NIFTY50_TRI, INDIA_VIX, NIFTY_BANK})
_SYMBOL = re.compile(SYMBOL_PATTERN)


def validate_symbol(text: str) -> str:
    """Return `text` where it is a symbol.

    Raises
    ------
    ConfigError
        It is not: empty, too long, in lower case, or with blanks, dots, path separators or other
        characters that no NSE ticker has.
    """
    if len(text) <= MAX_SYMBOL_LENGTH and _SYMBOL.fullmatch(text):
        return text
    raise ConfigError(
        "text is no symbol",
        expected="an NSE ticker in upper case, such as RELIANCE, M&M or BAJAJ-AUTO, of at most "
        f"{MAX_SYMBOL_LENGTH} characters",
        found=repr(text[: 2 * MAX_SYMBOL_LENGTH]),
        remedy=_remedy_for(text),
    )


def parse_symbols(text: str) -> tuple[str, ...]:
    """Return the symbols of a list such as ``RELIANCE,TCS``, in its order.

    Blanks around a comma are ignored.

    Raises
    ------
    ConfigError
        An item is empty or no symbol, or a symbol is named twice.
    """
    return _distinct((f"item {n}", item.strip()) for n, item in enumerate(text.split(","), start=1))


def read_symbols_file(path: Path) -> tuple[str, ...]:
    """Return the symbols of a text file, one in a line, in its order.

    Blank lines are ignored, and so is everything from `#` on.

    Raises
    ------
    ConfigError
        The file is missing, no UTF-8 text or without a symbol; or a line is no symbol, or names one
        that an earlier line names.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            "file of symbols cannot be read",
            where=str(path),
            expected="a UTF-8 text file with one symbol in a line",
            found=str(error),
            remedy="correct the path or write the file",
        ) from error
    lines = (
        (f"{path}, line {n}", line.split("#", maxsplit=1)[0].strip())
        for n, line in enumerate(text.splitlines(), start=1)
    )
    symbols = _distinct((where, line) for where, line in lines if line)
    if not symbols:
        raise ConfigError(
            "file of symbols names none",
            where=str(path),
            expected="one symbol in a line",
            remedy="add symbols to the file",
        )
    return symbols


def is_index(symbol: str) -> bool:
    """Return whether a symbol names an index, which cannot be bought or sold."""
    return symbol in _INDICES


def _distinct(items: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    seen: dict[str, str] = {}
    for where, text in items:
        try:
            symbol = validate_symbol(text)
        except ConfigError as error:
            error.where = where
            raise
        if symbol in seen:
            raise ConfigError(
                "symbol is named twice",
                where=where,
                expected="every symbol once",
                found=f"{symbol}, first at {seen[symbol]}",
                remedy="remove one of the two",
            )
        seen[symbol] = where
    return tuple(seen)


def _remedy_for(text: str) -> str:
    candidate = "".join(text.split()).upper()
    if candidate != text and len(candidate) <= MAX_SYMBOL_LENGTH and _SYMBOL.fullmatch(candidate):
        return f"write {candidate}, if that is what is meant"
    return "look the ticker up at the exchange"
