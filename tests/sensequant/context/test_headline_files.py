"""Files of headlines: when each counts as known, and every reason to refuse one."""

import gzip
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from sensequant.context.files import Delivered
from sensequant.context.headline_files import import_headlines, read_headline_file
from sensequant.context.headlines import HEADLINES
from sensequant.context.store import ContextStore, WriteCounts
from sensequant.errors import InvalidContextError

AT = datetime(2024, 2, 1, tzinfo=UTC)
HEADER = "ticker,date,headline,sentiment_score"

FEED = """<?xml version="1.0" encoding="{encoding}"?>
<rss version="2.0"><channel><title>News</title>
<item><title>Profit ri&amp;ses nestl\u00e9</title>
<pubDate>Mon, 01 Jan 2024 10:00:00 +0530</pubDate></item>
<item><title>No date</title></item>
</channel></rss>"""


def read(folder: Path, *lines: str, header: str = HEADER) -> Delivered:
    path = folder / "AAA_news.csv"
    path.write_text("\n".join([header, *lines]), encoding="utf-8")
    return read_headline_file(path, imported_at=AT)


def utc(year: int, month: int, day: int, hour: int = 0, minute: int = 0) -> datetime:
    return datetime(year, month, day, hour, minute, tzinfo=UTC)


@pytest.mark.parametrize(
    ("stamp", "at", "known_at", "has_time"),
    [
        ("2024-01-01", utc(2023, 12, 31, 18, 30), utc(2024, 1, 1, 18, 30), False),
        ("01-Jan-2024", utc(2023, 12, 31, 18, 30), utc(2024, 1, 1, 18, 30), False),
        ("2024-01-01 00:00:00", utc(2023, 12, 31, 18, 30), utc(2024, 1, 1, 18, 30), False),
        ("2024-01-01 09:30:00", utc(2024, 1, 1, 4), utc(2024, 1, 1, 4), True),
        ("2024-01-01T09:30:00.123Z", utc(2024, 1, 1, 9, 30), utc(2024, 1, 1, 9, 30), True),
        ("2024-01-01T00:00:00Z", utc(2024, 1, 1), utc(2024, 1, 1), True),
    ],
)
def test_when_a_headline_is_known(
    tmp_path: Path, stamp: str, at: datetime, known_at: datetime, *, has_time: bool
) -> None:
    """With a time at that time; without one, when its day has ended in India."""
    (row,) = read(tmp_path, f"AAA,{stamp},Profit rises,0.5").rows.to_dicts()

    assert (row["at"], row["known_at"], row["has_time"]) == (at, known_at, has_time)
    assert (row["symbol"], row["headline"]) == ("AAA", "Profit rises")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("aaa,2024-01-01,Profit rises,0", "unknown_symbol"),
        ("../X,2024-01-01,Profit rises,0", "unknown_symbol"),
        (",2024-01-01,Profit rises,0", "unknown_symbol"),
        ("AAA,2024-01-01,,0", "no_headline"),
        ("AAA,2024-01-01,  ,0", "no_headline"),
        ("AAA,,Profit rises,0", "unreadable_time"),
        ("AAA,yesterday,Profit rises,0", "unreadable_time"),
        ("AAA,2024-13-01,Profit rises,0", "unreadable_time"),
        ("AAA,2024-02-02,Profit rises,0", "in_the_future"),
        ("AAA,2024-02-01 05:30:01,Profit rises,0", "in_the_future"),
        ("AAA,2024-01-31,GOOD  news - Mint,0", "duplicate"),
    ],
)
def test_a_headline_that_cannot_be_used_keeps_its_reason(
    tmp_path: Path, line: str, reason: str
) -> None:
    """It is refused as it stands, and the good one beside it is kept."""
    delivered = read(tmp_path, "AAA,2024-01-31,Good news - Reuters,0", line)

    assert delivered.refused["reason"].to_list() == [reason]
    assert delivered.rows["headline"].to_list() == ["Good news - Reuters"]


