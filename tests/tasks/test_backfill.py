"""Tasks of a backfill that need no server."""

from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from sensequant.ingestion.request import BackfillRequest
from sensequant.market.intervals import DAILY
from sensequant.market.sources.base import Chunk
from sensequant.market.sources.build import SourceConfig
from sensequant.market.sources.simulated import SimulatedConfig, SimulatedSource
from sensequant.market.store import BarStore
from tasks.backfill import check_stored

AT = datetime(2025, 1, 1, tzinfo=UTC)
WRONG = date(2024, 1, 10)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a home whose imported files and vendor's bars differ in one close."""
    monkeypatch.setenv("SENSEQUANT_HOME", str(tmp_path))
    bars = SimulatedSource(SimulatedConfig(n_symbols=3)).fetch(
        Chunk("SIM01", DAILY, date(2024, 1, 1), date(2024, 1, 31))
    )
    real = bars.bars.with_columns(is_simulated=pl.lit(value=False))
    is_wrong = pl.col("session") == WRONG
    other = real.with_columns(
        close=pl.when(is_wrong).then(pl.col("low")).otherwise(pl.col("close"))
    )
    BarStore(tmp_path).write(real, interval=DAILY, fetched_at=AT)
    BarStore(tmp_path / "breeze").write(other, interval=DAILY, fetched_at=AT)
    return tmp_path


def request_of(compare_with: str | None) -> BackfillRequest:
    return BackfillRequest.model_validate(
        {"symbols": ["SIM01"], "source": SourceConfig(kind="breeze"), "compare_with": compare_with}
    )


def test_a_second_source_finds_what_one_alone_cannot(home: Path) -> None:
    """The session that disagrees is left out of what training reads, and of nothing else."""
    store = BarStore(home / "breeze")
    n_bars = store.read("SIM01", interval=DAILY, final_only=True).height

    assert check_stored.fn(request_of(None)) == {}
    assert check_stored.fn(request_of("files")) == {"differs": 1}

    final = store.read("SIM01", interval=DAILY, final_only=True)["session"].to_list()
    assert len(final) == n_bars - 1
    assert WRONG not in final
