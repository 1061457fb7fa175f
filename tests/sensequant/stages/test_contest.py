"""Facts about champion and challengers side by side: who takes part, which sessions count."""

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sklearn import metrics as untyped_metrics

from sensequant.cli.app import main
from sensequant.errors import ConfigError
from sensequant.market.sources.build import SourceConfig
from sensequant.market.sources.simulated import SimulatedConfig
from sensequant.release.contest import ContestConfig, ContestReport
from sensequant.release.limits import PromotionLimits
from sensequant.stages import contest
from sensequant.stages.contest import hold_contest
from sensequant.stages.moving import Order
from sensequant.stages.promotion import promote_candidate, stage_candidate
from sensequant.storage import read_json, read_table
from sensequant.student_file import read_student

metrics: Any = untyped_metrics
World = Any
"""The home that the fixture `world` makes (`tests/conftest.py`)."""

SOON = datetime(2023, 7, 14, 12, tzinfo=UTC)
LATER = datetime(2023, 9, 29, 12, tzinfo=UTC)
CONFIG = ContestConfig(min_block_sessions=5, n_bootstrap_draws=100)


def order(at: datetime) -> Order:
    return Order(
        actor="bo",
        reason="because",
        clock=lambda: at,
        limits=PromotionLimits(staging_hours=0),
        load=lambda path, sha256: read_student(path, sha256=sha256),
    )


@pytest.fixture
def champion(world: World) -> World:
    """Return a home with candidate 1 in production, bars of three months since, and 2 approved."""
    stage_candidate(world.folder(1), order(world.AT))
    promote_candidate(world.folder(1), order(world.AT + timedelta(minutes=5)))
    world.deliver(LATER.date())
    return world


def held(world: World, at: datetime = LATER, *named: int, **config: Any) -> ContestReport:
    asked = CONFIG.model_copy(update=config)
    return hold_contest(world.home, [world.folder(each) for each in named], asked, at=at)


def test_both_are_scored_on_sessions_that_nobody_can_have_chosen_them_by(champion: World) -> None:
    """After the range of both runs; the kept rows give the same areas under the curve."""
    report = held(champion, LATER, 2)
    (challenger,) = report.challengers
    rows = read_table(champion.home / "monitoring" / "comparisons" / "20230929T120000Z.parquet")
    stored = champion.home / "monitoring" / "comparisons" / "20230929T120000Z.json"

    assert ContestReport.model_validate(read_json(stored)) == report
    assert report.is_simulated
    assert (report.first_session, report.last_session) == (date(2023, 7, 3), LATER.date())
    assert rows["session"].min() == date(2023, 7, 3)
    assert (report.champion.run_id, challenger.run_id) == (
        champion.folder(1).run_id,
        champion.folder(2).run_id,
    )
    assert (report.champion.place, challenger.place) == ("production", "approved")
    assert challenger.known_through == champion.DELIVERED_THROUGH
    comparison = challenger.comparison
    assert comparison is not None
    for own, run_id in (("candidate", challenger.run_id), ("reference", report.champion.run_id)):
        known = rows.filter(run_id=run_id).drop_nulls(["score", "label"])
        auc = metrics.roc_auc_score(known["label"].to_numpy(), known["score"].to_numpy())
        assert getattr(comparison.of("auc"), own) == pytest.approx(auc)
    assert report.n_realised == comparison.n_rows > 100
    assert comparison.n_traded_sessions == report.n_sessions - 1
    assert comparison.of("auc").difference.lower is not None


def test_staging_takes_part_by_itself_and_once(champion: World) -> None:
    """Named as well, it stands there once, by its place."""
    stage_candidate(champion.folder(2), order(champion.AT + timedelta(minutes=10)))
    report = held(champion, LATER, 2, 1)

    assert [each.place for each in report.challengers] == ["staging"]


def test_bars_of_later_sessions_change_nothing(champion: World) -> None:
    """Two weeks in, what the store holds beyond is not read; too little for an interval."""
    report = held(champion, SOON, 2)
    (challenger,) = report.challengers
    comparison = challenger.comparison

    assert report.last_session == SOON.date()
    assert report.n_sessions == 10
    assert comparison is not None
    assert "fewer than 5 blocks" in str(comparison.of("net_sharpe").difference.reason)
    assert comparison.of("net_sharpe").difference.lower is None


@pytest.mark.parametrize(
    ("at", "since", "n_sessions"),
    [
        (datetime(2023, 6, 30, 12, tzinfo=UTC), None, 0),
        (datetime(2023, 7, 3, 12, tzinfo=UTC), None, 1),
        (LATER, date(2023, 9, 29), 1),
    ],
    ids=["none is new", "one", "one that was asked for"],
)
def test_one_session_or_none(
    champion: World, at: datetime, since: date | None, n_sessions: int
) -> None:
    """No figure is made of nothing, no interval of one session."""
    report = held(champion, at, 2, since=since)
    (challenger,) = report.challengers

    assert report.n_sessions == n_sessions
    if challenger.comparison is None:
        assert challenger.reason == "no session is new to all of them"
        return
    assert all(delta.difference.lower is None for delta in challenger.comparison.deltas)
    assert all(delta.difference.reason for delta in challenger.comparison.deltas)


def test_who_cannot_be_asked(world: World, champion: World) -> None:
    """No champion, nobody to hold it against, a candidate that nobody approved."""
    with pytest.raises(ConfigError, match="nobody to hold the champion against"):
        held(champion)
    folder = champion.train(3)
    champion.judge(folder)
    with pytest.raises(ConfigError, match="was not approved"):
        held(champion, LATER, 3)
    with pytest.raises(ConfigError, match="nothing is deployed"):
        hold_contest(world.home / "elsewhere", [world.folder(2)], CONFIG, at=LATER)


def test_challenger_that_does_not_fit_is_named_with_its_reason(
    champion: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other bars, and columns that this code does not build; the champion is not disturbed."""
    market = SourceConfig(simulated=SimulatedConfig(n_symbols=3, seed=99))
    really: Any = contest._of_candidate  # pyright: ignore[reportPrivateUsage]

    def elsewhere(folder: Any) -> Any:
        entrant = really(folder)
        request = entrant.settings.request.model_copy(update={"source": market})
        settings = entrant.settings.model_copy(update={"request": request})
        return type(entrant)(entrant.contender, settings, entrant.students, entrant.symbols)

    monkeypatch.setattr(contest, "_of_candidate", elsewhere)
    (challenger,) = held(champion, LATER, 2).challengers

    assert challenger.comparison is None
    assert "its bars are others" in str(challenger.reason)


def test_contest_on_a_terminal(
    champion: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every difference as a row, and as JSON; a part of an id names a candidate."""
    monkeypatch.setenv("SENSEQUANT_HOME", str(champion.home))
    words = ["compare", "00000002", "--set", "n_bootstrap_draws=100"]

    assert main(words) == 0
    told = capsys.readouterr().out
    assert main([*words, "--json"]) == 0
    report = ContestReport.model_validate(json.loads(capsys.readouterr().out))

    assert "max_drawdown" in told
    assert f"champion: {champion.folder(1).run_id}, production" in told
    assert "simulated" in told
    assert report.settings.n_bootstrap_draws == 100
    assert report.n_sessions > 60
    assert main(["compare", "--set", "seed=-1"]) == 2