def test_a_repetition_on_another_day_is_kept(tmp_path: Path) -> None:
    """That it was said again is news of its own, with a novelty of 0."""
    assert read(tmp_path, "AAA,2024-01-01,Same,0", "AAA,2024-01-02,Same,0").rows.height == 2


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_text_may_be_utf_8_or_utf_16(tmp_path: Path, encoding: str) -> None:
    """The marks of both are understood."""
    path = tmp_path / "AAA_news.csv.gz"
    text = f"{HEADER}\nAAA,2024-01-01,Nestl\u00e9 \u20b95,0"
    path.write_bytes(gzip.compress(text.encode(encoding)))

    assert read_headline_file(path, imported_at=AT).rows["headline"].to_list() == [
        "Nestl\u00e9 \u20b95"
    ]


def test_an_unknown_encoding_is_recorded_not_guessed(tmp_path: Path) -> None:
    """The file is refused as a whole, the others of the folder are read."""
    (tmp_path / "AAA_news.csv").write_bytes(
        f"{HEADER}\nAAA,2024-01-01,Nestl\u00e9,0".encode("latin1")
    )
    (tmp_path / "BBB_news.csv").write_text(f"{HEADER}\nBBB,2024-01-01,Profit,0", encoding="utf-8")
    (tmp_path / "CCC.xml").write_text(FEED.format(encoding="klingon"), encoding="utf-8")
    store = ContextStore(tmp_path / "home", is_simulated=False)

    report = import_headlines(store, tmp_path, imported_at=AT)

    assert report.symbols == ("BBB",)
    assert report.refused.select("file", "reason").rows() == [
        ("AAA_news.csv", "unknown_encoding"),
        ("CCC.xml", "unknown_encoding"),
    ]
    assert store.refused(HEADLINES).height == 2


@pytest.mark.parametrize("encoding", ["utf-8", "iso-8859-1"])
def test_a_feed_says_its_own_encoding(tmp_path: Path, encoding: str) -> None:
    """Items with a date become headlines of the company that is named; one without is refused."""
    path = tmp_path / "AAA_feed.xml"
    path.write_bytes(FEED.format(encoding=encoding).encode(encoding))

    delivered = read_headline_file(path, imported_at=AT, symbol="TCS")

    assert delivered.rows.select("symbol", "at", "source", "headline", "has_time").rows() == [
        ("TCS", utc(2024, 1, 1, 4, 30), "rss_file", "Profit ri&ses nestl\u00e9", True)
    ]
    assert delivered.refused["reason"].to_list() == ["unreadable_time"]
    assert read_headline_file(path, imported_at=AT).rows["symbol"].to_list() == ["AAA"]


@pytest.mark.parametrize(
    "content",
    ["<rss><channel></channel></rss>", "<rss><item>", "<!DOCTYPE rss><rss><item/></rss>"],
    ids=["no item", "cut off", "declares types"],
)
def test_what_is_no_feed_is_recorded(tmp_path: Path, content: str) -> None:
    """Nothing of it is taken."""
    path = tmp_path / "AAA.xml"
    path.write_text(content, encoding="utf-8")

    delivered = read_headline_file(path, imported_at=AT)

    assert delivered.rows.is_empty()
    assert delivered.refused["reason"].to_list() == ["no_feed"]


def test_tables_without_the_columns_are_refused(tmp_path: Path) -> None:
    """The message says what is there and what is needed."""
    with pytest.raises(InvalidContextError, match="published_at or"):
        read(tmp_path, "AAA,1", header="ticker,close")
    (tmp_path / "AAA.parquet").write_bytes(b"no table")
    with pytest.raises(InvalidContextError, match="no table of headlines"):
        read_headline_file(tmp_path / "AAA.parquet", imported_at=AT)


def test_an_import_again_adds_nothing(tmp_path: Path) -> None:
    """A Parquet file without symbols is about whom its name says; the mark is that of the store."""
    path = tmp_path / "M&M_2024.parquet"
    pl.DataFrame(
        {"Title": ["Profit", "Loss"], "published": [utc(2024, 1, 1), utc(2019, 1, 1)]}
    ).with_columns(pl.col("published").dt.strftime("%Y-%m-%dT%H:%M:%SZ")).write_parquet(path)
    store = ContextStore(tmp_path / "home", is_simulated=True)

    first, second = (import_headlines(store, path, imported_at=AT) for _ in range(2))

    assert (first.counts, second.counts) == (WriteCounts(n_added=2), WriteCounts(n_known=2))
    stored = store.read(HEADLINES, "M&M")
    assert stored["headline"].to_list() == ["Loss", "Profit"]
    assert stored["is_simulated"].all()
