"""The broker's list of derivatives: on which days the options on each underlying end.

Belongs here: reading these days out of the archive that ICICI publishes every morning. Does not
belong here: the archive itself and its file of shares (`market.security_master`), downloading it
(the broker's adapter), which of the days are asked for (`sensequant.capture.options`).

`FONSEScripMaster.txt` has a row for every contract of NSE that can be traded, weekly ones among
them: `InstrumentName` (`OPTIDX`, `OPTSTK`, futures begin with `FUT`), `ShortName` (the broker's own
code of the underlying), `ExpiryDate` (`25-Jan-2024`). So the rule by which NSE chooses the weekday,
which has changed several times, need not be known.
"""

from datetime import date

import polars as pl

from sensequant.errors import SourceError
from sensequant.market.security_master import MemberLayout, member_table, read_member

__all__ = ["CONTRACT_MEMBER", "parse_expiries"]

CONTRACT_MEMBER = "FONSEScripMaster.txt"
"""File of NSE's derivatives within the archive."""

_LAYOUT = MemberLayout(CONTRACT_MEMBER, ("InstrumentName", "ShortName", "ExpiryDate"))


def parse_expiries(content: bytes) -> dict[str, tuple[date, ...]]:
    """Read the days on which listed options end out of ICICI's archive.

    Parameters
    ----------
    content
        Bytes of `SecurityMaster.zip`.

    Returns
    -------
    dict
        The broker's code of each underlying with options to their days, ascending.

    Raises
    ------
    MasterUnavailableError
        The archive or its file is damaged or empty: another download may help.
    SourceError
        There is no such file, it lacks a column, or a day cannot be read: the layout has changed.
    """
    table = member_table(read_member(content, CONTRACT_MEMBER), _LAYOUT)
    rows = table.filter(pl.col("instrumentname").str.strip_chars().str.starts_with("OPT")).select(
        code=pl.col("shortname").str.strip_chars(), text=pl.col("expirydate").str.strip_chars()
    )
    days = rows.unique().with_columns(day=pl.col("text").str.to_date("%d-%b-%Y", strict=False))
    unread = days.filter(pl.col("day").is_null() | (pl.col("code").fill_null("") == ""))
    if unread.height:
        raise SourceError(
            "day on which options end cannot be read",
            where=f"{CONTRACT_MEMBER}: {unread['code'][0]}",
            expected="a code and a day such as 25-Jan-2024",
            found=repr(unread["text"][0]),
            remedy="name the days (--expiry); if the vendor changed the layout, this reader has to "
            "learn it",
        )
    found = days.group_by("code").agg(pl.col("day").unique().sort()).sort("code")
    return {code: tuple(each) for code, each in found.iter_rows()}
