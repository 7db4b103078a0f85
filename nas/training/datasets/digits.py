"""scikit-learn's bundled handwritten digits: 1,797 grey images of 8x8 pixels, no download."""

from __future__ import annotations

from functools import partial

import numpy as np

from nas.training.datasets.source import ArrayExamples, Request, Source
from nas.training.datasets.stratify import stratified_split

_TEST_SHARE = 0.2


def read_digits(request: Request) -> Source:
    """The digits 0 to 9. A fixed stratified fifth is the test split, whatever the seed of the search."""
    classes = tuple(str(digit) for digit in range(10))
    return Source(classes, _read(test=False), test=partial(_read, test=True), mirror=False)


def _read(*, test: bool) -> ArrayExamples:
    from sklearn.datasets import load_digits  # takes a second to import

    values, labels = map(np.asarray, load_digits(return_X_y=True))
    train, held_out = stratified_split(labels, len(labels), round(_TEST_SHARE * len(labels)), seed=0)
    chosen = held_out if test else train
    images = np.rint(values[chosen] * (255 / 16)).astype(np.uint8)  # values 0 to 16
    return ArrayExamples(images.reshape(-1, 8, 8, 1), labels[chosen])
