"""Networks published for large images, in the form that suits small ones."""

from __future__ import annotations

from searchspace.architecture import Architecture, Stage
from searchspace.blocks import Pool

SMALL = 64  # pixels: the largest images for which the stem of a published network is adapted
CIFAR_FORM = "CIFAR form"


def cifar_form(architecture: Architecture, resolution: int) -> Architecture:
    """The network at `resolution`; made for larger images, it keeps the size of those of 64 pixels and below.

    One rule: every stage of the stem gets stride 1, and the stem's pooling stages are left out. Body and head stay, and
    so do all weights: the same tensors of the same shapes in the same order. The name says so: `resnet18 (CIFAR form)`.
    A network made for small images, or one whose stem keeps the images' size (VGG), changes its resolution alone.

    Where the head pools to a larger map than is left (7x7 from VGG's single pixel), adaptive pooling repeats it.
    """
    fields: dict[str, object] = {"resolution": resolution}
    stem = tuple(_unstrided(stage) for stage in architecture.stem if not isinstance(stage.block, Pool))
    if resolution <= SMALL < architecture.resolution and stem != architecture.stem:
        name = architecture.name
        fields |= {"stem": stem, "name": name and f"{name} ({CIFAR_FORM})"}
    return architecture.changed(**fields)


def _unstrided(stage: Stage) -> Stage:
    return stage.model_copy(update={"stride": 1})
