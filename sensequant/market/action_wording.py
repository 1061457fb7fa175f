"""NSE's wording of corporate actions: what a subject line says happened.

Belongs here: reading one subject, and counting what a whole list says. Does not belong here: the
table of actions (`market.actions`), what an action does to a price (`market.action_ratios`).

The exchange writes free text ("Face Value Split (Sub-Division) - From Rs 10/- Per Share To Re 1/-
Per Share"), with abbreviations and slips of the pen. Every rule below was written for wordings that
stand in NSE's list of 2016 to 2026. A line that no rule knows, or that names an amount which no
rule reads, is `unclassified`: it is counted, not guessed.

Amounts are rupees per share or unit. `price_ratio` is price after over price before.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import polars as pl

__all__ = ["NO_EFFECT_KINDS", "UNCLASSIFIED", "Reading", "count_kinds", "read_subject"]

UNCLASSIFIED = "unclassified"

NO_EFFECT_KINDS = ("buyback", "interest", "redemption", "meeting", "notice")
"""Kinds that leave a share's price alone, or belong to a bond.

A buyback through a tender pays only those who tender. Interest and redemption are of bonds, which
the list holds under the issuer's name too.
"""


@dataclass(frozen=True, slots=True)
class Reading:
    """One thing that a subject says.

    Attributes
    ----------
    kind
        split, bonus, consolidation, demerger, arrangement, capital_reduction, dividend,
        distribution, rights, or one of `NO_EFFECT_KINDS`.
    price_ratio
        Price after over price before, where the wording gives it.
    amount_inr
        Rupees per share: paid out (dividend, distribution), or paid in per new share (rights).
    terms
        Which dividend (final, interim, special), or new and held shares of rights: "1:15" where
        their price is known, with more words where something is left open.
    """

    kind: str
    price_ratio: float | None = None
    amount_inr: float | None = None
    terms: str | None = None


_NUMBER = r"(\d+(?:\s?\.+\s?\d+)?)"
_MONEY = rf"r[se]\.?\s*{_NUMBER}"
_ANY_MONEY = re.compile(rf"\br[se]\s*[.-]?\s*{_NUMBER}")
_BONUS = re.compile(rf"\bbonus\s*-?\s*{_NUMBER}\s*:\s*{_NUMBER}")
_FACE_VALUE = re.compile(rf"\bfro?m\s+{_MONEY}.*?\bto\s+{_MONEY}")
_CONSOLIDATION = re.compile(rf"\bconsolidation\b.*?{_MONEY}.*?\bto\s+{_MONEY}")
_SPLIT_WORDS = re.compile(r"\bspli?t\b|sub-?\s?division")

_DIVIDEND = re.compile(r"l?d?ividend|divdend|divided\b|dividned|divivend|\bdiv\b")
_AMOUNT = re.compile(rf"[^a-z0-9]*(?:(?:of|rs|re|r e|s|per)(?![a-z])[^a-z0-9]*)*{_NUMBER}\s*(%)?")
_END_OF_DIVIDEND = re.compile(
    r"\bincluding\b|\bface value\b|\bbonus\b|\brights?\b|\bbuy\s?-?back\b"
)
_SPECIAL = re.compile(r"\bspe?l|\bspeci|\badditional\b")
_INTERIM = re.compile(r"\bi{0,2}n?ter?[ie]|\bint\b|\bint[er]|\binerim\b")
_PART_BREAK = re.compile(r"[/+&]|\band\b|\bper\b|\bplus\b")

_DISTRIBUTION = re.compile(r"\bdistri[t]?bution|\breturn o[nf] capital\b")
_INTEREST_PAID = re.compile(r"\bi?ntere?st\b(?!\s+div).*\d")
_DISTRIBUTION_TOTAL = re.compile(
    rf"\bdistri[t]?bution\s*[^a-z0-9]*(?:r[se](?![a-z])[^a-z0-9]*)?{_NUMBER}"
)

_RIGHTS = re.compile(r"\brights?\b")
_RIGHTS_RATIO = re.compile(rf"{_NUMBER}\s*:\s*{_NUMBER}")
_PREMIUM = re.compile(
    rf"(?:@|\bat\b)\s*(?:premium|prem|prm)\b\s*(?:of\s+)?(?:r[se]\.?\s*)?{_NUMBER}"
)
_UNUSUAL_RIGHTS = re.compile(r"\b(partly|warrants?|debentures?|fully)\b")

_KINDS_WITHOUT_RATIO = {
    "demerger": re.compile(r"\bde-?merger"),
    "capital_reduction": re.compile(r"\bcapital reduction\b"),
    "arrangement": re.compile(
        r"\bsc?heme of\b|\bar+angement\b|\bbonus\b.*(debenture|ncrps)|^merger$"
    ),
}
_KINDS_WITHOUT_EFFECT = {
    "buyback": re.compile(r"\bbuy\s?-?\s?back\b"),
    "interest": re.compile(r"\binterest pay|\bpayment of interest"),
    "redemption": re.compile(r"\bredemption\b"),
    "meeting": re.compile(r"\b(agm|egm)\b|\bmee*t|\bmeein|\b(book|annual) (closing|closure)\b"),
    "notice": re.compile(r"\bfundamental attribute|\bconversion of etf\b"),
}


@lru_cache(maxsize=65_536)
def read_subject(subject: str, *, face_value_inr: float | None = None) -> tuple[Reading, ...]:
    """Return what a subject line says, an empty tuple where no rule knows it.

    Parameters
    ----------
    subject
        NSE's wording (`PURPOSE` in its CSV, `subject` in its JSON).
    face_value_inr
        Face value of the share, which NSE's CSV gives. A dividend in percent is of the face value,
        and new shares of a rights issue cost the premium plus the face value; without it these
        amounts are not known.

    Returns
    -------
    tuple of Reading
        One per kind, and one per sort of dividend. Kinds without effect are named only where
        nothing else is.
    """
    text = " ".join(subject.lower().split())
    found = (
        *_share_count_changes(text),
        *_cash(text, face_value_inr),
        *_rights(text, face_value_inr),
    )
    found = (
        found
        or tuple(
            Reading(kind) for kind, words in _KINDS_WITHOUT_RATIO.items() if words.search(text)
        )[:1]
    )
    if found or _ANY_MONEY.search(text):
        return found
    return tuple(
        Reading(kind) for kind, words in _KINDS_WITHOUT_EFFECT.items() if words.search(text)
    )[:1]


def count_kinds(subjects: pl.Series) -> pl.DataFrame:
    """Return how many lines say what.

    Parameters
    ----------
    subjects
        Subject lines; null counts as unclassified.

    Returns
    -------
    polars.DataFrame
        kind String, n_lines Int64: a line that says two things counts under ``a+b``. Most frequent
        first.
    """
    counts: dict[str, int] = {}
    repeated = subjects.rename("subject").value_counts().iter_rows()
    for subject, n_lines in repeated:
        readings = read_subject(subject) if subject is not None else ()
        kind = "+".join(sorted({reading.kind for reading in readings})) or UNCLASSIFIED
        counts[kind] = counts.get(kind, 0) + n_lines
    schema = {"kind": pl.String, "n_lines": pl.Int64}
    return pl.DataFrame(list(counts.items()), schema=schema, orient="row").sort(
        "n_lines", "kind", descending=[True, False]
    )


def _share_count_changes(text: str) -> list[Reading]:
    found: list[Reading] = []
    if consolidated := _CONSOLIDATION.search(text):
        before, after = map(_number, consolidated.groups())
        found.append(Reading("consolidation", after / before))
    elif _SPLIT_WORDS.search(text):
        found.append(Reading("split", _split_ratio(text)))
    if bonus := _BONUS.search(text):
        new, held = map(_number, bonus.groups())
        found.append(Reading("bonus", held / (new + held)))
    return found


def _split_ratio(text: str) -> float | None:
    match = _FACE_VALUE.search(text)
    if match is None:
        return None
    before, after = map(_number, match.groups())
    return after / before


def _cash(text: str, face_value_inr: float | None) -> list[Reading]:
    if _DISTRIBUTION.search(text) or (_INTEREST_PAID.search(text) and _ANY_MONEY.search(text)):
        return [Reading("distribution", amount_inr=_distributed(text))]
    words = list(_DIVIDEND.finditer(text))
    bounds = [*(word.start() for word in words), len(text)]
    sums: dict[str, float | None] = {}
    previous_end = 0
    for word, (_, end) in zip(words, pairwise(bounds), strict=True):
        before = _PART_BREAK.split(text[previous_end : word.start()])[-1]
        amount = _dividend_amount(text[word.end() : end], face_value_inr)
        if "including" not in text[previous_end : word.start()]:
            name = _dividend_name(before)
            sums[name] = _plus(sums.get(name, 0.0), amount)
        previous_end = word.end()
    return [Reading("dividend", amount_inr=amount, terms=name) for name, amount in sums.items()]


def _distributed(text: str) -> float | None:
    if total := _DISTRIBUTION_TOTAL.search(text):
        return _number(total[1])
    parts = [_number(amount) for amount in _ANY_MONEY.findall(text)]
    return sum(parts) if parts else None


def _dividend_name(before: str) -> str:
    if _SPECIAL.search(before):
        return "special"
    return "interim" if _INTERIM.search(before) else "final"


def _dividend_amount(behind: str, face_value_inr: float | None) -> float | None:
    match = _AMOUNT.match(_END_OF_DIVIDEND.split(behind, maxsplit=1)[0])
    if match is None:
        return None
    if match[2] is None:
        return _number(match[1])
    return None if face_value_inr is None else _number(match[1]) / 100.0 * face_value_inr


def _plus(total: float | None, amount: float | None) -> float | None:
    return None if total is None or amount is None else total + amount


def _rights(text: str, face_value_inr: float | None) -> list[Reading]:
    word = _RIGHTS.search(text)
    if word is None:
        return []
    rest = text[word.end() :].lstrip(" -:")
    ratios = _RIGHTS_RATIO.findall(rest)
    if len(ratios) != 1 or _UNUSUAL_RIGHTS.search(rest):
        return [Reading("rights", terms=rest or None)]
    terms = ":".join(f"{_number(number):g}" for number in ratios[0])
    premium = _PREMIUM.search(rest)
    if premium is None:
        return [Reading("rights", terms=terms)]
    if face_value_inr is None:
        return [Reading("rights", terms=f"{terms} at premium {_number(premium[1]):g}")]
    return [Reading("rights", amount_inr=_number(premium[1]) + face_value_inr, terms=terms)]


def _number(text: str) -> float:
    return float(re.sub(r"\s*\.[\s.]*", ".", text))
