"""Facts about the broker's list of securities. All rows are made up, but for their layout."""

import io
import zipfile
from datetime import date

import pytest

from sensequant.errors import MasterUnavailableError, SourceError
from sensequant.market import security_master
from sensequant.market.security_master import (
    COLLISION_SCHEMA,
    DROPPED_SCHEMA,
    MASTER_MEMBER,
    MASTER_SCHEMA,
    SecurityMaster,
    parse_master,
)

COLUMNS = (
    *("Token", "ShortName", "Series", "CompanyName", "ticksize", "Lotsize", "DateOfListing"),
    *("DateOfDeListing", "IssuePrice", "FaceValue", "ISINCode", "52WeeksHigh", "52WeeksLow"),
    *("Symbol", "InstrumentType", "ListingDate", "DeleteFlag", "Remarks", "ExchangeCode"),
)
HEADER = ", ".join(f'"{name}"' for name in COLUMNS)


def row(symbol: str, code: str, *, number: str = "11", **cells: str) -> str:
    """Return a line as the file has it: no blanks after commas, texts quoted."""
    filled = {
        "Token": number,
        "Series": "EQ",
        "CompanyName": f"{symbol} LIMITED",
        "ISINCode": f"INE{code:0<4.4}01010",
        "52WeeksHigh": "10.5",
        "ShortName": code,
        "ExchangeCode": symbol,
    } | cells
    return ",".join(f'"{filled.get(name, "")}"' for name in COLUMNS)


def zipped(text: str | bytes, *, member: str = MASTER_MEMBER, **others: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {**others, member: text}.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def parsed(*lines: str, header: str = HEADER) -> SecurityMaster:
    return parse_master(zipped("\n".join([header, *lines]) + "\n"))


def test_a_line_becomes_a_row() -> None:
    """Header with blanks after commas, lines without; empty cells are null."""
    line = row("RELIANCE", "RELIND", number="2885", DateOfListing="29-Nov-1995", ISINCode="")
    master = parsed(line)

    assert master.securities.schema == MASTER_SCHEMA
    assert master.securities.rows() == [
        (
            *("RELIANCE", "RELIND", None, "2885", "EQ", "RELIANCE LIMITED"),
            *(date(1995, 11, 29), None, False, True),
        )
    ]
    assert master.n_rows == 1
    assert len(master.sha256) == 64
    assert master.collisions.schema == COLLISION_SCHEMA
    assert master.dropped.schema == DROPPED_SCHEMA


def test_the_ordinary_row_wins_over_its_twins() -> None:
    """A bond or warrant of the company stands under the same symbol, and perhaps the same code."""
    master = parsed(
        row("HDFCBANK", "HDFBAN", number="1333"),
        row("HDFCBANK", "HDFBAN", number="17320", Series="N1"),
        row("HDFCBANK", "HDFWA2", number="17321", Series="W3"),
        row("HDFCBANK", "HDFBAN", number="17322", Series="BE"),
    )

    assert master.securities.select("symbol", "stock_code", "token").rows() == [
        ("HDFCBANK", "HDFBAN", "1333")
    ]
    assert master.collisions.is_empty()
    assert set(master.dropped["reason"]) == {"other_series"}


def test_trade_to_trade_counts_where_there_is_no_ordinary_row() -> None:
    """The series tells which of the two a row is."""
    master = parsed(row("SUZLON", "SUZENE", Series="BE"), row("TCS", "TCS", Series=" eq "))

    assert master.securities.select("symbol", "series").rows() == [("SUZLON", "BE"), ("TCS", "EQ")]


def test_a_code_may_be_the_symbol_of_another_company() -> None:
    """ACE is a symbol, and the broker's code of ACESOFT: the two are no collision."""
    master = parsed(row("ACE", "ACTCON", number="13587"), row("ACESOFT", "ACE", number="4306"))

    assert master.securities.select("symbol", "stock_code", "token").rows() == [
        ("ACE", "ACTCON", "13587"),
        ("ACESOFT", "ACE", "4306"),
    ]


@pytest.mark.parametrize(
    ("lines", "kinds"),
    [
        ([row("AA", "AAA"), row("AA", "BBB", number="12")], [("symbol", "AA")] * 2),
        ([row("AA", "AAA"), row("AA", "AAA", number="12")], [("symbol", "AA")] * 2),
        ([row("AA", "COD"), row("BB", "COD", number="12")], [("stock_code", "COD")] * 2),
        (
            [row("AA", "COD", Series="BE"), row("BB", "COD", number="12")],
            [("stock_code", "COD")] * 2,
        ),
        (
            [row("AA", "COD", Series="BE"), row("AA", "COD", Series="BE", number="12")],
            [("symbol", "AA")] * 2,
        ),
    ],
    ids=["two codes", "two tokens", "one code", "one code over series", "twice in BE"],
)
def test_collisions_are_refused_and_reported(
    lines: list[str], kinds: list[tuple[str, str]]
) -> None:
    """All candidates are reported, none is kept; others are not touched."""
    master = parsed(*lines, row("TCS", "TCS", number="13"))

    assert master.securities["symbol"].to_list() == ["TCS"]
    assert master.collisions.select("kind", "key").rows() == kinds


def test_equal_lines_are_one() -> None:
    """A line that stands twice, word for word, is no collision."""
    master = parsed(row("TCS", "TCS"), row("TCS", "TCS"))

    assert master.securities.height == 1
    assert master.n_rows == 2


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"Token": "0"}, "dead_token"),
        ({"Token": "NA"}, "dead_token"),
        ({"Token": "X5572"}, "dead_token"),
        ({"Token": ""}, "dead_token"),
        ({"DeleteFlag": "Y"}, "deleted"),
        ({"DeleteFlag": "1"}, "deleted"),
        ({"Series": "N1"}, "other_series"),
        ({"Series": ""}, "other_series"),
        ({"ExchangeCode": ""}, "no_symbol"),
        ({"ExchangeCode": "CNX Nifty"}, "no_symbol"),
        ({"ExchangeCode": "A" * 33}, "no_symbol"),
        ({"ShortName": ""}, "no_stock_code"),
    ],
)
def test_rows_that_cannot_be_asked_for_are_dropped(cells: dict[str, str], reason: str) -> None:
    """Each with its reason; the live row beside it stays."""
    master = parsed(row("GONE", "GONECO", **cells), row("TCS", "TCS"))

    assert master.dropped["reason"].to_list() == [reason]
    assert master.securities["symbol"].to_list() == ["TCS"]


