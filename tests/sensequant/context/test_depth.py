"""What a snapshot says, by hand."""

from collections.abc import Callable

import polars as pl
import pytest

from sensequant.context.depth import with_measures

SnapshotMaker = Callable[..., pl.DataFrame]

FIRST = ([(99.0, 10.0), (98.0, 20.0)], [(101.0, 30.0)])


def measured(snapshots: pl.DataFrame, name: str) -> list[float | None]:
    return with_measures(snapshots)[name].to_list()


def test_measures_of_one_book(make_snapshots: SnapshotMaker) -> None:
    """Two bids of 10 at 99 and 20 at 98 against 30 at 101."""
    row = with_measures(make_snapshots([0], [FIRST])).to_dicts()[0]

    assert row["mid"] == 100
    assert row["spread"] == 2
    assert row["spread_frac"] == 0.02
    # Few buyers pull the fair price down: (101 * 10 + 99 * 30) / 40.
    assert row["microprice"] == 99.5
    assert row["imbalance_1"] == -0.5
    assert row["imbalance_2"] is None
    assert row["imbalance"] == 0
    assert row["bid_depth_price"] == pytest.approx((990 + 1960) / 30)
    assert row["ask_depth_price"] == 101
    assert row["best_quantity"] == 20
    assert row["order_flow"] is None


def test_levels_beyond_the_fifth_do_not_count(make_snapshots: SnapshotMaker) -> None:
    """A feed of twenty levels and one of five say the same."""
    bids = [(100.0 - level, 10.0) for level in range(20)]
    asks = [(101.0 + level, 30.0) for level in range(20)]
    deep, shallow = (make_snapshots([0], [(bids[:n], asks[:n])]) for n in (20, 5))
    names = ["imbalance", "imbalance_5", "bid_depth_price", "ask_depth_price"]

    assert with_measures(deep).select(names).equals(with_measures(shallow).select(names))
    assert measured(deep, "imbalance") == [-0.5]
    assert measured(deep, "bid_depth_price") == [98.0]


@pytest.mark.parametrize(
    ("book", "flow"),
    [
        (([(99.0, 15.0)], [(101.0, 30.0)]), 5.0),
        (([(99.5, 15.0)], [(101.0, 30.0)]), 15.0),
        (([(98.0, 15.0)], [(101.0, 30.0)]), -10.0),
        (([(99.0, 10.0)], [(101.0, 20.0)]), 10.0),
        (([(99.0, 10.0)], [(102.0, 20.0)]), 30.0),
        (([(99.0, 10.0)], [(100.0, 20.0)]), -20.0),
        (([(99.0, 10.0)], [(101.0, 30.0)]), 0.0),
    ],
    ids=["bid grows", "bid rises", "bid falls", "ask shrinks", "ask rises", "ask falls", "still"],
)
def test_order_flow_follows_the_paper(
    book: tuple[object, object], flow: float, make_snapshots: SnapshotMaker
) -> None:
    """Cont, Kukanov and Stoikov (2014), equation 3, case by case."""
    assert measured(make_snapshots([0, 1], [FIRST, book]), "order_flow") == [None, flow]


def test_order_flow_does_not_cross_a_silence_or_a_night(make_snapshots: SnapshotMaker) -> None:
    """After more than five minutes, and in another session, nobody knows what happened between."""
    seconds = [0, 300, 601, 86_400]

    assert measured(make_snapshots(seconds, [FIRST] * 4), "order_flow") == [None, 0, None, None]
