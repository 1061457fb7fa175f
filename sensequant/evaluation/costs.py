"""What a trade in NSE cash equity costs, itemised, by the rates of its date.

Belongs here: the charges of law, exchange, depository and broker, slippage and impact. Does not
belong here: when and how much is traded (`evaluation.backtest`). Rates, their dates and sources
stand as data in `equity_costs.yaml`.

Conventions
-----------
- Values and costs in INR, never negative; `_bps` are basis points of the traded value, `_frac`
  fractions of it. Nothing is rounded: a contract note rounds STT to the rupee per symbol.
- GST (service tax before July 2017) is due on brokerage, exchange charge, investor protection
  contribution and SEBI fee.
- The depository (DP) charge is per symbol and session with a sale, taxes included, whatever the
  value sold. It is therefore no part of a cost per rupee.
- Slippage is the assumed distance of the fill from the reference price, shown as a cost. Impact is
  what comes on top because the order is large: `impact_bps` times the square root of its share of
  the volume of its bar.
- Shares bought and sold within one session (`intraday`) bear a lower tax and stamp duty, and no DP
  charge, than shares that are delivered.

Source of the square root: R. Almgren, C. Thum, E. Hauptmann and H. Li (2005), "Direct Estimation
of Equity Market Impact"; B. Tóth et al. (2011), "Anomalous Price Impact and the Critical Nature of
Liquidity in Financial Markets". Both find an impact near one daily volatility for an order as large
as the volume of a day.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.resources import files
from typing import Any, Literal, Self, cast

import numpy as np
import polars as pl
import yaml
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, model_validator

from sensequant.errors import ConfigError, DataError
from sensequant.records import Config

__all__ = [
    "COST_COLUMNS",
    "CostConfig",
    "CostRate",
    "CostRates",
    "Product",
    "cost_rates",
    "impact_frac",
    "known_rates",
    "round_trip_cost_frac",
    "trade_costs",
]

COST_COLUMNS = (
    "brokerage_inr",
    "stt_inr",
    "exchange_inr",
    "ipft_inr",
    "sebi_inr",
    "stamp_inr",
    "gst_inr",
    "dp_inr",
    "slippage_inr",
    "impact_inr",
)
"""The items of the cost of a trade; `cost_inr` is their sum."""

Product = Literal["delivery", "intraday"]
"""Whether shares are delivered or bought and sold within one session."""

_STATUTORY = ("stt", "exchange", "ipft", "sebi", "stamp")
_BY_PRODUCT = ("stt", "stamp")
_TAXED = ("brokerage", "exchange", "ipft", "sebi")
_BPS = 1e-4


@dataclass(frozen=True, slots=True)
class CostRate:
    """One rate of one item, valid from a date until the item's next rate.

    `certainty` is `exact` or `upper_bound` (the most that applied to anybody).
    """

    item: str
    effective_from: date
    buy_bps: float
    sell_bps: float
    certainty: str
    source: str


class CostConfig(Config):
    """What the law does not fix: broker, depository participant and the quality of fills."""

    brokerage_bps: float = Field(
        default=3.0, ge=0, le=500, description="Brokerage per side, in bps of the traded value."
    )
    dp_charge_inr: float = Field(
        default=15.34,
        ge=0,
        le=1000,
        description="Depository charge per symbol and session with a sale, in INR with taxes.",
    )
    slippage_bps: float = Field(
        default=5.0,
        ge=0,
        le=500,
        description="Assumed loss against the opening or closing price per side, in bps.",
    )
    impact_bps: float = Field(
        default=100.0,
        ge=0,
        le=5000,
        description=(
            "Further loss of an order as large as the volume of its bar, in bps; of a smaller one "
            "by the square root of its share."
        ),
    )
    rates_as_of: date | None = Field(
        default=None,
        description="Apply the charges of this date to every session; null: those of each session.",
    )

    @model_validator(mode="after")
    def _is_known_date(self) -> Self:
        if self.rates_as_of is not None and self.rates_as_of < _first_known():
            raise _unknown_date(self.rates_as_of)
        return self


@dataclass(frozen=True, slots=True)
class CostRates:
    """Costs per rupee traded for a sequence of sessions, by item and side.

    `buy` and `sell` map each item of `COST_COLUMNS` except `dp_inr` and `impact_inr` to fractions
    of the traded value, shape (n_sessions,).
    """

    buy: dict[str, NDArray[np.float64]]
    sell: dict[str, NDArray[np.float64]]

    @property
    def buy_frac(self) -> NDArray[np.float64]:
        """Sum of the items of a purchase, as fractions of its value, shape (n_sessions,)."""
        return np.sum(list(self.buy.values()), axis=0)

    @property
    def sell_frac(self) -> NDArray[np.float64]:
        """Sum of the items of a sale, as fractions of its value, shape (n_sessions,)."""
        return np.sum(list(self.sell.values()), axis=0)


@cache
def known_rates() -> tuple[CostRate, ...]:
    """Return all rates of `equity_costs.yaml`, by item and date."""
    text = (files("sensequant.evaluation") / "equity_costs.yaml").read_text("utf-8")
    content = cast("dict[str, list[dict[str, Any]]]", yaml.safe_load(text))
    return tuple(CostRate(item=item, **entry) for item, rows in content.items() for entry in rows)


def cost_rates(
    sessions: Sequence[date] | ArrayLike, config: CostConfig, *, product: Product = "delivery"
) -> CostRates:
    """Return what a rupee bought or sold costs at each session.

    Parameters
    ----------
    sessions
        Session dates, shape (n,).
    config
        Broker's terms, slippage, and the date whose rates apply.
    product
        Whether the shares are delivered.

    Raises
    ------
    ConfigError
        A session lies before the first known rate.
    """
    days = np.asarray(sessions, dtype="datetime64[D]")
    if config.rates_as_of is not None:
        days = np.full(days.shape, np.datetime64(config.rates_as_of))
    if days.size and days.min() < np.datetime64(_first_known()):
        raise _unknown_date(cast("date", days.min().item()))
    return CostRates(
        buy=_items_of_side(days, config, product, is_buy=True),
        sell=_items_of_side(days, config, product, is_buy=False),
    )


def impact_frac(participation: ArrayLike, config: CostConfig) -> NDArray[np.float64]:
    """Return the impact of orders as a fraction of their value.

    Parameters
    ----------
    participation
        Shares of an order over the volume of its bar, at least 0.
    config
        Holds the impact of an order as large as that volume.
    """
    return config.impact_bps * _BPS * np.sqrt(np.asarray(participation, dtype=np.float64))


def round_trip_cost_frac(config: CostConfig, session: date) -> float:
    """Return the cost of buying and selling one rupee's worth at the rates of one session.

    Of delivered shares. The DP charge and impact are left out: they do not grow with the value.

    Returns
    -------
    float
        Fraction of the value of one side, for example 0.0035.
    """
    rates = cost_rates([session], config)
    return float(rates.buy_frac[0] + rates.sell_frac[0])


def trade_costs(
    buys_inr: ArrayLike,
    sells_inr: ArrayLike,
    sessions: Sequence[date] | ArrayLike,
    *,
    config: CostConfig,
    n_dp_charges: ArrayLike | None = None,
    participation: ArrayLike | None = None,
    product: Product = "delivery",
) -> pl.DataFrame:
    """Return the itemised costs of trades, one row per trade in the order given.

    Parameters
    ----------
    buys_inr
        Value bought, in INR, shape (n,); 0 for a sale.
    sells_inr
        Value sold, in INR, shape (n,); 0 for a purchase.
    sessions
        Session of each trade, shape (n,).
    config
        Broker's terms and slippage.
    n_dp_charges
        How many depository charges each row bears, shape (n,); when absent, one per row with a
        sale, which is right when a symbol is sold at most once a session. Never charged on
        intraday trades.
    participation
        Shares of each trade over the volume of its bar, shape (n,); 0 when absent.
    product
        Whether the shares are delivered.

    Returns
    -------
    polars.DataFrame
        session, buy_inr, sell_inr, the items of `COST_COLUMNS` and their sum cost_inr.

    Raises
    ------
    ConfigError
        A session lies before the first known rate.
    DataError
        A value is negative or not finite.
    """
    buys, sells = _values(buys_inr), _values(sells_inr)
    days = np.asarray(sessions, dtype="datetime64[D]")
    charges = np.asarray(sells > 0 if n_dp_charges is None else n_dp_charges, dtype=np.float64)
    rates = cost_rates(days, config, product=product)
    items = {name: buys * rates.buy[name] + sells * rates.sell[name] for name in rates.buy}
    items["dp_inr"] = charges * (config.dp_charge_inr if product == "delivery" else 0.0)
    items["impact_inr"] = (buys + sells) * impact_frac(
        np.zeros(buys.shape) if participation is None else participation, config
    )
    # Added by NumPy: the order in which Polars adds columns depends on its number of threads.
    total = np.sum([items[name] for name in COST_COLUMNS], axis=0)
    return pl.DataFrame(
        {"session": days, "buy_inr": buys, "sell_inr": sells}
        | {name: items[name] for name in COST_COLUMNS}
        | {"cost_inr": total}
    )


def _items_of_side(
    days: NDArray[np.datetime64], config: CostConfig, product: Product, *, is_buy: bool
) -> dict[str, NDArray[np.float64]]:
    items: dict[str, NDArray[np.float64]] = {
        name: _rate_at(_of_product(name, product), days, is_buy=is_buy) for name in _STATUTORY
    }
    items["brokerage"] = np.full(days.shape, config.brokerage_bps * _BPS)
    taxed = np.sum([items[name] for name in _TAXED], axis=0)
    items["gst"] = taxed * _rate_at("gst", days, is_buy=is_buy)
    items["slippage"] = np.full(days.shape, config.slippage_bps * _BPS)
    per_rupee = [name for name in COST_COLUMNS if name not in ("dp_inr", "impact_inr")]
    return {name: items[name.removesuffix("_inr")] for name in per_rupee}


def _of_product(item: str, product: Product) -> str:
    is_own = product == "intraday" and item in _BY_PRODUCT
    return f"{item}_intraday" if is_own else item


def _rate_at(item: str, days: NDArray[np.datetime64], *, is_buy: bool) -> NDArray[np.float64]:
    rates = [rate for rate in known_rates() if rate.item == item]
    starts = np.array([rate.effective_from for rate in rates], dtype="datetime64[D]")
    values = np.array([rate.buy_bps if is_buy else rate.sell_bps for rate in rates])
    return values[np.searchsorted(starts, days, side="right") - 1] * _BPS


@cache
def _first_known() -> date:
    items = {rate.item for rate in known_rates()}
    return max(
        min(rate.effective_from for rate in known_rates() if rate.item == item) for item in items
    )


def _unknown_date(day: date) -> ConfigError:
    return ConfigError(
        "trading costs are not known so early",
        where="CostConfig.rates_as_of",
        expected=f"a session on or after {_first_known()}",
        found=str(day),
        remedy="set rates_as_of to apply the charges of one known date to every session",
    )


def _values(values: ArrayLike) -> NDArray[np.float64]:
    numbers = np.asarray(values, dtype=np.float64)
    if not np.isfinite(numbers).all() or (numbers < 0).any():
        raise DataError(
            "a traded value was negative or not finite",
            expected="INR >= 0",
            found=str(numbers[~(numbers >= 0)][:3].tolist()),
        )
    return numbers
