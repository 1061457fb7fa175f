"""Universes: dated lists of symbols, read from YAML.

Belongs here: the layout of a universe file, who was a member when, and making such a file of lists
that each state the members on one date. Does not belong here: the files themselves, which are data
of a deployment (`deployments/universes/`), so that every function takes their folder or path as an
argument.

A file has the keys `name` (that of the file without its ending), `description`, `source` and
`members`. A member is a symbol, or a mapping with `symbol` and optionally `since` and `until`: the
first and the last date of its membership, both included, open where they are left out. A symbol
that left and came back stands twice.
"""

import re
from collections.abc import Collection, Hashable, Mapping
from datetime import date, timedelta
from itertools import pairwise, zip_longest
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import AfterValidator, Field, ValidationError, field_validator, model_validator

from sensequant.errors import ConfigError
from sensequant.market.renames import RenameTable
from sensequant.market.symbols import validate_symbol
from sensequant.records import Record

__all__ = [
    "ALL",
    "Universe",
    "UniverseMember",
    "load_universe",
    "membership_from_lists",
    "read_universe",
    "universe_yaml",
]

ALL = "all"
"""Reserved name: every symbol that a source has. It is no file; who knows the source answers it."""

_NAME = r"[a-z][a-z0-9_]*"


class UniverseMember(Record):
    """One spell of membership."""

    symbol: Annotated[str, AfterValidator(validate_symbol)] = Field(description="NSE ticker.")
    since: date | None = Field(default=None, description="First date; open where absent.")
    until: date | None = Field(default=None, description="Last date; open where absent.")

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.since and self.until and self.since > self.until:
            message = f"{self.symbol}: since {self.since} is after until {self.until}"
            raise ValueError(message)
        return self

    def is_member(self, as_of: date) -> bool:
        """Return whether the spell covers a date."""
        return (self.since or date.min) <= as_of <= (self.until or date.max)


class Universe(Record):
    """A named, sourced list of symbols with their dates of membership."""

    name: str = Field(pattern=f"^{_NAME}$", description="Name of the file without its ending.")
    description: str = Field(min_length=1, description="What the list is for, and its limits.")
    source: str = Field(min_length=1, description="Who says that these are the members.")
    members: tuple[UniverseMember, ...] = Field(min_length=1, description="Spells of membership.")

    @field_validator("members", mode="before")
    @classmethod
    def _expand_symbols(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            return value
        items: list[Any] = list(value)  # pyright: ignore[reportUnknownArgumentType]
        return [{"symbol": item} if isinstance(item, str) else item for item in items]

    @model_validator(mode="after")
    def _check_spells(self) -> Self:
        spells = sorted(self.members, key=lambda spell: (spell.symbol, spell.since or date.min))
        for earlier, later in pairwise(spells):
            if earlier.symbol == later.symbol and (later.since or date.min) <= (
                earlier.until or date.max
            ):
                message = f"{later.symbol} is listed twice for the same dates"
                raise ValueError(message)
        return self

    def members_as_of(self, as_of: date) -> tuple[str, ...]:
        """Return the symbols that were members on a date, in alphabetical order."""
        return tuple(sorted(spell.symbol for spell in self.members if spell.is_member(as_of)))


class _LoaderOfDistinctKeys(yaml.SafeLoader):
    # The library keeps the last of two equal keys and says nothing.
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        mapping = super().construct_mapping(node, deep=deep)
        if len(mapping) < len(node.value):
            raise yaml.constructor.ConstructorError(
                "while reading a mapping", node.start_mark, "a key stands twice", node.end_mark
            )
        return mapping


def load_universe(path_or_name: str | Path, *, folder: Path, as_of: date) -> tuple[str, ...]:
    """Return the members of a universe on a date, in alphabetical order.

    Parameters
    ----------
    path_or_name
        Path of a YAML file, or the name of one in `folder` without its ending.
    folder
        Where named universes lie.
    as_of
        Date of the membership wanted.

    Raises
    ------
    ConfigError
        The file is missing or wrong, or the universe has no member on that date.

    Notes
    -----
    `ALL` means every symbol that the source of bars has. No file can say that, so the caller, who
    knows the source, answers it before coming here; here it is refused.
    """
    path = _locate(path_or_name, folder)
    members = read_universe(path).members_as_of(as_of)
    if not members:
        raise ConfigError(
            "universe has no member on this date",
            where=str(path),
            expected="at least one member",
            found=f"none as of {as_of}",
            remedy="choose another date or another universe",
        )
    return members


def read_universe(path: Path) -> Universe:
    """Read and check one universe file.

    Raises
    ------
    ConfigError
        It is missing, no YAML, or not of the layout that this module describes.
    """
    try:
        universe = Universe.model_validate(
            _LoaderOfDistinctKeys(path.read_bytes()).get_single_data()
        )
    except OSError as error:
        raise _refusal(path, found=error.strerror or str(error)) from error
    except yaml.YAMLError as error:
        raise _refusal(path, found=" ".join(str(error).split())) from error
    except ValidationError as error:
        raise _refusal(path, found=_faults(error)) from error
    if universe.name != path.stem:
        raise _refusal(path, found=f"the name {universe.name!r} in a file named {path.name}")
    return universe


def membership_from_lists(
    lists: Mapping[date, Collection[str]],
    *,
    name: str,
    description: str,
    source: str,
    renames: RenameTable | None = None,
) -> Universe:
    """Make a dated universe of lists that each state the members on one date.

    Parameters
    ----------
    lists
        Date of each list to its symbols.
    name, description, source
        As in a universe file.
    renames
        Changes of symbols. Where given, every symbol is replaced by that which its company has
        after all changes, under which its bars are kept; None leaves the symbols of the lists.

    Raises
    ------
    ConfigError
        There is no list, one is empty, names a symbol twice, or holds what is no symbol.

    Notes
    -----
    Between two lists the earlier one holds: when a member changed is not known, only that it did
    so by the date of the next list. Nobody is a member before the first list; after the last one
    its members stay. So no date sees a list of a later date, but new names by `renames` may be of
    a later date than the list.
    """
    names = RenameTable.empty() if renames is None else renames
    stated = {day: _as_named(day, lists[day], names) for day in sorted(lists)}
    days = list(stated)
    try:
        return Universe(
            name=name,
            description=description,
            source=source,
            members=tuple(
                spell
                for symbol in sorted(set[str]().union(*stated.values()))
                for spell in _spells(symbol, [symbol in stated[day] for day in days], days)
            ),
        )
    except ValidationError as error:
        raise ConfigError(
            "lists make no universe",
            where=name,
            expected="at least one date with symbols, and a name, description and source",
            found=_faults(error),
            remedy="correct the lists",
        ) from error


def universe_yaml(universe: Universe) -> str:
    """Return the text of a universe file, which `read_universe` reads back."""
    content = universe.model_dump(mode="python", exclude={"schema_version", "members"})
    content["members"] = [
        member.model_dump(exclude={"schema_version"}, exclude_none=True)
        for member in universe.members
    ]
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)


