"""Facts about what is a symbol and how lists of symbols are read."""

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensequant.errors import ConfigError
from sensequant.market.symbols import (
    INDIA_VIX,
    MAX_SYMBOL_LENGTH,
    NIFTY50,
    NIFTY50_TRI,
    is_index,
    parse_symbols,
    read_symbols_file,
    validate_symbol,
)


@pytest.mark.parametrize(
    "text",
    ["M&M", "BAJAJ-AUTO", "L&TFH", "360ONE", "MCDOWELL-N", "NIFTY50", "T", "A" * 32],
)
def test_symbols_are_accepted(text: str) -> None:
    """NSE tickers with ampersands, hyphens and leading digits are symbols."""
    assert validate_symbol(text) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "../x", "..", "A/B", "A\\B", "A.B", "reliance", "RELIANCE ", " RELIANCE"),
        *(
            "TA TA",
            "TCS\n",
            "TCS\0",
            "A" * 33,
            "-A",
            "A-",
            "&",
            "\uff34CS",
            "\u0410",
            "\u00c9",
            "A,B",
            "A:B",
            "\u0663",
        ),
    ],
)
def test_other_texts_are_refused(text: str) -> None:
    """What could leave a folder, and what only looks like a ticker, is refused."""
    with pytest.raises(ConfigError, match="text is no symbol"):
        validate_symbol(text)


def test_the_refusal_suggests_what_was_meant() -> None:
    """Lower case and blanks bring the corrected ticker; nonsense brings general advice."""
    with pytest.raises(ConfigError, match="write RELIANCE"):
        validate_symbol(" reliance")
    with pytest.raises(ConfigError, match="look the ticker up"):
        validate_symbol("../x")
    with pytest.raises(ConfigError, match="look the ticker up") as caught:
        validate_symbol("a" * 1000)
    assert len(str(caught.value)) < 400


@given(st.text(max_size=40))
def test_a_symbol_stays_in_its_folder(text: str) -> None:
    """Whatever is accepted is one plain ASCII path component of itself."""
    try:
        symbol = validate_symbol(text)
    except ConfigError:
        return
    assert symbol == text == symbol.upper()
    assert (Path("folder") / symbol).parent == Path("folder")
    assert symbol.isascii()
    assert 1 <= len(symbol) <= MAX_SYMBOL_LENGTH


def test_parse_keeps_the_order() -> None:
    """Commas separate, blanks around them do not count."""
    assert parse_symbols("TCS, RELIANCE ,M&M") == ("TCS", "RELIANCE", "M&M")
    assert parse_symbols("TCS") == ("TCS",)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "item 1"),
        ("TCS,", "item 2"),
        ("TCS,,INFY", "item 2"),
        ("TCS,infy", "item 2.*write INFY"),
        ("TCS,INFY,TCS", "named twice.*item 3.*first at item 1"),
    ],
)
def test_parse_refuses_by_item(text: str, what: str) -> None:
    """An empty, wrong or repeated item is refused by its position."""
    with pytest.raises(ConfigError, match=what):
        parse_symbols(text)


def test_read_file(tmp_path: Path) -> None:
    """Comments, blank lines, carriage returns and a byte order mark are no symbols."""
    path = tmp_path / "symbols.txt"
    path.write_bytes(b"\xef\xbb\xbf# large caps\r\nTCS\r\n\r\n  M&M  # Mahindra\r\nINFY")

    assert read_symbols_file(path) == ("TCS", "M&M", "INFY")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"TCS\nINFY\nTCS\n", "named twice.*line 3.*line 1"),
        (b"TCS\n\ninfy\n", "no symbol.*line 3"),
        (b"# nothing\n\n", "names none"),
        (b"\xff\xfe", "cannot be read"),
    ],
)
def test_read_refuses_by_line(tmp_path: Path, content: bytes, what: str) -> None:
    """A repeated or wrong line is refused by its number; so are empty and binary files."""
    path = tmp_path / "symbols.txt"
    path.write_bytes(content)

    with pytest.raises(ConfigError, match=what):
        read_symbols_file(path)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    """A missing file and a folder are refused as such."""
    with pytest.raises(ConfigError, match=r"cannot be read.*none\.txt"):
        read_symbols_file(tmp_path / "none.txt")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_symbols_file(tmp_path)


def test_indices() -> None:
    """The three indices are symbols that cannot be traded; a fund on one can."""
    for symbol in (NIFTY50, NIFTY50_TRI, INDIA_VIX):
        assert validate_symbol(symbol) == symbol
        assert is_index(symbol)
    assert not is_index("NIFTYBEES")


@pytest.mark.real_data
def test_every_real_ticker_is_a_symbol(real_data: Path) -> None:
    """All 2,837 tickers with a corporate action in 2016 to 2026 are accepted."""
    path = real_data / "corporate_actions" / "corporate_actions.parquet"
    tickers = pl.read_parquet(path)["symbol"].unique().to_list()

    assert len(tickers) == 2837
    assert [validate_symbol(ticker) for ticker in tickers] == tickers
