"""Facts about the order in which windows are handed to threads: nobody begins too early."""

from collections.abc import Sequence
from typing import Any

import pytest

from sensequant.runs import Stage
from tasks import submission
from tasks.plans import PlannedWindows

N = 9


@pytest.mark.parametrize(
    "places",
    [range(N), (0, 2, 3, 7, 8), (0, 2), (5,)],
    ids=["all", "some", "around one that is known", "one"],
)
def test_a_student_waits_for_all_whose_rewards_count(
    monkeypatch: pytest.MonkeyPatch, places: Sequence[int]
) -> None:
    """Directly or through others: all of its symbol but the window before, and no other's.

    Windows that an earlier attempt did are not among those that are handed over.
    """
    waits: dict[tuple[str, str], set[tuple[str, str]]] = {}

    def submit(_task: Any, _run_id: str, symbol: str, name: str, *, after: Any) -> Any:
        direct = set(after)
        waits[symbol, name] = direct.union(*(waits[each] for each in direct))
        return symbol, name

    def places_in_time(_run_id: str, _symbol: str) -> dict[str, int]:
        return {str(place): place for place in range(N)}

    monkeypatch.setattr(submission, "submit", submit)
    monkeypatch.setattr(submission, "places_in_time", places_in_time)
    symbols = ["universe", "SIM01"] * len(places)
    names = [str(place) for place in places for _ in range(2)]

    handed = submission.submit_windows(
        "run", Stage.STUDENT_TRAINING, PlannedWindows(symbols, names)
    )

    assert sorted(map(str, handed)) == sorted(map(str, zip(symbols, names, strict=True)))
    for (symbol, name), before in waits.items():
        assert before == {(symbol, str(place)) for place in places if place < int(name) - 1}
