"""A block of somebody else's, in a module that its user imports."""

from __future__ import annotations

from typing import Literal

from searchspace.blocks import Conv, register_block


@register_block
class Odd(Conv):
    kind: Literal["odd_conv"] = "odd_conv"  # type: ignore[assignment]
