"""Rules of the house that a reader may rely on, checked on the sources themselves."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("sensequant", "flows", "tasks", "blocks")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
LONGEST_MODULE_LINES = 450


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def importers_of(name: str) -> set[str]:
    return {
        path.relative_to(ROOT).as_posix()
        for path in MODULES
        if any(found == name or found.startswith(f"{name}.") for found in imports_of(path))
    }


def identify(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_the_library_imports_no_prefect() -> None:
    """Prefect is known to flows, tasks and blocks only."""
    assert not {name for name in importers_of("prefect") if name.startswith("sensequant/")}


@pytest.mark.parametrize("module", ["pickle", "joblib", "cloudpickle", "dill", "shelve", "marshal"])
def test_nothing_is_pickled(module: str) -> None:
    """No module imports a pickler, nor anything built on one."""
    assert importers_of(module) == set()


@pytest.mark.parametrize(
    ("library", "owner"),
    [
        ("lightgbm", set[str]()),
        ("sensequant.native_lightgbm", {"sensequant/boosting.py"}),
        ("prefect.artifacts", {"tasks/artifacts.py"}),
        (
            "sqlalchemy",
            {
                "blocks/transactions.py",
                "sensequant/databases.py",
                "sensequant/release/deployments.py",
                "sensequant/release/registry.py",
                "sensequant/release/registry_rows.py",
                "sensequant/release/registry_tables.py",
                "sensequant/release/registry_triggers.py",
                "sensequant/ingestion/ledger.py",
                "sensequant/ingestion/ledger_tables.py",
            },
        ),
        ("pynvml", {"sensequant/nvml.py"}),
        ("breeze_connect", set[str]()),
        ("vaderSentiment", {"sensequant/context/scoring.py"}),
        ("pandas", set[str]()),
        (
            "requests",
            {
                "sensequant/market/sources/breeze/classify.py",
                "sensequant/market/sources/breeze/transport.py",
                "sensequant/market/sources/breeze/master_file.py",
            },
        ),
    ],
)
def test_one_module_knows_each_library(library: str, owner: set[str]) -> None:
    """A library with edges is wrapped in one place."""
    assert importers_of(library) == owner


def test_one_module_reads_the_environment() -> None:
    """Only `blocks.environment` is steered by environment variables."""
    readers = {
        identify(path)
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"}
    }

    # The terminal hands the environment on to the server and the flows that it starts.
    assert {name for name in readers if not name.startswith("sensequant/cli/")} <= {
        "blocks/environment.py"
    }


@pytest.mark.parametrize("path", MODULES, ids=identify)
def test_a_module_is_documented_and_short(path: Path) -> None:
    """Every module says what it is, and is small enough to have one responsibility."""
    text = path.read_text()

    assert ast.get_docstring(ast.parse(text))
    assert len(text.splitlines()) <= LONGEST_MODULE_LINES


@pytest.mark.parametrize("path", MODULES, ids=identify)
def test_no_module_uses_global_or_unseeded_randomness(path: Path) -> None:
    """Randomness comes from a generator that was given a seed."""
    calls = [
        ast.unparse(node)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith(("np.random", "random"))
    ]
    allowed = ("np.random.default_rng(", "np.random.Generator(", "np.random.PCG64(")

    assert [call for call in calls if not call.startswith(allowed) or call.endswith("()")] == []
