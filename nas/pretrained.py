"""Weights to start from: torchvision's published ones, a file of them, or a network's of our own."""

from __future__ import annotations

import contextlib
import difflib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor
from torchvision.models import get_model_weights, list_models

from nas.architectures import at_resolution
from nas.bundle import CARD, WEIGHTS, load
from nas.errors import NasError
from nas.state_file import read_state
from nas.training.data import DATASETS, Dataset, Split
from nas.training.evaluate import Preprocess, logits
from searchspace import REFERENCES, Architecture, ArchitectureError, build, cifar_form, reference
from searchspace.network import outline
from searchspace.references.weights import load_torchvision

FROM_MINUS_ONE_TO_ONE = ("googlenet", "inception_v3")
"""References whose published weights want images from -1 to 1: their mean and standard deviation are 0.5. Torchvision
normalises them as ImageNet's and undoes that in the network (`transform_input`)."""

OURS = ("stem.", "stages.", "head.")  # how names of our tensors begin, and torchvision's do not
CLASSIFIER = 2  # the last tensors of a network's state: weight and bias

State = Mapping[str, Tensor]
Moments = tuple[tuple[float, ...], tuple[float, ...]]


@dataclass(frozen=True, eq=False)
class Start:
    """Weights to start from, and how images are prepared for them.

    `state` has the names of `build(architecture)`. Without `moments`, the mean and the standard deviation of each
    channel, the data's are taken; without `resolution`, the data's or the architecture's. `origin` goes to the card.
    """

    name: str
    architecture: Architecture
    origin: Mapping[str, str]
    state: State = field(repr=False)
    moments: Moments | None = None
    resolution: int | None = None

    def side(self, dataset: str, resolution: int | None) -> int | None:
        """The size to which the images of a data set are scaled when they are read; None is their own.

        A folder's are decoded at the size that the network sees. Arrays keep theirs and are enlarged batch by batch:
        CIFAR-10 at 224 pixels would take 7.5 GB.
        """
        in_folder = dataset not in DATASETS and Path(dataset).is_dir()
        return resolution or (self.resolution if in_folder else None)

    def suited(self, what: Architecture | str, found: Architecture, data: Dataset, side: int | None) -> Architecture:
        """What was found under the name `what`, for the data's classes, and images of `side` or the weights' own."""
        if isinstance(what, str) and what in REFERENCES:
            found = at_resolution(what, found, side or self.resolution or data.resolution)
        return found.changed(classes=len(data.classes), channels=self.architecture.channels)

    def trunk(self, wanted: Architecture) -> dict[str, Tensor]:
        """All tensors but the classifier's, under the names of `wanted`: this network or its CIFAR form."""
        names = zip(outline(self.architecture).state_dict(), outline(wanted).state_dict(), strict=True)
        return {theirs: self.state[own] for own, theirs in list(names)[:-CLASSIFIER]}

    def prepared(self, data: Dataset) -> Dataset:
        """The data normalised as the weights expect, grey images repeated for a network of three channels.

        Raises:
            NasError: the weights are for grey images, and these have colours.
        """
        channels = self.architecture.channels
        if channels < data.channels:
            raise NasError(f"the weights of {self.name} are for grey images, and those of {data.name} have colours")
        data = _repeated(data, channels) if channels > data.channels else data
        return data if self.moments is None else replace(data, mean=self.moments[0], std=self.moments[1])

    def line(self, wanted: Architecture, data: Dataset) -> str:
        """What a person is told before the training."""
        whose = "the data's" if self.moments is None else "the weights'"
        grey = ", grey ones repeated to 3 channels" if data.channels < wanted.channels else ""
        return (
            f"starting from {self.name}: images of {wanted.resolution} pixels{grey}, "
            f"normalised by {whose} mean and standard deviation"
        )

    def require_finite_logits(self, wanted: Architecture, data: Dataset) -> None:
        """Refuse weights with which images overflow, before the training.

        Raises:
            NasError: the logits of two images are not finite.
        """
        device = data.train.images.device
        with torch.random.fork_rng([device] if device.type == "cuda" else [], device_type=device.type):
            network = build(wanted, device=device)
        network.load_state_dict(self.trunk(wanted), strict=False)
        found = logits(network, data.train.images[:2], Preprocess(data, wanted.resolution, device))
        if not found.isfinite().all():
            raise NasError(f"the weights of {self.name} are so large that the network's output is not finite")


