"""Worth of feature families on a terminal: what was asked, and the table.

Belongs here: from words to settings, and the words of the answer. Does not belong here: training
and tests (`flows.ablate_families`, `sensequant.evaluation`).
"""

import json
import sys
from collections.abc import Sequence

from blocks.environment import Environment
from sensequant.cli.asking import build_model, nested_settings
from sensequant.cli.flow_runs import execute_flow, serve
from sensequant.cli.output import console_for, print_facts, print_table
from sensequant.cli.stored import find_run
from sensequant.evaluation.ablation import AblationConfig, AblationSummary
from sensequant.evaluation.ablation_text import (
    FAMILY_COLUMNS,
    family_cells,
    headline_of_families,
)

__all__ = ["ablation_settings", "start_ablation"]


def ablation_settings(families: str | None, texts: Sequence[str]) -> AblationConfig:
    """Return what is asked.

    Raises
    ------
    ConfigError
        A setting is wrong, or no family has such a name.
    """
    values: dict[str, object] = {}
    if families is not None:
        values["families"] = [name.strip() for name in families.split(",") if name.strip()]
    return build_model(AblationConfig, nested_settings(texts, values), where="settings")


def start_ablation(
    run: str, asked: AblationConfig, env: Environment, *, is_json: bool, is_verbose: bool
) -> int:
    """Train a run's variants; print what each family is worth and return the exit code.

    Raises
    ------
    ConfigError
        No run has such a name, a family cannot be left out, or no server can be had where it was
        asked for.
    """
    folder = find_run(env.home, run)
    served = serve(env, is_verbose=is_verbose)
    done = execute_flow(
        "flows.ablate_families:ablate_families",
        served,
        telemetry=None,
        is_verbose=is_verbose,
        run_id=folder.run_id,
        asked=asked,
    )
    summary = done.returned(AblationSummary, where=folder.run_id, nothing="ablation found nothing")
    console = console_for(sys.stdout)
    if is_json:
        console.out(json.dumps(summary.model_dump(mode="json"), indent=2, allow_nan=False))
        return 0
    if summary.is_simulated:
        simulated = "simulated: no figure tells anything about a real market"
        print_facts(console, [("bars", simulated)])
    print_table(console, FAMILY_COLUMNS, [family_cells(each) for each in summary.families])
    facts = [("outcome", headline_of_families(summary))]
    facts += [("table", str(folder.ablation / "summary.md")), ("page", done.page or "none")]
    print_facts(console, facts)
    return 0
