"""Facts about `sensequant backtest`: what it prints, writes and refuses."""

import json
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from sensequant.cli.app import main
from sensequant.market.sources.base import Chunk
from sensequant.market.sources.simulated import SimulatedConfig, SimulatedSource
from sensequant.market.store import BarStore

RANGE = ["--start", "2022-01-03", "--end", "2022-03-31", "--source", "files", "--data", "."]
FEW = ["--set", "n_bootstrap_draws=100"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a home with some days of two symbols."""
    home = tmp_path_factory.mktemp("home")
    source = SimulatedSource(SimulatedConfig(n_symbols=3, history_start=date(2020, 1, 1)))
    for symbol in ("SIM01", "SIM02"):
        bars = source.fetch(Chunk(symbol)).bars
        within = pl.col("session").is_between(date(2021, 9, 1), date(2022, 3, 31))
        BarStore(home).write(
            bars.filter(within), interval="1day", fetched_at=datetime(2024, 1, 1, tzinfo=UTC)
        )
    return home


def asked(home: Path, *words: str) -> list[str]:
    return ["backtest", *words, *FEW, "--home", str(home)]


def test_it_says_what_was_earned_and_writes_the_tables(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Figures beside those of others, reasons for what is absent, costs by item."""
    code = main(asked(home, "hold", *RANGE, "--output", str(tmp_path / "out")))

    said = capsys.readouterr().out
    assert code == 0
    assert "strategy: hold" in said
    assert "simulated" in said
    assert "- (no sessions)" in said
    assert "stt" in said
    assert pl.read_parquet(tmp_path / "out" / "trades.parquet").height == 4


def test_json_is_for_programs(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Settings and figures in one object; `--set` reaches them."""
    setting = ["--set", "strategy.equity_frac=0.3"]
    code = main(asked(home, "balanced", *RANGE, *setting, "--json"))

    said = json.loads(capsys.readouterr().out)
    assert code == 0
    assert said["settings"]["strategy"] == {"kind": "balanced", "equity_frac": 0.3}
    assert said["figures"]["strategy"]["mean_exposure"]["value"] == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize(
    "words",
    [
        ["scores", "--symbols", "SIM01"],
        ["scores", "--start", "2022-01-03"],
        ["scores", "--run", "gone"],
        ["swing", "--run", "latest"],
        ["swing", "--start", "soon"],
        ["swing", "--interval", "2day"],
        [
            "swing",
            "--start",
            "2022-03-01",
            "--end",
            "2022-02-01",
            "--source",
            "files",
            "--data",
            ".",
        ],
        ["hold", *RANGE, "--set", "portfolio.position_frac=0.2"],
        ["swing", *RANGE, "--set", "strategy.stop=0.2"],
        ["unknown"],
    ],
    ids=" ".join,
)
def test_wrong_questions_are_refused(home: Path, words: list[str]) -> None:
    """What does nothing, or names nothing, is an error of the request."""
    assert main(asked(home, *words)) == 2


def test_without_bars_it_fails(tmp_path: Path) -> None:
    """An empty home has nothing to trade on."""
    assert main(asked(tmp_path, "swing", *RANGE)) == 1
    assert main(asked(tmp_path, "swing", "--source", "files", "--data", ".")) == 1
