"""The security master: the zip that lists what trades, and under which code.

Belongs here: the files of the archive, row by row, and how the archive goes wrong. Does not belong
here: the names themselves (`directory`).

`NSEScripMaster.txt` has a header with a blank after each comma and rows without one, as the real
one. Beside the stocks it holds what real lists hold and a reader must not fall for: a bond with the
name and code of a share (series N1), a deleted row and a row without token under names that also
have a living row, index rows. A stock is listed from the session of its first bar.
`FONSEScripMaster.txt` has futures and options of every day on which contracts of the chain end, of
one strike that is none of the chain's.
"""

import io
import threading
import zipfile
from collections.abc import Iterable
from datetime import date, timedelta

import polars as pl

from sensequant.breeze_simulator.clock import Clock, wall_time
from sensequant.breeze_simulator.directory import Directory, Listing, isin_of
from sensequant.breeze_simulator.faults import Fault
from sensequant.breeze_simulator.market import MarketFeed
from sensequant.breeze_simulator.options import expiries
from sensequant.breeze_simulator.wire import Reply, page
from sensequant.market.intervals import DAILY

__all__ = ["NSE_COLUMNS", "Master"]


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


NSE_COLUMNS = _names(
    "Token ShortName Series CompanyName ticksize Lotsize DateOfListing DateOfDeListing IssuePrice "
    "FaceValue ISINCode 52WeeksHigh 52WeeksLow LifeTimeHigh LifeTimeLow HighDate LowDate Symbol "
    "InstrumentType PermittedToTrade IssueCapital WarningPercent FreezePercent CreditRating "
    "IssueRate IssueStartDate InterestPaymentDate IssueMaturityDate BoardLotQty Name ListingDate "
    "ExpulsionDate ReAdmissionDate RecordDate ExpiryDate NoDeliveryStartDate NoDeliveryEndDate "
    "MFill AON ParticipantInMarketIndex BookClsStartDate BookClsEndDate EGM AGM Interest Bonus "
    "Rights Dividends LocalUpdateDateTime DeleteFlag Remarks NormalMarketStatus "
    "OddLotMarketStatus SpotMarketStatus AuctionMarketStatus NormalMarketEligibility "
    "OddLotlMarketEligibility SpotMarketEligibility AuctionlMarketEligibility MarginPercentage "
    "ExchangeCode"
)
"""Columns of the file of NSE's cash market, in its order and spelling."""

_NUMERIC = _names(
    "Token ticksize Lotsize IssuePrice FaceValue 52WeeksHigh 52WeeksLow LifeTimeHigh LifeTimeLow "
    "IssueCapital WarningPercent FreezePercent IssueRate BoardLotQty MarginPercentage"
)

_BSE_COLUMNS = _names(
    "Token ShortName Series CompanyName TickSize LotSize ScripCode MarketLot BCastFlag "
    "AVMBuyMargin AVMSellMargin ScripID ScripName GroupName NdFlag NDSDate NDEDate SuspStatus "
    "avmflag SuspensionReason Suspensiondate DateOfListing DateOfDeListing IssuePrice FaceValue "
    "ISINCode 52WeeksHigh 52WeeksLow LifeTimeHigh LifeTimeLow HighDate LowDate MarginPercentage "
    "ExchangeCode"
)
_CONTRACT_COLUMNS = _names(
    "Token InstrumentName ShortName Series ExpiryDate StrikePrice OptionType CALevel "
    "PermittedToTrade IssueCapital WarningQty FreezeQty CreditRating CompanyName ExchangeCode"
)
_CONTRACTS = "FONSEScripMaster.txt"
_OTHER_CONTRACTS = ("FOBSEScripMaster.txt", "CDNSEScripMaster.txt")

_ZIP_TIME = (2024, 1, 1, 0, 0, 0)
_BOND_TOKEN = "90001"  # noqa: S105 - the number of an instrument
_DELETED_TOKEN = "90002"  # noqa: S105 - the number of an instrument
_TWIN_TOKEN = "90003"  # noqa: S105 - the number of an instrument
_FIRST_CONTRACT = 100_000
_NO_TOKEN = "0"  # noqa: S105 - what stands in place of one
_DEFAULT_DAYS = 2

_Cells = dict[str, str]


