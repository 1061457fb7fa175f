"""Facts about the commands about bars: what their words mean, and what they refuse."""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from sensequant.cli import coverage, ingest, simulator
from sensequant.cli.app import main
from sensequant.cli.data_arguments import (
    BarsArguments,
    SourceArguments,
    SymbolArguments,
    discovery_of,
    request_of,
    source_of,
)
from sensequant.errors import ConfigError
from sensequant.ingestion.request import BackfillOptions, BackfillRequest
from sensequant.market.sources.breeze.config import BreezeConfig
from sensequant.market.sources.build import SourceConfig

COMMANDS: dict[str, tuple[str, ...]] = {
    "ingest": ("--symbols", "--universe", "--interval", "--source", "--force", "--incremental"),
    "coverage": ("--symbols", "--interval", "--source", "--json"),
    "preflight": ("--symbols", "--start", "--end", "--source"),
    "export": ("TARGET", "--adjusted", "--parquet", "--one-file", "--overwrite", "--final-only"),
    "symbols discover": ("--symbols", "--symbols-file", "--source"),
    "symbols import": ("--changes", "--listings", "--sectors", "--source"),
    "actions import": ("PATH", "--source"),
    "breeze-simulator": ("--data", "--port", "--stream-port", "--fault", "--unlimited"),
}


def nothing(*_: Any, **__: Any) -> int:
    return 0


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, tuple[Any, ...], dict[str, Any]]]:
    """Return what the commands call, in place of doing it."""
    calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def stand_in(name: str) -> Callable[..., int]:
        def keep(*args: Any, **kwargs: Any) -> int:
            calls.append((name, args, kwargs))
            return 0

        return keep

    for module, names in (
        (ingest, ("start_backfill", "start_discovery")),
        (coverage, ("print_coverage", "print_preflight", "print_export", "print_imports")),
        (simulator, ("serve_simulator",)),
    ):
        for name in names:
            monkeypatch.setattr(module, name, stand_in(name))
    return calls


