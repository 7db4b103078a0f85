"""What a network is: frozen records that can be hashed, compared, stored, scaled and built."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self, Union

from pydantic import Field, GetCoreSchemaHandler, ValidationError, model_validator
from pydantic_core import CoreSchema

from searchspace.blocks import BLOCKS, Block, when_registered
from searchspace.errors import ArchitectureError, describe_validation
from searchspace.record import ActivationName, NormName, Rate, Record, Width
from searchspace.strict_json import parse_json

MAX_JSON_BYTES = 1 << 20
MAX_BLOCKS = 1000
MAX_CHANNELS = 1 << 20  # far above any network; keeps every tensor within 64-bit sizes


class _AnyBlock:
    """Any registered family, told apart by `kind`."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        union = Union[tuple(BLOCKS.values())]  # noqa: UP007  # a union of a table's values
        return handler.generate_schema(Annotated[union, Field(discriminator="kind")])


class Stage(Record):
    """`depth` blocks in a row; the first one takes the stride and the change of width."""

    block: Annotated[Block, _AnyBlock]
    depth: int = Field(default=1, ge=1, le=MAX_BLOCKS)
    stride: int = Field(default=1, ge=1, le=8)

    @model_validator(mode="after")
    def _fits_the_block(self) -> Self:
        if self.depth > 1 and not self.block.repeatable:
            raise ValueError(f"a {self.block.kind} stage has depth 1, given {self.depth}")
        if self.stride > 1 and self.block.reads_images:
            raise ValueError(f"a {self.block.kind} stage has stride 1, given {self.stride}")
        return self

    def out_channels(self, in_channels: int) -> int:
        """Channels after all blocks; raises ArchitectureError where the input does not fit a block."""
        for index in range(self.depth):
            in_channels = self.block.out_channels(in_channels, index)
            if in_channels > MAX_CHANNELS:
                break
        return in_channels


class Head(Record):
    """From features to logits: blocks, final normalisation, pooling to `pool_size` squared, hidden layers, classifier.

    `norm` other than none adds normalisation and activation, which pre-activation families need. Dropout stands after
    each hidden layer (VGG) or before each (AlexNet); without hidden layers it stands before the classifier.
    """

    blocks: tuple[Stage, ...] = Field(default=(), max_length=8)
    norm: NormName = "none"
    activation: ActivationName = "relu"
    pool: Literal["average", "max"] = "average"
    pool_size: int = Field(default=1, ge=1, le=64)
    hidden: tuple[Width, ...] = Field(default=(), max_length=4)
    dropout: Rate = 0.0
    dropout_place: Literal["after", "before"] = "after"

    def normal(self) -> Head:
        """This head with fields without effect at their defaults, and equal stages merged."""
        fields: dict[str, Any] = {"blocks": _merge(self.blocks)}
        if not self.hidden and self.norm == "none":
            fields["activation"] = "relu"
        if not self.hidden or not self.dropout:
            fields["dropout_place"] = "after"
        return self.model_copy(update=fields)


