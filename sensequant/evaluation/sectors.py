"""What scores were worth in each sector.

Belongs here: the table by sector. Does not belong here: the figures of a group
(`evaluation.scoring`), where sectors are known from (`market.sectors`).
"""

from dataclasses import replace

import polars as pl

from sensequant.evaluation.regimes import UNKNOWN
from sensequant.evaluation.scoring import ScoredPanel, group_table

__all__ = ["sector_table"]


def sector_table(panel: ScoredPanel, sectors: pl.DataFrame) -> pl.DataFrame:
    """Return one row per sector; symbols that the list does not name are in the sector `unknown`.

    Parameters
    ----------
    panel
        Labelled rows.
    sectors
        `market.sectors.SECTOR_SCHEMA`.

    Returns
    -------
    polars.DataFrame
        sector, n_symbols, and the figures of `scoring.group_table`, `unknown` last. Where a sector
        has one symbol, its interval tells of sessions alone.
    """
    rows = panel.rows.join(sectors, on="symbol", how="left", maintain_order="left").with_columns(
        pl.col("sector").fill_null(UNKNOWN)
    )
    counted = rows.group_by("sector").agg(n_symbols=pl.col("symbol").n_unique().cast(pl.Int64))
    figures = group_table(replace(panel, rows=rows), "sector", has_intervals=True)
    return counted.join(figures, on="sector").sort(pl.col("sector") == UNKNOWN, "sector")
