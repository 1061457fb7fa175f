"""On which days listed options end, from lines as the vendor's archive has them."""

import io
import zipfile
from datetime import date

import pytest

from sensequant.errors import MasterUnavailableError, SourceError
from sensequant.market.contract_list import CONTRACT_MEMBER, parse_expiries

HEADER = (
    '"Token", "InstrumentName", "ShortName", "Series", "ExpiryDate", "StrikePrice", "OptionType",'
    ' "ExchangeCode"'
)
LINES = (
    '"40123","OPTIDX","NIFTY","OPTION","28-Mar-2024","22000","CE","NIFTY"',
    '"40124","OPTIDX","NIFTY","OPTION","28-Mar-2024","22000","PE","NIFTY"',
    '"40125","OPTIDX","NIFTY","OPTION","21-Mar-2024","21000","CE","NIFTY"',
    '"30451","OPTSTK","STABAN","OPTION","28-Mar-2024","800","CE","SBIN"',
    '"30453","FUTSTK","INFTEC","FUTURE","25-Apr-2024","0","XX","INFY"',
)


def archive(*lines: str, header: str = HEADER, member: str = CONTRACT_MEMBER) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        # A name that ends alike, and must not be taken for it.
        file.writestr("NSEScripMaster.txt", "nothing")
        file.writestr(member, "\n".join([header, *lines]) + "\n")
    return buffer.getvalue()


def test_each_day_on_which_options_end_once() -> None:
    """By the vendor's code, in order; a future is no option."""
    assert parse_expiries(archive(*LINES)) == {
        "NIFTY": (date(2024, 3, 21), date(2024, 3, 28)),
        "STABAN": (date(2024, 3, 28),),
    }


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        (b"no archive", MasterUnavailableError, "damaged"),
        (archive(), MasterUnavailableError, "cannot be read"),
        (archive(*LINES, member="FOBSEScripMaster.txt"), SourceError, "no file of NSE"),
        (archive(*LINES, header=HEADER.replace("ExpiryDate", "Ends")), SourceError, "ExpiryDate"),
        (archive(LINES[0].replace("28-Mar-2024", "28032024")), SourceError, "28032024"),
        (archive(LINES[0].replace("NIFTY", "")), SourceError, "day on which options end"),
    ],
    ids=["damaged", "empty", "another exchange", "no column", "another date", "no code"],
)
def test_what_cannot_be_read_is_said(content: bytes, error: type[Exception], words: str) -> None:
    """Nothing is guessed: another layout is an error, and the days have to be named."""
    with pytest.raises(error, match=words):
        parse_expiries(content)
