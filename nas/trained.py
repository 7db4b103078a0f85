"""A trained network in use: from files, pictures or arrays to classes and probabilities."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, Self

import numpy as np
import torch
from PIL import Image
from pydantic import Field, field_validator, model_validator
from torch import Tensor, nn
from torch.nn import functional

from nas.errors import DataError
from nas.images import read_image, to_square
from nas.training.augment import normalise
from nas.training.datasets.checks import printable
from searchspace import Network
from searchspace.record import Record

if TYPE_CHECKING:
    from nas.formats import Converted

AT_ONCE = 256  # images in one forward pass of `predict`

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Sha256 = Annotated[str, Field(pattern=r"\A[0-9a-f]{64}\z")]
Count = Annotated[int, Field(ge=0, le=2**62)]


class Card(Record):
    """What is known about a trained network. Accuracies are shares, `None` where they were not measured.

    `mean` and `std` are per channel, of values in 0..1. `input_size` is the side in pixels of the images it was trained
    on, which compound scaling may have it resize to its own resolution. `test_accuracy` is that of the images as they
    are; `test_accuracy_flipped` averages their logits with those of the mirrored images, for those who name it.
    """

    version: int = Field(default=1, ge=1, le=1)
    classes: tuple[str, ...] = Field(min_length=1)
    mean: tuple[Share, ...]
    std: tuple[Annotated[float, Field(ge=1e-6, le=1.0)], ...]
    input_size: int = Field(ge=1, le=4096)
    architecture_sha256: Sha256
    weights_sha256: Sha256
    dataset: str
    dataset_fingerprint: str
    params: Count
    macs: Count
    activations: Count
    val_accuracy: Share | None = None
    test_accuracy: Share | None = None
    test_accuracy_flipped: Share | None = None
    test_images: Count | None = None
    largest_logit_difference: float | None = None
    search_val_accuracy: Share | None = None
    study: str | None = None
    trial: Count | None = None
    recipe: dict[str, Any] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)
    created: str = ""

    @field_validator("classes")
    @classmethod
    def _distinct(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(classes)) < len(classes):
            raise ValueError("two classes have the same name")
        if any(printable(label) != label for label in classes):
            raise ValueError("a class name is empty or has control characters")
        return classes

    @model_validator(mode="after")
    def _same_channels(self) -> Self:
        if len(self.mean) != len(self.std):
            raise ValueError(f"{len(self.mean)} means, but {len(self.std)} standard deviations")
        return self


class Prediction(Record):
    """The most probable class of one image, and the probability of every class."""

    label: str
    probability: float
    probabilities: dict[str, float]


ImageLike = str | os.PathLike[str] | Image.Image | np.ndarray | Tensor


class TrainedNetwork(nn.Module):
    """A trained network that knows its classes, input size and normalisation.

    `forward` takes normalised float images (N, channels, resolution, resolution) and gives logits (N, classes);
    `preprocess` makes such images from files, PIL images, arrays and tensors; `predict` does all of it.
    """

    def __init__(self, network: Network, card: Card) -> None:
        super().__init__()
        self.network = network
        self.card = card
        self.architecture = network.architecture
        self.classes = card.classes
        self.input_size = card.input_size
        self.resolution = self.architecture.resolution
        self.channels = self.architecture.channels
        self.register_buffer("mean", torch.tensor(card.mean), persistent=False)
        self.register_buffer("std", torch.tensor(card.std), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x)

    @staticmethod
    def from_pretrained(
        name: str | os.PathLike[str], *, revision: str | None = None, device: str | torch.device = "cpu"
    ) -> TrainedNetwork:
        """Open an export folder, or a repository of the Hugging Face hub; see `nas.from_pretrained`."""
        from nas.hub import from_pretrained

        return from_pretrained(name, revision=revision, device=device)

    def save_pretrained(self, folder: str | os.PathLike[str]) -> Card:
        """Write the network as a new export folder, which has Hugging Face's layout; see `nas.hub.save_pretrained`."""
        from nas.hub import save_pretrained

        return save_pretrained(self, folder)

    def to_onnx(self, file: str | os.PathLike[str]) -> Converted:
        """Write a new ONNX file for other runtimes, checked in onnxruntime; see `nas.formats.convert`."""
        from nas.formats import convert

        return convert(self, file, "onnx")

    def to_pt2(self, file: str | os.PathLike[str]) -> Converted:
        """Write a new file of torch.export, which runs without nas, checked; see `nas.formats.convert`."""
        from nas.formats import convert

        return convert(self, file, "pt2")

    def preprocess(self, images: ImageLike | Iterable[ImageLike]) -> Tensor:
        """Normalised float32 images (N, C, resolution, resolution) on the network's device.

        Each image is a file name, a PIL image, a uint8 array (H, W) or (H, W, C), or a uint8 tensor (C, H, W); arrays
        and tensors with one more dimension are batches. Other sizes are cropped to the centre square and resized, as
        in training.

        Raises:
            DataError: something that is none of these, or a file that is not an image.
        """
        return self._prepared([self._pixels(image) for image in _each(images)])

    def _prepared(self, pixels: list[Tensor]) -> Tensor:
        return self.normalise(torch.stack(pixels).to(self.get_buffer("mean").device))

    def normalise(self, pixels: Tensor) -> Tensor:
        """uint8 images (N, C, H, W) to what `forward` takes, resized where they have another size."""
        x = normalise(pixels, self.get_buffer("mean"), self.get_buffer("std"), torch.float32)
        if x.shape[-2:] != (self.resolution, self.resolution):
            size = (self.resolution, self.resolution)
            x = functional.interpolate(x, size, mode="bilinear", antialias=True, align_corners=False)
        return x.contiguous(memory_format=torch.channels_last)

    def _pixels(self, image: ImageLike) -> Tensor:
        if isinstance(image, str | os.PathLike):
            image = read_image(image)
        elif isinstance(image, Tensor):
            image = _from_tensor(image)
        elif isinstance(image, np.ndarray):
            image = _from_array(image)
        if not isinstance(image, Image.Image):
            raise DataError(
                f"cannot predict on a {type(image).__name__}: give a file name, a PIL image, a uint8 array or tensor"
            )
        return to_square(image, self.channels, self.input_size)

    def predict(self, images: ImageLike | Iterable[ImageLike]) -> Prediction | list[Prediction]:
        """The class of an image, or of each image of a list or batch; see `preprocess` for what an image may be."""
        training = self.training
        self.eval()
        try:
            found = list(self._predictions(images))
        finally:
            self.train(training)
        return found[0] if _is_single(images) else found

    def _predictions(self, images: ImageLike | Iterable[ImageLike]) -> Iterator[Prediction]:
        each = _each(images)
        for start in range(0, len(each), AT_ONCE):
            with torch.inference_mode():
                x = self._prepared([self._pixels(image) for image in each[start : start + AT_ONCE]])
                rows = self(x).float().softmax(1).tolist()
            yield from map(self._prediction, rows)

    def _prediction(self, row: list[float]) -> Prediction:
        best = max(range(len(row)), key=row.__getitem__)
        return Prediction(
            label=self.classes[best], probability=row[best], probabilities=dict(zip(self.classes, row, strict=True))
        )


