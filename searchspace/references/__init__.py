"""Published networks said in the language of this package: an explicit table from name to Architecture."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from functools import partial

from searchspace.architecture import Architecture
from searchspace.errors import SpaceError
from searchspace.references.densenet import densenet121
from searchspace.references.efficientnet import VARIANTS, efficientnet, efficientnet_b0
from searchspace.references.inception import googlenet
from searchspace.references.mobilenet import mobilenet_v2
from searchspace.references.resnet import resnet18, resnet50
from searchspace.references.vgg import vgg11_bn

REFERENCES: dict[str, Callable[[], Architecture]] = {
    "vgg11_bn": vgg11_bn,
    "googlenet": googlenet,
    "resnet18": resnet18,
    "resnet50": resnet50,
    "densenet121": densenet121,
    "mobilenet_v2": mobilenet_v2,
    "efficientnet_b0": efficientnet_b0,
} | {name: partial(efficientnet, variant) for name, variant in VARIANTS.items()}


def reference(name: str, *, num_classes: int = 1000, channels: int = 3, resolution: int | None = None) -> Architecture:
    """A published network, for `num_classes` classes and images of `channels`, at its published resolution by default.

    Raises:
        SpaceError: no reference has this name.
    """
    if name not in REFERENCES:
        near = difflib.get_close_matches(name, REFERENCES, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise SpaceError(f"no reference named {name!r}: {hint}known are {', '.join(REFERENCES)}")
    architecture = REFERENCES[name]()
    return architecture.changed(
        name=name,
        classes=num_classes,
        channels=channels,
        resolution=architecture.resolution if resolution is None else resolution,
    )


def load_torchvision(name: str, state_dict):
    """See `searchspace.references.weights.load_torchvision`; imported on use, since it needs torchvision's models."""
    from searchspace.references.weights import load_torchvision as load

    return load(name, state_dict)


__all__ = ["REFERENCES", "load_torchvision", "reference"]
