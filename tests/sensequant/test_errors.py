"""The error tree: messages that help, and errors that survive a trip between processes."""

import copy
import inspect
import pickle  # noqa: TID251 - process pools use it, we do not

import pytest

from sensequant import errors
from sensequant.errors import ConfigError, DataError, SenseQuantError, SourceError

ALL_ERRORS = [
    value
    for value in vars(errors).values()
    if inspect.isclass(value) and issubclass(value, SenseQuantError)
]


@pytest.mark.parametrize("kind", ALL_ERRORS, ids=lambda kind: kind.__name__)
def test_every_error_survives_copying_between_processes(kind: type[SenseQuantError]) -> None:
    """Type, message and fields are the same after a round trip."""
    error = kind("bar was refused", where="RELIANCE", expected="> 0", found="-1", remedy="look")

    for copied in (pickle.loads(pickle.dumps(error)), copy.copy(error)):  # noqa: S301
        assert type(copied) is kind
        assert str(copied) == str(error)
        assert copied.remedy == "look"


def test_a_message_names_what_where_expected_found_and_what_to_do() -> None:
    """All five parts stand in the message, in that order."""
    error = ConfigError("a", where="b", expected="c", found="d", remedy="e")

    assert str(error) == "a; where: b; expected: c; found: d; what to do: e"


def test_a_message_leaves_out_what_is_not_known() -> None:
    """An error with nothing but its sentence is that sentence."""
    assert str(DataError("no bars")) == "no bars"


def test_every_data_error_has_a_reason_that_is_a_skip_reason() -> None:
    """A skipped unit's reason is always one of the published codes."""
    from sensequant.records import SkipReason  # noqa: PLC0415

    reasons = {kind.reason for kind in ALL_ERRORS if issubclass(kind, DataError)}

    assert reasons <= set(SkipReason)


def test_a_refusing_source_is_no_data_error() -> None:
    """A source that refuses is a failure, never a skip."""
    assert not issubclass(SourceError, DataError)
