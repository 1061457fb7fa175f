"""Digests, seeds and the base classes of everything that is written down."""

import dataclasses
import hashlib
import struct
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from sensequant.records import (
    Config,
    FrameDigests,
    Record,
    SkipReason,
    code_version,
    derive_seed,
    digest_of,
    digest_of_files,
    explain_skip,
    finite_or_none,
    frame_digest,
)


class Sample(Record):
    """A record of one number."""

    value: float | None = None


class Setting(Config):
    """A setting of one number."""

    n: int = Field(1, ge=1, description="Count.")


@dataclasses.dataclass
class Pair:
    """A plain dataclass."""

    a: int


@given(st.dictionaries(st.text(), st.integers()))
def test_a_digest_does_not_depend_on_the_order_of_keys(values: dict[str, int]) -> None:
    """The same mapping written backwards has the same digest."""
    backwards = dict(reversed(values.items()))

    assert digest_of(values) == digest_of(backwards)


@given(st.integers(), st.integers())
def test_a_digest_changes_with_any_value(first: int, second: int) -> None:
    """Two numbers have the same digest only if they are the same."""
    assert (digest_of({"n": first}) == digest_of({"n": second})) == (first == second)


def test_models_dates_paths_and_dataclasses_have_digests() -> None:
    """What a parameter may hold can be digested, and equal values agree."""
    value = {"m": Setting(n=2), "d": date(2024, 1, 1), "p": Path("a"), "c": Pair(1)}
    same = {"c": {"a": 1}, "p": "a", "d": "2024-01-01", "m": {"n": 2}}

    assert digest_of(value) == digest_of(same)
    assert digest_of(Setting(n=2)) == digest_of({"n": 2})


def test_a_value_without_a_digest_is_refused() -> None:
    """An object that JSON cannot hold does not get a digest by its address."""
    with pytest.raises(TypeError, match="object has no digest"):
        digest_of({"x": object()})


def test_a_digest_of_files_changes_with_name_and_content(tmp_path: Path) -> None:
    """Renaming a file or changing a byte changes the digest; the order given does not."""
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_bytes(b"1")
    second.write_bytes(b"2")
    whole = digest_of_files([first, second], root=tmp_path)

    assert whole == digest_of_files([second, first], root=tmp_path)
    second.write_bytes(b"3")
    changed = digest_of_files([first, second], root=tmp_path)
    assert changed != whole
    moved = second.rename(tmp_path / "c")
    assert digest_of_files([first, moved], root=tmp_path) != changed


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_record_refuses_numbers_that_are_not_finite(value: float) -> None:
    """NaN and infinity never reach a file."""
    with pytest.raises(ValidationError):
        Sample(value=value)


def test_a_record_survives_json() -> None:
    """Record to JSON to record is the identity."""
    sample = Sample(value=0.1)

    assert Sample.model_validate_json(sample.model_dump_json()) == sample


def test_an_unknown_setting_is_refused() -> None:
    """A misspelt setting is an error, not a silent default."""
    with pytest.raises(ValidationError, match="extra_forbidden"):
        Setting.model_validate({"m": 3})


def test_a_form_names_settings_in_words() -> None:
    """The title of a settings model is its name without the suffix, in words."""

    class StressLimitConfig(Config):
        """Nothing."""

    assert StressLimitConfig.model_json_schema()["title"] == "Stress limit"


def test_seeds_differ_by_use_and_fit_lightgbm() -> None:
    """The same use gets the same seed, other uses others, all in 31 bits."""
    seeds = {derive_seed(42, "teacher", str(i)) for i in range(1000)}

    assert derive_seed(42, "a", "b") == derive_seed(42, "a", "b")
    assert derive_seed(42, "a", "b") != derive_seed(42, "ab")
    assert len(seeds) > 990
    assert all(0 <= seed < 2**31 for seed in seeds)


@pytest.mark.parametrize(
    ("value", "expected"), [(1.5, 1.5), (None, None), (float("nan"), None), (float("inf"), None)]
)
def test_what_is_not_finite_becomes_missing(value: float | None, expected: float | None) -> None:
    """Missing, NaN and infinite are all None."""
    assert finite_or_none(value) == expected


@pytest.mark.parametrize("reason", SkipReason)
def test_every_reason_to_skip_is_told_in_one_sentence(reason: SkipReason) -> None:
    """No code, no jargon of ours, one full stop; and no two reasons say the same."""
    sentence = explain_skip(reason)

    assert sentence[0].isupper()
    assert sentence.endswith(".")
    assert sentence.count(".") == 1
    assert reason.value not in sentence
    assert sum(explain_skip(other) == sentence for other in SkipReason) == 1


def test_the_code_version_is_a_digest_and_stable() -> None:
    """Two calls agree on 64 hexadecimal digits."""
    assert code_version() == code_version()
    assert len(code_version()) == 64


ROWS = pl.DataFrame(
    {
        "symbol": ["TCS", None, "Bé", ""],
        "close": [1.5, None, -0.0, 3.0],
        "label": pl.Series([1, 0, None, 1], dtype=pl.Int8),
    }
)


def test_digest_of_a_frame_is_that_of_its_plain_bytes() -> None:
    """Names and types, a mask of nulls, then numbers or lengths and texts; one zero of two."""
    plain = b"4"
    plain += b"\0symbol:String\0" + bytes([0b01000000])
    plain += struct.pack("<4q", 3, 0, 3, 0) + "TCSBé".encode()
    plain += b"\0close:Float64\0" + bytes([0b01000000]) + struct.pack("<4d", 1.5, 0.0, 0.0, 3.0)
    plain += b"\0label:Int8\0" + bytes([0b00100000]) + struct.pack("<4q", 1, 0, 0, 1)

    assert frame_digest(ROWS) == hashlib.sha256(plain).hexdigest()


@given(st.integers(0, 4), st.integers(0, 4))
def test_digest_of_a_slice_is_that_of_the_frame_cut_out(first: int, after: int) -> None:
    """Whatever stands before and behind it."""
    first, after = sorted((first, after))

    assert FrameDigests(ROWS).of(first, after) == frame_digest(ROWS.slice(first, after - first))
