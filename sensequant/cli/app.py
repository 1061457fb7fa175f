"""`sensequant` on a terminal: its commands, their options, exit codes and errors.

Belongs here: what can be typed, and which function answers. Does not belong here: the answers.

Exit codes: 0 done, 1 failed, 2 asked wrongly, 130 interrupted. A verdict is an answer: a rejected
model exits with 0.

Modules of the commands are imported by the commands, so that `--help` is there at once and Prefect
is not loaded before its variables are set.
"""

import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import App, CycloptsError, Parameter

from sensequant import __version__
from sensequant.cli.arguments import RunArguments
from sensequant.cli.context_commands import register_context_commands
from sensequant.cli.data_commands import register_data_commands
from sensequant.cli.decision_commands import register_decision_commands
from sensequant.cli.model_commands import register_model_commands
from sensequant.cli.output import console_for, print_error, print_facts, print_table
from sensequant.cli.place import Machine, Place
from sensequant.cli.promotion_commands import register_promotion_commands
from sensequant.errors import ConfigError, SenseQuantError

__all__ = ["app", "main"]

EXIT_FAILED = 1
EXIT_ASKED_WRONGLY = 2
EXIT_INTERRUPTED = 130

app = App(
    name="sensequant",
    help="From NSE bars to a trading model that a person can decide on.",
    version=__version__,
    help_format="plaintext",
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
calendar_app = App(name="calendar", help="The calendar of NSE.")
app.command(calendar_app)
features_app = App(name="features", help="What a model may see.")
app.command(features_app)
register_data_commands(app)
register_context_commands(app)
register_decision_commands(app)
register_model_commands(app)
register_promotion_commands(app)


@app.command(group="Runs")
def run(
    arguments: RunArguments | None = None,
    *,
    place: Place | None = None,
    verbose: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Execute the eight stages, from bars to a recommendation.

    Starts a Prefect server if none answers, and leaves it there for the run's page.

    Parameters
    ----------
    arguments
        Which data, which method.
    place
        Where data and server are.
    verbose
        Show Prefect's log instead of progress bars.
    """
    from sensequant.cli.run import start_run  # noqa: PLC0415

    asked = arguments or RunArguments()
    env = (place or Place()).environment(workers=asked.workers)
    return start_run(asked, env, is_verbose=verbose)


@app.command(group="Runs")
def runs(*, place: Place | None = None) -> None:
    """List the runs below the home, the newest first.

    Parameters
    ----------
    place
        Where data and server are.
    """
    from sensequant.cli.show import show_runs  # noqa: PLC0415
    from sensequant.cli.stored import stored_runs  # noqa: PLC0415

    show_runs(console_for(sys.stdout), stored_runs((place or Place()).environment().home))


@app.command(group="Runs")
def show(
    run: str,
    /,
    *,
    json: Annotated[bool, Parameter(negative="")] = False,
    files: Annotated[bool, Parameter(negative="")] = False,
    place: Place | None = None,
) -> None:
    """Show a run: stages, verdict with gates, what was left out and why, artifacts.

    Parameters
    ----------
    run
        Its id, the beginning or end of it, or latest.
    json
        Print everything as one JSON object.
    files
        List every artifact with its sha256.
    place
        Where data and server are.
    """
    from sensequant.cli.show import run_as_json, show_run  # noqa: PLC0415
    from sensequant.cli.stored import find_run, read_run  # noqa: PLC0415

    stored = read_run(find_run((place or Place()).environment().home, run))
    if json:
        sys.stdout.write(run_as_json(stored) + "\n")
    else:
        show_run(console_for(sys.stdout), stored, all_files=files)


@app.command(group="Runs")
def verify(run: str, /, *, place: Place | None = None) -> int:
    """Check every file of a run against its manifest, and who signed that; exit with 1 if not so.

    Parameters
    ----------
    run
        Its id, the beginning or end of it, or latest.
    place
        Where data and server are.
    """
    from sensequant.cli.stored import find_run  # noqa: PLC0415
    from sensequant.release.manifest import verify_manifest  # noqa: PLC0415
    from sensequant.release.signature import verify_signature  # noqa: PLC0415

    env = (place or Place()).environment()
    folder = find_run(env.home, run)
    problems = verify_manifest(folder)
    signature = verify_signature(folder, trusted=env.trusted_keys)
    console = console_for(sys.stdout)
    print_facts(console, [("run", folder.run_id)])
    print_facts(console, [(problem.kind.value, problem.path) for problem in problems])
    print_facts(console, [("manifest", "fail" if problems else "ok, every file is as it says")])
    said = signature.words if signature.is_acceptable else f"fail, {signature.words}"
    print_facts(console, [("signature", said)])
    return EXIT_FAILED if problems or not signature.is_acceptable else 0


@app.command(group="Machine")
def doctor(*, place: Place | None = None) -> int:
    """Check that this machine can do the work; exit with 1 if it cannot.

    Parameters
    ----------
    place
        Where data and server are.
    """
    from sensequant.cli.doctor import CheckStatus, check_all  # noqa: PLC0415

    checks = list(check_all((place or Place()).environment()))
    console = console_for(sys.stdout)
    rows = [[check.status.value, check.name, check.found] for check in checks]
    print_table(console, ["status", "check", "found"], rows)
    print_facts(console, [(f"what to do about {c.name}", c.remedy) for c in checks if c.remedy])
    return EXIT_FAILED if any(check.status is CheckStatus.FAIL for check in checks) else 0


@app.command(group="Machine")
def up(
    *,
    server_only: Annotated[bool, Parameter(negative="")] = False,
    host: str | None = None,
    database: str | None = None,
    machine: Machine | None = None,
) -> None:
    """Start all that this machine needs for its runs: server, pools, deployments, workers.

    Parameters
    ----------
    server_only
        Start the server alone, as `run` does.
    host
        Address of this machine on which the server listens, for other machines; SENSEQUANT_HOST, or
        loopback, when left out.
    database
        postgresql://USER:PASSWORD@HOST/NAME for the server; SENSEQUANT_DATABASE, or a file of
        SQLite, when left out.
    machine
        Where data and server are, and what this machine has.
    """
    from sensequant.cli.up import start_machine, start_server  # noqa: PLC0415

    env = (machine or Machine()).environment(host=host, database=database)
    start = start_server if server_only else start_machine
    for fact in start(env):
        # Each is said when it is done, because some of them take their time.
        print_facts(console_for(sys.stdout), [fact])


@app.command(group="Machine")
def deploy(*, machine: Machine | None = None) -> None:
    """Register work pools, deployments, schedules and automations on a running server.

    Can be repeated: what is as it should be stays, a schedule stays on or off.

    Parameters
    ----------
    machine
        Where data and server are, and what this machine has.
    """
    from sensequant.cli.deploy import deploy_all, find_server  # noqa: PLC0415

    env = find_server((machine or Machine()).environment())
    for fact in deploy_all(env):
        print_facts(console_for(sys.stdout), [fact])


@app.command(group="Machine")
def down(*, place: Place | None = None) -> None:
    """Stop the workers and the server that were started for this home; never others.

    Parameters
    ----------
    place
        Where data and server are.
    """
    from sensequant.cli.up import stop_machine  # noqa: PLC0415

    for fact in stop_machine((place or Place()).environment()):
        print_facts(console_for(sys.stdout), [fact])


@calendar_app.command(name="check")
def calendar_check(*, bars: Path | None = None, place: Place | None = None) -> int:
    """Compare the calendar with the sessions on which trade was observed; exit with 1 if not equal.

    Parameters
    ----------
    bars
        Folder of files, or a home with stored bars; this home when left out.
    place
        Where data and server are.
    """
    from sensequant.cli.calendar import check_calendar  # noqa: PLC0415

    folder = bars or (place or Place()).environment().home
    return 0 if check_calendar(console_for(sys.stdout), folder) else EXIT_FAILED


@features_app.command(name="describe")
def features_describe(
    *,
    settings: Annotated[tuple[str, ...], Parameter(name="--set", negative="")] = (),
    config: Path | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """List every feature: family, warm-up, unit, formula, source, and whether it would be fed.

    Parameters
    ----------
    settings
        One setting: features.levels=true; may be repeated.
    config
        YAML or JSON file of settings.
    json
        Print a list of JSON objects, one for each feature.
    """
    from sensequant.cli.asking import build_config  # noqa: PLC0415
    from sensequant.cli.features import print_features  # noqa: PLC0415

    asked = build_config(RunArguments(config=config, set=settings))
    print_features(console_for(sys.stdout), asked.features, is_json=json)


def main(tokens: Sequence[str] | None = None) -> int:
    """Execute one command line and return its exit code; the entry point of `sensequant`."""
    words = list(sys.argv[1:] if tokens is None else tokens)
    errors = console_for(sys.stderr)
    is_debugging = "--debug" in words
    try:
        code = app(words, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        print_error(errors, _misunderstood(error))
        return EXIT_ASKED_WRONGLY
    except KeyboardInterrupt:
        errors.print("interrupted")
        return EXIT_INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the edge to a person: a message, not a traceback
        if is_debugging:
            traceback.print_exc()
        print_error(errors, error if isinstance(error, SenseQuantError) else _unforeseen(error))
        return EXIT_ASKED_WRONGLY if isinstance(error, ConfigError) else EXIT_FAILED
    return code if isinstance(code, int) else 0


def _misunderstood(error: CycloptsError) -> ConfigError:
    return ConfigError(
        "command line is not understood",
        found=" ".join(str(error).split()),
        remedy="`sensequant --help` lists the commands, `sensequant COMMAND --help` its options",
    )


def _unforeseen(error: Exception) -> SenseQuantError:
    return SenseQuantError(
        "unexpected error",
        found=" ".join(f"{type(error).__name__}: {error}".split()),
        remedy="run again with --debug and report the traceback",
    )


if __name__ == "__main__":
    sys.exit(main())
