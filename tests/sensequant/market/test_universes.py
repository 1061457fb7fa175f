"""Facts about universe files and membership on a date."""

import csv
from datetime import date
from pathlib import Path

import pytest

from sensequant.errors import ConfigError
from sensequant.market.universes import Universe, load_universe, read_universe

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
