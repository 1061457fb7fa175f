"""A process that trains loads no frames and classes for others, and hides them from nobody."""

import subprocess
import sys

_LOADS = """
import sys
from sensequant.boosting import fit_predictor
print(sorted({"pandas", "sklearn"} & set(sys.modules)))
import pandas, sklearn
print(pandas.__name__, sklearn.__name__)
"""


def test_training_loads_neither_frames_nor_classes() -> None:
    """Both libraries are installed, neither is loaded, and a later import finds them."""
    run = subprocess.run([sys.executable, "-c", _LOADS], capture_output=True, text=True, check=True)

    assert run.stdout.splitlines() == ["[]", "pandas sklearn"]
