"""An architecture as rows that read like a paper's table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from searchspace.architecture import Architecture, Head, Stage
from searchspace.blocks import Block
from searchspace.cost import forward
from searchspace.network import outline


@dataclass(frozen=True)
class StageRow:
    """One stage: what it is, what leaves it for one image, what it costs."""

    part: str  # stem, body or head
    kind: str
    depth: int
    stride: int
    channels: int
    resolution: int
    params: int
    macs: int
    settings: str  # the fields that differ from their defaults


def stage_rows(architecture: Architecture) -> list[StageRow]:
    """The stages in order, and the classifier as the last row; counted on the meta device.

    Raises:
        TooLarge, ArchitectureError: as `cost`.
    """
    architecture = architecture.normal()  # the form that networks are built from: its stages are the network's
    network = outline(architecture).eval()
    parts = (
        ("stem", "stem", network.stem, architecture.stem),
        ("body", "stages", network.stages, architecture.stages),
        ("head", "head.blocks", network.head.blocks, architecture.head.blocks),
    )
    shapes: dict[nn.Module, tuple[int, ...]] = {}

    def remember(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        shapes[module] = tuple(output.shape)

    for module in network.modules():
        module.register_forward_hook(remember)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        forward(network)
    flops = {name: sum(by_kind.values()) for name, by_kind in counter.get_flop_counts().items()}
    rows: list[StageRow] = []
    for part, prefix, modules, stages in parts:
        for number, (module, stage) in enumerate(zip(modules, stages, strict=True)):
            macs = flops.get(f"Network.{prefix}.{number}", 0) // 2
            rows.append(_row(part, stage, shapes[module], _params(module), macs))
    norm = network.head.norm
    if _params(norm):
        channels, resolution = shapes[norm][1:3]
        settings = f"activation {architecture.head.activation}"
        rows.append(
            StageRow("head", f"{architecture.head.norm} norm", 1, 1, channels, resolution, _params(norm), 0, settings)
        )
    classifier = network.head.classifier
    macs = flops.get("Network.head.classifier", 0) // 2
    settings = ", ".join(_head_settings(architecture.head))
    rows.append(StageRow("head", "classifier", 1, 1, architecture.classes, 1, _params(classifier), macs, settings))
    return rows


def _params(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _row(part: str, stage: Stage, shape: tuple[int, ...], params: int, macs: int) -> StageRow:
    settings = ", ".join(_settings(stage.block))
    return StageRow(part, stage.block.kind, stage.depth, stage.stride, shape[1], shape[2], params, macs, settings)


def _head_settings(head: Head) -> Iterator[str]:
    """What differs from global average pooling and one linear layer."""
    for name, field in Head.model_fields.items():
        value = getattr(head, name)
        if name in ("blocks", "norm") or (name == "activation" and not head.hidden) or value == field.default:
            continue
        if isinstance(value, tuple):
            yield " ".join((name, *map(str, value)))
        else:
            yield f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"


def _settings(block: Block) -> Iterator[str]:
    """The fields a reader wants: those without a default, and those that differ from it."""
    for name, field in type(block).model_fields.items():
        value = getattr(block, name)
        if name in ("kind", "width") or (not field.is_required() and value == field.default):
            continue
        if name == "branches":
            yield f"{len(value)} branches"
        elif isinstance(value, bool):
            yield name if value else f"no {name}"
        else:
            yield f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
