"""Prices of European options, and the volatility that a price implies.

Belongs here: the formula of Black, Scholes and Merton and its inverse, on arrays. Does not belong
here: which prices are asked (`options`), what they say of a session (`option_sessions`).

The inverse is sought for the option out of the money: the price of one in the money, less what it
is worth at once, is that of its counterpart (put-call parity). The price rises with the volatility,
so that a bracketed search (Chandrupatla 1997, as SciPy has it) cannot miss.

Sources: Black and Scholes, *The Pricing of Options and Corporate Liabilities* (1973); Merton,
*Theory of Rational Option Pricing* (1973), for dividends; Chandrupatla, *A new hybrid quadratic /
bisection algorithm* (1997).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import elementwise
from scipy.special import ndtr

__all__ = ["HIGHEST_VOLATILITY_FRAC", "LOWEST_VOLATILITY_FRAC", "Terms", "implied", "price"]

Floats = NDArray[np.float64]

LOWEST_VOLATILITY_FRAC, HIGHEST_VOLATILITY_FRAC = 1e-4, 10.0
"""Volatilities in a year between which a price is explained."""

_TOLERANCE = 1e-13


@dataclass(frozen=True, slots=True)
class Terms:
    """Options, as arrays of one length.

    Attributes
    ----------
    spot_inr, strike_inr
        Price of the underlying and of the exercise; above 0.
    years
        Time to the expiry; above 0.
    rate_frac, dividend_frac
        Rate of interest and of dividends in a year, compounded continuously.
    is_call
        Calls; the others are puts.
    """

    spot_inr: Floats
    strike_inr: Floats
    years: Floats
    rate_frac: Floats
    dividend_frac: Floats
    is_call: NDArray[np.bool_]

    @property
    def forward_inr(self) -> Floats:
        """Price of the underlying at the expiry, agreed today."""
        return self.spot_inr * np.exp((self.rate_frac - self.dividend_frac) * self.years)

    @property
    def discount(self) -> Floats:
        """What one rupee at the expiry is worth today."""
        return np.exp(-self.rate_frac * self.years)

    @property
    def intrinsic_inr(self) -> Floats:
        """Least price that leaves no riskless gain."""
        sign = np.where(self.is_call, 1.0, -1.0)
        return self.discount * np.maximum(sign * (self.forward_inr - self.strike_inr), 0.0)

    @property
    def highest_inr(self) -> Floats:
        """Price that no volatility exceeds."""
        return self.discount * np.where(self.is_call, self.forward_inr, self.strike_inr)


def price(terms: Terms, volatility_frac: Floats) -> Floats:
    """Return the price in INR of each option at a volatility in a year."""
    outer = _outer(terms.forward_inr, terms.strike_inr, volatility_frac * np.sqrt(terms.years))
    return terms.intrinsic_inr + terms.discount * outer


def implied(terms: Terms, price_inr: Floats) -> Floats:
    """Return the volatility in a year that each price implies.

    Returns
    -------
    numpy.ndarray
        NaN where the price is not above the intrinsic one, or no volatility between
        `LOWEST_VOLATILITY_FRAC` and `HIGHEST_VOLATILITY_FRAC` explains it.
    """
    found = np.full(price_inr.shape, np.nan)
    forward, strike, root = terms.forward_inr, terms.strike_inr, np.sqrt(terms.years)
    wanted = (price_inr - terms.intrinsic_inr) / terms.discount
    low = _outer(forward, strike, LOWEST_VOLATILITY_FRAC * root)
    high = _outer(forward, strike, HIGHEST_VOLATILITY_FRAC * root)
    is_explained = np.flatnonzero((wanted > 0) & (wanted > low) & (wanted < high))
    if is_explained.size:
        arrays = tuple(each[is_explained] for each in (forward, strike, root, wanted))
        searched: Any = elementwise.find_root(  # pyright: ignore[reportUnknownMemberType]
            _excess,
            (LOWEST_VOLATILITY_FRAC, HIGHEST_VOLATILITY_FRAC),
            args=arrays,
            tolerances={"xatol": _TOLERANCE, "xrtol": _TOLERANCE, "fatol": 0.0, "frtol": 0.0},
            maxiter=200,
        )
        found[is_explained] = searched.x
    return found


def _excess(
    volatility: Floats, forward: Floats, strike: Floats, root: Floats, wanted: Floats
) -> Floats:
    # In units of the wanted price, so that cheap options are found as closely as dear ones.
    return _outer(forward, strike, volatility * root) / wanted - 1.0


def _outer(forward: Floats, strike: Floats, deviation: Floats) -> Floats:
    """Return the undiscounted price of the option out of the money."""
    upper = np.log(forward / strike) / deviation + deviation / 2.0
    sign = np.where(forward <= strike, 1.0, -1.0)
    value = forward * ndtr(sign * upper) - strike * ndtr(sign * (upper - deviation))
    return np.maximum(sign * value, 0.0)
