"""The base of every record: frozen, closed, strict plain data."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


class Record(BaseModel):
    """Immutable, hashable data that refuses unknown fields, wrong types, NaN and infinity.

    Records inside a record are checked again, since `model_copy` checks nothing.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, revalidate_instances="always"
    )


Width = Annotated[int, Field(ge=1, le=65536, description="output channels")]
KernelSize = Annotated[int, Field(ge=1, le=31, description="side of a square kernel, in pixels")]
Groups = Annotated[int, Field(ge=1, le=65536)]
Padding = Annotated[int, Field(ge=0, le=31)]
UnsignedZero = AfterValidator(
    lambda value: value + 0.0
)  # -0.0 equals 0.0 but is written otherwise: one digest for both
Fraction = Annotated[float, Field(ge=0.0, le=1.0), UnsignedZero]
Rate = Annotated[float, Field(ge=0.0, lt=1.0), UnsignedZero]

ActivationName = Literal["none", "relu", "relu6", "leaky_relu", "silu", "gelu", "hardswish", "tanh", "sigmoid"]
NormName = Literal["batch", "group", "none"]
