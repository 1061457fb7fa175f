"""The audit: each rule by hand, and all of them against a loop over sessions."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensequant.coverage.audit import SESSION_SCHEMA, CoverageAudit, audit_coverage
from sensequant.coverage.evidence import (
    ASKED_SCHEMA,
    DISPUTED_SCHEMA,
    QUARANTINED_SCHEMA,
    STORED_SCHEMA,
    AsOf,
    Evidence,
    as_of_at,
)
from sensequant.coverage.expected import Scope
from sensequant.errors import ConfigError
from sensequant.market.intervals import n_bars_expected
from sensequant.market.listings import ListingKind
from sensequant.market.sessions import SessionCalendar, nse_calendar

MONDAY = date(2024, 4, 1)
FRIDAY = date(2024, 4, 5)
SETTLED = AsOf(closed_through=date(2024, 5, 31), settled_through=date(2024, 5, 24))
EvidenceOf = Callable[..., Evidence]


def audited(evidence: Evidence, *, as_of: AsOf = SETTLED, interval: str = "1day") -> CoverageAudit:
    scope = Scope(("AAA",), (interval,), MONDAY, FRIDAY)  # pyright: ignore[reportArgumentType]
    return audit_coverage(scope, evidence, as_of=as_of, calendar=nse_calendar())


def first_of(
    evidence: Evidence, *, as_of: AsOf = SETTLED, interval: str = "1day"
) -> tuple[Any, ...]:
    """Return state, reason and evidence of Monday."""
    row = audited(evidence, as_of=as_of, interval=interval).sessions.row(0, named=True)
    return row["state"], row["reason"], row["evidence"]


def test_a_final_bar_is_ok(evidence_of: EvidenceOf) -> None:
    """One final daily bar is all that a session needs."""
    stored = [("AAA", "1day", MONDAY, 1, 1)]

    assert first_of(evidence_of(stored=stored)) == ("ok", None, None)


def test_what_nobody_asked_for_is_missing_here(evidence_of: EvidenceOf) -> None:
    """Without a request nothing is known of the source."""
    assert first_of(evidence_of()) == ("missing_local", "never_asked", None)


def test_a_settled_answer_without_the_session_is_missing_at_the_source(
    evidence_of: EvidenceOf,
) -> None:
    """The request and the spell of trade-to-trade stand as evidence."""
    spell = [("AAA", "trade_to_trade", None, None, "series BE")]
    asked = [{"missing_sessions": [MONDAY], "evidence": "asked in May"}]

    assert first_of(evidence_of(asked=asked, listings=spell)) == (
        "missing_at_source",
        "not_delivered",
        "asked in May; series BE",
    )


def test_before_the_first_bar_an_unbounded_answer_has_nothing(evidence_of: EvidenceOf) -> None:
    """A history that begins on Tuesday lacks Monday, although no list of its gaps can say so."""
    evidence = evidence_of(
        stored=[("AAA", "1day", date(2024, 4, 2), 1, 1)], asked=[{"missing_sessions": []}]
    )

    assert first_of(evidence)[:2] == ("missing_at_source", "not_delivered")


def test_a_symbol_that_the_source_does_not_know_is_missing_there(evidence_of: EvidenceOf) -> None:
    """A refusal of the symbol is an answer about all of it."""
    asked = [{"is_answered": False, "is_refused": True, "settled_through": None}]

    assert first_of(evidence_of(asked=asked))[:2] == ("missing_at_source", "unknown_symbol")


def test_an_answer_without_a_list_counts_as_not_delivered(evidence_of: EvidenceOf) -> None:
    """Where the ledger did not record what lacked, the store decides."""
    assert first_of(evidence_of(asked=[{}]))[:2] == ("missing_at_source", "not_delivered")


def test_what_was_delivered_but_is_not_stored_was_lost(evidence_of: EvidenceOf) -> None:
    """The source has it, so ingesting again helps."""
    asked = [{"missing_sessions": [FRIDAY]}]

    assert first_of(evidence_of(asked=asked))[:2] == ("missing_local", "lost")


def test_the_last_settled_answer_counts(evidence_of: EvidenceOf) -> None:
    """A later answer that lacks the session overrules an earlier one that had it."""
    earlier = datetime(2024, 5, 1, tzinfo=UTC)
    asked: list[dict[str, Any]] = [
        {"missing_sessions": [MONDAY], "evidence": "late"},
        {"missing_sessions": [], "asked_at": earlier, "evidence": "early"},
    ]

    assert first_of(evidence_of(asked=asked)) == ("missing_at_source", "not_delivered", "late")


def test_an_answer_before_settling_proves_nothing(evidence_of: EvidenceOf) -> None:
    """A session later than the answer's `settled_through` must be asked for again."""
    asked = [{"settled_through": date(2024, 3, 28)}]

    assert first_of(evidence_of(asked=asked))[:2] == ("missing_local", "asked_too_early")


