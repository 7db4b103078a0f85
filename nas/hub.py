"""Exports and Hugging Face: an export folder has their layout, so one format serves `nas.load` and the hub."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

import torch
from safetensors.torch import save as tensor_bytes

from nas.bundle import ARCHITECTURE, CARD, CONFIG, WEIGHTS, load, write_bundle
from nas.errors import BundleError, NasError
from nas.model_card import describe
from nas.trained import Card, TrainedNetwork
from nas.weights import plain_state

REPOSITORY = re.compile(r"\A[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}\Z", re.ASCII)
MEASURED = {
    "val_accuracy", "test_accuracy", "test_accuracy_flipped", "test_images", "largest_logit_difference",
    "search_val_accuracy",
}  # fmt: skip


def save_pretrained(network: TrainedNetwork, folder: str | os.PathLike[str]) -> Card:
    """Write the network as a new export folder, and return its card.

    Where the weights are no longer those that the card was written for, what was measured on those is left out.

    Raises:
        NasError: the folder exists or cannot be written, or the weights are not float32.
    """
    state = plain_state(network.network)
    other = {str(tensor.dtype) for tensor in state.values() if tensor.is_floating_point()} - {"torch.float32"}
    if other:
        raise NasError(f"an export holds float32 weights, these are {', '.join(sorted(other))}: network.float() first")
    changed = hashlib.sha256(tensor_bytes(state)).hexdigest() != network.card.weights_sha256
    left_out = {"architecture_sha256", "weights_sha256", *(MEASURED if changed else ())}
    facts = {name: value for name, value in network.card if name not in left_out}
    if changed:
        facts["recipe"] = {name: value for name, value in network.card.recipe.items() if name != "confirmation"}
    return write_bundle(Path(folder), network.architecture, state, facts, describe=describe)


def from_pretrained(
    name: str | os.PathLike[str], *, revision: str | None = None, device: str | torch.device = "cpu"
) -> TrainedNetwork:
    """Open an export folder, or a repository `user/name` of the Hugging Face hub, with all the checks of `nas.load`.

    A folder of this name is taken first: nothing is downloaded then, and huggingface_hub is not needed. `revision` is
    a branch, tag or commit of the repository.

    Raises:
        BundleError: there is neither such a folder nor such a repository, or it is damaged or foreign.
        NasError: huggingface_hub is not installed, or the repository cannot be reached.
    """
    if Path(name).is_dir():
        if revision is not None:
            raise NasError(f"{str(name)!r} is a folder, which has no revisions: leave out revision={revision!r}")
        return load(name, device=device)
    if not isinstance(name, str) or not REPOSITORY.match(name):
        raise BundleError(f"there is no folder {str(name)!r}, and a repository of the hub is named user/name")
    return load(_download(name, revision), device=device)


def _download(name: str, revision: str | None) -> str:
    """The repository's files in Hugging Face's cache; without a network, those of an earlier download."""
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise NasError(
            f"there is no folder {name!r}; to look for it on the Hugging Face hub: pip install -e '.[hub]'"
        ) from None
    try:
        return snapshot_download(name, revision=revision, allow_patterns=[ARCHITECTURE, CARD, CONFIG, WEIGHTS])
    except Exception as error:  # its own, its HTTP client's and the system's: many families, one meaning
        offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}
        reason = "HF_HUB_OFFLINE forbids to ask, and it was not downloaded before" if offline else _first_line(error)
        raise NasError(
            f"there is no folder {name!r}, and the Hugging Face hub did not give a repository of this name: {reason}"
        ) from error


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {(lines or [''])[0][:200]}"
