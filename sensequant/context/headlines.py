"""Headlines: what they say of a company, and since when anyone could read it.

Belongs here: the rows of headlines, their words, and how new one is. Does not belong here: reading
files (`headline_files`), scores (`scoring`), sessions (`headline_sessions`).

A headline with a time of publication was known then. One with a date alone could have been
published at any time of that day, so it counts as known when the day ended in India.

Source: Tetlock, *All the News That's Fit to Reprint: Do Investors React to Stale Information?*
(2011), for staleness as the overlap of words with the ten stories before.
"""

import re
from collections import deque
from collections.abc import Iterable

import polars as pl

from sensequant.context.rows import ContextKind

__all__ = ["HEADLINES", "N_COMPARED", "novelties", "text_of", "words_of"]

HEADLINES = ContextKind(
    "headlines",
    values={"headline": pl.String(), "has_time": pl.Boolean()},
    own_key=("headline",),
)
"""Headlines as they were published. `has_time`: whether the time of day is known."""

N_COMPARED = 10
"""Earlier headlines of the same company with which one is compared, as in the paper."""

_DASH = " - "
_WORD = re.compile(r"[a-z0-9]+(?:'[a-z]+)?")


def text_of(headline: str) -> str:
    """Return a headline without the publisher that news feeds append behind a dash."""
    text, _, _ = headline.rpartition(_DASH)
    return text.strip() or headline


def words_of(headline: str) -> frozenset[str]:
    """Return the words of a headline's text, in lower case."""
    return frozenset(_WORD.findall(text_of(headline).lower()))


def novelties(headlines: Iterable[str]) -> list[float | None]:
    """Return how new each headline of one company is, in the order in which they were known.

    Returns
    -------
    list of float or None
        1 - the largest share of words in common (Jaccard) with one of the `N_COMPARED` headlines
        before: 1 is new, 0 was said before. None for the first, and for one without words.
    """
    before: deque[frozenset[str]] = deque(maxlen=N_COMPARED)
    found: list[float | None] = []
    for headline in headlines:
        words = words_of(headline)
        if words and before:
            found.append(1 - max(len(words & each) / len(words | each) for each in before))
        else:
            found.append(None)
        if words:
            before.append(words)
    return found
