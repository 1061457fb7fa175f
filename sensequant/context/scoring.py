"""Scores of headlines: how good or bad their words are.

Belongs here: the one place that knows VADER, and the finance lexicon that extends it. Does not
belong here: which headlines count for a session (`headline_sessions`).

VADER is a lexicon with rules for negation, emphasis and contrast, made for short general texts. It
takes `share` for generous and a falling `profit` for good, and knows no `downgrade`. For such words
`finance_lexicon.csv` has another valence, on the same scale of -4 to 4.

Source: Hutto and Gilbert, *VADER: A Parsimonious Rule-based Model for Sentiment Analysis of Social
Media Text* (2014).
"""

from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from typing import Protocol, cast

import polars as pl

from sensequant.context.headlines import text_of

__all__ = ["finance_lexicon", "score_headlines"]

_LEXICON = "finance_lexicon.csv"


class _Analyzer(Protocol):
    lexicon: dict[str, float]

    def polarity_scores(self, text: str) -> dict[str, float]: ...


def finance_lexicon() -> pl.DataFrame:
    """Return the words of finance: word, valence (-4 to 4; 0 says nothing), group, source."""
    content = files("sensequant.context").joinpath(_LEXICON).read_bytes()
    return pl.read_csv(content, schema_overrides={"valence": pl.Float64})


def score_headlines(headlines: Iterable[str]) -> list[float]:
    """Return the score of each headline, -1 (bad) to 1 (good); 0 where no word is in the lexicons.

    The publisher behind the dash is left out.
    """
    analyzer = _analyzer()
    return [float(analyzer.polarity_scores(text_of(each))["compound"]) for each in headlines]


@cache
def _analyzer() -> _Analyzer:
    # It reads its lexicon on the first use, and most processes score nothing.
    from vaderSentiment.vaderSentiment import (  # noqa: PLC0415
        SentimentIntensityAnalyzer,  # pyright: ignore[reportUnknownVariableType]
    )

    analyzer = cast("_Analyzer", SentimentIntensityAnalyzer())
    analyzer.lexicon.update(finance_lexicon().select("word", "valence").iter_rows())
    return analyzer