@pytest.mark.parametrize("flag", ["", "N", "n", "0", "False"])
def test_a_flag_that_says_no_deletes_nothing(flag: str) -> None:
    """The real file leaves the flag empty."""
    assert parsed(row("TCS", "TCS", DeleteFlag=flag)).securities.height == 1


def test_indices_are_kept_apart() -> None:
    """An index has series 0, its name as the token and no ISIN; offers for sale are no index."""
    index = {"Series": "0", "ISINCode": ""}
    master = parsed(
        row("NIFTY 50", "NIFTY", number="NIFTY 50", **index),
        row("INDVIX", "INDVIX", number="INDIA VIX", **index),
        row("GONE", "GONIND", number="GONE", DeleteFlag="Y", **index),
        row("COAOFS", "COAOFS", number="COAOFS"),
        row("TCS", "TCS"),
    )

    assert master.indices.select("token", "stock_code").rows() == [
        ("INDIA VIX", "INDVIX"),
        ("NIFTY 50", "NIFTY"),
    ]
    assert sorted(master.dropped.select("symbol", "reason").rows()) == [
        ("COAOFS", "dead_token"),
        ("GONE", "deleted"),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("29-Nov-1995", date(1995, 11, 29)),
        ("1995-11-29", date(1995, 11, 29)),
        ("1995-11-29 00:00:00", date(1995, 11, 29)),
        ("29/11/1995", date(1995, 11, 29)),
        ("29-11-1995", date(1995, 11, 29)),
        ("29-11-95", None),
        ("soon", None),
    ],
)
def test_dates_in_several_formats(text: str, expected: date | None) -> None:
    """A date that cannot be read is null and counted."""
    master = parsed(row("TCS", "TCS", ListingDate=text, DateOfDeListing="30-Nov-2030"))

    assert master.securities.select("listed_on", "delisted_on").rows() == [
        (expected, date(2030, 11, 30))
    ]
    assert master.n_unreadable_dates == (expected is None)


@pytest.mark.parametrize(("high", "expected"), [("15.22", True), ("0", False), ("", None)])
def test_a_range_of_the_year_is_told(high: str, expected: bool | None) -> None:
    """Zero means that the broker has no price of the last 52 weeks."""
    master = parsed(row("TCS", "TCS", **{"52WeeksHigh": high}))

    assert master.securities["is_priced_in_year"].to_list() == [expected]


