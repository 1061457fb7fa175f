"""Facts about the layouts: which header is which, and what their columns mean."""

from pathlib import Path

import polars as pl
import pytest

from sensequant.errors import InvalidBarsError
from sensequant.market.quality import RAW_COLUMNS
from sensequant.market.sources.files.layouts import (
    INDEX_LAYOUTS,
    STOCK_LAYOUTS,
    Layout,
    recognise,
    to_raw,
)

HEADERS = {
    "nse_bhavcopy": "SYMBOL, SERIES, DATE1, PREV_CLOSE, OPEN_PRICE, HIGH_PRICE, LOW_PRICE, "
    "LAST_PRICE, CLOSE_PRICE, AVG_PRICE, TTL_TRD_QNTY, TURNOVER_LACS, NO_OF_TRADES, DELIV_QTY, "
    "DELIV_PER",
    "nse_udiff": "TradDt,BizDt,Sgmt,Src,FinInstrmTp,FinInstrmId,ISIN,TckrSymb,SctySrs,XpryDt,"
    "FininstrmActlXpryDt,StrkPric,OptnTp,FinInstrmNm,OpnPric,HghPric,LwPric,ClsPric,LastPric,"
    "PrvsClsgPric,UndrlygPric,SttlmPric,OpnIntrst,ChngInOpnIntrst,TtlTradgVol,TtlTrfVal,"
    "TtlNbOfTxsExctd,SsnId,NewBrdLotQty,Rmks,Rsvd1,Rsvd2,Rsvd3,Rsvd4",
    "sensequant_csv": "interval,symbol,session,open,high,low,close,volume,previous_close,"
    "average_price,turnover_inr,n_trades,delivered_volume,series,source_symbol,source,"
    "is_simulated,fetched_at_utc,is_final",
    "nse_secwise": "symbol,series,date,prevclose,openprice,highprice,lowprice,lastprice,closeprice,"
    "averageprice,totaltradedquantity,turnoverinrs,no.oftrades,deliverableqty,%dlyqttotradedqty",
    "nsepy": "Date,Symbol,Series,Prev Close,Open,High,Low,Last,Close,VWAP,Volume,Turnover,Trades,"
    "Deliverable Volume,%Deliverble",
    "nse_index": "date,open,high,low,close,volume,value,symbol",
    "nse_vix": "Date ,Open ,High ,Low ,Close ,Prev. Close ,Change ,% Change ",
    "yahoo_index": "Date,Close,High,Low,Open,Volume",
    "index_timestamp": "timestamp,open,high,low,close,volume,mcap",
}


def columns(name: str) -> list[str]:
    return [column.strip().lower() for column in HEADERS[name].split(",")]


@pytest.mark.parametrize("name", HEADERS)
def test_each_header_is_recognised(name: str) -> None:
    """Every layout is found by its own header, and only among its own kind."""
    own, others = STOCK_LAYOUTS, INDEX_LAYOUTS
    if name in {layout.name for layout in INDEX_LAYOUTS}:
        own, others = others, own

    assert recognise(columns(name), own, where=Path("x")).name == name
    if name not in {"nsepy", "sensequant_csv"}:
        with pytest.raises(InvalidBarsError, match="none of the known layouts"):
            recognise(columns(name), others, where=Path("x"))


def test_a_wrong_layout_is_told_what_it_lacks() -> None:
    """The message names the file, the nearest layout, what is missing and what was found."""
    header = [column for column in columns("nsepy") if column not in {"vwap", "trades"}]

    with pytest.raises(InvalidBarsError) as error:
        recognise(header, STOCK_LAYOUTS, where=Path("bars/TCS.csv"))

    assert error.value.where == "bars/TCS.csv"
    assert "nsepy, it lacks trades, vwap" in error.value.expected
    assert error.value.found.startswith("date, symbol, series")


@pytest.mark.parametrize("name", HEADERS)
def test_rows_come_under_our_names(name: str) -> None:
    """Every column of ours is there, as text, whether the layout has it or not."""
    layouts: dict[str, Layout] = {
        layout.name: layout for layout in (*STOCK_LAYOUTS, *INDEX_LAYOUTS)
    }
    layout = layouts[name]
    table = pl.DataFrame([{column: f"<{column}>" for column in columns(name)}] * 2)

    raw = to_raw(table, layout)

    assert raw.columns == list(RAW_COLUMNS)
    assert raw["row_number"].to_list() == [1, 2]
    assert set(raw.dtypes[1:]) == {pl.String}
    for ours, theirs in layout.columns.items():
        expected = f"<{theirs}>"[: layout.n_date_characters] if ours == "session" else f"<{theirs}>"
        assert raw[ours][0] == expected


def test_an_index_without_volume_traded_nothing() -> None:
    """India VIX has no volume column; no share of it was traded."""
    layout = recognise(columns("nse_vix"), INDEX_LAYOUTS, where=Path("x"))

    raw = to_raw(pl.DataFrame([dict.fromkeys(columns("nse_vix"), "1")]), layout)

    assert raw["volume"].to_list() == ["0"]
