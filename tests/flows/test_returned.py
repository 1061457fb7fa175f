"""Facts about what the parent of tasks takes from them."""

from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.states import Completed

from tasks.runners import returned, submit


@task
def answering(number: int) -> Any:
    """Return a number, a skip or a failure."""
    if number < 0:
        raise ArithmeticError(number)
    return Completed(name="Skipped", data=None) if number == 0 else number


@task(persist_result=True, result_serializer="json")
def storing(number: int) -> int:
    """Return what is stored, and taken from the cache the next time."""
    return number


@flow
def asking() -> list[tuple[Any, Any]]:
    """Return what each task returned, without and with a detour."""
    futures = [submit(answering, number) for number in (1, 0, -1)]
    for _ in range(2):
        futures.append(submit(storing, 7))
        futures[-1].wait()
    assert futures[-1].state.name == "Cached"
    return [(returned(each), each.result(raise_on_failure=False)) for each in futures]


def test_what_a_task_returned_is_what_its_future_says(home: Path) -> None:
    """A value, a skip, a failure, a stored value and one from the cache."""
    pairs = asking()

    assert home
    mine = [mine for mine, _ in pairs]
    assert mine[:1] + mine[3:] == [1, 7, 7]
    assert isinstance(mine[2], ArithmeticError)
    assert all(one is other or one == other for one, other in pairs)