class Architecture(Record):
    """A whole network as data: `stem`, `stages` (which depth scaling repeats) and `head` over square images.

    The chance to drop a residual branch grows linearly from 0 at the first block of the body towards `drop_path` (Huang
    et al. 2016): block i of n has `drop_path * i / n`. `name` is a label: it belongs to neither the digest nor equality
    of networks, but to equality of records.
    """

    version: Literal[1] = 1
    name: str | None = Field(default=None, max_length=200)
    channels: int = Field(default=3, ge=1, le=1024)
    resolution: int = Field(default=32, ge=1, le=4096)
    classes: int = Field(default=10, ge=1, le=1_000_000)
    stem: tuple[Stage, ...] = Field(default=(), max_length=16)
    stages: tuple[Stage, ...] = Field(min_length=1, max_length=256)
    head: Head = Head()
    drop_path: Rate = 0.0
    norm_eps: float = Field(default=1e-5, gt=0.0, le=0.1)
    norm_momentum: float = Field(default=0.1, gt=0.0, le=1.0)

    @model_validator(mode="after")
    def _channels_fit(self) -> Self:
        blocks = sum(stage.depth for stage in self.all_stages())
        if blocks > MAX_BLOCKS:
            raise ValueError(f"{blocks} blocks; at most {MAX_BLOCKS} are allowed")
        channels = self.channels
        for part, stages in (("stem", self.stem), ("stages", self.stages), ("head.blocks", self.head.blocks)):
            for number, stage in enumerate(stages):
                if stage.block.reads_images and (part, number) != ("stem", 0):
                    raise ArchitectureError(
                        f"{part}.{number}: {stage.block.kind} reads the images: it may only be the stem's first stage"
                    )
                try:
                    channels = stage.out_channels(channels)
                except ArchitectureError as error:
                    raise ArchitectureError(f"{part}.{number}: {error}") from None
                if channels > MAX_CHANNELS:
                    raise ArchitectureError(f"{part}.{number}: more than {MAX_CHANNELS:,} channels behind it")
        return self

    def all_stages(self) -> Iterator[Stage]:
        """Stem, body and head stages in the order that data passes them."""
        yield from self.stem
        yield from self.stages
        yield from self.head.blocks

    @property
    def depth(self) -> int:
        """Blocks in the body."""
        return sum(stage.depth for stage in self.stages)

    def normal(self) -> Architecture:
        """The one form of all descriptions of this network: no name, no field without effect, equal stages merged."""
        fields = {
            "name": None,
            "stem": _merge(self.stem),
            "stages": _merge(self.stages),
            "head": self.head.normal(),
        }
        return self.model_copy(update=fields | self._without_effect())

    def _without_effect(self) -> dict[str, float]:
        """Settings of layers that this network lacks, at their defaults."""
        norms = {getattr(stage.block, "norm", "batch") for stage in self.all_stages()} | {self.head.norm}
        unused = []
        if not any(stage.block.drops_path for stage in self.stages) or self.depth == 1:
            unused.append("drop_path")
        if norms <= {"group", "none"}:
            unused.append("norm_momentum")
        if norms <= {"none"}:
            unused.append("norm_eps")
        return {name: type(self).model_fields[name].default for name in unused}

    @property
    def digest(self) -> str:
        """SHA-256 (hexadecimal) of the normal form, input size and classes included; `build` builds just this form.

        Fields at their defaults are left out, so that a field added later leaves the digests of stored studies alone.
        """
        text = json.dumps(_essence(self.normal()), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def to_json(self, indent: int | None = None) -> str:
        return self.model_dump_json(indent=indent)

    @classmethod
    def from_json(cls, text: str | bytes) -> Architecture:
        """Read `to_json`'s text.

        Raises:
            ArchitectureError: not JSON, too large or deep, duplicate keys, NaN, unknown fields or kinds, wrong values.
        """
        parse_json(text, MAX_JSON_BYTES, "an architecture")
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise ArchitectureError(describe_validation(error)) from None
        except RecursionError:
            raise ArchitectureError("the JSON is nested too deeply for an architecture") from None

    def changed(self, **fields: Any) -> Architecture:
        """A copy with other fields, checked like a new one."""
        try:
            return Architecture(**(dict(self) | fields))
        except ValidationError as error:
            raise ArchitectureError(describe_validation(error)) from None


def _merge(stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
    """Stages in normal form; a stage that only repeats the one before is added to its depth."""
    merged: list[Stage] = []
    for stage in stages:
        stage = stage.model_copy(update={"block": stage.block.normal()})
        if merged and stage.stride == 1 and stage.block.continues(merged[-1].block):
            merged[-1] = merged[-1].model_copy(update={"depth": merged[-1].depth + stage.depth})
        else:
            merged.append(stage)
    return tuple(merged)


def _essence(value: Any) -> Any:
    """Plain data of a record without the fields that are at their defaults, but with those that name its type."""
    if isinstance(value, tuple):
        return [_essence(item) for item in value]
    if not isinstance(value, Record):
        return value
    fields = type(value).model_fields
    return {
        name: _essence(getattr(value, name))
        for name, field in fields.items()
        if name in ("kind", "layer") or getattr(value, name) != field.get_default(call_default_factory=True)
    }


def _rebuild() -> None:
    for record in (Stage, Head, Architecture):
        record.model_rebuild(force=True)


when_registered(_rebuild)
