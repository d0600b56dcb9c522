"""The Brier score at 24 months, of those whose state is known then."""

import numpy as np
from milsurv.survival.followup import NotComputable
from milsurv.survival.metric import Metric


def brier_24(train, test, prediction, months):
    """Mean squared distance of the predicted survival from 1 where the patient is alive at `months`, and from 0."""
    known = test.event | (test.time > months)
    if not known.any():
        raise NotComputable("nobody's state is known")
    alive = prediction.survival_at(np.array([months]))[:, 0]
    return np.square(alive - (test.time > months))[known].mean()


BRIER_24 = Metric("brier_24", "Brier score at 24 months", False, brier_24, needs=("survival",), months=24.0)
