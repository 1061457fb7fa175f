"""What a headline says: its text, its words, how new it is, how good."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensequant.context.headlines import N_COMPARED, novelties, text_of, words_of
from sensequant.context.scoring import finance_lexicon, score_headlines


@pytest.mark.parametrize(
    ("headline", "text"),
    [
        ("TCS gains 2% - Reuters", "TCS gains 2%"),
        ("TCS gains 2% - business-standard.com", "TCS gains 2%"),
        ("Buy - sell - hold - Mint", "Buy - sell - hold"),
        ("BAJAJ-AUTO slumps", "BAJAJ-AUTO slumps"),
        (" - Reuters", " - Reuters"),
    ],
)
def test_the_publisher_is_no_part_of_the_text(headline: str, text: str) -> None:
    """News feeds append it behind a dash between blanks."""
    assert text_of(headline) == text


def test_novelty_is_what_was_not_said_before() -> None:
    """The first has none; a repetition none either; half of the words in common is half new."""
    headlines = ["Profit rises sharply", "Profit rises sharply - Mint", "profit rises", "New plant"]

    assert words_of("India's profit, 5%") == {"india's", "profit", "5"}
    assert novelties(headlines) == [None, 0, pytest.approx(1 / 3), 1]


def test_novelty_forgets_the_eleventh_headline_before() -> None:
    """As in the paper, ten stories are compared."""
    fillers = [f"filler{number}" for number in range(N_COMPARED)]

    assert novelties(["alpha", *fillers[:-1], "alpha"])[-1] == 0
    assert novelties(["alpha", *fillers, "alpha"])[-1] == 1
    assert novelties(["...", "alpha", "!!!", "alpha"]) == [None, None, None, 0]


@settings(max_examples=40)
@given(st.lists(st.text("ab c", max_size=8), max_size=14), st.lists(st.text("abc"), max_size=4))
def test_a_later_headline_changes_no_earlier_novelty(
    headlines: list[str], later: list[str]
) -> None:
    """Each is compared with what came before it."""
    assert novelties([*headlines, *later])[: len(headlines)] == novelties(headlines)


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("Broker upgrades Infosys", "Broker downgrades Infosys"),
        ("HDFC Life profit rises 15%", "HDFC Life profit falls 15%"),
        ("Stock surges on order win", "Stock plunges on fraud probe"),
        ("Results beat estimates", "Results miss estimates"),
        ("Adani Ports gains", "Adani Ports does not gain"),
    ],
)
def test_words_of_finance_are_understood(good: str, bad: str) -> None:
    """Good news score above 0 and bad news below, also where a word is negated."""
    scores = score_headlines([good, bad])

    assert 0 < scores[0] <= 1
    assert -1 <= scores[1] < 0


def test_terms_of_finance_are_no_opinions() -> None:
    """General English takes a share for generous and debt for bad; here they say nothing."""
    texts = [
        "Share price of Power Grid",
        "Gross debt of Union Bank",
        "Trust in equity - Good Returns",
    ]

    assert score_headlines([*texts, "", "TCS"]) == [0.0] * 5


def test_the_lexicon_is_data_with_its_source() -> None:
    """Words are single, in lower case, on VADER's scale, and say where they come from."""
    lexicon = finance_lexicon()

    assert lexicon.columns == ["word", "valence", "group", "source"]
    assert lexicon["word"].is_unique().all()
    assert lexicon["word"].to_list() == [word.lower() for word in sorted(lexicon["word"])]
    assert lexicon["word"].str.contains(r"\s").sum() == 0
    assert lexicon["valence"].is_between(-4, 4).all()
    assert lexicon.null_count().sum_horizontal().item() == 0
