"""Compound scaling: pure functions from an Architecture to a larger or smaller one."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError

from searchspace.architecture import Architecture, Head, Stage
from searchspace.errors import ArchitectureError, describe_validation
from searchspace.rounding import round_depth, round_width

MAX_FACTOR = 1e6


def _check_factor(name: str, factor: float) -> None:
    if not 0 < factor <= MAX_FACTOR:
        raise ArchitectureError(f"{name} must be a number above 0 and at most {MAX_FACTOR:,.0f}, given {factor}")


@dataclass(frozen=True)
class ScalingLaw:
    """Growth of depth, width and resolution for twice the multiply-adds: alpha * beta^2 * gamma^2 ~ 2."""

    alpha: float
    beta: float
    gamma: float

    @property
    def growth(self) -> float:
        """The factor on multiply-adds of one step of phi, before rounding."""
        return self.alpha * self.beta**2 * self.gamma**2

    def __post_init__(self) -> None:
        for name, factor in (("alpha", self.alpha), ("beta", self.beta), ("gamma", self.gamma)):
            _check_factor(name, factor)


EFFICIENTNET = ScalingLaw(1.2, 1.1, 1.15)  # Tan and Le 2019, a grid search around B0; its growth is 1.92


def scale(
    architecture: Architecture, *, width: float = 1.0, depth: float = 1.0, resolution: int | None = None
) -> Architecture:
    """Multiply widths and depths and set the resolution (Tan and Le 2019).

    Widths of stem, body and head become multiples of 8, never more than 10 % below their target; depths of the body are
    rounded up, stem and head are not deepened; groups are lowered where they would not divide their channels, and a
    residual block that its input would outgrow gets a projection for its padding. A factor of 1 changes nothing,
    whatever the rounding would do.

    Raises:
        ArchitectureError: a factor is not above 0, or the result is beyond the limits of an architecture.
    """
    for name, factor in (("width", width), ("depth", depth)):
        _check_factor(f"the {name} factor", factor)
    channels = architecture.channels
    groups: list[tuple[Stage, ...]] = []
    for stages, deepened in ((architecture.stem, 1.0), (architecture.stages, depth), (architecture.head.blocks, 1.0)):
        scaled = []
        for stage in stages:
            stage, channels = _scale_stage(stage, width, deepened, channels)
            scaled.append(stage)
        groups.append(tuple(scaled))
    stem, body, head = groups
    return architecture.changed(
        stem=stem,
        stages=body,
        head=_scale_head(architecture.head, head, width),
        resolution=architecture.resolution if resolution is None else resolution,
    )


def _scale_stage(stage: Stage, width: float, depth: float, channels: int) -> tuple[Stage, int]:
    """The scaled stage, and the channels behind it."""
    block = stage.block if width == 1 else stage.block.scaled(width)
    block = block.fitted(channels)  # at width 1, too: deeper dense stages have more channels
    repeats = round_depth(stage.depth, depth) if block.repeatable else stage.depth
    try:
        scaled = Stage(block=block, depth=repeats, stride=stage.stride)
    except ValidationError as error:
        raise ArchitectureError(f"scaled beyond what an architecture may be: {describe_validation(error)}") from None
    return scaled, scaled.out_channels(channels)


def _scale_head(head: Head, blocks: tuple[Stage, ...], width: float) -> Head:
    hidden = tuple(round_width(features, width) for features in head.hidden)
    return head.model_copy(update={"blocks": blocks, "hidden": hidden})


def compound(architecture: Architecture, phi: float, law: ScalingLaw = EFFICIENTNET) -> Architecture:
    """Scale depth by alpha^phi, width by beta^phi and resolution by gamma^phi; phi 0 changes nothing.

    The resolution is rounded to an even number of pixels.

    Raises:
        ArchitectureError: phi is not a number, or the result is beyond the limits of an architecture.
    """
    try:
        depth, width, finer = law.alpha**phi, law.beta**phi, law.gamma**phi
    except OverflowError:
        raise ArchitectureError(f"phi is too large, given {phi}") from None
    _check_factor("the resolution factor", finer)
    resolution = architecture.resolution
    if finer != 1:
        resolution = max(2, round(resolution * finer / 2) * 2)
    return scale(architecture, width=width, depth=depth, resolution=resolution)


def dollar(
    architecture: Architecture, factor: float, exponents: tuple[float, float, float] = (0.1, 0.8, 0.1)
) -> Architecture:
    """Scale multiply-adds by `factor` = s: depth by s^e_d, width by s^(e_w/2), resolution by s^(e_r/2).

    `exponents` are (e_d, e_w, e_r), which sum to 1; the default is Dollar et al. 2021's fast scaling "dWr", whose
    activations grow by s^0.6 alone. Depths and widths are rounded as in `scale`.

    Raises:
        ArchitectureError: the exponents do not sum to 1, or the factor is not above 0.
    """
    _check_factor("the factor on multiply-adds", factor)
    if not abs(sum(exponents) - 1) <= 1e-6:
        raise ArchitectureError(f"the exponents of depth, width and resolution must sum to 1, given {exponents}")
    e_depth, e_width, e_resolution = exponents
    try:
        law = ScalingLaw(factor**e_depth, factor ** (e_width / 2), factor ** (e_resolution / 2))
    except OverflowError:
        raise ArchitectureError(f"the factor {factor} with exponents {exponents} is too large") from None
    return compound(architecture, 1.0, law)
