"""Commands about models: training and judging them stage by stage, scoring new bars, trading.

Belongs here: what can be typed, and which function answers. Does not belong here: the answers.
"""

import sys
from dataclasses import replace
from typing import Annotated, Literal

from cyclopts import App, Parameter

from sensequant.cli.arguments import (
    BacktestArguments,
    CalibrationArguments,
    PredictArguments,
    RunArguments,
)
from sensequant.cli.data_arguments import SourceArguments, SymbolArguments, source_of, symbols_of
from sensequant.cli.output import console_for
from sensequant.cli.place import Place
from sensequant.errors import ConfigError

__all__ = ["register_model_commands"]

_GROUP = "Models"

train_app = App(name="train", help="Train models without judging them.", group=_GROUP)


def register_model_commands(app: App) -> None:
    """Add the commands about models to the command line."""
    app.command(train_app)
    app.command(validate, group=_GROUP)
    app.command(stats, group=_GROUP)
    app.command(stress, group=_GROUP)
    app.command(audit, group=_GROUP)
    app.command(brief, group=_GROUP)
    app.command(predict, group=_GROUP)
    app.command(backtest, group=_GROUP)
    app.command(calibrate_verdict, group=_GROUP)
    app.command(optimise, group=_GROUP)
    app.command(ablate, group=_GROUP)