def test_a_failed_request_is_told(evidence_of: EvidenceOf) -> None:
    """A failure is no answer; its message is the evidence."""
    asked = [{"is_answered": False, "settled_through": None, "evidence": "TransientSourceError"}]

    assert first_of(evidence_of(asked=asked)) == (
        "missing_local",
        "ask_failed",
        "TransientSourceError",
    )


@pytest.mark.parametrize(
    ("bounds", "reason"),
    [
        ({"end": date(2024, 3, 31)}, "never_asked"),
        ({"start": date(2024, 4, 2)}, "never_asked"),
        ({"start": MONDAY, "end": MONDAY}, "not_delivered"),
        ({"symbol": "BBB"}, "never_asked"),
        ({"interval": "5minute"}, "never_asked"),
    ],
    ids=["before", "after", "exactly", "other symbol", "other interval"],
)
def test_a_request_speaks_for_what_it_covers(
    evidence_of: EvidenceOf, bounds: dict[str, Any], reason: str
) -> None:
    """Both bounds are included; other symbols and intervals say nothing."""
    assert first_of(evidence_of(asked=[bounds]))[1] == reason


def test_provisional_bars_are_pending(evidence_of: EvidenceOf) -> None:
    """A bar that may still change is not ok, however old."""
    stored = [("AAA", "1day", MONDAY, 1, 0)]

    assert first_of(evidence_of(stored=stored))[:2] == ("pending", "provisional")


@pytest.mark.parametrize("settled", [None, date(2024, 3, 28)], ids=["never", "before"])
def test_too_recent_sessions_are_pending(evidence_of: EvidenceOf, settled: date | None) -> None:
    """An absence is no finding before the session is settled."""
    as_of = AsOf(closed_through=FRIDAY, settled_through=settled)

    assert first_of(evidence_of(asked=[{}]), as_of=as_of)[:2] == ("pending", "too_recent")


def test_refused_rows_alone_are_quarantined(evidence_of: EvidenceOf) -> None:
    """Rows of several reasons are counted and named."""
    refused = [
        ("AAA", "1day", MONDAY, 2, "high_below_low"),
        ("AAA", "1day", MONDAY, 1, "bad_date"),
        ("AAA", "1day", None, 1, "bad_date"),
    ]
    audit = audited(evidence_of(quarantined=refused))

    assert first_of(evidence_of(quarantined=refused)) == (
        "quarantined",
        "bad_rows",
        "bad_date, high_below_low",
    )
    assert audit.sessions["n_quarantined"].to_list() == [3, 0, 0, 0, 0]


def test_a_good_bar_outweighs_a_refused_row(evidence_of: EvidenceOf) -> None:
    """What was delivered rightly later is ok."""
    evidence = evidence_of(
        stored=[("AAA", "1day", MONDAY, 1, 1)],
        quarantined=[("AAA", "1day", MONDAY, 1, "high_below_low")],
    )

    assert first_of(evidence)[0] == "ok"


def test_a_contradicted_bar_is_disputed(evidence_of: EvidenceOf) -> None:
    """The dispute needs a bar: one about a missing bar does not hide that it is missing."""
    disputes = [("AAA", "1day", MONDAY, "close 10 against 12")]
    stored = [("AAA", "1day", MONDAY, 1, 1)]

    assert first_of(evidence_of(stored=stored, disputed=disputes)) == (
        "disputed",
        "disputed",
        "close 10 against 12",
    )
    assert first_of(evidence_of(disputed=disputes))[0] == "missing_local"


