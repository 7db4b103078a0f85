"""A user's own blocks, spaces and datasets: modules named by entry points or by `--import`, never by an export."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterable
from importlib.metadata import entry_points

from nas.errors import NasError

GROUP = "nas.blocks"


def load_plugins(modules: Iterable[str] = ()) -> None:
    """Import every entry point of the group `nas.blocks`, then `modules`, looked up in the working directory too.

    Raises:
        NasError: one of them cannot be imported, or registers a name that is taken.
    """
    for entry in entry_points(group=GROUP):
        _load(f"the entry point {entry.name!r} of {GROUP}", entry.load)
    for module in modules:
        if os.getcwd() not in sys.path:
            sys.path.append(os.getcwd())
        _load(f"--import {module}", lambda module=module: importlib.import_module(module))


def _load(what: str, load: Callable[[], object]) -> None:
    try:
        load()
    except (Exception, SystemExit) as error:
        lines = str(error).splitlines() or [""]
        raise NasError(f"{what} failed: {type(error).__name__}: {lines[0]}") from error
