"""Facts about universe files and membership on a date."""

import csv
from collections.abc import Collection
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensequant.errors import ConfigError
from sensequant.market.renames import RENAME_SCHEMA, RenameTable, read_renames
from sensequant.market.universes import (
    Universe,
    load_universe,
    membership_from_lists,
    read_universe,
    universe_yaml,
)

SHIPPED = Path(__file__).parents[3] / "deployments" / "universes"
AS_OF = date(2025, 6, 2)
HEAD = "name: mine\ndescription: a test\nsource: by hand\n"


def write(folder: Path, text: str, *, name: str = "mine") -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_members_by_name_and_by_path(tmp_path: Path) -> None:
    """A name is looked up in the folder, a path is taken as it is; the answer is sorted."""
    path = write(tmp_path, HEAD + "members: [TCS, M&M, INFY]\n")

    assert load_universe("mine", folder=tmp_path, as_of=AS_OF) == ("INFY", "M&M", "TCS")
    elsewhere = tmp_path / "elsewhere"
    assert load_universe(path, folder=elsewhere, as_of=AS_OF) == ("INFY", "M&M", "TCS")
    assert load_universe(str(path), folder=elsewhere, as_of=AS_OF) == ("INFY", "M&M", "TCS")


@pytest.mark.parametrize(
    ("as_of", "expected"),
    [
        (date(2019, 12, 31), ("INFY",)),
        (date(2020, 1, 1), ("INFY", "TCS")),
        (date(2020, 6, 30), ("INFY", "TCS")),
        (date(2020, 7, 1), ("INFY",)),
        (date(2021, 1, 1), ("TCS",)),
        (date(2025, 1, 1), ("TCS",)),
    ],
)
def test_membership_is_dated(tmp_path: Path, as_of: date, expected: tuple[str, ...]) -> None:
    """Since and until are included; a symbol may leave and come back."""
    write(
        tmp_path,
        HEAD
        + """
members:
  - {symbol: TCS, since: 2020-01-01, until: 2020-06-30}
  - {symbol: INFY, until: 2020-12-31}
  - {symbol: TCS, since: 2021-01-01}
""",
    )

    assert load_universe("mine", folder=tmp_path, as_of=as_of) == expected


def test_no_member_on_a_date_is_refused(tmp_path: Path) -> None:
    """A universe without a member on the date would silently do nothing, so it is refused."""
    write(tmp_path, HEAD + "members: [{symbol: TCS, since: 2020-01-01}]\n")

    with pytest.raises(ConfigError, match="none as of 2019-12-31"):
        load_universe("mine", folder=tmp_path, as_of=date(2019, 12, 31))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "file: Input should be"),
        ("- TCS\n", "file: Input should be"),
        (HEAD, "members: Field required"),
        (HEAD + "members: []\n", "members: .*at least 1 item"),
        (HEAD + "members: TCS\n", "members: Input should be a valid tuple"),
        (HEAD + "members: [tcs]\n", "members.0.symbol: .*write TCS"),
        (HEAD + "members: [../x]\n", "members.0.symbol: .*no symbol"),
        (HEAD + "members: [ON]\n", "members.0: .*quotation marks"),
        (HEAD + "members: [{symbol: TCS, weight: 1}]\n", "members.0.weight: Extra inputs"),
        (HEAD + "members: [TCS]\nowner: me\n", "owner: Extra inputs"),
        (HEAD + "members: [TCS]\nmembers: [INFY]\n", "a key stands twice"),
        (HEAD + "members: [TCS, INFY, TCS]\n", "TCS is listed twice"),
        (HEAD + "members: [{symbol: TCS, since: 2020-01-02, until: 2020-01-01}]\n", "is after"),
        (HEAD + "members: [{symbol: TCS, since: someday}]\n", "members.0.since: .*date"),
        (HEAD.replace("a test", "''") + "members: [TCS]\n", "description: .*at least 1"),
        (HEAD.replace("mine", "Mine") + "members: [TCS]\n", "name: .*pattern"),
        (HEAD.replace("mine", "yours") + "members: [TCS]\n", "'yours' in a file named mine.yaml"),
        ("name: [\n", "while parsing"),
    ],
)
def test_wrong_files_are_refused(tmp_path: Path, text: str, what: str) -> None:
    """Every fault is a ConfigError that names the file and the place in it."""
    path = write(tmp_path, text)

    with pytest.raises(ConfigError, match=what) as caught:
        read_universe(path)
    assert caught.value.where == str(path)


