"""The domain library: from NSE bars to a verdict on a trading model.

It imports no Prefect, reads no environment and prints nothing; `flows` and `tasks` orchestrate it,
and `sensequant.cli` is the only part that knows a terminal.
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
