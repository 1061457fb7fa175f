"""What windows cost follows from the rows that are there; students of one symbol stay together."""

import polars as pl
import pytest

from sensequant.runs import Stage
from sensequant.sharding import WINDOW_SECONDS, shard_loads
from sensequant.stages.context import Run
from sensequant.stages.costs import WindowCosts
from sensequant.storage import read_table

ALL_SYMBOLS = "universe"


def _costs(run: Run, stage: Stage) -> tuple[WindowCosts, list[str], list[str]]:
    symbols = [planned.window.symbol for planned in run.windows]
    names = [planned.window.short for planned in run.windows]
    return WindowCosts(run, stage, symbols, names), symbols, names


def test_a_teacher_costs_the_rows_of_its_window(whole: Run) -> None:
    """Counted again from the symbol's table; a window before the listing has none."""
    costs, symbols, _ = _costs(whole, Stage.TEACHER_TRAINING)

    expected = [
        read_table(whole.folder.rows(symbol))
        .filter(pl.col("session").is_between(planned.window.start, planned.window.end))
        .height
        for symbol, planned in zip(symbols, whole.windows, strict=True)
    ]
    assert costs.n_rows == expected
    assert max(expected) > 0
    assert costs.typical_rows == pytest.approx(sorted(expected)[len(expected) // 2], abs=5)
    assert all(
        (seconds == WINDOW_SECONDS) == (n_rows == 0)
        for seconds, n_rows in zip(costs.seconds, costs.n_rows, strict=True)
    )


def test_a_student_costs_all_rows_up_to_its_own(whole: Run) -> None:
    """Within a symbol the cost never falls, and the last one costs the whole history."""
    costs, symbols, names = _costs(whole, Stage.STUDENT_TRAINING)

    for symbol in set(symbols):
        rows = [n for n, each in zip(costs.n_rows, symbols, strict=True) if each == symbol]
        last = max(names).split("..")[1]
        history = read_table(whole.folder.rows(symbol))
        assert rows == sorted(rows)
        assert rows[-1] == history.filter(pl.col("session").cast(pl.String) <= last).height


def test_a_window_of_all_symbols_costs_the_rows_of_all(whole: Run) -> None:
    """What is no symbol of the run stands for all of them."""
    name = whole.windows[0].window.short
    known = whole.symbols
    one = WindowCosts(whole, Stage.TEACHER_TRAINING, [ALL_SYMBOLS], [name])
    each = WindowCosts(whole, Stage.TEACHER_TRAINING, known, [name] * len(known))

    assert one.n_rows == [sum(each.n_rows)]


@pytest.mark.parametrize("stage", [Stage.TEACHER_TRAINING, Stage.STUDENT_TRAINING])
def test_every_window_has_one_share(whole: Run, stage: Stage) -> None:
    """Nothing is lost or done twice; students of one symbol are never parted."""
    costs, symbols, names = _costs(whole, stage)

    shares = costs.divide(2)

    assert sorted(position for share in shares for position in share) == list(range(len(names)))
    if stage is Stage.STUDENT_TRAINING:
        assert not {symbols[i] for i in shares[0]} & {symbols[i] for i in shares[1]}


def test_shares_of_uneven_windows_cost_the_same(whole: Run) -> None:
    """Short and empty windows beside whole ones: two shares differ by 15 % at most."""
    costs, _, _ = _costs(whole, Stage.TEACHER_TRAINING)

    loads = shard_loads(costs.seconds, costs.divide(2))

    assert len(set(costs.n_rows)) > 2
    assert max(loads) - min(loads) <= 0.15 * max(loads)


def test_a_symbol_without_features_costs_no_rows(whole: Run) -> None:
    """Its bars were refused; its windows will be skipped."""
    nobody = WindowCosts(whole, Stage.TEACHER_TRAINING, ["SIM01"], ["1990-01-01..1990-06-30"])

    assert nobody.n_rows == [0]
    assert nobody.typical_rows == 1
