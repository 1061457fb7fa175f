"""Facts about lists that a person brings."""

from datetime import date
from pathlib import Path

import polars as pl
import pytest

from sensequant.errors import ConfigError, InvalidBarsError, StorageError
from sensequant.ingestion.imports import (
    import_actions,
    import_listings,
    import_renames,
    import_sectors,
    stored_renames,
    stored_sectors,
)
from sensequant.ingestion.shelf import stored_listings
from sensequant.market.store import BarStore

ACTIONS = '"SYMBOL","COMPANY NAME","SERIES","PURPOSE","FACE VALUE","EX-DATE"\n'


def file(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def action(symbol: str, purpose: str, ex_date: str) -> str:
    return f'"{symbol}","{symbol} Limited","EQ","{purpose}","10","{ex_date}"\n'


def split(symbol: str, ex_date: str) -> str:
    return action(symbol, "Face Value Split - From Rs 10/- To Rs 2/-", ex_date)


def test_actions_replace_the_former_list(tmp_path: Path) -> None:
    """The second list of a source is all that is left of it; a bad third changes nothing."""
    store = BarStore(tmp_path / "home")
    first = file(tmp_path, "first.csv", ACTIONS + split("AAA", "02-Jan-2023"))
    second = file(tmp_path, "second.csv", ACTIONS + split("BBB", "03-Jan-2023"))
    bad = file(tmp_path, "bad.csv", ACTIONS + split("CCC", "someday"))

    assert import_actions(store, first)["symbol"].to_list() == ["AAA"]
    assert import_actions(store, second)["symbol"].to_list() == ["BBB"]
    with pytest.raises(InvalidBarsError):
        import_actions(store, bad)

    kept = store.actions().select("symbol", "ex_date", "price_ratio").rows()
    assert kept == [("BBB", date(2023, 1, 3), 0.2)]


def test_without_an_import_no_change_is_known(tmp_path: Path) -> None:
    """A symbol is what it is."""
    assert stored_renames(tmp_path).frame.is_empty()
    assert stored_renames(tmp_path).current_name("LTI", date(2020, 1, 1)) == "LTI"


@pytest.mark.parametrize(
    # However a program named its download.
    "name",
    ["changes.csv", "symbol.change.v2.csv", "changes.csv.gz", "changes.parquet", "changes"],
)
def test_changes_are_kept_in_whatever_form_they_come(tmp_path: Path, name: str) -> None:
    """NSE's names of the columns or ours, as CSV or Parquet, with a suffix or none."""
    rows = {
        "SM_KEY_SYMBOL": ["LTI", "LTIM", None],
        "SM_NEW_SYMBOL": ["LTIM", "LTM", "GHOST"],
        "SM_APPLICABLE_FROM": ["05-Dec-2022", "01-Sep-2025", "01-Jan-2020"],
    }
    frame = pl.DataFrame(rows)
    path = tmp_path / name
    if ".csv" in name:
        frame.write_csv(path, compression="gzip" if name.endswith(".gz") else "uncompressed")
    else:
        frame.write_parquet(path)

    imported = import_renames(tmp_path / "home", path)
    stored = stored_renames(tmp_path / "home")

    assert stored.frame.equals(imported.frame)
    assert stored.unusable.equals(imported.unusable)
    assert stored.unusable.height == 1
    assert stored.chain("LTI") == ("LTI", "LTIM", "LTM")


def test_changes_replace_the_former_list_in_another_form(tmp_path: Path) -> None:
    """Parquet after CSV leaves one list, and a bad one leaves the former."""
    home = tmp_path / "home"
    import_renames(home, file(tmp_path, "one.csv", "old,new,date\nAAA,AAB,2020-01-02\n"))
    two = tmp_path / "two.parquet"
    pl.DataFrame({"old": ["BBB"], "new": ["BBC"], "date": [date(2021, 1, 4)]}).write_parquet(two)

    import_renames(home, two)

    assert stored_renames(home).frame["old"].to_list() == ["BBB"]
    assert len([path for path in (home / "symbols").iterdir() if path.is_file()]) == 1

    circle = "old,new,date\nCCC,DDD,2020-01-02\nDDD,CCC,2020-01-02\n"
    with pytest.raises(InvalidBarsError, match="contradict each other"):
        import_renames(home, file(tmp_path, "three.csv", circle))
    with pytest.raises(InvalidBarsError):
        import_renames(home, tmp_path / "missing.csv")
    assert stored_renames(home).frame["old"].to_list() == ["BBB"]


def test_sectors_replace_the_former_list_and_a_bad_one_leaves_it(tmp_path: Path) -> None:
    """Before the first import there are none, which is not an empty list."""
    home = tmp_path / "home"
    assert stored_sectors(home) is None

    first = file(tmp_path, "first.csv", "symbol,sector\nBBB,Power\nAAA,Metals\n")
    import_sectors(home, first)
    with pytest.raises(InvalidBarsError, match="list of sectors is wrong"):
        import_sectors(home, file(tmp_path, "bad.csv", "symbol,sector\nCCC,\n"))

    kept = stored_sectors(home)
    assert kept is not None
    assert kept.rows() == [("AAA", "Metals"), ("BBB", "Power")]


def test_a_list_that_cannot_be_written_leaves_the_former(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever moment the disk or the process fails at, a whole list is there."""
    home = tmp_path / "home"
    import_renames(home, file(tmp_path, "one.csv", "old,new,date\nAAA,AAB,2020-01-02\n"))
    two = file(tmp_path, "two.csv.v1.csv", "old,new,date\nBBB,BBC,2021-01-04\n")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        with pytest.raises(StorageError, match="No space left"):
            import_renames(home, two)

    assert stored_renames(home).frame["old"].to_list() == ["AAA"]


def test_listings_replace_the_former_list(tmp_path: Path) -> None:
    """The second list is all that is left; a bad third changes nothing; none at all empties it."""
    root = tmp_path / "home" / "breeze"
    header = "symbol,kind,start,end\n"
    import_listings(root, file(tmp_path, "mine.csv", header + "AAA,listed,2015-01-01,\n"))
    second = header + "BBB,Suspended,06-Jan-2020,2020-02-03\n"
    given = import_listings(root, file(tmp_path, "yours.csv", second))

    expected = [
        ("BBB", "suspended", date(2020, 1, 6), date(2020, 2, 3), "stated in yours.csv"),
    ]
    assert given.rows() == stored_listings(root).rows() == expected
    for bad in (header + "CCC,gone,2020-01-01,\n", "symbol,kind\nCCC,listed\n"):
        with pytest.raises(ConfigError):
            import_listings(root, file(tmp_path, "bad.csv", bad))
    assert stored_listings(root).rows() == expected

    import_listings(root, file(tmp_path, "empty.csv", header))
    assert stored_listings(root).is_empty()
