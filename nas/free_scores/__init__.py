"""Free scores: what an untrained network says of itself, in the time of a few steps: enough to leave bad ones out."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy

import torch
from torch import Tensor

from nas.errors import NasError
from nas.free_scores.az_nas import az_nas
from nas.free_scores.counts import macs, params
from nas.free_scores.jacov import jacov
from nas.free_scores.nwot import nwot
from nas.free_scores.preparation import wide_awake
from nas.free_scores.synflow import synflow
from nas.free_scores.zen import zen
from nas.training.data import Dataset
from nas.training.evaluate import Preprocess
from nas.training.out_of_memory import is_out_of_memory
from nas.training.seeds import derive_seed, generator
from searchspace import Architecture, Network, build

MOST_IMAGES = 64

FreeScore = Callable[[Network, Tensor], Mapping[str, float]]
"""From a fresh network, which it may change, and normalised images to values by name; larger should be better."""

FREE_SCORES: dict[str, FreeScore] = {
    "synflow": synflow,
    "nwot": nwot,
    "jacov": jacov,
    "zen": zen,
    "az_nas": az_nas,
    "params": params,
    "macs": macs,
}


def free_scores(
    architecture: Architecture, images: Tensor, *, names: Sequence[str] = tuple(FREE_SCORES), seed: int = 0
) -> dict[str, float]:
    """Scores of a freshly initialised network, on the images' device; values that are not finite are left out.

    `images`: float32 (N, channels, H, W), normalised, such as `scoring_images` gives them; at most 64. No score reads
    labels. `az_nas` gives three values, `az_nas_expressivity`, `_progressivity` and `_trainability`; the others one of
    their own name. A score depends on its seed and images, and not on the other names or the global random numbers.

    Residual branches begin at zero in our networks, and are seen here with their last normalisation at one. Dropout
    and drop path are off, and a channel boost's learner is as it was initialised.

    Raises:
        NasError: an unknown name, or too many images.
        TooLarge: the network has too many parameters to be built.
    """
    _check(images, names)
    device = images.device
    found: dict[str, float] = {}
    with torch.random.fork_rng([device] if device.type == "cuda" else [], device_type=device.type):
        torch.manual_seed(derive_seed(seed, "free scores"))
        network = wide_awake(build(architecture, device=device))
        for name in names:
            torch.manual_seed(derive_seed(seed, "free scores", name))
            found.update(_values(FREE_SCORES[name], deepcopy(network), images))
    return found


def scoring_images(dataset: Dataset, resolution: int, *, seed: int = 0, count: int = MOST_IMAGES) -> Tensor:
    """Images of the training split, drawn by the seed, normalised and resized as for training: (count, C, H, W).

    Fewer where the split holds fewer. On the data's device.
    """
    device = dataset.train.images.device
    order = torch.randperm(len(dataset.train), generator=generator(torch.device("cpu"), seed, "scoring images"))
    images, _ = dataset.train.take(order[:count].to(device))
    return Preprocess(dataset, resolution, device)(images)


def _values(score: FreeScore, network: Network, images: Tensor) -> dict[str, float]:
    """The finite values of one score; none where memory does not suffice for it."""
    try:
        values = score(network, images)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return {}
    return {name: float(value) for name, value in values.items() if math.isfinite(value)}


def _check(images: Tensor, names: Sequence[str]) -> None:
    if not 2 <= len(images) <= MOST_IMAGES:
        raise NasError(f"free scores look at 2 to {MOST_IMAGES} images, given {len(images)}")
    for name in names:
        if name not in FREE_SCORES:
            near = difflib.get_close_matches(name, FREE_SCORES, 1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise NasError(f"no free score named {name!r}: {hint}known are {', '.join(FREE_SCORES)}")


__all__ = ["FREE_SCORES", "MOST_IMAGES", "FreeScore", "free_scores", "scoring_images"]
