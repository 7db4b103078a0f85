"""Published networks said in the language of this package: an explicit table from name to Architecture."""

from __future__ import annotations

import difflib
from collections.abc import Callable

from searchspace.architecture import Architecture
from searchspace.errors import SpaceError
from searchspace.references.alexnet import alexnet
from searchspace.references.densenet import DENSENETS
from searchspace.references.efficientnet import EFFICIENTNETS
from searchspace.references.inception import googlenet, inception_v3
from searchspace.references.inception_resnet import inception_resnet_v2
from searchspace.references.lenet import lenet5
from searchspace.references.mnasnet import MNASNETS
from searchspace.references.mobilenet import mobilenet_v2
from searchspace.references.resnet import RESNETS
from searchspace.references.sources import SOURCES, Source
from searchspace.references.vgg import VGGS

REFERENCES: dict[str, Callable[[], Architecture]] = {
    "lenet5": lenet5,
    "alexnet": alexnet,
    **VGGS,
    "googlenet": googlenet,
    "inception_v3": inception_v3,
    "inception_resnet_v2": inception_resnet_v2,
    **RESNETS,
    **DENSENETS,
    "mobilenet_v2": mobilenet_v2,
    **MNASNETS,
    **EFFICIENTNETS,
}


def reference(
    name: str, *, num_classes: int | None = None, channels: int | None = None, resolution: int | None = None
) -> Architecture:
    """A published network; classes, the images' channels and their resolution are as published where not given.

    Raises:
        SpaceError: no reference has this name.
        ArchitectureError: a number is outside what an architecture may have.
    """
    if name not in REFERENCES:
        near = difflib.get_close_matches(name, REFERENCES, 1)
        hint = f"did you mean {near[0]!r}?" if near else "resnet18, densenet121 and efficientnet_b0 are such names;"
        raise SpaceError(f"no reference named {name!r}: {hint} docs/references.md lists all {len(REFERENCES)}")
    fields = {"classes": num_classes, "channels": channels, "resolution": resolution}
    given = {field: value for field, value in fields.items() if value is not None}
    return REFERENCES[name]().changed(name=name, **given)


def load_torchvision(name: str, state_dict):
    """See `searchspace.references.weights.load_torchvision`; imported on use, since it needs torchvision's models."""
    from searchspace.references.weights import load_torchvision as load

    return load(name, state_dict)


__all__ = ["REFERENCES", "SOURCES", "Source", "load_torchvision", "reference"]
