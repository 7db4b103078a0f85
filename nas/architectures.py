"""Which architecture a person means, and what it becomes for their data."""

from __future__ import annotations

import os

from nas.bundle import ARCHITECTURE
from nas.errors import NasError
from nas.result import open_study
from nas.training.data import Dataset
from searchspace import REFERENCES, Architecture, ArchitectureError, SpaceError, cifar_form, reference
from searchspace.architecture import MAX_JSON_BYTES

TRIAL = "trial:"


def find_architecture(name: str, storage: str = "sqlite:///nas.db", study: str | None = None) -> Architecture:
    """The architecture that a person names: `resnet18`, `net.json`, `exports/best`, `trial:17`.

    Raises:
        NasError: nothing of this name.
        ArchitectureError, SpaceError: a damaged file, an unknown reference.
    """
    if not isinstance(name, str):
        raise NasError(f"an architecture has a name, which is a text, given {name!r}")
    if name.startswith(TRIAL):
        number = name.removeprefix(TRIAL)
        if not (number.isascii() and number.isdigit() and len(number) < 10):
            raise NasError(f"{name!r} names no trial: write trial: and its number, such as trial:17")
        return open_study(storage, study).trial(int(number)).architecture
    if name in REFERENCES:
        return reference(name)
    if name.isdigit():
        raise NasError(f"{name!r} names no architecture; a trial is written trial:{name}")
    path = os.path.join(name, ARCHITECTURE) if os.path.isdir(name) else name
    if name.endswith(".json") or os.path.lexists(path):
        return _read_architecture(path)
    try:
        return reference(name)
    except SpaceError as error:
        raise NasError(f"{error}; or give a JSON file, an export folder, or trial: and a number") from None


def _read_architecture(path: str) -> Architecture:
    try:
        with open(path, "rb") as file:
            return Architecture.from_json(file.read(MAX_JSON_BYTES + 1))
    except (OSError, ValueError) as error:
        reason = str(error.strerror) if isinstance(error, OSError) else str(error)
        kind = ArchitectureError if isinstance(error, ArchitectureError) else NasError
        raise kind(f"{path!r}: {reason}") from None


def at_resolution(name: str, architecture: Architecture, resolution: int) -> Architecture:
    """The architecture found under this name at another resolution; at a small one a reference takes its CIFAR form."""
    return cifar_form(architecture, resolution) if name in REFERENCES else architecture.changed(resolution=resolution)


def form_of(name: str, architecture: Architecture) -> str | None:
    """`published` or `cifar` for a reference that was found under this name, None for any other architecture."""
    if name not in REFERENCES:
        return None
    return "published" if architecture.name == name else "cifar"


def form_line(architecture: Architecture) -> str:
    """What a person is told when a reference took its CIFAR form."""
    return (
        f"{architecture.name}: images of {architecture.resolution} pixels keep their size in the stem, "
        "which has stride 1 and no pooling here (docs/networks.md)"
    )


def fitted(architecture: Architecture, data: Dataset, *, resolution: int) -> Architecture:
    """The architecture for the data's classes and channels, at a resolution to which the images are scaled."""
    return architecture.changed(classes=len(data.classes), channels=data.channels, resolution=resolution)


def suited(what: Architecture | str, found: Architecture, data: Dataset) -> Architecture:
    """What a person gave, and what was found under it if it is a name, for the data's classes and channels.

    A reference given by name takes the data's resolution, in its CIFAR form for small images. Any other architecture
    keeps its own, to which the images are scaled.
    """
    if isinstance(what, str) and what in REFERENCES:
        found = cifar_form(found, data.resolution)
    return fitted(found, data, resolution=found.resolution)
