"""Whoever reads settings or a report loads no statistical library."""

import subprocess
import sys

_LIGHT = """
import sys
import sensequant.settings, sensequant.stages.statistical_tests, sensequant.stages.release
heavy = [name for name in ("arch", "statsmodels") if name in sys.modules]
sys.exit(", ".join(heavy) or None)
"""


def test_the_stages_load_no_statistical_library_before_they_need_it() -> None:
    """A parent of many workers would hold them in memory for nothing."""
    process = subprocess.run(
        [sys.executable, "-c", _LIGHT], capture_output=True, text=True, check=False
    )

    assert (process.returncode, process.stderr) == (0, "")
