"""The named search spaces: an explicit table, and `register_space` for a user's own."""

from __future__ import annotations

import difflib

from searchspace.errors import SpaceError
from searchspace.space import SearchSpace
from searchspace.spaces.cifar import CIFAR
from searchspace.spaces.mobile import MOBILE
from searchspace.spaces.tiny import TINY

SPACES: dict[str, SearchSpace] = {space.name: space for space in (TINY, CIFAR, MOBILE)}


def register_space(space: SearchSpace) -> SearchSpace:
    """Add a space to the table under its name; returns it.

    Registering an equal space again does nothing, so a module may be imported twice.

    Raises:
        SpaceError: another space holds the name.
    """
    held = SPACES.setdefault(space.name, space)
    if held.digest != space.digest:
        raise SpaceError(f"a search space named {space.name!r} exists with other dimensions")
    return held


def find_space(name: str) -> SearchSpace:
    """The space of this name.

    Raises:
        SpaceError: no space has this name.
    """
    if name not in SPACES:
        near = difflib.get_close_matches(name, SPACES, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise SpaceError(f"no search space named {name!r}: {hint}known are {', '.join(SPACES)}")
    return SPACES[name]


__all__ = ["SPACES", "find_space", "register_space"]
