"""Facts about the certificate: candidate and twins side by side, marked, and no evidence."""

from typing import cast

import pytest

from sensequant.evaluation.figures import Figure, absent_figure
from sensequant.evaluation.validation import ValidationSummary
from sensequant.release.certificate import TwinRecord, certificate_of
from sensequant.release.evidence import Reports
from sensequant.release.gates import Decision


def twin(number: int, auc: float | None, decision: Decision | None) -> TwinRecord:
    return TwinRecord(
        number=number,
        decision=decision,
        auc=absent_figure("AUC", "no row")
        if auc is None
        else Figure(value=auc, lower=auc - 0.02, upper=auc + 0.02, n=900, unit="AUC"),
        net_sharpe=Figure(value=0.1, n=600, unit="annual Sharpe ratio", reason="one session"),
        reason=None if decision is not None else "no student could be trained",
    )


TWINS = (
    twin(1, 0.49, Decision.REJECT),
    twin(2, 0.999, Decision.NOT_ENOUGH_EVIDENCE),
    twin(3, None, None),
)


@pytest.fixture
def validation(reports: Reports) -> ValidationSummary:
    """Return the candidate's summary of the fixtures' reports."""
    return cast("ValidationSummary", reports.validation)


def test_the_candidate_counts_as_one_of_all(validation: ValidationSummary) -> None:
    """Of two twins with an AUC one is as high: two of three; a twin without one does not count."""
    certificate = certificate_of(
        TWINS, n_asked=3, validation=validation, verdict=None, is_simulated=False
    )

    assert certificate is not None
    assert certificate.auc_p_value == pytest.approx(2 / 3)
    assert certificate.candidate.auc.value == validation.classification.auc.value
    assert certificate.candidate.net_sharpe.value == validation.strategy.net_sharpe.value
    assert certificate.candidate.reason == "the run was not judged"
    assert [line.is_simulated for line in certificate.twins] == [True] * 3


def test_without_a_twin_there_is_no_share(validation: ValidationSummary) -> None:
    """Absent, not 1; and what was not asked for is not shown."""
    none_done, none_asked = (
        certificate_of((), n_asked=n, validation=validation, verdict=None, is_simulated=False)
        for n in (2, 0)
    )

    assert none_done is not None
    assert none_done.auc_p_value is None
    assert none_asked is None
