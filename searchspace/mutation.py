"""One small change of any network: what evolution tries next, references included."""

from __future__ import annotations

import random
from collections.abc import Iterator

from searchspace.architecture import Architecture, Head, Stage
from searchspace.blocks import Block
from searchspace.cost import cost
from searchspace.errors import ArchitectureError

WIDTHS = (0.75, 1.25)  # factors, rounded as the block's own scaling rounds
OPTIONS: dict[str, tuple[int | float, ...]] = {  # what a field of that name may become, in whatever family has it
    "kernel_size": (3, 5, 7),
    "expansion": (2.0, 3.0, 4.0, 6.0),
    "squeeze_excite": (0.0, 0.25),
}
ACTIVATIONS = ("relu", "silu", "gelu", "hardswish")

Stages = tuple[Stage, ...]
Parts = tuple[Stages, Stages, Head]


def mutate(architecture: Architecture, rng: random.Random) -> Architecture:
    """The network with one change, drawn evenly from all that give another network that can be built.

    A change is of one stage of the body: its depth by one, its width by a quarter, its kernel size, expansion, or
    squeeze-and-excitation on or off; or it is the activation of the whole network. Strides stay. Groups are lowered
    where they no longer divide their channels. The result has no name.

    Raises:
        ArchitectureError: nothing can be changed.
    """
    changes = [*_of_one_stage(architecture), *_of_activation(architecture)]
    rng.shuffle(changes)
    for parts in changes:
        try:
            changed = _connected(architecture, parts)
            if changed.digest != architecture.digest and cost(changed):
                return changed
        except ArchitectureError:
            continue
    raise ArchitectureError("nothing of this network can be mutated: no change of its body gives one that can be built")


def _of_one_stage(architecture: Architecture) -> Iterator[Parts]:
    """Stem, body and head with one stage of the body changed."""
    body = architecture.stages
    for place, stage in enumerate(body):
        for other in (*_of_depth(stage), *(stage.model_copy(update={"block": b}) for b in _of_block(stage.block))):
            yield architecture.stem, (*body[:place], other, *body[place + 1 :]), architecture.head


def _of_depth(stage: Stage) -> Iterator[Stage]:
    if stage.block.repeatable:
        yield from (stage.model_copy(update={"depth": stage.depth + more}) for more in (-1, 1) if stage.depth + more)


def _of_block(block: Block) -> Iterator[Block]:
    for factor in WIDTHS:
        if (scaled := block.scaled(factor)) != block:
            yield scaled
    for field, options in OPTIONS.items():
        value = getattr(block, field, None)
        if value is None or (field == "kernel_size" and not _keeps_size(block, options)):
            continue
        # Switched on or off; else any other value.
        others = [0.0 if value else options[-1]] if field == "squeeze_excite" else [o for o in options if o != value]
        yield from (block.model_copy(update={field: other}) for other in others)


def _keeps_size(block: Block, sizes: tuple[int | float, ...]) -> bool:
    """Whether another kernel leaves the map as large: explicit padding would not. A 1x1 convolution stays one."""
    return getattr(block, "kernel_size", None) in sizes and getattr(block, "padding", None) is None


def _of_activation(architecture: Architecture) -> Iterator[Parts]:
    """Stem, body and head with another activation wherever there is one."""
    head = architecture.head
    for name in ACTIVATIONS:
        parts = (architecture.stem, architecture.stages, head.blocks)
        stem, stages, blocks = (tuple(_activated(stage, name) for stage in part) for part in parts)
        last = head.activation if head.activation == "none" else name
        yield stem, stages, head.model_copy(update={"blocks": blocks, "activation": last})


def _activated(stage: Stage, name: str) -> Stage:
    if getattr(stage.block, "activation", "none") == "none":
        return stage
    return stage.model_copy(update={"block": stage.block.model_copy(update={"activation": name})})


def _connected(architecture: Architecture, parts: Parts) -> Architecture:
    """The network of these parts, with groups that divide the channels which now reach them."""
    channels = architecture.channels
    fitted: list[Stages] = []
    for part in (parts[0], parts[1], parts[2].blocks):
        stages: list[Stage] = []
        for stage in part:
            stages.append(stage.model_copy(update={"block": stage.block.fitted(channels)}))
            channels = stages[-1].out_channels(channels)
        fitted.append(tuple(stages))
    stem, body, blocks = fitted
    return architecture.changed(name=None, stem=stem, stages=body, head=parts[2].model_copy(update={"blocks": blocks}))