@pytest.mark.parametrize("command", list(COMMANDS))
def test_help_explains_every_option(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Its own ones, and those that every command has, each with its text."""
    assert main([*command.split(), "--help"]) == 0

    told = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for option in (*COMMANDS[command], "--home", "--debug"):
        assert option in told
    assert "Root of all data; SENSEQUANT_HOME or ./data when left out." in told
    assert "Show the traceback of an error." in told
    if "--symbols-file" in told:
        assert "NSE tickers, separated by commas: RELIANCE,TCS." in told
        assert "File with one ticker per line." in told


def test_lookup_of_names_offers_no_range(capsys: pytest.CaptureFixture[str]) -> None:
    """A code has no interval and no first session."""
    assert main(["symbols", "discover", "--help"]) == 0
    told = capsys.readouterr().out
    for option in ("--interval", "--start", "--end"):
        assert option not in told
    assert main(["symbols", "discover", "--start", "2024-01-01"]) == 2


def test_nothing_said_is_the_default_request() -> None:
    """Daily bars of the simulated market; names are looked up at the simulator of the vendor."""
    assert request_of(None, None) == BackfillRequest()
    assert request_of(BarsArguments(), SourceArguments()) == BackfillRequest()
    assert source_of(None) == SourceConfig()
    assert source_of(None, default="breeze").kind == "breeze"
    assert discovery_of(None, None).source.kind == "breeze-simulator"


def test_options_become_the_request(tmp_path: Path) -> None:
    """Symbols and intervals are lists, dates ISO, paths absolute: a worker may stand elsewhere."""
    bars = BarsArguments(
        symbols="TCS, INFY", interval="1day, 5minute", start="2024-01-01", end="2024-01-31"
    )
    request = request_of(bars, SourceArguments(data=Path("bars"), actions=Path("actions.csv")))

    assert request.symbols == ("TCS", "INFY")
    assert request.intervals == ("1day", "5minute")
    assert (request.start, request.end) == (date(2024, 1, 1), date(2024, 1, 31))
    # The tests' working folder is tmp_path.
    assert request.source == SourceConfig(
        kind="files", folder=tmp_path / "bars", actions_path=tmp_path / "actions.csv"
    )


def test_pace_and_block_belong_to_the_vendor() -> None:
    """What is not said keeps its default."""
    asked = SourceArguments(
        source="breeze", calls_per_minute=60, calls_per_day=1000, block="second"
    )

    assert source_of(asked) == SourceConfig(
        kind="breeze",
        breeze=BreezeConfig(calls_per_minute=60, calls_per_day=1000),
        credentials_block="second",
    )


def test_a_pace_alone_leaves_the_kind_to_the_command() -> None:
    """It is no reason to look symbols up at a source that has no list."""
    asked = discovery_of(
        SymbolArguments(symbols_file=Path("mine.txt")), SourceArguments(calls_per_minute=60)
    )

    assert asked.source.kind == "breeze-simulator"
    assert asked.symbols_file == Path.cwd() / "mine.txt"


@pytest.mark.parametrize(
    ("bars", "source", "told"),
    [
        ({"interval": "2minute"}, {}, ["intervals.0", "1minute", "2minute"]),
        ({"interval": "1day,1day"}, {}, ["interval is named twice"]),
        ({"start": "2024-02-01", "end": "2024-01-01"}, {}, ["range is upside down"]),
        ({"start": "yesterday"}, {}, ["start", "yesterday"]),
        ({"symbols": "tcs"}, {}, ["text is no symbol", "'tcs'"]),
        ({"symbols": "TCS", "universe": "pilot"}, {}, ["more than one way"]),
        ({}, {"source": "nse"}, ["kind", "breeze-simulator", "nse"]),
        ({}, {"source": "files"}, ["no folder to read files from"]),
        ({}, {"calls_per_day": 10}, ["another kind of source", "breeze"]),
        ({}, {"source": "breeze", "calls_per_minute": 0}, ["calls_per_minute"]),
        ({}, {"source": "breeze-simulator", "block": "mine"}, ["credentials_block"]),
    ],
)
def test_wrong_words_are_named(
    bars: dict[str, Any], source: dict[str, Any], told: list[str]
) -> None:
    """The error says where, what was expected and what was found."""
    with pytest.raises(ConfigError) as caught:
        request_of(BarsArguments(**bars), SourceArguments(**source))
    for word in told:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    "words",
    [
        ["ingest", "--interval", "2minute"],
        ["ingest", "--start", "2024-02-01", "--end", "2024-01-01"],
        ["ingest", "--force", "--incremental"],
        ["ingest", "RELIANCE"],
        ["export"],
        ["coverage", "--nosuch"],
        ["breeze-simulator", "--port", "many"],
        ["breeze-simulator", "--port", "65536"],
        ["breeze-simulator", "--fault", "html_505"],
        ["breeze-simulator", "--fault", "slow:seconds=-1"],
        ["symbols", "import"],
    ],
)
def test_what_is_asked_wrongly_exits_with_2(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is begun: no server is started for it."""
    assert main(words) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("error: ")


def test_ingest_starts_a_backfill(called: list[Any], tmp_path: Path) -> None:
    """With what was asked, how, and where."""
    words = ["--symbols", "SIM01", "--force", "--verbose", "--home", str(tmp_path / "h")]
    assert main(["ingest", *words, "--port", "4777"]) == 0

    ((name, (request, options, env), kwargs),) = called
    assert name == "start_backfill"
    assert request == BackfillRequest(symbols=("SIM01",))
    assert options == BackfillOptions(force=True)
    assert (env.home, env.port, kwargs) == (tmp_path / "h", 4777, {"is_verbose": True})


def test_discover_starts_a_lookup(called: list[Any]) -> None:
    """At the simulator of the vendor, if no other is named."""
    assert main(["symbols", "discover", "--symbols", "SIM01"]) == 0

    ((name, (request, _), kwargs),) = called
    assert (name, kwargs) == ("start_discovery", {"is_verbose": False})
    assert (request.symbols, request.source.kind) == (("SIM01",), "breeze-simulator")


def test_export_says_what_files_are_like(called: list[Any], tmp_path: Path) -> None:
    """Raw CSV files of each symbol, if nothing else is said."""
    assert main(["export", "out"]) == 0
    everything = ["--adjusted", "--parquet", "--final-only", "--one-file", "--overwrite"]
    assert main(["export", "out", *everything, "--home", str(tmp_path)]) == 0

    (_, (_, request, _), plain), (_, (_, _, home), full) = called
    assert request == BackfillRequest()
    assert plain == {
        "target": Path("out"),
        "prices": "raw",
        "file_format": "csv",
        "final_only": False,
        "is_one_file": False,
        "overwrite": False,
    }
    assert full == {
        "target": Path("out"),
        "prices": "adjusted",
        "file_format": "parquet",
        "final_only": True,
        "is_one_file": True,
        "overwrite": True,
    }
    assert home == tmp_path


@pytest.mark.parametrize(("is_possible", "code"), [(True, 0), (False, 1)])
def test_preflight_exits_with_1_if_nothing_would_be_left(
    monkeypatch: pytest.MonkeyPatch, is_possible: bool, code: int
) -> None:
    """So that a script can stop before it trains."""

    def say(*_: object) -> bool:
        return is_possible

    monkeypatch.setattr(coverage, "print_preflight", say)
    assert main(["preflight"]) == code


def test_lists_belong_to_the_vendor_unless_said(called: list[Any], tmp_path: Path) -> None:
    """The bars of files and of other sources have lists of their own."""
    assert main(["actions", "import", "a.csv"]) == 0
    assert main(["symbols", "import", "--changes", "c.csv", "--listings", "l.csv"]) == 0
    assert main(["actions", "import", "a.csv", "--source", "files", "--data", "bars"]) == 0

    (_, first, actions), (_, second, lists), (_, third, _) = called
    assert (first[2].kind, actions) == ("breeze", {"actions": Path("a.csv")})
    assert second[2].kind == "breeze"
    assert lists == {"changes": Path("c.csv"), "listings": Path("l.csv"), "sectors": None}
    assert third[2] == SourceConfig(kind="files", folder=tmp_path / "bars")


def test_the_simulator_has_ports_of_its_own(called: list[Any], tmp_path: Path) -> None:
    """--port is its port here, not the one of the Prefect server."""
    assert main(["breeze-simulator"]) == 0
    words = ["--port", "9001", "--stream-port", "9002", "--data", "bars", "--unlimited"]
    faults = ["--fault", "slow:seconds=1", "--fault", "html_503"]
    assert main(["breeze-simulator", *words, *faults, "--home", str(tmp_path)]) == 0

    (_, (_, source, _), plain), (_, (_, folder, home), full) = called
    assert source == SourceConfig(kind="breeze-simulator")
    assert plain == {"ports": (8790, 8791), "faults": (), "is_unlimited": False}
    assert folder == SourceConfig(kind="breeze-simulator", folder=tmp_path / "bars")
    assert full == {
        "ports": (9001, 9002),
        "faults": ("slow:seconds=1", "html_503"),
        "is_unlimited": True,
    }
    assert home == tmp_path