@pytest.mark.parametrize(
    ("spell", "reason"),
    [
        (("AAA", "listed", date(2024, 4, 2), None, "NSE"), "pre_listing"),
        (("AAA", "delisted", MONDAY, None, "NSE"), "delisted"),
        (("AAA", "suspended", None, MONDAY, "NSE"), "suspended"),
    ],
    ids=["listed", "delisted", "suspended"],
)
def test_a_listing_says_what_is_not_expected(
    evidence_of: EvidenceOf, spell: tuple[Any, ...], reason: str
) -> None:
    """A bar on such a session is counted as unexpected."""
    assert first_of(evidence_of(listings=[spell])) == ("not_expected", reason, "NSE")

    stored = [("AAA", "1day", MONDAY, 1, 1)]
    audit = audited(evidence_of(listings=[spell], stored=stored))
    assert audit.sessions["n_unexpected"].to_list() == [1, 0, 0, 0, 0]
    assert audit.total["n_unexpected_bars"].item() == 1


def test_a_bar_on_a_holiday_is_unexpected(evidence_of: EvidenceOf) -> None:
    """2024-04-06 was a Saturday without a session: the bar is told, and in no fraction."""
    scope = Scope(("AAA",), ("1day",), FRIDAY, date(2024, 4, 7))
    stored = [("AAA", "1day", date(2024, 4, 6), 1, 1), ("AAA", "1day", FRIDAY, 1, 1)]
    audit = audit_coverage(
        scope, evidence_of(stored=stored), as_of=SETTLED, calendar=nse_calendar()
    )

    assert audit.sessions["state"].to_list() == ["ok", "not_expected"]
    assert audit.sessions["reason"].to_list() == [None, "no_session"]
    assert audit.total["coverage_frac"].item() == 1.0
    assert audit.total["n_unexpected_bars"].item() == 1


