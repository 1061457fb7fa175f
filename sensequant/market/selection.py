"""Which symbols a person means: by a list, a universe or a file.

Belongs here: the three ways to name symbols, the rule that only one of them is used, and who is
meant by them. Does not belong here: how lists and universes are read (`symbols`, `universes`), and
what else a request says.
"""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from sensequant.errors import ConfigError
from sensequant.market.symbols import read_symbols_file, validate_symbol
from sensequant.market.universes import ALL, load_universe
from sensequant.records import Config

__all__ = ["Symbol", "SymbolSelection", "selected_symbols"]

Symbol = Annotated[str, AfterValidator(validate_symbol)]
"""An NSE ticker, checked."""

_FEW = 3


class SymbolSelection(Config):
    """A list of symbols, a universe or a file; with none of them, every symbol of the source."""

    symbols: tuple[Symbol, ...] | None = Field(
        default=None, min_length=1, description="NSE tickers, for example RELIANCE and TCS."
    )
    universe: str | None = Field(
        default=None,
        description="Name of a dated list of symbols, for example nifty100; instead of symbols.",
    )
    symbols_file: Path | None = Field(
        default=None,
        description="File with one ticker per line and # comments; instead of symbols.",
    )

    @model_validator(mode="after")
    def _one_way_to_name_symbols(self) -> Self:
        named = [
            name
            for name in ("symbols", "universe", "symbols_file")
            if getattr(self, name) is not None
        ]
        if len(named) > 1:
            raise ConfigError(
                "symbols are named in more than one way",
                where=" and ".join(named),
                expected="one of symbols, universe, symbols_file",
                found=f"{len(named)} of them",
                remedy="keep one; with none of them, every symbol of the source is taken",
            )
        return self

    @property
    def named_symbols(self) -> tuple[str, ...] | None:
        """The symbols of the list or the file; None where a universe or the source tells."""
        if self.symbols_file is not None:
            return read_symbols_file(self.symbols_file)
        return self.symbols

    def resolved(self) -> Self:
        """Return the same request with the symbols of the file in the place of the file.

        A stored request must mean the same once the file is changed or gone.
        """
        if self.symbols_file is None:
            return self
        return self.model_copy(update={"symbols": self.named_symbols, "symbols_file": None})

    @property
    def title(self) -> str:
        """What a person calls this selection of symbols."""
        if self.universe is not None:
            return self.universe
        symbols = self.named_symbols
        if symbols is None:
            return "all symbols"
        return ", ".join(symbols) if len(symbols) <= _FEW else f"{len(symbols)} symbols"


def selected_symbols(
    selection: SymbolSelection,
    *,
    universes: Path,
    as_of: date,
    available: Callable[[], tuple[str, ...]],
) -> tuple[str, ...]:
    """Return the symbols that a selection means, each once.

    Parameters
    ----------
    selection
        What a person named.
    universes
        Folder of the dated lists of symbols.
    as_of
        Date of the membership in a universe.
    available
        Tells every symbol that there is; asked only where nothing, or the universe `all`, is named.

    Raises
    ------
    ConfigError
        The universe is unknown or empty on that date, or the file cannot be used.
    """
    if selection.universe is not None and selection.universe != ALL:
        return load_universe(selection.universe, folder=universes, as_of=as_of)
    named = selection.named_symbols
    return available() if named is None else tuple(dict.fromkeys(named))