@train_app.command
def teachers(
    arguments: RunArguments | None = None,
    *,
    place: Place | None = None,
    verbose: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Train a teacher per window: of a new run, or with --run of an existing one.

    Parameters
    ----------
    arguments
        Which data, which method.
    place
        Where data and server are.
    verbose
        Show Prefect's log instead of progress bars.
    """
    return _train(arguments, ("data_ingestion", "teacher_training"), place, is_verbose=verbose)


@train_app.command
def students(
    arguments: RunArguments | None = None,
    *,
    place: Place | None = None,
    verbose: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Train teachers and students: of a new run, or with --run the students of an existing one.

    Parameters
    ----------
    arguments
        Which data, which method.
    place
        Where data and server are.
    verbose
        Show Prefect's log instead of progress bars.
    """
    stages = ("data_ingestion", "teacher_training", "student_training")
    return _train(arguments, stages, place, is_verbose=verbose)


def validate(
    run: str = "latest",
    /,
    *,
    place: Place | None = None,
    verbose: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Validate the students of a run again: scores, backtest, trials written down.

    Parameters
    ----------
    run
        Its id, the beginning or end of it, or latest.
    place
        Where data and server are.
    verbose
        Show Prefect's log instead of progress bars.
    """
    from sensequant.cli.evidence import validate_again  # noqa: PLC0415

    return validate_again(run, (place or Place()).environment(), is_verbose=verbose)


def stats(
    run: str = "latest",
    /,
    *,
    place: Place | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
    verbose: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Test the returns of a run again, against all that was tried by now.

    Parameters
    ----------
    run
        Its id, the beginning or end of it, or latest.
    place
        Where data and server are.
    json
        Print everything as one JSON object.
    verbose
        Show Prefect's log instead of progress bars.
    """
    from sensequant.cli.evidence import assess_again  # noqa: PLC0415

    env = (place or Place()).environment()
    return assess_again(run, env, is_json=json, is_verbose=verbose)


def stress(
    run: str = "latest",
    /,
    *,
    place: Place | None = None,
    verbose: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Replay the crises and shocks of a run again.

    Parameters
    ----------
    run
        Its id, the beginning or end of it, or latest.
    place
        Where data and server are.
    verbose
        Show Prefect's log instead of progress bars.
    """
    from sensequant.cli.evidence import stress_again  # noqa: PLC0415

    return stress_again(run, (place or Place()).environment(), is_verbose=verbose)


def audit(
    run: str = "latest",
    /,
    *,
    place: Place | None = None,
    verbose: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Judge the present figures of a run anew: gates, manifest, and the briefing on them.

    Parameters
    ----------
    run
        Its id, the beginning or end of it, or latest.
    place
        Where data and server are.
    verbose
        Show Prefect's log instead of progress bars.
    """
    from sensequant.cli.evidence import judge_again  # noqa: PLC0415

    return judge_again(run, (place or Place()).environment(), is_verbose=verbose)


def brief(
    run: str = "latest",
    /,
    *,
    place: Place | None = None,
    verbose: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Write the briefing of a run again, about the verdict that stands.

    Parameters
    ----------
    run
        Its id, the beginning or end of it, or latest.
    place
        Where data and server are.
    verbose
        Show Prefect's log instead of progress bars.
    """
    from sensequant.cli.evidence import brief_again  # noqa: PLC0415

    return brief_again(run, (place or Place()).environment(), is_verbose=verbose)


def predict(
    arguments: PredictArguments | None = None,
    *,
    place: Place | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Score stored bars with the model of an environment or a run, or with a student's file.

    Parameters
    ----------
    arguments
        Which student, which bars.
    place
        Where the data are.
    json
        Print everything as one JSON object.
    """
    from sensequant.cli.predict import show_prediction  # noqa: PLC0415

    home = (place or Place()).environment().home
    return show_prediction(
        console_for(sys.stdout), arguments or PredictArguments(), home, is_json=json
    )


def backtest(
    strategy: Literal["scores", "swing", "intraday", "hold", "balanced", "cash"],
    /,
    arguments: BacktestArguments | None = None,
    symbols: SymbolArguments | None = None,
    source: SourceArguments | None = None,
    *,
    place: Place | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Trade a strategy on stored bars, or the scores of a run, and say what that earned.

    Parameters
    ----------
    strategy
        scores: those of a run; swing: averages of 20 and 50 sessions with stop and target;
        intraday: average and RSI of minute bars; hold, balanced (60/40), cash.
    arguments
        What, when, by which settings.
    symbols
        Which symbols; with none, all that are stored.
    source
        Where their bars came from.
    place
        Where data are.
    json
        Print everything as one JSON object.
    """
    from sensequant.cli.backtest import backtest_rules, backtest_scores, show  # noqa: PLC0415

    home = (place or Place()).environment().home
    asked = arguments or BacktestArguments()
    if strategy == "scores":
        for name, given in (("symbols", symbols), ("source", source)):
            if given is not None:
                raise ConfigError(
                    "scores are those of a run, with its symbols and bars",
                    where=f"options of {name}",
                    expected="none",
                    found=str(given),
                    remedy="leave them out, or name another --run",
                )
        traded = backtest_scores(asked, home)
    else:
        traded = backtest_rules(
            strategy, asked, symbols_of(symbols), source=source_of(source), home=home
        )
    show(console_for(sys.stdout), traded, output=asked.output, is_json=json)
    return 0


def calibrate_verdict(
    arguments: CalibrationArguments | None = None,
    *,
    place: Place | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
    verbose: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Measure how often the verdict approves where there is nothing to find, and where there is.

    Runs the whole pipeline on many invented worlds. What is judged already is not done again: after
    a kill, or for more worlds, ask again.

    Parameters
    ----------
    arguments
        How many worlds, which method.
    place
        Where data and server are.
    json
        Print everything as one JSON object.
    verbose
        Show Prefect's log instead of progress bars.
    """
    from sensequant.cli.calibrate import start_calibration  # noqa: PLC0415

    asked = arguments or CalibrationArguments()
    env = (place or Place()).environment(workers=asked.workers)
    return start_calibration(asked, env, is_json=json, is_verbose=verbose)


def optimise(
    run: str = "latest",
    /,
    *,
    strategy: Literal["scores", "swing"] = "scores",
    trials: int | None = None,
    set: Annotated[tuple[str, ...], Parameter(negative="")] = (),  # noqa: A002 - as it is typed
    place: Place | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
    verbose: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Search for trading settings before each step of a run's sessions, and trade it by them.

    Parameters
    ----------
    run
        Its id, the beginning or end of it, or latest.
    strategy
        scores: those of the run; swing: averages that cross, on its bars.
    trials
        Settings tried beside the given ones before each step; 50 when left out.
    set
        One setting: step_sessions=63, parameters='[threshold,position_frac]', swing.fast_bars=10;
        may be repeated.
    place
        Where data and server are.
    json
        Print everything as one JSON object.
    verbose
        Show Prefect's log.
    """
    from sensequant.cli.optimise import search_settings, start_search  # noqa: PLC0415

    search = search_settings(strategy, trials, set)
    env = (place or Place()).environment()
    return start_search(run, search, env, is_json=json, is_verbose=verbose)


def ablate(
    run: str = "latest",
    /,
    *,
    families: str | None = None,
    set: Annotated[tuple[str, ...], Parameter(negative="")] = (),  # noqa: A002 - as it is typed
    place: Place | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
    verbose: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Train a run again without each family of features, and say what each is worth.

    Parameters
    ----------
    run
        Its id, the beginning or end of it, or latest.
    families
        Names separated by commas: momentum,volume. Those that the run was fed when left out; one
        that it was not fed is added.
    set
        One setting: n_bootstrap_draws=5000, confidence=0.9; may be repeated.
    place
        Where data and server are.
    json
        Print everything as one JSON object.
    verbose
        Show Prefect's log.
    """
    from sensequant.cli.ablate import ablation_settings, start_ablation  # noqa: PLC0415

    asked = ablation_settings(families, set)
    env = (place or Place()).environment()
    return start_ablation(run, asked, env, is_json=json, is_verbose=verbose)


def _train(
    arguments: RunArguments | None,
    stages: tuple[str, ...],
    place: Place | None,
    *,
    is_verbose: bool,
) -> int:
    from sensequant.cli.run import start_run  # noqa: PLC0415

    asked = arguments or RunArguments()
    for name in ("stages", "resume"):
        if getattr(asked, name) is not None:
            raise ConfigError(
                "a training has stages of its own",
                where=f"--{name}",
                expected="none",
                found=str(getattr(asked, name)),
                remedy=f"use `sensequant run --{name}`",
            )
    # An existing run has its bars already; only the stage that was named is done again.
    asked = replace(asked, stages=",".join(stages[-1:] if asked.run is not None else stages))
    return start_run(
        asked, (place or Place()).environment(workers=asked.workers), is_verbose=is_verbose
    )
