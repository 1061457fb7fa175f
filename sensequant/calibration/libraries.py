"""What a world loads while it is judged, loaded before there is one.

Belongs here: modules that stages load late, because most processes never need them. Does not belong
here: anything that starts a thread or opens a file when it is loaded; processes are copied from the
one that holds this.
"""

from arch.bootstrap import StationaryBootstrap, optimal_block_length

import sensequant.calibration.worlds
import sensequant.evaluation.significance

__all__ = ["LOADED"]

LOADED = (
    StationaryBootstrap,
    optimal_block_length,
    sensequant.calibration.worlds,
    sensequant.evaluation.significance,
)
"""Named, so that none of them counts as unused."""
