"""Validation in the shadow: what a staged model said of the bars that arrived since, and was worth.

Belongs here: which rows count, and the record of them. Does not belong here: measures
(`evaluation.scoring`), labels and features (`rows`), what follows from it (`stages.readiness`).

A decision counts when it falls after the close of a session that closed after the model was staged:
neither the model nor the person who approved it can have known it. Its outcome is that of the
labels of the run, known at their end. Nothing is traded.
"""

from datetime import datetime

import polars as pl

from sensequant.evaluation.figures import Figure
from sensequant.evaluation.rewards import captured_figure
from sensequant.evaluation.scoring import ScoredPanel, classification_figures
from sensequant.ingestion.ranges import last_closed_session
from sensequant.market.sessions import SessionCalendar, session_date_of
from sensequant.records import derive_seed, frame_digest
from sensequant.release.deployment_records import ShadowValidation
from sensequant.reward import REWARD_RETURNS_SCHEMA, reward_decisions, reward_returns
from sensequant.rows import build_rows
from sensequant.settings import TrainingConfig
from sensequant.stages.context import RunSettings
from sensequant.stages.scoring import Scorers, stored_market
from sensequant.windows import POOLED

__all__ = [
    "figures_in_shadow",
    "judge_rows",
    "reward_figure",
    "rewarded",
    "rows_in_shadow",
    "score_in_shadow",
    "validate_in_shadow",
]

_KEYS = ("symbol", "session", "session_number")
_OUTCOME = ("label", "forward_return")
_FEWEST_SYMBOLS = 3
_REWARDS = ("signal", "reward_return", "reward", "best_reward")


def validate_in_shadow(
    scorers: Scorers,
    settings: RunSettings,
    calendar: SessionCalendar,
    *,
    since: datetime,
    until: datetime,
) -> ShadowValidation:
    """Measure the scores of a staged model on the sessions that closed between two instants.

    Parameters
    ----------
    scorers
        The students and their store.
    settings
        Of their run: features, labels, costs, how to measure.
    calendar
        The NSE calendar.
    since
        Aware instant at which the model was staged.
    until
        Aware instant of the question: of what a store says of later sessions, nothing is read.

    Raises
    ------
    MissingBarsError
        The store has no final bars.
    ConfigError
        A symbol has no student, or the calendar does not know a year.
    RecordError, DigestMismatchError
        A student is not the one that was written.
    """
    rows = score_in_shadow(scorers, settings, calendar, since=since, until=until)
    return figures_in_shadow(rows, settings.config, since=since)


def figures_in_shadow(
    rows: pl.DataFrame, config: TrainingConfig, *, since: datetime
) -> ShadowValidation:
    """Measure rows of `score_in_shadow`, by the settings of the run."""
    panel = _panel(rows, config)
    figures = classification_figures(panel)
    auc, precision, hit_rate, brier_score = (
        _with_interval_of_many(figure, panel.rows, panel.block_sessions)
        for figure in (figures.auc, figures.precision, figures.hit_rate, figures.brier_score)
    )
    sessions = rows["session"].unique().sort().to_list()
    return ShadowValidation(
        since=since,
        first_session=str(sessions[0]) if sessions else None,
        last_session=str(sessions[-1]) if sessions else None,
        n_sessions=len(sessions),
        n_rows=rows.height,
        n_scored=rows["score"].count(),
        n_novel=rows.filter(reason="novel").height,
        n_expired=rows.filter(reason="expired").height,
        n_realised=_realised(rows).height,
        auc=auc,
        precision=precision,
        hit_rate=hit_rate,
        brier_score=brier_score,
        rows_digest=frame_digest(rows),
    )


def score_in_shadow(
    scorers: Scorers,
    settings: RunSettings,
    calendar: SessionCalendar,
    *,
    since: datetime,
    until: datetime,
) -> pl.DataFrame:
    """Return scores and, where they are known, outcomes of the sessions that closed in between.

    Returns
    -------
    polars.DataFrame
        symbol, session, session_number, label, forward_return, score, probability, novelty,
        reason; by session and symbol. What is not known is null.
    """
    rows = rows_in_shadow(scorers, settings, calendar, since=since, until=until)
    return judge_rows(scorers, rows)


