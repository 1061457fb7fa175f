"""Sentiment: what the headlines said that became known since the close before.

Belongs here: which columns of a session's headlines are fed. Does not belong here: how they are
scored and which count (`context.headline_sessions`).

A session without a headline has no value, the count included: an archive does not say whether
nothing was published or nothing was kept.

Sources: Hutto and Gilbert, *VADER* (2014), with a finance lexicon; Tetlock, *All the News That's
Fit to Reprint* (2011), for novelty.
"""

from sensequant.features.session_tables import session_table
from sensequant.features.spec import Family, Feature, FeatureSpec

__all__ = ["SENTIMENT_FEATURES", "SENTIMENT_TABLE"]

_VADER = "Hutto and Gilbert (2014)"


def _spec(name: str, *, unit: str, formula: str, source: str = _VADER) -> FeatureSpec:
    return FeatureSpec(
        name=name,
        family=Family.SENTIMENT,
        warmup_bars=0,
        unit=unit,
        formula=formula,
        source=source,
    )


SENTIMENT_FEATURES: tuple[Feature, ...] = tuple(
    Feature(spec, None)
    for spec in (
        _spec(
            "sentiment_count",
            unit="headlines",
            formula="headlines that became known after the close before and by this one",
            source="definition",
        ),
        _spec(
            "sentiment_mean",
            unit="-1 to 1",
            formula="mean of their scores",
        ),
        _spec(
            "sentiment_dispersion",
            unit="score",
            formula="sample standard deviation of their scores",
        ),
        _spec(
            "sentiment_novelty",
            unit="0 to 1",
            formula="mean of 1 - largest share of words in common with one of the ten headlines "
            "before",
            source="Tetlock (2011)",
        ),
    )
)

SENTIMENT_TABLE = session_table(
    {
        "sentiment_count": "n_headlines",
        "sentiment_mean": "mean",
        "sentiment_dispersion": "dispersion",
        "sentiment_novelty": "novelty",
    },
    lambda context: context.sentiment,
)
