"""The frame that the named spaces share: stem, strides between stages, and the head that fits the last stage."""

from __future__ import annotations

import math

from searchspace.architecture import Architecture, Head, Stage
from searchspace.blocks import ChannelBoost, Conv
from searchspace.record import ActivationName
from searchspace.rounding import make_divisible
from searchspace.space import Choices, Task
from searchspace.spaces.families import FAMILIES, Slot, StageChoices

LARGEST_BODY = 64  # pixels: larger images are halved by the stem until the body starts at 33 to 64
SMALLEST_MAP = 4  # pixels: no stride goes below it, or below a quarter of images under 16 pixels
WITH_SHORTCUTS = ("residual", "bottleneck", "inception_residual", "mbconv", "fused_mbconv")
INVERTED = ("mbconv", "fused_mbconv")
BOOST_WIDTH = 8  # channels that boosting adds to those of the images


def assemble(
    choices: Choices, task: Task, *, stages: int, stem_width: int | None = None, head_width: int | None = None
) -> Architecture:
    """A network of `stages` stages from choices named as `stage_dimensions` names them.

    Absent global choices take these values: relu, no squeeze-excite, no drop path, no dropout, no channel boosting; the
    stem is as wide as the first stage, half as wide before a dense one, which grows. `head_width` is that of a 1x1
    convolution before the classifier; None leaves it out, but for inverted bottlenecks, whose output is not activated:
    twice their width.
    """
    name: ActivationName = choices.get("activation", "relu")  # type: ignore[assignment]
    first, last = stage_choices(choices, 1), stage_choices(choices, stages)
    channels = stem_width or (make_divisible(first.width / 2) if first.family == "dense" else first.width)
    stem_stages, side = stem(channels, name, task.resolution)
    body: list[Stage] = []
    for number in range(1, stages + 1):
        stride = 2 if number > 1 and side // 2 >= smallest_map(task.resolution) else 1
        slot = Slot(number == 1, channels, side, stride, name, bool(choices.get("squeeze_excite", False)))
        stage = stage_choices(choices, number)
        body.append(FAMILIES[stage.family](stage, slot))
        channels = body[-1].out_channels(channels)
        side //= stride
    if head_width is None and last.family in INVERTED:
        head_width = 2 * channels
    families = {stage_choices(choices, number).family for number in range(1, stages + 1)}
    return Architecture(
        channels=task.channels,
        resolution=task.resolution,
        classes=task.classes,
        stem=(*boost(choices, name), *stem_stages),
        stages=tuple(body),
        head=head(last, name, head_width, float(choices.get("dropout", 0.0))),
        drop_path=float(choices.get("drop_path", 0.0)) if families & set(WITH_SHORTCUTS) else 0.0,
    )


def stage_choices(choices: Choices, number: int) -> StageChoices:
    prefix = f"stage{number}/"
    own = {name.removeprefix(prefix): value for name, value in choices.items() if name.startswith(prefix)}
    return StageChoices(str(own.pop("family")), int(own.pop("width")), int(own.pop("depth")), own)


def boost(choices: Choices, activation: ActivationName) -> tuple[Stage, ...]:
    """The stage that adds channels from a frozen learner to the images, where they are boosted."""
    learner = choices.get("channel_boosting", "none")
    if learner == "none":
        return ()
    block = ChannelBoost(width=BOOST_WIDTH, learner=learner, activation=activation)  # type: ignore[arg-type]
    return (Stage(block=block),)


def stem(width: int, activation: ActivationName, resolution: int) -> tuple[tuple[Stage, ...], int]:
    """The stem and the side behind it: one 3x3 convolution, for images over 64 pixels one of stride 2 per halving.

    224 pixels start the body at 56, 96 at 48, 64 and 32 at themselves; a deep stem begins narrower.
    """
    halvings = max(0, math.ceil(math.log2(resolution / LARGEST_BODY)))
    count = max(1, halvings)
    widths = [make_divisible(width / 2 ** (count - 1 - place)) for place in range(count)]
    stride = 2 if halvings else 1
    stages = tuple(Stage(block=Conv(width=each, activation=activation), stride=stride) for each in widths)
    return stages, resolution // 2**halvings


def smallest_map(resolution: int) -> int:
    """The side that strides between stages keep: 4 pixels; for images under 16 a quarter of theirs (8 -> 4 -> 2)."""
    return max(1, min(SMALLEST_MAP, resolution // 4))


def head(last: StageChoices, activation: ActivationName, width: int | None, dropout: float) -> Head:
    """Average pooling and a classifier, over features that are normalised and activated whatever the last family."""
    if width is not None:
        return Head(blocks=(Stage(block=Conv(width=width, kernel_size=1, activation=activation)),), dropout=dropout)
    if last.family == "dense" or last.get("preactivation", False):
        return Head(norm="batch", activation=activation, dropout=dropout)
    return Head(dropout=dropout)