def find_start(
    what: Architecture | str, found: Architecture, *, pretrained: bool, weights: str | Path | None
) -> Start | None:
    """The weights that a person asked for, to train the architecture found under the name `what`; None for none.

    Raises:
        NasError: both or the wrong ones were asked for, there is no network, a file is damaged.
    """
    if pretrained and weights is not None:
        raise NasError("--pretrained takes torchvision's weights, --weights those of a file: leave one out")
    if pretrained and not isinstance(what, str):
        raise NasError("pretrained weights are those of a reference given by its name, such as 'resnet50'")
    if pretrained:
        return published(str(what))
    return None if weights is None else from_file(what, found, weights)


def published_names() -> list[str]:
    """The references of which torchvision publishes weights."""
    return sorted(set(REFERENCES) & set(list_models(module=torchvision.models)))


def published(name: str) -> Start:
    """Torchvision's best weights of a reference, downloaded by torchvision, which checks the hash of what it loads.

    Raises:
        NasError: torchvision has none of this name, or they cannot be downloaded; the message says where to place them.
    """
    if name not in published_names():
        near = difflib.get_close_matches(name, published_names(), 3, cutoff=0.0)
        raise NasError(
            f"torchvision has no weights of {name!r}, but of {', '.join(near)} and others (docs/training.md); "
            "weights of your own are given by --weights FILE"
        )
    weights = _weights(name)
    file = Path(torch.hub.get_dir(), "checkpoints", Path(weights.url).name)
    if not file.exists():
        _download(weights, file)
    state, digest = read_state(file)
    return _torchvision(name, str(weights), state, {"weights": str(weights), "file": file.name, "sha256": digest})


def _weights(name: str) -> Any:
    """Torchvision's best weights of a reference: an entry of an enum."""
    return get_model_weights(name)["DEFAULT"]


def _download(weights: Any, file: Path) -> None:
    """Have torchvision place the file, with its progress on standard error; standard output is the result's."""
    place = f"place {file.name} in {str(file.parent)!r}, or give the file with --weights"
    try:
        with contextlib.redirect_stdout(sys.stderr):
            weights.get_state_dict(progress=sys.stderr.isatty(), check_hash=True, weights_only=True, map_location="cpu")
    except (OSError, HTTPException) as error:  # urllib's URLError is an OSError
        reason = getattr(error, "reason", None) or error
        raise NasError(f"cannot download {weights}: {reason}; {place}") from None
    except RuntimeError as error:
        raise NasError(f"the download of {weights} is damaged ({error}): try again, or {place}") from None


def from_file(what: Architecture | str, found: Architecture, file: str | Path) -> Start:
    """Weights of the architecture found under the name `what`: torchvision's for a reference, or our own for any.

    Raises:
        NasError, ArchitectureError: the file is damaged, or is another network's; the first three names are listed.
    """
    state, digest = read_state(file)
    origin = {"file": Path(file).name, "sha256": digest}
    shown = repr(str(file))
    if any(name.startswith(OURS) for name in state):
        forms = (found, cifar_form(found, 32)) if isinstance(what, str) and what in REFERENCES else (found,)
        nearest = max(forms, key=lambda form: len(state.keys() & outline(form).state_dict()))
        return _own(shown, nearest, state, origin, Path(file))
    if isinstance(what, str) and what in published_names():
        return _torchvision(what, shown, state, origin)
    listed = ", ".join(ascii(name[:60]) for name in list(state)[:3])
    wanted = what if isinstance(what, str) else found.name or found.digest[:12]
    raise NasError(f"{shown} holds no weights of {wanted}: its first tensors are {listed}")


