"""Which parameters of a search the value of a trial hangs on.

Belongs here: the shares of the parameters. Does not belong here: the search
(`evaluation.optimisation`), how the shares are shown (`reports.optimisation`).

Shares sum to one. They say on what the value hangs inside the sessions that were searched; what
lasts beyond them is another question.

Source: S. Watanabe, A. Bansal and F. Hutter (2023), "PED-ANOVA: Efficiently Quantifying
Hyperparameter Importance in Arbitrary Subspaces", by Optuna.
"""

from collections.abc import Sequence
from typing import Any

import polars as pl

from sensequant.evaluation.search_space import Parameter

__all__ = ["parameter_importances"]

_FEWEST_TRIALS = 8


def parameter_importances(
    trials: pl.DataFrame, parameters: Sequence[Parameter]
) -> dict[str, float]:
    """Return the share of each parameter that was varied, the largest first.

    Parameters
    ----------
    trials
        Trials of one step (`evaluation.optimisation.trials_schema`).
    parameters
        Those of the strategy.

    Returns
    -------
    dict
        Empty with fewer than eight trials that have a value, or where all values are equal.
    """
    import optuna  # noqa: PLC0415 - half a second, and most who load this module ask nothing

    valued = trials.drop_nulls("value")
    varied = [each for each in parameters if valued[each.name].n_unique() > 1]
    if valued.height < _FEWEST_TRIALS or valued["value"].n_unique() == 1 or not varied:
        return {}
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize")
    spaces: dict[str, Any] = {each.name: _bounds(each, valued[each.name]) for each in varied}
    for row in valued.iter_rows(named=True):
        study.add_trial(
            optuna.trial.create_trial(
                params={name: row[name] for name in spaces},
                distributions=spaces,
                value=row["value"],
            )
        )
    found = optuna.importance.get_param_importances(study)
    return dict(sorted(found.items(), key=lambda share: (-share[1], share[0])))


def _bounds(parameter: Parameter, values: pl.Series) -> Any:
    from optuna import distributions  # noqa: PLC0415

    if parameter.choices:
        return distributions.CategoricalDistribution(parameter.choices)
    numbers = values.to_numpy()
    low, high = numbers.min(), numbers.max()
    if values.dtype == pl.Int64:
        return distributions.IntDistribution(int(low), int(high), log=parameter.is_log)
    return distributions.FloatDistribution(float(low), float(high), log=parameter.is_log)
