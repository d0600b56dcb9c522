"""Every survival loss by name: ours, then those of other packages through the entry-point group `milsurv.losses`.

Times are months, event True = died, and a higher risk means an earlier death.
"""

from ...plugins import registered
from .binary import BCE
from .hazards import CE, NLL, NLL_MCAT
from .loss import SurvivalLoss
from .mixture import MIXTURE
from .probability_mass import DEEPHIT, MTLR, PMF
from .proportional_hazards import COX, RANK

ENTRY_POINTS = "milsurv.losses"
"""The entry-point group through which other packages add losses."""

LOSSES: dict[str, SurvivalLoss] = registered(
    SurvivalLoss, ENTRY_POINTS, (NLL, NLL_MCAT, CE, COX, PMF, MTLR, DEEPHIT, RANK, BCE, MIXTURE)
)
