"""LightGBM without the libraries that it loads only to take their frames and offer their classes.

Belongs here: importing LightGBM. Does not belong here: anything that is done with it (`boosting`).

On import LightGBM loads scikit-learn and pandas wherever they are installed: two thirds of the time
and 120 MiB of every process that trains, for classes that nothing here uses. A name that stands as
None among the modules of the interpreter counts as not installed; LightGBM does without it.
"""

import sys
from collections.abc import Generator
from contextlib import contextmanager

__all__ = ["lightgbm"]

_FRAMES_AND_CLASSES = ("sklearn", "pandas", "dask", "matplotlib", "graphviz")


@contextmanager
def _hidden(names: tuple[str, ...]) -> Generator[None]:
    # What somebody has loaded already costs nothing more, and stays.
    absent = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))  # pyright: ignore[reportArgumentType, reportCallIssue]
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]


with _hidden(_FRAMES_AND_CLASSES):
    import lightgbm
