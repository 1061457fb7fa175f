"""Facts about the order in which windows are handed to threads: nobody begins too early."""

from typing import Any

import pytest

from sensequant.runs import Stage
from tasks import submission
from tasks.plans import PlannedWindows

N = 9


def test_a_student_waits_for_all_whose_rewards_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Directly or through others: all students of its symbol but the one before, and no other's."""
    waits: dict[tuple[str, str], set[tuple[str, str]]] = {}

    def submit(_task: Any, _run_id: str, symbol: str, name: str, *, after: Any) -> Any:
        direct = set(after)
        waits[symbol, name] = direct.union(*(waits[each] for each in direct))
        return symbol, name

    monkeypatch.setattr(submission, "submit", submit)
    symbols = ["universe", "SIM01"] * N
    names = [str(place) for place in range(N) for _ in range(2)]

    handed = submission.submit_windows(
        "run", Stage.STUDENT_TRAINING, PlannedWindows(symbols, names)
    )

    assert sorted(map(str, handed)) == sorted(map(str, zip(symbols, names, strict=True)))
    for (symbol, name), before in waits.items():
        assert before == {(symbol, str(place)) for place in range(int(name) - 1)}
