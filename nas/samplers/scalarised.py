"""Several objectives as one score, by weights that are drawn anew for each suggestion."""

from __future__ import annotations

import numpy as np

from nas.samplers.encoding import Floats
from nas.samplers.gate import winsorised

AUGMENTATION = 0.05  # share of the plain weighted sum, with which no score rewards a dominated result (Knowles 2006)


def draw_weights(objectives: int, rng: np.random.Generator) -> Floats:
    """Weights that sum to one, all such weights alike."""
    return rng.dirichlet(np.ones(objectives))


def scalarised(values: Floats, minimised: Floats, weights: Floats) -> Floats:
    """A score for each row of `values`, larger is better: the augmented Tchebycheff function of ParEGO (Knowles 2006).

    An objective's loss is 0 for the best of the results and 1 for the worst. Of one that is minimised and positive
    throughout the logarithm is taken, as costs differ by orders of magnitude. Outliers at the bad end are drawn in,
    which would take up the whole scale.

    Args:
        values: of shape (results, objectives).
        minimised: for each objective whether small values are good.
        weights: of each objective, from 0 to 1.
    """
    losses = np.column_stack([_loss(column, bool(less)) for column, less in zip(values.T, minimised, strict=True)])
    return -((weights * losses).max(axis=1) + AUGMENTATION * (losses @ weights))


def _loss(values: Floats, minimised: bool) -> Floats:
    if minimised and (values > 0).all():
        values = np.log(values)
    gains = winsorised(-values if minimised else values)
    return (gains.max() - gains) / (np.ptp(gains) or 1.0)
