"""The candidate beside the champion, the model that stands in production while a run is judged.

Belongs here: the record of the comparison, and the part of the briefing that shows it. Does not
belong here: making it (`stages.champion`), any gate: a verdict is about a candidate alone, and who
decides sees both.
"""

from datetime import date

from pydantic import Field

from sensequant.evaluation.side_by_side import Delta, ModelComparison
from sensequant.records import Record
from sensequant.release.briefing_model import BesideChampion, BriefingDelta
from sensequant.release.certificate import shown_figure
from sensequant.release.gates import EvidenceRef

__all__ = ["NAMES", "ChampionComparison", "beside_champion", "champion_warnings"]

_NO_CHAMPION = "no champion: nothing stood in production when this run was judged"
NAMES = {
    "auc": "AUC",
    "log_loss": "log loss",
    "mean_excess_return": "mean net return over NIFTY 50",
    "net_sharpe": "Sharpe ratio, net",
    "max_drawdown": "maximum drawdown",
}
"""What a person calls each figure."""


class ChampionComparison(Record):
    """What a candidate is worth beside the champion, on bars that neither has learnt from.

    It binds the evidence of a run to the model that it was held against: `model_sha256`.

    Attributes
    ----------
    run_id, model_sha256, manifest_sha256, is_simulated
        Of the champion.
    trained_through
        Last session that a student of the champion has learnt from; None where it was not loaded.
    reason
        Why there is no comparison; None where there is one.
    remarks
        What to keep in mind.
    comparison
        Candidate minus champion.
    """

    run_id: str
    model_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    manifest_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    is_simulated: bool
    trained_through: date | None = None
    reason: str | None = None
    remarks: tuple[str, ...] = ()
    comparison: ModelComparison | None = None


def beside_champion(
    found: ChampionComparison | None, file: EvidenceRef | None, *, is_simulated: bool
) -> BesideChampion:
    """Return the part of the briefing; without a champion it says so.

    Parameters
    ----------
    found
        The comparison; None: there was no champion.
    file
        Where it stands.
    is_simulated
        Whether the run's bars were invented.
    """
    if found is None:
        return BesideChampion(is_simulated=is_simulated, reason=_NO_CHAMPION)
    compared = found.comparison
    scope = {} if compared is None else compared.model_dump(include=_SCOPE)
    deltas = () if compared is None else compared.deltas
    return BesideChampion(
        is_simulated=is_simulated,
        evidence=file,
        deltas=tuple(_shown(delta, is_simulated=is_simulated) for delta in deltas),
        **found.model_dump(
            include={"run_id", "model_sha256", "trained_through", "reason", "remarks"}
        ),
        **scope,
    )


def champion_warnings(found: ChampionComparison | None) -> list[str]:
    """Return a sentence for each figure by which the champion is better beyond chance."""
    if found is None or found.comparison is None:
        return []
    return [
        f"The champion is better by {NAMES[delta.name]}, beyond chance."
        for delta in found.comparison.deltas
        if delta.is_worse
    ]


_SCOPE = {
    "first_session",
    "last_session",
    "n_symbols",
    "n_rows",
    "n_left_out",
    "n_sessions",
    "n_traded_sessions",
    "block_sessions",
    "confidence",
}


def _shown(delta: Delta, *, is_simulated: bool) -> BriefingDelta:
    return BriefingDelta(
        is_simulated=is_simulated,
        name=NAMES[delta.name],
        candidate=delta.candidate,
        champion=delta.reference,
        difference=shown_figure(delta.name, delta.difference, is_simulated=is_simulated),
    )
