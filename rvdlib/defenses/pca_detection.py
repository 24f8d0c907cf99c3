"""PCA detection with a cut that the data choose: no labels, no guess of how many fakes there are.

Mehta and Nejdl 2009 rank users by how little they load on the first three principal components
(:func:`~rvdlib.defenses.detection.pca_suspicion`), and flag as many as there are fakes, which no
defender knows. The logarithm of what genuine users load is about normal, so here whoever stands more
than ``deviations`` below its median is removed, in standard deviations by the median absolute
deviation: few if all are genuine, and fakes far fewer than half do not move the median.

Its limit is the method's: fakes so many and so alike that they make a main component of their own
load on it, and none is found (on ML-100K, 40 copies of one profile; 25 are found all).
"""

import numpy as np
from pydantic import Field

from rvdlib.defenses.detection import pca_suspicion
from rvdlib.defenses.protocol import Choices, Defense
from rvdlib.defenses.remove_detected import without_users


class PCADetectionConfig(Choices):
    """The choice. Unknown names are refused."""

    deviations: float = Field(3.0, gt=0, description="below the median, beyond which a user goes")


class PCADetection(Defense):
    """Empties the rows of users who load far less on the main components than most do."""

    Config = PCADetectionConfig
    config: PCADetectionConfig

    def clean(self, train, levels, rng):
        rated = np.diff(train.indptr) > 0
        loads = np.log(np.maximum(-pca_suspicion(train), 1e-300))
        below = np.median(loads[rated]) - loads
        spread = 1.4826 * np.median(np.abs(below[rated]))
        return without_users(train, rated & (below > self.config.deviations * spread))
