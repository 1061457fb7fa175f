"""Where log lines go beside the server: to the terminal of the process, as plain text.

Belongs here: how a line is written there. Does not belong here: what it says (`tasks.telling`), and
what Prefect sends to the server.
"""

import logging
from typing import Any, TextIO

__all__ = ["PlainConsole"]


class PlainConsole(logging.StreamHandler[TextIO]):
    """Writes each line as it is.

    Prefect's own handler lays a line out and colours it, which takes an eighth of the time of a
    short unit and is seen by nobody where a worker's output goes to a file.

    Parameters
    ----------
    stream
        Where to.
    styles
        Colours that Prefect's configuration gives to every console; unused.
    """

    def __init__(self, stream: TextIO | None = None, styles: Any = None) -> None:
        del styles
        super().__init__(stream)
