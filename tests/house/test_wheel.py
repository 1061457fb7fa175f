"""What is shipped: the four packages, the deployments' data, and nothing else."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_wheel_holds_the_four_packages_and_their_data(tmp_path: Path) -> None:
    """A wheel built from the sources has exactly our packages at its top, data files included."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )

    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert tops == {"sensequant", "flows", "tasks", "blocks", "deployments"}
    assert "sensequant/market/nse_closures.csv" in names
    assert "sensequant/context/finance_lexicon.csv" in names
    assert "sensequant/context/macro_series.csv" in names
    assert "sensequant/stress/scenarios.yaml" in names
    assert "deployments/universes/nifty100.yaml" in names
    assert "deployments/server.env" in names
    assert not [name for name in names if name.startswith("deployments/") and name.endswith(".py")]
    assert "config.py" not in names