def test_columns_in_any_order_and_any_spelling() -> None:
    """Only the needed columns must be there; blanks, case and a byte-order mark do not matter."""
    header = '\ufeffexchangecode , "ISINCODE",Token,"ShortName", Series,"companyname", "Other"'
    master = parsed('"TCS","INE467B01029","11536","TCS","EQ","TATA, LTD","x"', header=header)

    assert master.securities.rows() == [
        ("TCS", "TCS", "INE467B01029", "11536", "EQ", "TATA, LTD", None, None, False, None)
    ]


def test_numbers_stand_without_quotation_marks() -> None:
    """As they do in the real file."""
    line = row("TCS", "TCS", number="11536").replace('"11536"', "11536").replace('"10.5"', "10.5")

    assert parsed(line).securities.select("token", "is_priced_in_year").rows() == [("11536", True)]


def test_blanks_after_commas_and_other_line_ends() -> None:
    """A line with blanks before quotation marks is read; a comma in quotation marks parts nothing.

    Blank lines count for nothing, and neither do bytes that are no UTF-8 in a company's name.
    """
    line = row("TCS", "TCS", CompanyName="TATA, SONS CAF#").replace('","', '", "')
    text = f"{HEADER}\r\n{line}\r\n\r\n".encode().replace(b"#", b"\xc9")
    master = parse_master(zipped(text))

    assert master.securities["company_name"].to_list() == ["TATA, SONS CAF\ufffd"]
    assert master.securities["symbol"].to_list() == ["TCS"]


def test_only_the_file_of_nse_is_read() -> None:
    """Other exchanges' files end alike; a folder within the archive and case do not matter."""
    text = "\n".join([HEADER, row("TCS", "TCS")])
    content = zipped(
        text,
        member="x/nsescripmaster.TXT",
        **{"CDNSEScripMaster.txt": b"no", "FONSEScripMaster.txt": b"no"},
    )

    assert parse_master(content).securities.height == 1


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>not found</html>",
        zipped(HEADER + "\n" + row("TCS", "TCS"))[:-30],
        zipped(HEADER + "\n"),
        zipped(HEADER),
        zipped(HEADER + "\n" + row("TCS", "TCS") + ',"one","more"'),
        zipped(f"{HEADER}\n{row('A', 'A')},1\n{row('B', 'B')}\n{row('C', 'C')}"),
        zipped(HEADER + "\n" + '"1","open\n' + row("TCS", "TCS") + "\n" + row("INFY", "INFTEC")),
    ],
    ids=[
        "nothing",
        "a page",
        "cut",
        "no rows",
        "header only",
        "too many cells",
        "too many cells in the middle",
        "open quotation",
    ],
)
def test_damaged_lists_are_refused(content: bytes) -> None:
    """Another download may help, and the message says what to do until then."""
    with pytest.raises(MasterUnavailableError, match="download it again"):
        parse_master(content)


def test_a_flipped_bit_is_noticed() -> None:
    """The archive's own check sum tells."""
    content = bytearray(zipped("\n".join([HEADER, *(row(f"S{n}", f"C{n}") for n in range(50))])))
    content[len(content) // 3] ^= 0xFF

    with pytest.raises(MasterUnavailableError):
        parse_master(bytes(content))


def test_an_archive_that_unpacks_to_far_too_much_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its size is looked at before it is unpacked."""
    monkeypatch.setattr(security_master, "_MAX_MEMBER_BYTES", 10)

    with pytest.raises(MasterUnavailableError, match="far too large"):
        parsed(row("TCS", "TCS"))


@pytest.mark.parametrize("member", ["BSEScripMaster.txt", "CDNSEScripMaster.txt"])
def test_an_archive_without_the_file_of_nse(member: str) -> None:
    """Asking again will not help: the layout has changed."""
    with pytest.raises(SourceError, match=f"no file of NSE.*{member}") as caught:
        parse_master(zipped(HEADER, member=member))

    assert not isinstance(caught.value, MasterUnavailableError)


@pytest.mark.parametrize(
    "header", [HEADER.replace("ISINCode", "Isin"), HEADER.replace("Remarks", "Token"), ""]
)
def test_a_header_without_a_needed_column(header: str) -> None:
    """A column that is missing or stands twice is named."""
    with pytest.raises(SourceError, match="lacks a column"):
        parsed(row("TCS", "TCS"), header=header)


def test_order_of_lines_does_not_matter() -> None:
    """Equal lists in another order give equal frames."""
    lines = [row("A1", "A"), row("B1", "B"), row("B1", "C"), row("D1", "D", number="0")]
    one, two = parsed(*lines), parsed(*reversed(lines))

    assert one.securities.equals(two.securities)
    assert one.collisions.equals(two.collisions)
    assert one.dropped.equals(two.dropped)
    assert (one.collisions.height, one.dropped.height) == (2, 1)
