"""Facts about the terminal's words: the same for a person and a pipe, plain for the pipe."""

import io

import pytest
from rich.console import Console

from sensequant.cli.output import console_for, print_error, print_facts, print_table
from sensequant.errors import ConfigError

ERROR = ConfigError("it is wrong", where="here", expected="a", found="b", remedy="mend it")


def terminal(stream: io.StringIO) -> Console:
    return Console(file=stream, force_terminal=True, color_system="standard", soft_wrap=True)


def test_pipe_gets_one_line_per_fact_without_control_characters() -> None:
    """However long the value is, it is not wrapped, coloured or read as markup."""
    stream = io.StringIO()

    print_facts(console_for(stream), [("outcome", "failed"), ("path", "[bold]" + "x" * 300)])

    assert stream.getvalue() == "outcome: failed\npath: [bold]" + "x" * 300 + "\n"


def test_terminal_gets_the_same_words_coloured() -> None:
    """A failure is red."""
    stream = io.StringIO()

    print_facts(terminal(stream), [("outcome", "failed, 3 units")])

    assert "\x1b[31mfailed, 3 units\x1b[0m" in stream.getvalue()


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    """Two spaces stand between columns, none at the end of a line."""
    stream = io.StringIO()

    print_table(console_for(stream), ["a", "bb"], [["long", "1"], ["x", ""]])

    assert stream.getvalue() == "a     bb\nlong  1\nx\n"


def test_error_is_one_line_in_a_pipe() -> None:
    """Whoever reads by line gets the whole error."""
    stream = io.StringIO()

    print_error(console_for(stream), ERROR)

    assert stream.getvalue() == (
        "error: it is wrong; where: here; expected: a; found: b; what to do: mend it\n"
    )


@pytest.mark.parametrize("part", ["where", "expected", "found", "what to do"])
def test_error_has_its_parts_on_lines_of_their_own_on_a_terminal(part: str) -> None:
    """A part that is empty has no line."""
    whole, bare = io.StringIO(), io.StringIO()

    print_error(Console(file=whole, force_terminal=True, color_system=None), ERROR)
    print_error(Console(file=bare, force_terminal=True, color_system=None), ConfigError("wrong"))

    assert f"\n  {part}: " in whole.getvalue()
    assert bare.getvalue() == "error: wrong\n"