class Master:
    """The download of the security master.

    Parameters
    ----------
    feed
        The market.
    directory
        Its names.
    clock
        The vendor's time.
    """

    def __init__(self, feed: MarketFeed, directory: Directory, *, clock: Clock) -> None:
        self._feed = feed
        self._directory = directory
        self._clock = clock
        self._lock = threading.Lock()
        self._made: dict[tuple[object, ...], bytes] = {}

    def answer(self, faults: list[Fault], renamed: frozenset[str]) -> Reply:
        """Return the archive of today, or what the faults make of it."""
        by_name = {fault.name: fault for fault in faults}
        if "master_404" in by_name:
            return page("404 Not Found", http_status=404, outcome="master_404")
        today = wall_time(self._clock()).date()
        stale = by_name.get("master_stale")
        if stale is not None:
            today -= timedelta(days=stale.days or _DEFAULT_DAYS)
            renamed = frozenset()
        twin = by_name.get("master_collision")
        content = self._archive(
            today,
            renamed,
            twin_of=None if twin is None else twin.symbol or self._feed.symbols()[0],
            has_dates="master_without_dates" not in by_name,
        )
        if "master_corrupt" in by_name:
            content = content[: len(content) // 2]
        return Reply(
            content, content_type="application/zip", outcome=" ".join(sorted(by_name)) or "ok"
        )

    def _archive(
        self, today: date, renamed: frozenset[str], *, twin_of: str | None, has_dates: bool
    ) -> bytes:
        key = (today, renamed, twin_of, has_dates)
        with self._lock:
            known = self._made.get(key)
            if known is None:
                rows = self._rows(today, renamed, twin_of=twin_of)
                if not has_dates:
                    rows = [row | {"DateOfListing": ""} for row in rows]
                known = _zipped(
                    {
                        "NSEScripMaster.txt": _nse_text(rows),
                        "BSEScripMaster.txt": _text(_BSE_COLUMNS, ()),
                        _CONTRACTS: _contract_text(self._underlyings(rows, renamed), today),
                        **{name: _text(_CONTRACT_COLUMNS, ()) for name in _OTHER_CONTRACTS},
                    }
                )
                self._made[key] = known
        return known

    def _underlyings(
        self, rows: list[_Cells], renamed: frozenset[str]
    ) -> list[tuple[str, str, bool]]:
        """Return code, name and whether it is an index of all that has a chain."""
        of_index = {one.code for one in self._directory.indices}
        return [
            (row["ShortName"], row["ExchangeCode"], row["ShortName"] in of_index)
            for row in rows
            if row["ShortName"] in of_index
            or self._directory.of_code(row["ShortName"], renamed) is not None
        ]

    def _rows(self, today: date, renamed: frozenset[str], *, twin_of: str | None) -> list[_Cells]:
        listed: list[tuple[Listing, _Cells]] = []
        for stock in self._directory.stocks:
            seen = self._feed.truth(stock.symbol, DAILY, None, today)
            if not seen.is_empty():
                listing = self._directory.of_symbol(stock.symbol, renamed)
                listed.append((listing, _stock_row(listing, seen, today)))
        listings = [listing for listing, _ in listed]
        return [
            *_traps_before(listings),
            *(row for _, row in listed),
            *(_index_row(one) for one in self._directory.indices),
            *_traps_after(listings),
            *(_twin(row) for listing, row in listed if listing.symbol == twin_of),
        ]


def _stock_row(listing: Listing, seen: pl.DataFrame, today: date) -> _Cells:
    year = seen.filter(pl.col("session") > today - timedelta(days=365))
    listed_on: date = seen["session"][0]
    return _share(listing) | {
        "DateOfListing": f"{listed_on:%d-%b-%Y}",
        "52WeeksHigh": _price(year["high"].max()),
        "52WeeksLow": _price(year["low"].min()),
        "LifeTimeHigh": _price(seen["high"].max()),
        "LifeTimeLow": _price(seen["low"].min()),
    }


def _share(listing: Listing) -> _Cells:
    return {
        "Token": listing.token,
        "ShortName": listing.code,
        "Series": "EQ",
        "CompanyName": listing.company,
        "ticksize": "0.05",
        "Lotsize": "1",
        "FaceValue": "10",
        "ISINCode": listing.isin,
        "ExchangeCode": listing.exchange_code,
    }


def _traps_before(listings: list[Listing]) -> list[_Cells]:
    # What stood under the second stock's name before, and is marked as deleted.
    return [
        _share(listing)
        | {"Token": _DELETED_TOKEN, "ShortName": f"{listing.code[:-1]}0", "DeleteFlag": "Y"}
        for listing in listings[1:2]
    ]


def _traps_after(listings: list[Listing]) -> list[_Cells]:
    bonds = [
        _share(listing)
        | {
            "Token": _BOND_TOKEN,
            "Series": "N1",
            "CompanyName": f"{listing.company} NCD",
            "ISINCode": isin_of(listing.symbol, security=7),
        }
        for listing in listings[:1]
    ]
    gone = [
        _share(listing) | {"Token": _NO_TOKEN, "ShortName": f"{listing.code[:-1]}9"}
        for listing in listings[2:3]
    ]
    return [*bonds, *gone]


def _twin(row: _Cells) -> _Cells:
    return row | {"Token": _TWIN_TOKEN, "ShortName": f"{row['ShortName'][:-1]}2"}


def _index_row(listing: Listing) -> _Cells:
    return {
        "Token": listing.token,
        "ShortName": listing.code,
        "Series": "0",
        "CompanyName": listing.company,
        "ExchangeCode": listing.exchange_code,
        "Lotsize": "1",
    }


def _price(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, float) else "0"


def _nse_text(rows: Iterable[_Cells]) -> str:
    cells = (
        [row.get(name, "0" if name in _NUMERIC else "") for name in NSE_COLUMNS] for row in rows
    )
    return _text(NSE_COLUMNS, cells)


def _contract_text(underlyings: list[tuple[str, str, bool]], today: date) -> str:
    rows = (
        {
            "Token": str(_FIRST_CONTRACT + number),
            "InstrumentName": f"{kind}{'IDX' if is_index else 'STK'}",
            "ShortName": code,
            "Series": "OPTION" if kind == "OPT" else "FUTURE",
            "ExpiryDate": f"{expiry:%d-%b-%Y}",
            "StrikePrice": "100" if kind == "OPT" else "0",
            "OptionType": right,
            "ExchangeCode": name,
        }
        for number, (code, name, is_index, expiry, kind, right) in enumerate(
            (*underlying, expiry, kind, right)
            for underlying in underlyings
            for kind, right in (("FUT", "XX"), ("OPT", "CE"), ("OPT", "PE"))
            for expiry in expiries(today, has_weeks=kind == "OPT" and underlying[2])
        )
    )
    cells = ([row.get(name, "0") for name in _CONTRACT_COLUMNS] for row in rows)
    return _text(_CONTRACT_COLUMNS, cells)


def _text(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [", ".join(f'"{name}"' for name in columns)]
    lines += [",".join(f'"{cell}"' for cell in row) for row in rows]
    return "\n".join(lines) + "\n"


def _zipped(files: dict[str, str]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name, _ZIP_TIME), text, zipfile.ZIP_DEFLATED)
    return content.getvalue()
