"""Context that is asked of the vendor while it happens, on a terminal.

Belongs here: from words to a request, starting the flow, the words at the end. Does not belong
here: listening and asking (`sensequant.capture`).
"""

import sys
from collections.abc import Mapping, Sequence

from pydantic import BaseModel

from blocks.environment import Environment
from sensequant.capture.options import OptionSnapshotReport, OptionSnapshotRequest
from sensequant.capture.report import DepthCaptureReport
from sensequant.capture.request import DepthCaptureRequest
from sensequant.cli.asking import build_model, nested_settings
from sensequant.cli.data_arguments import SymbolArguments, symbols_of
from sensequant.cli.flow_runs import FlowRun, execute_flow, serve
from sensequant.cli.output import Fact, console_for, print_facts
from sensequant.market.sources.build import SourceConfig

__all__ = ["capture_request", "snapshot_request", "start_capture", "start_snapshot"]


def capture_request(
    symbols: SymbolArguments,
    minutes: float | None,
    texts: Sequence[str],
    source: SourceConfig,
) -> DepthCaptureRequest:
    """Return what is asked.

    Raises
    ------
    ConfigError
        A setting is wrong, or symbols are named in two ways.
    """
    given: dict[str, object] = {
        **symbols_of(symbols).model_dump(),
        "minutes": minutes,
        "source": source,
        "config": nested_settings(texts, {}),
    }
    return build_model(DepthCaptureRequest, given, where="capture")


def start_capture(asked: DepthCaptureRequest, env: Environment, *, is_verbose: bool) -> int:
    """Capture order books; print what came of it and return the exit code.

    Raises
    ------
    SenseQuantError
        The source is no vendor, a symbol is unknown, or there is no login.
    """
    run = _executed(
        "capture_depth", asked, env, skipped="nothing to capture", is_verbose=is_verbose
    )
    if run is None:
        return 0
    report = run.returned(
        DepthCaptureReport, where="depth capture", nothing="capture returned nothing"
    )
    print_facts(console_for(sys.stdout), [*_capture_facts(report), ("page", run.page or "none")])
    return 1 if report.stopped_by is not None or report.n_lost else 0


def snapshot_request(
    symbols: str, expiries: str | None, rates: Mapping[str, float], source: SourceConfig
) -> OptionSnapshotRequest:
    """Return what is asked; names and dates are separated by commas.

    Raises
    ------
    ConfigError
        A symbol is none, or a date is none.
    """
    given: dict[str, object] = {
        "symbols": _listed(symbols),
        "expiries": None if expiries is None else _listed(expiries),
        "rate_frac": rates["rate"],
        "dividend_frac": rates["dividend"],
        "source": source,
    }
    return build_model(OptionSnapshotRequest, given, where="options")


def start_snapshot(asked: OptionSnapshotRequest, env: Environment, *, is_verbose: bool) -> int:
    """Keep option chains; print what they brought and return the exit code.

    Raises
    ------
    SenseQuantError
        The source is no vendor, or it did not deliver.
    """
    run = _executed(
        "snapshot_options", asked, env, skipped="no session is open", is_verbose=is_verbose
    )
    if run is None:
        return 0
    report = run.returned(
        OptionSnapshotReport, where="options snapshot", nothing="snapshot returned nothing"
    )
    facts: list[Fact] = [
        ("session", str(report.session)),
        *((f"contracts on {name}", str(n)) for name, n in report.n_contracts.items()),
        ("with a volatility", str(report.n_volatilities)),
        *((f"  without, {reason}", str(n)) for reason, n in report.n_without.items()),
        ("refused", str(sum(report.n_refused.values()))),
        *((f"  {reason}", str(n)) for reason, n in report.n_refused.items()),
        ("without options", ", ".join(report.without_options) or "none"),
        ("expiries", f"by {report.expiries_by}"),
        ("rates", f"interest {report.rate_frac:g}, dividends {report.dividend_frac:g} a year"),
        ("calls", str(report.n_calls)),
    ]
    if report.is_simulated:
        facts.append(("mark", "simulated: all of it is invented"))
    print_facts(console_for(sys.stdout), [*facts, ("page", run.page or "none")])
    return 0 if report.n_contracts else 1


def _executed(
    flow: str, asked: BaseModel, env: Environment, *, skipped: str, is_verbose: bool
) -> FlowRun | None:
    """Run a flow; None where it had nothing to do, which is said then."""
    served = serve(env, is_verbose=is_verbose)
    run = execute_flow(
        f"flows.{flow}:{flow}", served, telemetry=None, is_verbose=is_verbose, asked=asked
    )
    if run.outcome != "skipped":
        return run
    print_facts(console_for(sys.stdout), [("outcome", skipped), ("page", run.page or "none")])
    return None


def _listed(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def _capture_facts(report: DepthCaptureReport) -> list[Fact]:
    facts: list[Fact] = [
        ("session", str(report.session)),
        ("symbols", f"{len(report.symbols)}, {len(report.silent_symbols)} without a tick"),
        *((("without a token", ", ".join(report.unknown_symbols)),) * bool(report.unknown_symbols)),
        ("ticks", f"{report.n_ticks}, {report.n_lost} lost for want of room"),
        ("books", f"{report.n_stored} stored"),
        ("refused", str(sum(report.n_refused.values()))),
        *((f"  {reason}", str(n)) for reason, n in report.n_refused.items()),
        ("connections", str(report.n_connections)),
        *(
            (f"gaps {reason}", f"{n}, {report.gap_seconds[reason]} seconds")
            for reason, n in report.n_gaps.items()
        ),
    ]
    if report.stopped_by is not None:
        facts.append(("stopped by", report.stopped_by))
    if report.is_simulated:
        facts.append(("mark", "simulated: all of it is invented"))
    return facts