def rows_in_shadow(
    scorers: Scorers,
    settings: RunSettings,
    calendar: SessionCalendar,
    *,
    since: datetime,
    until: datetime,
) -> pl.DataFrame:
    """Return features, and labels where they are known, of the sessions that closed in between.

    Returns
    -------
    polars.DataFrame
        As `rows.build_rows`, then what a decision is rewarded by, `REWARD_RETURNS_SCHEMA`.
    """
    bars, context = stored_market(scorers)
    # A simulated market is generated beyond the present: that would be leakage.
    known = bars.filter(pl.col("session") <= last_closed_session(calendar, until))
    rows = build_rows(
        known, settings.config, context, calendar=calendar, start=settings.request.start
    )
    returns = reward_returns(
        known, calendar.numbers(), horizon_sessions=settings.config.reward.horizon_sessions
    )
    rows = rows.join(
        returns, on=["symbol", "session"], how="left", maintain_order="left", validate="1:1"
    )
    day = session_date_of(since)
    first = pl.lit(day) if _closes_after(calendar, since) else pl.lit(day).dt.offset_by("1d")
    return rows.filter(pl.col("session") >= first)


def judge_rows(scorers: Scorers, rows: pl.DataFrame) -> pl.DataFrame:
    """Return what the students say of rows; columns as those of `score_in_shadow`."""
    scored = [_judged(scorers, owner, rows) for owner in scorers.owners]
    return pl.concat(scored).sort("session", "symbol")


def rewarded(said: pl.DataFrame, rows: pl.DataFrame, config: TrainingConfig) -> pl.DataFrame:
    """Return what students said with what their decisions earned, as far as it is known.

    Parameters
    ----------
    said
        Of `judge_rows`.
    rows
        Of `rows_in_shadow`.
    config
        Of the run.

    Returns
    -------
    polars.DataFrame
        The rows of `said`, then signal, reward_return, reward and best_reward.
    """
    named = said.with_columns(trained_window=pl.lit("deployed"), scored_window=pl.lit("shadow"))
    returns = rows.select(REWARD_RETURNS_SCHEMA.names())
    decisions = reward_decisions(named, returns, config.reward)
    return pl.concat([said, decisions.select(_REWARDS)], how="horizontal")


def reward_figure(decisions: pl.DataFrame, config: TrainingConfig) -> Figure:
    """Measure the rewards of decisions by the settings of the run that they belong to."""
    asked = config.validation
    block_sessions = max(config.reward.horizon_sessions, asked.min_block_sessions)
    figure = captured_figure(
        decisions,
        block_sessions=block_sessions,
        n_draws=asked.n_bootstrap_draws,
        confidence=asked.confidence,
        seed=derive_seed(config.seed, "captured reward"),
    )
    return _with_interval_of_many(figure, decisions.drop_nulls("reward"), block_sessions)


def _with_interval_of_many(figure: Figure, rows: pl.DataFrame, block_sessions: int) -> Figure:
    """Return a figure, without its interval where too few sessions of too few symbols were drawn.

    Fewer than two blocks are all drawn each time: what is left is chance between symbols, and of
    one or two of them nearly none, so that an interval would be far too narrow.
    """
    n_sessions, n_symbols = (rows[name].n_unique() for name in ("session_number", "symbol"))
    asked = 2 if n_symbols >= _FEWEST_SYMBOLS else 2 * block_sessions
    if figure.lower is None or n_sessions >= asked:
        return figure
    reason = f"no interval: outcomes of {n_sessions} sessions, {asked} at least"
    return figure.model_copy(update={"lower": None, "upper": None, "reason": reason})


def _closes_after(calendar: SessionCalendar, instant: datetime) -> bool:
    day = session_date_of(instant)
    if not calendar.is_session(day):
        return False
    closes = calendar.closes(day)
    return closes is not None and closes > instant


def _judged(scorers: Scorers, owner: str, rows: pl.DataFrame) -> pl.DataFrame:
    mine = rows if owner == POOLED else rows.filter(symbol=owner)
    return pl.concat(
        [mine.select(*_KEYS, *_OUTCOME), scorers.load(owner).judge(mine)], how="horizontal"
    )


def _realised(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.drop_nulls(["score", *_OUTCOME])


def _panel(rows: pl.DataFrame, config: TrainingConfig) -> ScoredPanel:
    known = _realised(rows).with_columns(
        scored_window=pl.lit("shadow"), is_decided=pl.col("score") >= config.backtest.threshold
    )
    asked = config.validation
    return ScoredPanel(
        rows=known,
        block_sessions=max(config.labels.horizon_sessions, asked.min_block_sessions),
        n_draws=asked.n_bootstrap_draws,
        n_placebo=asked.n_placebo,
        n_bins=asked.n_calibration_bins,
        confidence=asked.confidence,
        seed=derive_seed(config.seed, "shadow"),
    )
