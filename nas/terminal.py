"""What the command line says and how it fails: plain lines on standard error, results alone on standard output."""

from __future__ import annotations

import errno
import json
import os
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import click

from nas.errors import NasError, RunError

DEFAULT_STORAGE = "sqlite:///nas.db"
MACHINE_ERRORS = (
    errno.EACCES, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EMFILE, errno.ENOENT, errno.ENOSPC, errno.ENOTDIR,
    errno.EPERM, errno.EROFS,
)  # fmt: skip
"""A disk or a permission failed in the middle of a run: nothing that a traceback would explain."""


class Commands(click.Group):
    """Prints errors a person can mend in plain lines: exit code 2 for wrong input, 1 for a run that failed."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        with _plain_usage():
            return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with _plain_usage():
                return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt as error:
            fail("interrupted", 128 + getattr(error, "signal", 2))
        except RunError as error:
            fail(str(error), 1)
        except Exception as error:
            if isinstance(error, _user_errors()):
                fail(str(error), 2)
            if isinstance(error, OSError) and error.errno in MACHINE_ERRORS:
                where = f": {error.filename}" if error.filename else ""
                fail(f"{error.strerror}{where}. What was recorded is kept.", 1)
            if _is_database_error(error):
                reason = str(getattr(error, "orig", None) or error).splitlines()[0]
                fail(f"the database failed: {reason}. What was recorded is kept; the same command goes on.", 1)
            raise


@contextmanager
def _plain_usage() -> Iterator[None]:
    """Turn click's four lines about wrong usage into one; a command typed without arguments still prints its help."""
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:
        raise
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "nas"
        fail(f"{error.format_message().rstrip('.')} ({path} --help)", error.exit_code)


def _user_errors() -> tuple[type[Exception], ...]:
    """The families of errors about wrong input, of those packages that were imported."""
    families: list[type[Exception]] = [NasError]
    for module, names in (
        ("studies.errors", ("StoreError",)),
        ("searchspace.errors", ("ArchitectureError", "SpaceError")),
    ):
        if module in sys.modules:
            families += [getattr(sys.modules[module], name) for name in names]
    return tuple(families)


def _is_database_error(error: Exception) -> bool:
    """Optuna's storage failed in the middle of a search; SQLAlchemy's errors reach here from it alone."""
    kinds = {(kind.__module__.split(".")[0], kind.__name__) for kind in type(error).__mro__}
    return not kinds.isdisjoint(
        {("optuna", "StorageInternalError"), ("sqlalchemy", "OperationalError"), ("sqlalchemy", "InterfaceError")}
    )


def fail(message: str, code: int) -> NoReturn:
    whose = "" if speaks() else f"process {os.environ['RANK']}: "
    click.echo(f"Error: {whose}{plain(without_password(message))}", err=True)
    raise click.exceptions.Exit(code)


def speaks() -> bool:
    """Whether this process is the one that speaks, of those that torchrun started together."""
    return os.environ.get("WORLD_SIZE", "1") == "1" or os.environ.get("RANK", "0") == "0"


def without_password(text: str) -> str:
    """The text with `***` for the password of every URL in it."""
    return re.sub(r"(://[^:/@\s]*):[^/\s]*@", r"\1:***@", text)


def plain(text: str) -> str:
    """The text's lines with what a terminal would obey instead of show written as escapes."""
    lines = text.splitlines() or [""]
    return "\n".join("".join(c if c.isprintable() else ascii(c)[1:-1] for c in line) for line in lines)


def say(text: str) -> None:
    click.echo(text, err=True)


def print_json(document: Any) -> None:
    click.echo(json.dumps(document, indent=2, default=str, allow_nan=False))


def command_line() -> str:
    """What was typed, but for passwords."""
    return without_password(shlex.join(["nas", *sys.argv[1:]]))


def word(text: str) -> str:
    """The text as one word of a shell's command line."""
    return shlex.quote(without_password(text)) if text.isprintable() else "$" + ascii(text)
