"""Fail at the n-th file operation: open for writing, write, fsync, mkdir, rename, replace, unlink."""

from __future__ import annotations

import builtins
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

OPERATIONS = ("mkdir", "rename", "replace", "fsync", "unlink", "rmdir")


class Crash(BaseException):
    """The process is gone: nothing catches this but the test."""


class _Writing(io.FileIO):
    """A file whose writes are operations."""

    step: Callable[[], None]

    def write(self, data: Any, /) -> int:
        type(self).step()
        return super().write(data)


@contextmanager
def _watched(step: Callable[[], None]) -> Iterator[None]:
    true_open = builtins.open
    writing = type("Writing", (_Writing,), {"step": staticmethod(step)})

    def opened(file: Any, mode: str = "r", *arguments: Any, **settings: Any) -> Any:
        if "b" in mode and set(mode) & set("wxa"):
            step()
            return io.BufferedWriter(writing(file, mode.replace("b", "")))
        return true_open(file, mode, *arguments, **settings)

    def wrapped(call: Callable[..., Any]) -> Callable[..., Any]:
        def stepped(*arguments: Any, **settings: Any) -> Any:
            step()
            return call(*arguments, **settings)

        return stepped

    patches = [mock.patch.object(os, name, wrapped(getattr(os, name))) for name in OPERATIONS]
    with mock.patch.object(builtins, "open", opened):
        for patch in patches:
            patch.start()
        try:
            yield
        finally:
            for patch in patches:
                patch.stop()


def operations(work: Callable[[], object]) -> int:
    """How many file operations the work makes."""
    count = 0

    def step() -> None:
        nonlocal count
        count += 1

    with _watched(step):
        work()
    return count


@contextmanager
def crash_at(number: int, error: BaseException, *, for_ever: bool = False) -> Iterator[None]:
    """Raise the error at operation `number`, from 0; `for_ever` at all that follow too, so that nothing is mended."""
    count = 0

    def step() -> None:
        nonlocal count
        count += 1
        if count - 1 == number or (for_ever and count - 1 > number):
            raise error

    with _watched(step):
        yield
