"""Torchvision's weights under our names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
import torchvision
from torch import Tensor
from torchvision.models import get_model, get_model_weights, list_models

from searchspace.errors import ArchitectureError
from searchspace.network import outline
from searchspace.references import REFERENCES, reference

_MODELS = frozenset(list_models(module=torchvision.models))
TORCHVISION = tuple(name for name in REFERENCES if name in _MODELS)
WITH_AUXILIARY = ("googlenet", "inception_v3")
AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")
# DenseNet's published files name `norm.1` what the model calls `norm1`.
OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])\.")
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def load_torchvision(name: str, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of `build(reference(name, ...))` with the tensors of torchvision's network of that name.

    Both networks list their layers in the paper's order, so tensors are paired by place, shapes compared. The
    auxiliary classifiers' tensors (`aux1.*`, `aux2.*`, `AuxLogits.*`) are dropped, nothing else; any number of classes
    will do.

    Raises:
        SpaceError: no reference has this name.
        ArchitectureError: torchvision has no such network; or names are missing or unknown, or shapes differ: the first
            three of each are listed, and the reference that the weights are of, if they are published ones.
    """
    theirs = _torchvision_names(name)
    _refuse_other_things(name, state_dict)
    given = {OLD_DENSENET.sub(r"\1\2.", key): tensor for key, tensor in state_dict.items()}
    given = {key: tensor for key, tensor in given.items() if not key.startswith(AUXILIARY)}
    # Files older than PyTorch 0.4.1, some of torchvision's among them, lack these counters, which start at 0.
    given = {key: torch.tensor(0) for key in theirs if key.endswith(".num_batches_tracked")} | given
    bias = given.get(theirs[-1])  # the classifier's
    ours = outline(reference(name, num_classes=None if bias is None else bias.numel())).state_dict()
    pairs = dict(zip(ours, theirs, strict=True))
    problems = _problems(given, {key: ours[own] for own, key in pairs.items()})
    if problems:
        other = _published_as(state_dict)
        but = f", but of {other}" if other not in (None, name) else ""
        raise ArchitectureError(f"these are not torchvision's weights of {name}{but}: {'; '.join(problems)}")
    return {own: given[key] for own, key in pairs.items()}


def _torchvision_names(name: str) -> list[str]:
    """The names of torchvision's network in its own order, which a file may have lost."""
    reference(name)  # names an unknown reference before torchvision does
    if name not in TORCHVISION:
        raise ArchitectureError(f"torchvision has no weights of {name!r}; docs/references.md says of which it has")
    arguments = {"aux_logits": False, "init_weights": False} if name in WITH_AUXILIARY else {}
    with torch.device("meta"):
        return list(get_model(name, weights=None, **arguments).state_dict())


def _refuse_other_things(name: str, state_dict: Mapping[Any, Any]) -> None:
    for key, value in state_dict.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            what = f"{str(key)[:100]!r} holds a {type(value).__name__}, not a tensor"
            raise ArchitectureError(f"these are not torchvision's weights of {name}: {what}; give the state_dict alone")


def _problems(given: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> list[str]:
    """What keeps the tensors from being the expected ones, by the order of the expected ones; unknown ones by name."""
    missing = [key for key in expected if key not in given]
    unknown = sorted(given.keys() - expected.keys())
    wrong = [
        f"{key} is {tuple(given[key].shape)}, expected {tuple(tensor.shape)}"
        for key, tensor in expected.items()
        if key in given and given[key].shape != tensor.shape
    ]
    return [
        f"{len(found)} {what} ({separator.join(found[:3])}{separator + '...' if len(found) > 3 else ''})"
        for what, found, separator in (
            ("missing", missing, ", "),
            ("unknown", unknown, ", "),
            ("of another shape", wrong, "; "),
        )
        if found
    ]


def _published_as(state_dict: Mapping[str, Tensor]) -> str | None:
    """The reference whose published weights have as many parameters as these."""
    sizes = {key: tensor.numel() for key, tensor in state_dict.items() if not key.endswith(STATISTICS)}
    counts = (sum(sizes.values()), sum(size for key, size in sizes.items() if not key.startswith(AUXILIARY)))
    return next((name for name in TORCHVISION if get_model_weights(name)["DEFAULT"].meta["num_params"] in counts), None)
