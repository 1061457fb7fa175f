"""A real session of twenty levels against DuckDB, which reads the file by itself."""

from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pytest

from sensequant.context.depth import with_measures
from sensequant.context.depth_files import read_depth_file
from sensequant.context.depth_sessions import depth_by_session
from sensequant.context.files import Delivered
from sensequant.context.hours import decisions_of
from sensequant.market.sessions import nse_calendar

pytestmark = pytest.mark.real_data

FILE = Path("orderbook") / "CINEMAX_20131029_depth20.csv.gz"

LEVELS = range(1, 6)


def total(prefix: str) -> str:
    return "(" + " + ".join(f"{prefix}{level}" for level in LEVELS) + ")"


def weighted(side: str) -> str:
    value = " + ".join(f"b{side}p{level} * b{side}q{level}" for level in LEVELS)
    return f"({value}) / {total(f'b{side}q')}"


ALL_COLUMNS = ", ".join(
    f"b{side}{what}{level}" for side in "bs" for what in "pq" for level in range(1, 21)
)

SNAPSHOTS_SQL = f"""
CREATE TABLE raw AS
  SELECT CAST(timestamp AS TIMESTAMP) AS t, * EXCLUDE (timestamp)
  FROM file;
CREATE TABLE runs AS
  SELECT *, sum(is_new) OVER (ORDER BY t) AS run FROM (
    SELECT *, CASE WHEN hash({ALL_COLUMNS}) IS DISTINCT FROM
      lag(hash({ALL_COLUMNS})) OVER (ORDER BY t) THEN 1 ELSE 0 END AS is_new FROM raw);
CREATE TABLE usable AS
  SELECT * FROM (SELECT *, t - min(t) OVER (PARTITION BY run) AS repeated FROM runs)
  WHERE repeated <= INTERVAL 5 MINUTE;
CREATE TABLE measured AS SELECT t,
  (bbp1 + bsp1) / 2 AS mid,
  bsp1 - bbp1 AS spread,
  (bsp1 - bbp1) / ((bbp1 + bsp1) / 2) AS spread_frac,
  (bsp1 * bbq1 + bbp1 * bsq1) / (bbq1 + bsq1) AS microprice,
  {", ".join(f"(bbq{k} - bsq{k}) / (bbq{k} + bsq{k}) AS imbalance_{k}" for k in LEVELS)},
  ({total("bbq")} - {total("bsq")}) / ({total("bbq")} + {total("bsq")}) AS imbalance,
  {weighted("b")} AS bid_depth_price,
  {weighted("s")} AS ask_depth_price,
  (bbq1 + bsq1) / 2 AS best_quantity,
  CASE WHEN t - lag(t) OVER w <= INTERVAL 5 MINUTE THEN
    (CASE WHEN bbp1 >= lag(bbp1) OVER w THEN bbq1 ELSE 0 END)
    - (CASE WHEN bbp1 <= lag(bbp1) OVER w THEN lag(bbq1) OVER w ELSE 0 END)
    - (CASE WHEN bsp1 <= lag(bsp1) OVER w THEN bsq1 ELSE 0 END)
    + (CASE WHEN bsp1 >= lag(bsp1) OVER w THEN lag(bsq1) OVER w ELSE 0 END) END AS order_flow,
  least(epoch(coalesce(lead(t) OVER w, TIMESTAMP '2013-10-29 15:30:00') - t), 300) AS seconds
FROM usable WINDOW w AS (ORDER BY t);
"""  # noqa: S608

SESSION_SQL = """
SELECT count(*) AS n_snapshots, sum(seconds) AS covered_seconds,
  sum(spread_frac * seconds) / sum(seconds) AS spread_frac,
  sum((microprice / mid - 1) * seconds) / sum(seconds) AS microprice_to_mid,
  sum(imbalance_1 * seconds) / sum(seconds) AS imbalance_1,
  sum(imbalance * seconds) / sum(seconds) AS imbalance,
  sum((bid_depth_price / mid - 1) * seconds) / sum(seconds) AS bid_depth_to_mid,
  sum((ask_depth_price / mid - 1) * seconds) / sum(seconds) AS ask_depth_to_mid,
  sum(order_flow) / avg(best_quantity) AS order_flow_imbalance,
  (SELECT avg(CASE WHEN EXISTS (
      SELECT 1 FROM measured later WHERE later.t > one.t
        AND later.t <= one.t + INTERVAL 60 SECOND
        AND round(later.spread, 4) <= round(one.before, 4)) THEN 1.0 ELSE 0.0 END)
   FROM (SELECT t, spread, lag(spread) OVER (ORDER BY t) AS before,
                t - lag(t) OVER (ORDER BY t) AS step FROM measured) one
   WHERE round(one.spread, 4) > round(one.before, 4) AND one.step <= INTERVAL 5 MINUTE
     AND one.t + INTERVAL 60 SECOND <= TIMESTAMP '2013-10-29 15:30:00') AS resilience,
  (SELECT imbalance FROM measured WHERE t >= TIMESTAMP '2013-10-29 15:25:00'
   ORDER BY t DESC LIMIT 1) AS imbalance_at_close
FROM measured
"""


@pytest.fixture(scope="module")
def delivered(real_data: Path) -> Delivered:
    return read_depth_file(
        real_data / FILE,
        symbol="CINEMAX",
        calendar=nse_calendar(),
        imported_at=datetime(2024, 1, 1, tzinfo=UTC),
    )


@pytest.fixture(scope="module")
def theirs(real_data: Path) -> tuple[pl.DataFrame, dict[str, float]]:
    """Return the snapshots and the session as DuckDB computes them from the file."""
    with duckdb.connect() as engine:
        engine.read_csv(str(real_data / FILE), dtype={"timestamp": "VARCHAR"}).create("file")
        engine.execute(SNAPSHOTS_SQL)
        snapshots = pl.DataFrame(engine.sql("SELECT * FROM measured ORDER BY t").to_arrow_table())
        session = pl.DataFrame(engine.sql(SESSION_SQL).to_arrow_table()).row(0, named=True)
    return snapshots, session


def test_every_snapshot_agrees(
    delivered: Delivered, theirs: tuple[pl.DataFrame, dict[str, float]]
) -> None:
    """Every measure of 474 snapshots is that of DuckDB; two repeat a frozen book."""
    ours, (expected, _) = with_measures(delivered.rows), theirs

    assert delivered.refused["reason"].to_list() == ["frozen_feed"] * 2
    assert ours.height == expected.height == 474
    for name in expected.columns:
        if name not in {"t", "seconds"}:
            values = expected[name].cast(pl.Float64)
            assert ours[name].null_count() == values.null_count()
            np.testing.assert_allclose(
                ours[name].to_numpy(), values.to_numpy(), rtol=1e-12, atol=1e-12, equal_nan=True
            )


def test_the_session_agrees(
    delivered: Delivered, theirs: tuple[pl.DataFrame, dict[str, float]]
) -> None:
    """The day in one row is that of DuckDB."""
    (row,) = depth_by_session(delivered.rows, decisions_of(nse_calendar())).to_dicts()
    _, expected = theirs

    assert row["session"] == date(2013, 10, 29)
    for name, value in expected.items():
        assert row[name] == pytest.approx(float(value), rel=1e-9), name