@pytest.mark.parametrize(
    ("n_bars", "given", "expected"),
    [
        (75, {}, ("ok", None, None)),
        (76, {}, ("ok", None, None)),
        (74, {}, ("partial", "never_asked", "74 of 75 bars")),
        (
            74,
            {"asked": [{"interval": "5minute"}]},
            ("partial", "delivered_fewer", "74 of 75 bars; asked"),
        ),
        (
            74,
            {"quarantined": [("AAA", "5minute", MONDAY, 1, "high_below_low")]},
            ("partial", "bad_rows", "74 of 75 bars; high_below_low"),
        ),
    ],
    ids=["all", "one more", "one less", "delivered fewer", "one refused"],
)
def test_intraday_sessions_are_counted(
    evidence_of: EvidenceOf, n_bars: int, given: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    """A full session has 75 bars of five minutes; fewer are partial, more are unexpected."""
    evidence = evidence_of(stored=[("AAA", "5minute", MONDAY, n_bars, n_bars)], **given)

    assert first_of(evidence, interval="5minute") == expected
    audit = audited(evidence, interval="5minute")
    assert audit.sessions["n_unexpected"][0] == max(n_bars - 75, 0)


def test_a_session_of_unknown_hours_is_ok_with_any_bar(evidence_of: EvidenceOf) -> None:
    """The drill of 2024-03-02 was in two parts: how many bars it should hold is not known."""
    drill = date(2024, 3, 2)
    scope = Scope(("AAA", "BBB"), ("5minute",), drill, drill)
    evidence = evidence_of(stored=[("AAA", "5minute", drill, 7, 7)])
    audit = audit_coverage(scope, evidence, as_of=SETTLED, calendar=nse_calendar())

    assert audit.sessions["state"].to_list() == ["ok", "missing_local"]
    assert audit.sessions["reason"].to_list() == ["hours_unknown", "never_asked"]
    assert audit.total["bars_frac"].item() is None
    assert audit.gaps["n_bars_missing"].to_list() == [None]


def test_muhurat_holds_twelve_bars_of_five_minutes(evidence_of: EvidenceOf) -> None:
    """The hour of 2023-11-12 is a session of its own length."""
    evening = date(2023, 11, 12)
    scope = Scope(("AAA",), ("5minute",), evening, evening)
    stored = [("AAA", "5minute", evening, 12, 12)]
    audit = audit_coverage(
        scope, evidence_of(stored=stored), as_of=SETTLED, calendar=nse_calendar()
    )

    assert audit.sessions["state"].to_list() == ["ok"]


@pytest.mark.parametrize("closed", [None, date(2024, 3, 28)], ids=["never", "before the range"])
def test_sessions_that_have_not_closed_are_outside(
    evidence_of: EvidenceOf, closed: date | None
) -> None:
    """An audit of the future has no session, no fraction and no status."""
    as_of = AsOf(closed_through=closed, settled_through=None)
    audit = audited(evidence_of(), as_of=as_of)

    assert audit.sessions.schema == SESSION_SCHEMA
    assert audit.sessions.height == audit.gaps.height == audit.months.height == 0
    assert audit.symbols.select("symbol", "status", "coverage_frac").row(0) == ("AAA", None, None)
    assert audit.total["coverage_frac"].item() is None


def test_an_audit_of_nothing_is_empty(evidence_of: EvidenceOf) -> None:
    """No symbol: no row, and a total of zeros without a fraction."""
    scope = Scope((), ("1day",), MONDAY, FRIDAY)
    audit = audit_coverage(scope, evidence_of(), as_of=SETTLED, calendar=nse_calendar())

    assert audit.sessions.height == audit.symbols.height == 0
    assert audit.total.select("n_symbols", "n_sessions", "coverage_frac").row(0) == (0, 0, None)


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (datetime(2024, 4, 1, 9, 59, tzinfo=UTC), date(2024, 3, 28)),
        (datetime(2024, 4, 1, 10, 0, tzinfo=UTC), MONDAY),
        (datetime(2024, 4, 6, 4, 0, tzinfo=UTC), FRIDAY),
        (datetime(2026, 11, 8, 17, 0, tzinfo=UTC), date(2026, 11, 6)),
        (datetime(2000, 1, 1, 17, 0, tzinfo=UTC), None),
        (datetime(2000, 1, 2, 19, 0, tzinfo=UTC), None),
    ],
    ids=["before the close", "at the close", "weekend", "hours unknown", "before all", "first"],
)
def test_a_session_counts_once_it_has_closed(
    calendar: SessionCalendar, now: datetime, expected: date | None
) -> None:
    """NSE closes at 15:30 in India, 10:00 UTC; without known hours the day must be over."""
    assert as_of_at(now, calendar, settled_through=None).closed_through == expected


def test_a_naive_instant_is_refused(calendar: SessionCalendar) -> None:
    """An audit needs to know when it is."""
    with pytest.raises(ConfigError, match="no time zone"):
        as_of_at(datetime(2024, 4, 1), calendar, settled_through=None)  # noqa: DTZ001


class World(NamedTuple):
    """Random evidence of two symbols over a few sessions."""

    evidence: Evidence
    as_of: AsOf