def test_a_short_spell_inside_a_long_one_is_refused(tmp_path: Path) -> None:
    """Spells of one symbol may not overlap, even where one lies wholly within the other."""
    members = """members:
  - {symbol: TCS, since: 2010-01-01, until: 2020-01-01}
  - {symbol: TCS, since: 2015-01-01, until: 2016-01-01}
"""
    with pytest.raises(ConfigError, match="TCS is listed twice"):
        read_universe(write(tmp_path, HEAD + members))


def test_missing_files_are_refused(tmp_path: Path) -> None:
    """An unknown name brings the known ones; a missing path is refused as such."""
    write(tmp_path, HEAD + "members: [TCS]\n")

    with pytest.raises(ConfigError, match=r"universe is unknown.*expected: mine.*found: yours"):
        load_universe("yours", folder=tmp_path, as_of=AS_OF)
    with pytest.raises(ConfigError, match="No such file"):
        load_universe(tmp_path / "none.yaml", folder=tmp_path, as_of=AS_OF)


def test_all_is_for_the_caller(tmp_path: Path) -> None:
    """`all` is no file, even where one of that name lies in the folder."""
    write(tmp_path, HEAD.replace("mine", "all") + "members: [TCS]\n", name="all")

    with pytest.raises(ConfigError, match="ask the source of bars"):
        load_universe("all", folder=tmp_path, as_of=AS_OF)


@pytest.mark.parametrize(
    ("name", "n_members"), [("nifty100", 100), ("metals_etfs", 2), ("pilot", 12)]
)
def test_shipped_universes(name: str, n_members: int) -> None:
    """Each shipped universe is right, and says who names its members."""
    universe = read_universe(SHIPPED / f"{name}.yaml")

    assert len(universe.members_as_of(AS_OF)) == n_members
    assert Universe.model_validate_json(universe.model_dump_json()) == universe


def test_nothing_else_is_shipped() -> None:
    """Every file in the folder is one of those tested above."""
    assert sorted(path.name for path in SHIPPED.iterdir()) == [
        "metals_etfs.yaml",
        "nifty100.yaml",
        "pilot.yaml",
    ]


@pytest.mark.real_data
def test_nifty100_is_the_published_list(real_data: Path) -> None:
    """The members are those of the list that NSE Indices published in 2025."""
    text = (real_data / "index" / "ind_nifty100list_2025.csv").read_text(encoding="utf-8")
    published = sorted(row["Symbol"] for row in csv.DictReader(text.splitlines()))

    assert list(load_universe("nifty100", folder=SHIPPED, as_of=AS_OF)) == published


def universe_of(lists: dict[date, Collection[str]], renames: RenameTable | None = None) -> Universe:
    return membership_from_lists(
        lists, name="mine", description="a test", source="by hand", renames=renames
    )


JANUARY, MARCH, JUNE, JULY = (date(2024, month, 15) for month in (1, 3, 6, 7))


def test_lists_make_a_dated_universe() -> None:
    """A list holds until the day before the next one; the last one stays."""
    universe = universe_of(
        {JUNE: ["TCS", "INFY"], JANUARY: ["TCS", "ITC"], MARCH: ["ITC"], JULY: ["INFY"]}
    )

    assert [(one.symbol, one.since, one.until) for one in universe.members] == [
        ("INFY", JUNE, None),
        ("ITC", JANUARY, date(2024, 6, 14)),
        ("TCS", JANUARY, date(2024, 3, 14)),
        ("TCS", JUNE, date(2024, 7, 14)),
    ]
    assert universe.members_as_of(date(2024, 1, 14)) == ()
    assert universe.members_as_of(date(2030, 1, 1)) == ("INFY",)


