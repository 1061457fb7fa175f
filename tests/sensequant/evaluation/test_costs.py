"""Costs of one trade to the paisa, by the rates of its date."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sensequant.errors import ConfigError, DataError
from sensequant.evaluation.costs import (
    COST_COLUMNS,
    CostConfig,
    cost_rates,
    impact_frac,
    known_rates,
    round_trip_cost_frac,
    trade_costs,
)

BROKER = CostConfig(brokerage_bps=10, dp_charge_inr=15.34, slippage_bps=5)


def paise(value: float) -> int:
    return round(value * 100)


def test_a_purchase_of_2025_by_hand() -> None:
    """Buying for 250,000 INR on 2025-06-16, each item computed on paper."""
    row = trade_costs([250_000], [0], [date(2025, 6, 16)], config=BROKER).row(0, named=True)

    assert paise(row["brokerage_inr"]) == 250_00
    assert paise(row["stt_inr"]) == 250_00
    assert row["exchange_inr"] == pytest.approx(7.425)
    assert row["ipft_inr"] == pytest.approx(0.25)
    assert row["sebi_inr"] == pytest.approx(0.25)
    assert row["stamp_inr"] == pytest.approx(37.50)
    # 18 % of 250 + 7.425 + 0.25 + 0.25 = 257.925
    assert row["gst_inr"] == pytest.approx(46.4265)
    assert row["dp_inr"] == 0
    assert row["slippage_inr"] == pytest.approx(125)
    assert paise(row["cost_inr"]) == 716_85


def test_a_sale_of_2025_by_hand() -> None:
    """Selling for 300,000 INR on 2025-06-16: no stamp duty, one DP charge."""
    row = trade_costs([0], [300_000], [date(2025, 6, 16)], config=BROKER).row(0, named=True)

    # 300 + 300 + 8.91 + 0.30 + 0.30 + 0 + 0.18 * 309.51 + 15.34 + 150
    assert row["stamp_inr"] == 0
    assert row["dp_inr"] == 15.34
    assert row["gst_inr"] == pytest.approx(55.7118)
    assert paise(row["cost_inr"]) == 830_56


def test_a_purchase_of_2014_pays_service_tax_and_state_stamp_duty() -> None:
    """Buying for 100,000 INR on 2014-03-03: service tax of 12.36 % and 0.01 % stamp duty."""
    row = trade_costs([100_000], [0], [date(2014, 3, 3)], config=BROKER).row(0, named=True)

    assert row["stt_inr"] == pytest.approx(100)
    assert row["stamp_inr"] == pytest.approx(10)
    assert row["gst_inr"] == pytest.approx(0.1236 * (100 + 4.0 + 0.2))


@pytest.mark.parametrize(
    ("item", "before", "on", "rates_bps"),
    [
        ("stt_inr", date(2012, 6, 29), date(2012, 7, 2), (12.5, 10.0)),
        ("exchange_inr", date(2024, 9, 30), date(2024, 10, 1), (0.322, 0.297)),
        ("exchange_inr", date(2020, 12, 31), date(2021, 1, 1), (0.325, 0.345)),
        ("exchange_inr", date(2023, 3, 31), date(2023, 4, 3), (0.345, 0.325)),
        ("sebi_inr", date(2021, 3, 31), date(2021, 4, 1), (0.005, 0.01)),
        ("stamp_inr", date(2020, 6, 30), date(2020, 7, 1), (1.0, 1.5)),
    ],
)
def test_rates_change_on_their_day(
    item: str, before: date, on: date, rates_bps: tuple[float, float]
) -> None:
    """The old rate holds on the last day before, the new one from its first day."""
    rates = cost_rates([before, on], BROKER)

    assert rates.buy[item] * 1e4 == pytest.approx(rates_bps)


def test_stamp_duty_of_sales_ended_in_july_2020() -> None:
    """Since the uniform stamp duty only the buyer pays."""
    rates = cost_rates([date(2020, 6, 30), date(2020, 7, 1)], BROKER)

    assert rates.sell["stamp_inr"] * 1e4 == pytest.approx([1.0, 0.0])


def test_round_trip_is_the_cost_of_both_sides_without_dp() -> None:
    """Buying and selling 100,000 INR costs its fraction of it, plus the DP charge."""
    day = date(2025, 6, 16)
    table = trade_costs([100_000, 0], [0, 100_000], [day, day], config=BROKER)

    frac = round_trip_cost_frac(BROKER, day)

    assert table["cost_inr"].sum() == pytest.approx(frac * 100_000 + 15.34)


def test_an_intraday_round_trip_of_2025_by_hand() -> None:
    """250,000 INR bought and 252,000 sold within one session: 0.025 % tax on the sale alone."""
    day = date(2025, 6, 16)
    bought, sold = trade_costs(
        [250_000, 0], [0, 252_000], [day, day], config=BROKER, product="intraday"
    ).iter_rows(named=True)

    assert (bought["stt_inr"], paise(sold["stt_inr"])) == (0, 63_00)
    assert (paise(bought["stamp_inr"]), sold["stamp_inr"]) == (7_50, 0)
    assert (bought["dp_inr"], sold["dp_inr"]) == (0, 0)
    # 250 + 7.425 + 0.25 + 0.25 + 7.50 + 0.18 * 257.925 + 125
    assert paise(bought["cost_inr"]) == 436_85


@pytest.mark.parametrize(
    ("before", "on", "rates_bps"),
    [
        (date(2005, 5, 31), date(2005, 6, 1), (1.5, 2.0)),
        (date(2006, 5, 31), date(2006, 6, 1), (2.0, 2.5)),
        (date(2012, 6, 29), date(2012, 7, 2), (2.5, 2.5)),
    ],
)
def test_tax_on_intraday_sales_has_rates_of_its_own(
    before: date, on: date, rates_bps: tuple[float, float]
) -> None:
    """It rose twice and was left alone when that on deliveries fell."""
    rates = cost_rates([before, on], BROKER, product="intraday")

    assert rates.sell["stt_inr"] * 1e4 == pytest.approx(rates_bps)
    assert rates.buy["stt_inr"].tolist() == [0, 0]


def test_impact_grows_with_the_root_of_the_share_of_volume() -> None:
    """At 100 bps: all of the volume costs 1 %, a hundredth of it a tenth of that."""
    config = CostConfig(impact_bps=100)

    assert impact_frac([1.0, 0.01, 0.0], config).tolist() == pytest.approx([0.01, 0.001, 0.0])
    traded = trade_costs(
        [0.0], [50_000.0], [date(2025, 6, 16)], config=config, participation=[0.04]
    )
    assert traded["impact_inr"].to_list() == pytest.approx([100.0])


def test_one_charge_per_symbol_can_be_spread() -> None:
    """The caller says which of several sales of one symbol bears the DP charge."""
    day = date(2025, 6, 16)

    table = trade_costs([0, 0], [5, 5], [day, day], config=BROKER, n_dp_charges=[1, 0])

    assert table["dp_inr"].to_list() == [15.34, 0]


def test_rates_of_one_date_can_apply_to_all() -> None:
    """With `rates_as_of` a session before the first known rate has that date's costs."""
    fixed = CostConfig(rates_as_of=date(2025, 6, 16))

    assert round_trip_cost_frac(fixed, date(2001, 1, 2)) == round_trip_cost_frac(
        CostConfig(), date(2025, 6, 16)
    )