START, END = date(2024, 2, 26), date(2024, 3, 8)  # holds the drill of 2024-03-02
SYMBOLS = ("AAA", "BBB")
INTERVALS = ("1day", "30minute")
DAYS = st.dates(START - timedelta(days=3), END + timedelta(days=3))
KEYS = st.tuples(st.sampled_from((*SYMBOLS, "ZZZ")), st.sampled_from((*INTERVALS, "5minute")), DAYS)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Draw evidence in which every rule has a chance to apply."""
    counts = st.integers(1, 15).flatmap(lambda n: st.tuples(st.just(n), st.integers(n - 1, n)))
    stored = draw(st.dictionaries(KEYS, counts, max_size=30))
    refused = draw(st.lists(st.tuples(KEYS, st.sampled_from("xy")), max_size=8))
    disputed = draw(st.lists(KEYS, max_size=8))
    bounds = st.none() | DAYS
    request = st.tuples(
        st.sampled_from(SYMBOLS),
        st.sampled_from(INTERVALS),
        bounds,
        bounds,
        st.booleans(),
        st.booleans(),
        bounds,
        st.none() | st.lists(DAYS, max_size=8),
    )
    requests = draw(st.lists(request, max_size=6))
    kinds = st.sampled_from(tuple(kind.value for kind in ListingKind))
    spells = draw(st.lists(st.tuples(st.sampled_from(SYMBOLS), kinds, bounds, bounds), max_size=4))
    at = datetime(2024, 4, 1, tzinfo=UTC)
    return World(
        Evidence(
            stored=pl.DataFrame(
                [(*key, *count) for key, count in stored.items()],
                schema=STORED_SCHEMA,
                orient="row",
            ),
            quarantined=pl.DataFrame(
                [(*key, 1, reason) for key, reason in refused],
                schema=QUARANTINED_SCHEMA,
                orient="row",
            ),
            disputed=pl.DataFrame(
                [(*key, "other") for key in disputed], schema=DISPUTED_SCHEMA, orient="row"
            ),
            asked=pl.DataFrame(
                [
                    (
                        s,
                        i,
                        a,
                        b,
                        at + timedelta(hours=n),
                        is_ok,
                        no,
                        settled,
                        lacking,
                        None,
                        f"e{n}",
                    )
                    for n, (s, i, a, b, is_ok, no, settled, lacking) in enumerate(requests)
                ],
                schema=ASKED_SCHEMA,
                orient="row",
            ),
            listings=pl.DataFrame(
                [(*spell, f"l{n}") for n, spell in enumerate(spells)],
                schema={
                    "symbol": pl.String,
                    "kind": pl.String,
                    "start": pl.Date,
                    "end": pl.Date,
                    "evidence": pl.String,
                },
                orient="row",
            ),
        ),
        AsOf(draw(bounds), draw(bounds)),
    )


class _Judge:
    """The same rules, one session at a time, in plain Python."""

    def __init__(self, world: World) -> None:
        self.as_of = world.as_of
        self.stored = {row[:3]: row[3:] for row in world.evidence.stored.iter_rows()}
        self.refused = [row[:3] for row in world.evidence.quarantined.iter_rows()]
        self.disputed = [row[:3] for row in world.evidence.disputed.iter_rows()]
        self.asked = world.evidence.asked.rows(named=True)
        assert world.evidence.listings is not None
        self.spells = world.evidence.listings.rows(named=True)

    def rows(self) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = []
        n_days = (END - START).days + 1
        for symbol in SYMBOLS:
            for interval in INTERVALS:
                for n in range(n_days):
                    found += self.row(symbol, interval, START + timedelta(days=n))
        return found

    def row(self, symbol: str, interval: str, day: date) -> list[tuple[Any, ...]]:
        if self.as_of.closed_through is None or day > self.as_of.closed_through:
            return []
        key = (symbol, interval, day)
        n_bars, _ = self.stored.get(key, (0, 0))
        if not nse_calendar().is_session(day):
            if not self.is_seen_on(day) or key not in self.stored:
                return []
            return [(*key, "not_expected", "no_session", n_bars)]
        return [(*key, *self.judged(key))]

    def is_seen_on(self, day: date) -> bool:
        return any(key[2] == day for key in self.stored)

    def judged(self, key: tuple[str, str, date]) -> tuple[Any, ...]:
        symbol, interval, day = key
        n_bars, n_final = self.stored.get(key, (0, 0))
        n_expected = n_bars_expected(nse_calendar(), day, interval)  # pyright: ignore[reportArgumentType]
        unlisted = self.unlisted(symbol, day)
        if unlisted is not None:
            return "not_expected", unlisted, n_bars
        n_more = max(n_bars - n_expected, 0) if n_expected is not None else 0
        if n_bars:
            return *self.with_bars(key, n_bars, n_final, n_expected), n_more
        return *self.without_bars(key), 0

    def with_bars(
        self, key: tuple[str, str, date], n_bars: int, n_final: int, n_expected: int | None
    ) -> tuple[str, str | None]:
        if key in self.disputed:
            return "disputed", "disputed"
        if n_final < n_bars:
            return "pending", "provisional"
        if n_expected is None:
            return "ok", "hours_unknown"
        if n_bars < n_expected and key[1] != "1day":
            if key in self.refused:
                return "partial", "bad_rows"
            settled = [one for one in self.covering(key) if self.settles(one, key[2])]
            return "partial", "delivered_fewer" if settled else self.unsettled(key)
        return "ok", None

    def without_bars(self, key: tuple[str, str, date]) -> tuple[str, str]:
        if key in self.refused:
            return "quarantined", "bad_rows"
        if self.as_of.settled_through is None or key[2] > self.as_of.settled_through:
            return "pending", "too_recent"
        settled = [one for one in self.covering(key) if self.settles(one, key[2])]
        if not settled:
            covering = self.covering(key)
            if covering and covering[-1]["is_refused"]:
                return "missing_at_source", "unknown_symbol"
            return "missing_local", self.unsettled(key)
        lacking = settled[-1]["missing_sessions"]
        first = min((k[2] for k in self.stored if k[:2] == key[:2]), default=date.min)
        is_before_all = settled[-1]["start"] is None and key[2] < first
        if lacking is None or key[2] in lacking or is_before_all:
            return "missing_at_source", "not_delivered"
        return "missing_local", "lost"

    def covering(self, key: tuple[str, str, date]) -> list[dict[str, Any]]:
        return [
            one
            for one in self.asked
            if (one["symbol"], one["interval"]) == key[:2]
            and (one["start"] or date.min) <= key[2] <= (one["end"] or date.max)
        ]

    def settles(self, request: dict[str, Any], day: date) -> bool:
        through = request["settled_through"]
        return request["is_answered"] and through is not None and day <= through

    def unsettled(self, key: tuple[str, str, date]) -> str:
        covering = self.covering(key)
        if not covering:
            return "never_asked"
        return "asked_too_early" if any(o["is_answered"] for o in covering) else "ask_failed"

    def unlisted(self, symbol: str, day: date) -> str | None:
        own = [
            (one["kind"], one["start"] or date.min, one["end"] or date.max)
            for one in self.spells
            if one["symbol"] == symbol
        ]
        listed = [spell for spell in own if spell[0] == "listed"]
        if listed and not any(first <= day <= last for _, first, last in listed):
            is_first = day < min(first for _, first, _ in listed)
            return "pre_listing" if is_first else "delisted"
        for kind, first, last in sorted(own):
            again = [begin for _, begin, _ in listed if first < begin <= day]
            if kind == "delisted" and first <= day <= last and not again:
                return kind
        if any(kind == "suspended" and a <= day <= b for kind, a, b in own):
            return "suspended"
        return None


@given(worlds())
def test_the_audit_agrees_with_a_loop_over_sessions(world: World) -> None:
    """State, reason and unexpected bars of every session are those of the plain rules."""
    scope = Scope(SYMBOLS, INTERVALS, START, END)  # pyright: ignore[reportArgumentType]
    audit = audit_coverage(scope, world.evidence, as_of=world.as_of, calendar=nse_calendar())

    columns = ("symbol", "interval", "session", "state", "reason", "n_unexpected")
    assert audit.sessions.select(columns).rows() == _Judge(world).rows()


@given(worlds())
def test_rolled_up_counts_add_up(world: World) -> None:
    """Months, symbols, intervals and the total count the same sessions, each of them once."""
    scope = Scope(SYMBOLS, INTERVALS, START, END)  # pyright: ignore[reportArgumentType]
    audit = audit_coverage(scope, world.evidence, as_of=world.as_of, calendar=nse_calendar())
    states = ("ok", "partial", "missing_local", "missing_at_source")
    states += ("pending", "quarantined", "disputed")

    for frame in (audit.months, audit.symbols, audit.intervals, audit.total):
        total = frame.select(pl.col("^n_.*$").sum()).row(0, named=True)
        assert total["n_sessions"] == sum(total[f"n_{state}"] for state in states)
        assert total["n_sessions"] + total["n_not_expected"] == audit.sessions.height
    lacking = audit.gaps.filter(pl.col("state") != "not_expected")["n_sessions"].sum()
    assert lacking == audit.sessions.filter(~pl.col("state").is_in(["ok", "not_expected"])).height
