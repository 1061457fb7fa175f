"""The section of a run's page that shows the candidate beside the champion.

Belongs here: its words and its table. Does not belong here: the comparison, which comes finished
(`release.champion`).

Without a champion there is no section: the page of a run is then that of a home in which nothing
was ever deployed.
"""

from sensequant.evaluation.side_by_side import Delta, ModelComparison
from sensequant.release.champion import NAMES, ChampionComparison
from sensequant.reports.sections import Section, listed, without
from sensequant.reports.tables import between, code, count, format_of, missing

__all__ = ["champion_section"]

_COLUMNS = {
    "Figure": False,
    "Candidate": True,
    "Champion": True,
    "Difference": True,
    "Interval": True,
    "n": True,
}


def champion_section(found: ChampionComparison) -> Section:
    """Hold every figure of the candidate beside that of the model in production."""
    blank = Section("champion", "Beside the champion")
    compared = found.comparison
    champion = code(found.model_sha256[:12])
    if compared is None:
        return without(blank, f"model {champion} of {found.run_id}: {found.reason}")
    table = listed(
        f"Candidate and model {champion}, in production when this run was judged",
        _COLUMNS,
        [_row(delta) for delta in compared.deltas],
    )
    return Section(
        blank.key,
        blank.heading,
        lead=_lead(found, compared),
        tables=(table,),
        points=found.remarks,
    )


def _lead(found: ChampionComparison, compared: ModelComparison) -> str:
    return (
        f"Both on the same bars, {compared.first_session} to {compared.last_session}, which "
        f"neither has learnt from (the champion nothing after {found.trained_through}): "
        f"{count(compared.n_rows)} labelled rows that both scored, "
        f"{count(compared.n_traded_sessions)} sessions traded, each by its own decisions. "
        "Differences are candidate minus champion; no gate reads them."
    )


def _row(delta: Delta) -> tuple[str, ...]:
    figure = delta.difference
    write = format_of(figure.unit)
    interval = missing(figure.reason)
    if figure.lower is not None and figure.upper is not None:
        interval = between(figure.lower, figure.upper, write)
    name = NAMES[delta.name]
    return (
        name[:1].upper() + name[1:],
        write(delta.candidate),
        write(delta.reference),
        missing(figure.reason) if figure.value is None else write(figure.value),
        interval,
        count(figure.n),
    )