def _as_named(day: date, symbols: Collection[str], names: RenameTable) -> frozenset[str]:
    stated = [names.current_name(validate_symbol(symbol), day) for symbol in symbols]
    if not stated or len(set(stated)) < len(stated):
        raise ConfigError(
            "list of members is empty or names a company twice",
            where=str(day),
            expected="every member once",
            found=", ".join(sorted({one for one in stated if stated.count(one) > 1})) or "none",
            remedy="correct the list of that date",
        )
    return frozenset(stated)


def _spells(symbol: str, is_member: list[bool], days: list[date]) -> list[UniverseMember]:
    # A spell begins where the symbol is in a list and not in the one before.
    edges = [
        place for place, (before, now) in enumerate(pairwise([False, *is_member])) if before != now
    ]
    ends = [days[place] - timedelta(days=1) for place in edges[1::2]]
    return [
        UniverseMember(symbol=symbol, since=days[place], until=end)
        for place, end in zip_longest(edges[::2], ends)
    ]


def _locate(path_or_name: str | Path, folder: Path) -> Path:
    text = str(path_or_name)
    if text == ALL:
        raise ConfigError(
            "universe `all` is no file",
            expected="the name or path of a universe file",
            found=ALL,
            remedy="ask the source of bars for its symbols",
        )
    if isinstance(path_or_name, Path) or not re.fullmatch(_NAME, text):
        return Path(text)
    path = folder / f"{text}.yaml"
    if not path.is_file():
        raise ConfigError(
            "universe is unknown",
            where=str(folder),
            expected=", ".join(sorted(file.stem for file in folder.glob("*.yaml"))),
            found=text,
            remedy="choose one of these, or give the path of a file",
        )
    return path


def _faults(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(map(str, fault['loc'])) or 'file'}: {fault['msg']}" for fault in error.errors()
    )


def _refusal(path: Path, *, found: str) -> ConfigError:
    return ConfigError(
        "universe file cannot be used",
        where=str(path),
        expected="YAML with name, description, source and members",
        found=found,
        remedy="correct the file; symbols such as ON or NO need quotation marks in YAML",
    )
