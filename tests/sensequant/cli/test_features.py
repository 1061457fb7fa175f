"""Facts about the description of the features on a terminal."""

import json
from pathlib import Path

import pytest

from sensequant.cli.app import main
from sensequant.features.registry import FeatureConfig, model_columns, registered_features

Capture = pytest.CaptureFixture[str]


def test_every_feature_has_a_line(capsys: Capture) -> None:
    """A header, the registry in its order, and how many of it a model is fed by default."""
    assert main(["features", "describe"]) == 0

    header, *lines, fed = capsys.readouterr().out.splitlines()
    assert header.split()[:3] == ["fed", "family", "column"]
    assert [line.split()[2] for line in lines] == [spec.name for spec in registered_features()]
    default = model_columns(FeatureConfig())
    assert [line.split()[2] for line in lines if line.startswith("yes")] == list(default)
    assert fed == f"fed: {len(default)} of {len(lines)}"


def test_a_setting_is_tried(capsys: Capture, tmp_path: Path) -> None:
    """What `--set` and the file of settings switch is what is said to be fed, as JSON too."""
    path = tmp_path / "settings.yaml"
    path.write_text("features: {trend: false, gaps: true}\n", encoding="utf-8")
    words = ["--set", "features.levels=true", "--config", str(path), "--json"]

    assert main(["features", "describe", *words]) == 0
    described = json.loads(capsys.readouterr().out)
    fed = [feature["column"] for feature in described if feature["is_fed"]]
    assert fed == list(model_columns(FeatureConfig(trend=False, gaps=True, levels=True)))
    assert described[0]["unit"] == "INR"


def test_a_wrong_setting_exits_with_two(capsys: Capture) -> None:
    """One message that names the setting, and nothing on standard output."""
    assert main(["features", "describe", "--set", "features.astrology=true"]) == 2

    output = capsys.readouterr()
    assert output.out == ""
    assert "features.astrology" in output.err
