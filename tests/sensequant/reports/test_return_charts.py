"""What the charts of returns in time and of costs draw."""

import re
from datetime import date, timedelta

import numpy as np
import polars as pl

from sensequant.evaluation.returns_in_time import monthly_returns
from sensequant.reports.return_charts import monthly_chart, rolling_chart, waterfall_chart


def months() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "year": [2023, 2023, 2024],
            "month": [11, 12, 1],
            "n_sessions": [20, 20, 22],
            "net_return": [0.08, -0.02, 0.0],
        }
    )


def ratios(n: int = 30) -> pl.DataFrame:
    sessions = [date(2023, 1, 2) + timedelta(days=number) for number in range(n)]
    values = np.linspace(-1, 2, n)
    return pl.DataFrame({"session": sessions, "strategy": values, "benchmark": [None] * n})


def drawings(chart: str) -> list[str]:
    return re.findall(r"<svg.*?</svg>", chart, flags=re.DOTALL)


def test_each_month_is_a_cell_with_its_number() -> None:
    """The wide drawing writes the number; the strongest cell has the strongest colour."""
    wide, narrow = drawings(monthly_chart(months()))

    assert [text in wide for text in (">8.0<", ">\u22122.0<", ">0.0<")] == [True] * 3
    assert ">8.0<" not in narrow
    assert "best Nov 2023 8.0%, worst Dec 2023 -2.0%" in wide
    assert wide.count("var(--strategy)") >= 1
    assert wide.count("var(--hold)") == 1
    strengths = [float(each) for each in re.findall(r"opacity: ([\d.]+)", wide)]
    assert max(strengths) == 0.8


def test_months_of_a_backtest_can_be_drawn() -> None:
    """What is computed is what is drawn."""
    sessions = [date(2022, 12, 28) + timedelta(days=number) for number in range(40)]
    returns = pl.DataFrame({"session": sessions, "net_return": [0.001] * 40})

    assert "Net return of 3 months" in monthly_chart(monthly_returns(returns))


def test_a_ratio_without_any_value_is_not_named() -> None:
    """A benchmark that is missing has no line and no legend."""
    chart = rolling_chart(ratios())

    assert "Strategy, net of costs 2.00" in chart
    assert "NIFTY 50" not in chart


def test_costs_step_down_from_gain_to_what_is_left() -> None:
    """Items that cost nothing are left out."""
    chart = waterfall_chart(12.5, [("Brokerage", 1.5), ("GST", 0.0), ("Slippage, assumed", 3.0)])
    wide, narrow = drawings(chart)

    assert "12.5 before costs, 8.0 after them" in wide
    assert ">GST<" not in wide
    assert ">Slippage, assumed<" in wide
    assert ">Slippage<" in narrow


def test_equal_figures_give_equal_bytes() -> None:
    """Charts are artifacts."""
    assert monthly_chart(months()) == monthly_chart(months())
    assert rolling_chart(ratios()) == rolling_chart(ratios())
