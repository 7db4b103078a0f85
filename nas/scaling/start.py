"""The network that is scaled, and the sizes that its images may take."""

from __future__ import annotations

from dataclasses import dataclass

from nas.architectures import TRIAL, at_resolution, find_architecture
from nas.errors import NasError
from nas.result import open_study
from nas.training.recipe import YOUNGER
from searchspace import Architecture, ArchitectureError
from searchspace.cost import TooSmall, cost
from searchspace.directions import Pixels
from searchspace.references.small_images import SMALL

LEAST_PIXELS = 16  # scaling goes no lower of itself
MOST_PIXELS = 4096


@dataclass(frozen=True)
class Start:
    """A network that can be built, and the resolutions within which it is scaled.

    Of a trial the `fingerprint` of its images, and the `optimizer` by which it was trained.
    """

    architecture: Architecture
    pixels: Pixels
    fingerprint: str | None = None
    optimizer: str = "muon"


def find_start(
    what: Architecture | str,
    resolution: int | None,
    classes: int | None,
    resolution_range: tuple[int, int] | None,
    storage: str,
    study: str | None,
    side: int | None = None,
) -> Start:
    """What is meant by the name, at the resolution and with the classes asked for; `side` is the images' if known.

    Without a range, images of 64 pixels and below do not grow beyond the data's, nor do any shrink below 16 pixels or
    what the network takes.

    Raises:
        NasError, ArchitectureError, SpaceError: nothing of this name, or a range or a size that does not fit it.
    """
    name = what if isinstance(what, str) else ""
    name = f"{TRIAL}{name}" if name.isascii() and name.isdigit() else name
    found = what if isinstance(what, Architecture) else find_architecture(name, storage, study)
    data, of_trial = side or found.resolution, {}
    if name.startswith(TRIAL):
        trial = open_study(storage, study).trial(int(name.removeprefix(TRIAL)))
        data = trial.base.resolution
        optimizer = (YOUNGER | trial.evaluation.recipe["training"])["optimizer"]
        of_trial = {"fingerprint": trial.evaluation.fingerprint, "optimizer": optimizer}
    if resolution is not None:
        found, data = at_resolution(name, found, resolution), resolution
    found = found.changed(classes=classes or found.classes)
    pixels = _default(found, data) if resolution_range is None else _asked(resolution_range)
    inside = min(max(found.resolution, pixels.lowest), pixels.highest)
    found = found.changed(resolution=inside)
    cost(found)  # refuses what cannot be built before it is scaled
    return Start(found, _passable(found, pixels), **of_trial)


def _asked(ends: tuple[int, int]) -> Pixels:
    try:
        return Pixels(*ends)
    except ArchitectureError as error:
        raise NasError(str(error)) from None


def _default(found: Architecture, data: int) -> Pixels:
    side = found.resolution
    return Pixels(min(side, LEAST_PIXELS), max(side, data) if max(side, data) <= SMALL else MOST_PIXELS)


def _passable(found: Architecture, pixels: Pixels) -> Pixels:
    """The range without the sizes that are too small for the network."""
    try:
        cost(found.changed(resolution=pixels.lowest))
    except TooSmall as error:
        return Pixels(min(error.smallest or found.resolution, found.resolution), pixels.highest)
    return pixels
