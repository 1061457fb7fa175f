"""Under which code, token and ISIN the simulated vendor knows what trades.

Belongs here: names and numbers of the market's stocks and indices. Does not belong here: the file
that publishes them (`master`).

A stock code has six letters and is not the symbol, and one of them is a trap: the last stock's code
is the first stock's symbol, so that a symbol sent in place of a code fetches another company's
bars. Nothing here is random; the same market has the same names.
"""

import dataclasses
import hashlib
import re

from sensequant.breeze_simulator.market import MarketFeed
from sensequant.market.symbols import INDIA_VIX, NIFTY50

__all__ = ["Directory", "Listing", "isin_of"]

_FIRST_TOKEN = 1001
_TOKEN_STEP = 7
_N_PREFIX = 3
_CODE_LENGTH = 6
_N_ISSUER = 4
_MAX_TRAP_LENGTH = 10
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

_INDICES = {NIFTY50: ("NIFTY", "NIFTY 50"), INDIA_VIX: ("INDVIX", "INDIA VIX")}
"""Index to the vendor's code and name; it has no total return index."""


@dataclasses.dataclass(frozen=True, slots=True)
class Listing:
    """One stock or index as the vendor lists it.

    Parameters
    ----------
    symbol
        Name in the market.
    code
        The vendor's code.
    token
        The vendor's number; an index has its name in place of one.
    exchange_code
        Name at the exchange; after a change of name another than `symbol`.
    isin
        ISIN; empty for an index.
    company
        Name of the company.
    is_index
        Whether it is an index.
    """

    symbol: str
    code: str
    token: str
    exchange_code: str
    isin: str
    company: str
    is_index: bool = False

    def renamed(self) -> "Listing":
        """Return the listing after a change of name: new name and code, same token and ISIN."""
        return dataclasses.replace(
            self,
            code=self.code[:-1] + _letters(self.code, "renamed", n_letters=2),
            exchange_code=f"{self.exchange_code}X",
            company=f"{self.company} RENAMED",
        )


class Directory:
    """All listings of a market.

    Parameters
    ----------
    feed
        The market.
    """

    def __init__(self, feed: MarketFeed) -> None:
        stocks = _stocks(feed.symbols())
        indices = [
            Listing(symbol, code, name, name, "", name, is_index=True)
            for symbol, (code, name) in _INDICES.items()
        ]
        self.stocks = stocks
        self.indices = tuple(indices)
        self._by_symbol = {one.symbol: one for one in (*stocks, *indices)}
        self._by_code = {one.code: one for one in (*stocks, *indices)}
        self._by_token = {one.token: one for one in stocks}
        self._by_new_code = {one.renamed().code: one for one in stocks}

    def of_symbol(self, symbol: str, renamed: frozenset[str] = frozenset()) -> Listing:
        """Return the listing of a symbol of the market.

        Raises
        ------
        KeyError
            The market has no such symbol.
        """
        found = self._by_symbol[symbol]
        return found.renamed() if symbol in renamed else found

    def of_code(self, code: str, renamed: frozenset[str] = frozenset()) -> Listing | None:
        """Return the listing under a code, or None where the vendor does not know it."""
        found = self._by_code.get(code)
        if found is not None:
            return None if found.symbol in renamed else found
        found = self._by_new_code.get(code)
        if found is None or found.symbol not in renamed:
            return None
        return found.renamed()

    def of_token(self, token: str) -> Listing | None:
        """Return the stock with a token, or None where there is none."""
        return self._by_token.get(token)


def isin_of(name: str, *, security: int = 1) -> str:
    """Return a well-formed Indian ISIN that no company has been given on purpose.

    Parameters
    ----------
    name
        Name of the issuer.
    security
        Number of its security: 1 for the share, others for bonds.
    """
    issuer = _letters(name, "isin", n_letters=_N_ISSUER)
    body = f"INE{issuer}01{security:02d}"
    return body + _check_digit(body)


def _stocks(symbols: tuple[str, ...]) -> tuple[Listing, ...]:
    taken = {*symbols, *(code for code, _ in _INDICES.values())}
    listings: list[Listing] = []
    for number, symbol in enumerate(symbols):
        code = _code(symbol, taken)
        if number and number == len(symbols) - 1 and len(symbols[0]) <= _MAX_TRAP_LENGTH:
            code = symbols[0]
        taken.add(code)
        token = str(_FIRST_TOKEN + _TOKEN_STEP * number)
        company = f"{symbol} LIMITED"
        listings.append(Listing(symbol, code, token, symbol, isin_of(symbol), company))
    return tuple(listings)


def _code(symbol: str, taken: set[str]) -> str:
    prefix = re.sub("[^A-Z]", "", symbol)[:_N_PREFIX]
    attempt = 0
    while True:
        rest = _letters(symbol, "code", str(attempt), n_letters=_CODE_LENGTH - len(prefix))
        if prefix + rest not in taken:
            return prefix + rest
        attempt += 1


def _letters(*names: str, n_letters: int) -> str:
    digest = hashlib.sha256("\0".join(names).encode()).digest()
    return "".join(_LETTERS[byte % len(_LETTERS)] for byte in digest[:n_letters])


def _check_digit(body: str) -> str:
    # ISO 6166: letters become two digits, then every second digit from the right is doubled.
    digits = "".join(str(int(character, 36)) for character in body)
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 == 0 else 1)
        total += value // 10 + value % 10
    return str(-total % 10)
