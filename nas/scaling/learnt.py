"""The direction that was fitted to a network before, so that another size of it needs no training."""

from __future__ import annotations

from nas.errors import NasError
from nas.scaling.start import Start
from searchspace.directions import DIRECTIONS, Direction, law_along
from studies import LearntScaling, Scalings, StudyStore

FITTED = "fitted"


def learnt_direction(start: Start, storage: str) -> tuple[Direction, str] | None:
    """What was learnt for a trial on its study's images; for another network on the images last fitted on, or None."""
    with StudyStore(storage, create=False) as store:
        found = Scalings(store).learnt(start.architecture.digest, start.fingerprint)
    return None if found is None else (_direction(found), f"fitted on {found.created_at:%Y-%m-%d}: {found.why}")


def require_learnt(start: Start, storage: str) -> tuple[Direction, str]:
    """What was learnt.

    Raises:
        NasError: nothing was for this network.
    """
    found = learnt_direction(start, storage)
    if found is None:
        net = start.architecture
        channels = f"{net.channels} channel{'s' if net.channels > 1 else ''}"
        shape = f"{net.classes} classes, {channels} and {net.resolution} pixels"
        raise NasError(
            f"no direction was fitted to {net.name or net.digest[:12]} with {shape} yet: give --fit instead, with the "
            "--dataset, which trains nothing twice, or name another --direction"
        )
    return found


def fitted_direction(name: str, exponents: tuple[float, float, float]) -> Direction:
    """A direction of these exponents of depth, width and resolution."""
    return Direction(name, law_along(*exponents), "fitted to this network")


def _direction(found: LearntScaling) -> Direction:
    return DIRECTIONS.get(found.direction) or fitted_direction(FITTED, found.exponents)
