"""Torchvision's weights under our names."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor
from torchvision.models import get_model

from searchspace.errors import ArchitectureError
from searchspace.network import outline
from searchspace.references import reference

AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")
# DenseNet's published files name `norm.1` what the model calls `norm1`.
OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])\.")


def load_torchvision(name: str, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of `build(reference(name, ...))` with the tensors of torchvision's network of that name.

    Both networks list their layers in the paper's order, so tensors are paired by place, shapes compared. The
    auxiliary classifiers' tensors (`aux1.*`, `aux2.*`, `AuxLogits.*`) are dropped, nothing else; any number of classes
    will do.

    Raises:
        ArchitectureError: names are missing or unknown, or shapes differ; the first three are listed.
    """
    given = {OLD_DENSENET.sub(r"\1\2.", key): tensor for key, tensor in state_dict.items()}
    given = {key: tensor for key, tensor in given.items() if not key.startswith(AUXILIARY)}
    theirs = _torchvision_names(name)
    # Files older than PyTorch 0.4.1, some of torchvision's among them, lack these counters, which start at 0.
    given = {key: torch.tensor(0) for key in theirs if key.endswith(".num_batches_tracked")} | given
    _refuse_other_names(name, given, theirs)
    classes = given[theirs[-1]].numel()  # the classifier's bias
    ours = outline(reference(name, num_classes=classes)).state_dict()
    pairs = list(zip(ours, theirs, strict=True))
    wrong = [
        f"{key} is {tuple(given[key].shape)}, expected {tuple(ours[own].shape)}"
        for own, key in pairs
        if given[key].shape != ours[own].shape
    ]
    if wrong:
        raise ArchitectureError(f"{name}: {len(wrong)} tensors have other shapes: {'; '.join(wrong[:3])}")
    return {own: given[key] for own, key in pairs}


def _torchvision_names(name: str) -> list[str]:
    """The names of torchvision's network in its own order, which a file may have lost."""
    reference(name)  # names an unknown reference before torchvision does
    arguments = {"aux_logits": False, "init_weights": False} if name in ("googlenet", "inception_v3") else {}
    with torch.device("meta"):
        return list(get_model(name, weights=None, **arguments).state_dict())


def _refuse_other_names(name: str, given: Mapping[str, Tensor], expected: list[str]) -> None:
    problems = []
    for what, names in (
        ("missing", [key for key in expected if key not in given]),
        ("unknown", sorted(set(given) - set(expected))),
    ):
        if names:
            problems.append(f"{len(names)} {what} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})")
    if problems:
        raise ArchitectureError(f"these are not torchvision's weights of {name}: {'; '.join(problems)}")