def _is_single(images: object) -> bool:
    if isinstance(images, np.ndarray):
        # (3, H, W) may be torch's order of one image or three grey ones: taken for one, it is refused with a hint.
        return images.ndim < 3 or (images.ndim == 3 and not {1, 3, 4}.isdisjoint((images.shape[0], images.shape[2])))
    if isinstance(images, Tensor):
        return images.ndim < 4
    return isinstance(images, str | os.PathLike | Image.Image) or not isinstance(images, Iterable)


def _each(images: Any) -> list[Any]:
    found = [images] if _is_single(images) else list(images)
    if not found:
        raise DataError("no image was given")
    return found


def _from_tensor(tensor: Tensor) -> Image.Image:
    if tensor.dtype != torch.uint8 or tensor.ndim != 3 or tensor.shape[0] not in (1, 3, 4) or 0 in tensor.shape:
        raise DataError(
            f"a tensor must be uint8 (C, H, W) with C 1, 3 or 4, given {tensor.dtype} {tuple(tensor.shape)}"
        )
    return _from_array(tensor.detach().cpu().permute(1, 2, 0).numpy())


def _from_array(array: np.ndarray) -> Image.Image:
    shaped = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4))
    if array.dtype != np.uint8 or not shaped or 0 in array.shape:
        raise DataError(
            f"an array must be uint8 (H, W) or (H, W, C) with C 1, 3 or 4, given {array.dtype} {array.shape}; "
            "a batch is (N, H, W, C) or a list"
        )
    return Image.fromarray(np.ascontiguousarray(array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array))
