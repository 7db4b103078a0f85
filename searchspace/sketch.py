"""The branches of a block laid out as a sketch: a line for each path through them, layers from left to right."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from searchspace.svg import width_of

SIZE = 10  # of the text, in pixels
GAP = 10  # between a layer and the next


@dataclass(frozen=True)
class Pill:
    """One layer: the line it stands on, its left end and length in pixels, what it says."""

    line: int
    x: float
    width: float
    text: str
    pools: bool


@dataclass(frozen=True)
class Joint:
    """A connection from one place to another: pixels from the left, lines from the top."""

    x1: float
    line1: int
    x2: float
    line2: int


@dataclass
class Sketch:
    """Pills and joints, in pixels and lines from the top left corner."""

    pills: list[Pill] = field(default_factory=list)
    joints: list[Joint] = field(default_factory=list)
    lines: int = 0

    def cut(self, lines: int, width: float) -> Sketch:
        """What of it stands within so many lines and pixels."""
        return Sketch(
            [pill for pill in self.pills if pill.line < lines and pill.x + pill.width <= width],
            [joint for joint in self.joints if max(joint.line1, joint.line2) < lines and joint.x2 <= width],
            min(self.lines, lines),
        )


def sketch_of(block: Any) -> Sketch:
    """The layers of a block with branches, as inception blocks have; an empty sketch for any other block."""
    sketch = Sketch()
    branches = getattr(block, "branches", None)
    if isinstance(branches, tuple):
        _side_by_side(sketch, branches, 0, 0.0)
    return sketch


def _side_by_side(sketch: Sketch, branches: tuple[Any, ...], line: int, x: float) -> list[tuple[float, int]]:
    """Each branch below the one before; where each of them ends."""
    ends = []
    for branch in branches:
        ends.append((_path(sketch, branch, line, x), line))
        line = max(line + 1, sketch.lines)
    return ends


def _path(sketch: Sketch, branch: tuple[Any, ...], line: int, x: float) -> float:
    """The layers of one branch from left to right; where the last one ends."""
    end = x
    for place, layer in enumerate(branch):
        start = end + (GAP if place else 0)
        if layer.layer == "split":
            end = _split(sketch, layer.branches, line, end, start + GAP, last=place == len(branch) - 1)
            continue
        if place:
            sketch.joints.append(Joint(end, line, start, line))
        text = _words(layer)
        end = start + round(width_of(text, SIZE)) + 8
        sketch.pills.append(Pill(line, start, end - start, text, layer.layer == "pool"))
        sketch.lines = max(sketch.lines, line + 1)
    return end


def _split(sketch: Sketch, branches: tuple[Any, ...], line: int, end: float, start: float, *, last: bool) -> float:
    """A fork into branches, and unless it is the last layer, where they come together again."""
    fork = start - GAP
    ends = _side_by_side(sketch, branches, line, start)
    bottom = ends[-1][1]
    sketch.joints.append(Joint(end, line, fork, line))
    sketch.joints.append(Joint(fork, line, fork, bottom))
    sketch.joints.extend(Joint(fork, below, start, below) for _, below in ends)
    right = max(x for x, _ in ends)
    if last:
        return right
    meeting = right + GAP
    sketch.joints.extend(Joint(x, below, meeting, below) for x, below in ends)
    sketch.joints.append(Joint(meeting, line, meeting, bottom))
    return meeting


def _words(layer: Any) -> str:
    if layer.layer == "pool":
        return f"{layer.operation} {layer.kernel_size}×{layer.kernel_size}"
    rows, columns = layer.kernel_size
    return f"{rows}×{columns} {layer.width}"