def _torchvision(name: str, shown: str, state: State, origin: Mapping[str, str]) -> Start:
    """A start from tensors under torchvision's names, with the preprocessing of its published weights."""
    try:
        state = load_torchvision(name, state)
    except ArchitectureError as error:
        raise NasError(f"{shown}: {error}") from None
    architecture = reference(name, num_classes=_classes(state))
    return Start(shown, architecture, origin, _usable(shown, state, architecture), *preparation(name))


def preparation(name: str) -> tuple[Moments, int]:
    """How images are prepared for torchvision's weights of a reference: mean and standard deviation, and their side."""
    preset = _weights(name).transforms()
    published = (tuple(preset.mean), tuple(preset.std))
    halves = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    return halves if name in FROM_MINUS_ONE_TO_ONE else published, preset.crop_size[0]


def _own(shown: str, architecture: Architecture, state: State, origin: Mapping[str, str], file: Path) -> Start:
    """A start from tensors under our names; an export's card beside them says how its images were normalised."""
    expected = outline(architecture).state_dict()
    problems = []
    for what, names in (("missing", expected.keys() - state.keys()), ("unknown", state.keys() - expected.keys())):
        if names:
            problems.append(f"{len(names)} {what} ({', '.join(sorted(names)[:3])}{', ...' if len(names) > 3 else ''})")
    if problems:
        raise NasError(f"{shown} does not fit the architecture: {'; '.join(problems)}")
    state = {name: state[name] for name in expected}  # in the network's order, which a file may have lost
    architecture = architecture.changed(classes=_classes(state))
    expected = outline(architecture).state_dict()
    wrong = [name for name in expected if state[name].shape != expected[name].shape]
    if wrong:
        listed = "; ".join(f"{n} is {tuple(state[n].shape)}, expected {tuple(expected[n].shape)}" for n in wrong[:3])
        raise NasError(f"{shown} does not fit the architecture: {len(wrong)} tensors have other shapes: {listed}")
    card = load(file.parent).card if file.name == WEIGHTS and (file.parent / CARD).exists() else None
    state = _usable(shown, state, architecture)
    return Start(shown, architecture, origin, state, None if card is None else (card.mean, card.std))


def _classes(state: State) -> int:
    return list(state.values())[-1].numel()  # the classifier's bias


def _usable(shown: str, state: State, architecture: Architecture) -> State:
    """The tensors in the network's own types.

    Raises:
        NasError: some are of another kind, NaN or infinite; the first three are named.
    """
    expected = outline(architecture).state_dict()
    # A counter may be a float: some files hold everything in one type.
    kinds = [name for name in expected if not _fits(state[name], expected[name])]
    if kinds:
        raise NasError(f"{shown}: tensors of another kind, such as {kinds[0]} of {state[kinds[0]].dtype}")
    state = {name: state[name].to(expected[name].dtype).contiguous() for name in expected}
    wrong = [name for name, tensor in state.items() if not tensor.isfinite().all()]
    if wrong:
        raise NasError(f"{shown} holds weights that are NaN or infinite: {', '.join(wrong[:3])}")
    return state


def _fits(given: Tensor, expected: Tensor) -> bool:
    return given.is_floating_point() or not (given.is_complex() or expected.is_floating_point())


def _repeated(data: Dataset, channels: int) -> Dataset:
    """Grey images as `channels` equal ones, which is what `predict` makes of grey pictures."""
    read = data.test_reader
    return replace(
        data,
        channels=channels,
        mean=data.mean * channels,
        std=data.std * channels,
        train=_repeated_split(data.train, channels),
        validation=_repeated_split(data.validation, channels),
        test_reader=None if read is None else partial(_read_repeated, read, channels),
    )


def _repeated_split(split: Split, channels: int) -> Split:
    images = split.images.expand(-1, channels, -1, -1).contiguous(memory_format=torch.channels_last)
    return Split(images, split.labels)


def _read_repeated(read: Callable[[], Split], channels: int) -> Split:
    return _repeated_split(read(), channels)
