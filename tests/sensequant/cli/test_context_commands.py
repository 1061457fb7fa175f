"""Facts about the commands about context: what they bring, what they print, what they refuse."""

import json
from pathlib import Path

import pytest

from sensequant.cli.app import main

HEADER = "timestamp,bbq1,bbp1,bsq1,bsp1"


@pytest.fixture
def home(tmp_path: Path) -> str:
    """Return an empty home."""
    return str(tmp_path / "home")


def book(folder: Path, *lines: str) -> str:
    path = folder / "AAA_20240101.csv"
    path.write_text("\n".join([HEADER, *lines]))
    return str(path)


def test_an_import_says_what_became_of_the_rows(
    home: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Added, known and refused rows are counted, with reasons; coverage shows what is there."""
    path = book(tmp_path, "2024-01-01 09:20:00,1,99,1,101", "2024-01-01 09:21:00,1,102,1,101")

    assert main(["depth", "import", path, "--home", home]) == 0
    first = capsys.readouterr().out
    assert main(["depth", "import", path, "--home", home]) == 0
    second = capsys.readouterr().out
    assert main(["context", "coverage", "--home", home]) == 0
    table = capsys.readouterr().out

    assert "depth: 1 added, 0 corrected, 0 known already" in first
    assert "refused: 1\n  crossed_book: 1" in first
    assert "depth: 0 added, 0 corrected, 1 known already" in second
    assert table.splitlines()[1].split() == [
        "depth", "AAA", "1", "0", "1", "2024-01-01", "2024-01-01", "depth_file", "1",
    ]  # fmt: skip


def test_coverage_for_programs(
    home: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Books of a simulated market lie apart and carry the mark."""
    path = book(tmp_path, "2024-01-01 09:20:00,1,99,1,101")
    main(["depth", "import", path, "--source", "simulated", "--home", home, "--symbol", "SIM01"])
    capsys.readouterr()

    main(["context", "coverage", "--home", home])
    assert capsys.readouterr().out == "context: none stored\n"
    main(["context", "coverage", "--home", home, "--source", "simulated"])
    assert "mark: simulated" in capsys.readouterr().out
    main(["context", "coverage", "--home", home, "--source", "simulated", "--json"])
    (row,) = json.loads(capsys.readouterr().out)

    assert (row["symbol"], row["first"], row["is_simulated"]) == ("SIM01", "2024-01-01", True)


def test_series_are_imported_and_taken_from_bars(
    home: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file names its series or is told; without stored indices there is nothing to take."""
    path = tmp_path / "rates.csv"
    path.write_text("date,value\n2024-01-01,83.2\n2024-01-02,\n2024-01-03,83.3\n")

    assert main(["macro", "import", str(path), "--series", "USDINR", "--home", home]) == 0
    printed = capsys.readouterr().out
    assert "macro: 2 added" in printed
    assert "no_value: 1" in printed
    assert "hole: 1" in printed
    assert main(["macro", "import", str(path), "--series", "X", "--home", home]) == 2
    assert "no such series" in capsys.readouterr().err
    assert main(["macro", "bars", "--home", home]) == 1
    assert "no bars of an index are stored" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("depth", "import", "none.csv"), 2, "nothing to import"),
        (("depth", "import", "{path}", "--symbol", "../X"), 2, "no symbol"),
        (("depth", "import", "{path}", "--delay-seconds", "-1"), 2, "Must be >= 0"),
    ],
    ids=["no file", "no symbol", "known before it happened"],
)
def test_what_is_asked_wrongly_is_refused(
    words: tuple[str, ...],
    code: int,
    message: str,
    home: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nothing is written."""
    path = book(tmp_path, "2024-01-01 09:20:00,1,99,1,101")

    assert main([*(word.format(path=path) for word in words), "--home", home]) == code
    assert message in capsys.readouterr().err
    assert not Path(home, "context").exists()