def test_unknown_dates_are_refused() -> None:
    """No rate is invented for a session before 2004-10-01."""
    with pytest.raises(ConfigError, match="2004-10-01"):
        cost_rates([date(2004, 9, 30)], BROKER)
    with pytest.raises(ValidationError, match="rates_as_of"):
        CostConfig(rates_as_of=date(2004, 9, 30))


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_impossible_values_are_refused(value: float) -> None:
    """A traded value is finite and not negative."""
    with pytest.raises(DataError):
        trade_costs([value], [0], [date(2025, 6, 16)], config=BROKER)


def test_every_rate_is_sourced_and_in_order() -> None:
    """Each item's dates ascend, each rate names its source and how sure it is."""
    rates = known_rates()

    statutory = {"stt", "exchange", "ipft", "sebi", "stamp", "gst"}
    assert {rate.item for rate in rates} == statutory | {"stt_intraday", "stamp_intraday"}
    for item in {rate.item for rate in rates}:
        dates = [rate.effective_from for rate in rates if rate.item == item]
        assert dates == sorted(set(dates))
    assert all(rate.source and rate.certainty in {"exact", "upper_bound"} for rate in rates)
    assert all(rate.buy_bps >= 0 and rate.sell_bps >= 0 for rate in rates)


@given(st.floats(0, 1e9), st.floats(0, 1e9), st.dates(date(2004, 10, 1), date(2026, 12, 31)))
def test_items_are_never_negative_and_add_up(buy: float, sell: float, day: date) -> None:
    """The total is the sum of non-negative items."""
    table = trade_costs([buy], [sell], [day], config=BROKER)
    items = [table[name][0] for name in COST_COLUMNS]

    assert min(items) >= 0
    assert table["cost_inr"][0] == pytest.approx(sum(items))


def test_nothing_traded_costs_nothing() -> None:
    """No trades give an empty table with all columns."""
    table = trade_costs([], [], [], config=BROKER)

    assert table.height == 0
    assert set(COST_COLUMNS) < set(table.columns)