@given(
    st.dictionaries(
        st.dates(date(2020, 1, 1), date(2020, 3, 1)),
        st.sets(st.sampled_from(["AA", "BB", "CC", "DD"]), min_size=1),
        min_size=1,
        max_size=6,
    )
)
def test_every_day_has_the_members_of_the_last_list(lists: dict[date, set[str]]) -> None:
    """By brute force over the days; the file reads back to the same universe."""
    universe = universe_of(dict(lists))

    for n in range(100):
        day = date(2019, 12, 15) + timedelta(days=n)
        past = [stated for stated in lists if stated <= day]
        expected = sorted(lists[max(past)]) if past else []
        assert list(universe.members_as_of(day)) == expected


def test_a_made_universe_is_a_file(tmp_path: Path) -> None:
    """Names that YAML would take for truth values are quoted; open ends are left out."""
    universe = universe_of({JANUARY: ["ON", "M&M", "NO"], MARCH: ["M&M"]})
    path = write(tmp_path, universe_yaml(universe))

    assert read_universe(path) == universe
    assert "until: null" not in path.read_text()


def test_members_under_their_newest_names() -> None:
    """Bars are kept under the symbol that a company has now; a name may have changed hands."""
    changes = [("LTI", "LTIM", MARCH, "rename"), ("X", "LTI", JUNE, "rename")]
    renames = RenameTable.from_changes(pl.DataFrame(changes, schema=RENAME_SCHEMA, orient="row"))
    universe = universe_of({JANUARY: ["LTI"], JULY: ["LTI", "LTIM"]}, renames)

    assert universe.members_as_of(JANUARY) == ("LTIM",)
    assert universe.members_as_of(JULY) == ("LTI", "LTIM")


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ({}, "no universe"),
        ({JANUARY: []}, "empty or names a company twice"),
        ({JANUARY: ["TCS", "TCS"]}, "twice.*found: TCS"),
        ({JANUARY: ["tcs"]}, "no symbol"),
    ],
)
def test_lists_that_make_no_universe(lists: dict[date, Collection[str]], message: str) -> None:
    """No list, an empty one, a symbol twice, or what is none."""
    with pytest.raises(ConfigError, match=message):
        universe_of(lists)


@pytest.mark.real_data
def test_membership_of_the_nifty_50(real_data: Path) -> None:
    """Ten lists of 2016 to 2025: fifty members on every day, under old names and under new ones."""
    lists: dict[date, Collection[str]] = {}
    for path in sorted((real_data / "index" / "members").glob("nifty50_*.parquet")):
        text = path.stem.removeprefix("nifty50_")
        lists[date(int(text[:4]), int(text[4:6]), int(text[6:]))] = pl.read_parquet(path)[
            "symbol"
        ].to_list()
    renames = read_renames(real_data / "corporate_actions" / "symbolchange.parquet")
    as_stated, as_now = universe_of(lists), universe_of(lists, renames)

    assert len(lists) == 10
    for day, stated in lists.items():
        assert as_stated.members_as_of(day) == tuple(sorted(stated))
        assert len(as_now.members_as_of(day)) == 50
    assert as_stated.members_as_of(date(2016, 3, 9)) == ()
    assert "TATAMOTORS" in as_stated.members_as_of(date(2020, 1, 1))
    assert "TMPV" in as_now.members_as_of(date(2020, 1, 1))
    assert "LTM" in as_now.members_as_of(date(2024, 6, 3))
    # It was in the list of February 2024 and in no other one of the ten.
    assert [(one.since, one.until) for one in as_now.members if one.symbol == "LTM"] == [
        (date(2024, 2, 5), date(2025, 8, 6))
    ]
