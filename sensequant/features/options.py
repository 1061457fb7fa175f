"""Options: what the option chains of the symbol and of the NIFTY 50 said at the close.

Belongs here: which columns of a session's options are fed. Does not belong here: how they are
computed from contracts, and what counts as known (`context.option_sessions`).

A session without a snapshot, and a symbol without options of its own, has no value. What the
options on the NIFTY 50 say is fed to every symbol, whether it has options or not.
"""

from sensequant.features.session_tables import session_table
from sensequant.features.spec import Family, Feature, FeatureSpec
from sensequant.market.symbols import NIFTY50

__all__ = ["OPTION_FEATURES", "OPTION_MARKET_TABLE", "OPTION_TABLE"]

_FED = {
    "options_atm_volatility": (
        "atm_volatility",
        "fraction a year",
        "implied volatility of the near expiry at strike = forward, from options out of the money",
        "Black and Scholes (1973), Merton (1973)",
    ),
    "options_skew": (
        "skew",
        "fraction a year",
        "that at ln(strike / forward) = -0.05 less that at 0.05",
        "definition",
    ),
    "options_term_structure": (
        "term_structure",
        "fraction a year",
        "options_atm_volatility of the expiry after the near one less that of the near one",
        "definition",
    ),
    "options_put_call_volume": (
        "put_call_volume",
        "multiple",
        "traded quantity of puts / calls, all contracts",
        "definition",
    ),
    "options_put_call_open_interest": (
        "put_call_open_interest",
        "multiple",
        "open interest of puts / calls, all contracts",
        "definition",
    ),
    "options_max_pain_to_spot": (
        "max_pain_to_spot",
        "fraction",
        "strike of the near expiry at which all holders together would receive least / spot - 1",
        "definition",
    ),
    "options_volatility_rank": (
        "volatility_rank",
        "0 to 1",
        "(options_atm_volatility - lowest) / (highest - lowest) of 252 sessions; null below 126",
        "definition",
    ),
    "options_volatility_percentile": (
        "volatility_percentile",
        "0 to 1",
        "share of those sessions before this one with a lower options_atm_volatility",
        "definition",
    ),
}

_OF_MARKET = {
    name.replace("options_", "options_market_", 1): (
        column,
        unit,
        f"{name} of the options on the NIFTY 50",
        source,
    )
    for name, (column, unit, _, source) in _FED.items()
}

OPTION_FEATURES: tuple[Feature, ...] = tuple(
    Feature(
        FeatureSpec(
            name=name,
            family=Family.OPTIONS,
            warmup_bars=0,
            unit=unit,
            formula=formula,
            source=source,
        ),
        None,
    )
    for name, (_, unit, formula, source) in (_FED | _OF_MARKET).items()
)

OPTION_TABLE = session_table(
    {name: column for name, (column, *_) in _FED.items()}, lambda context: context.options
)

OPTION_MARKET_TABLE = session_table(
    {name: column for name, (column, *_) in _OF_MARKET.items()},
    lambda context: context.options,
    market=NIFTY50,
)
