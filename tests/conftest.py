"""Fixtures that every test may use, and the guards that keep tests honest."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("ci", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("ci")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder with real NSE data, or skip: it may not be redistributed."""
    folder = Path(os.environ.get("SENSEQUANT_REAL_DATA", "../shared/data")).absolute()
    if not folder.is_dir():
        pytest.skip(f"no real NSE data at {folder}; name it by SENSEQUANT_REAL_DATA")
    return folder
