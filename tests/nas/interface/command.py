"""The command line as a person meets it: what was typed, what was printed, how it ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from nas.cli import main


@dataclass(frozen=True)
class Answer:
    """Exit code, standard output and standard error of a command."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Standard output as the one JSON document it must be."""
        return json.loads(self.out)


def typed(*arguments: str | Path, env: Mapping[str, str | None] | None = None) -> Answer:
    """Run `nas ARGUMENTS` in this process; what the command line does not expect is raised, not swallowed."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], env=env, prog_name="nas")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Answer(result.exit_code, result.stdout, result.stderr)


def done(*arguments: str | Path, env: Mapping[str, str | None] | None = None) -> Answer:
    """`typed`, for commands that must succeed."""
    answer = typed(*arguments, env=env)
    assert answer.code == 0, answer.err
    return answer


def refused(*arguments: str | Path, code: int = 2, env: Mapping[str, str | None] | None = None) -> str:
    """`typed`, for commands that must fail: with this exit code and one or two plain lines, which are returned."""
    return plain_failure(typed(*arguments, env=env), code)


def plain_failure(answer: Answer, code: int = 2) -> str:
    """Check that a command failed as promised: nothing on standard output, one or two plain lines on the other."""
    lines = [line for line in answer.err.splitlines() if line.strip()]
    first = next((number for number, line in enumerate(lines) if line.startswith("Error: ")), None)
    assert answer.code == code, answer
    assert answer.out == ""
    assert first is not None, answer.err
    assert 1 <= len(lines[first:]) <= 2, answer.err
    assert "Traceback" not in answer.err
    assert all(line.isprintable() for line in lines), answer.err
    return "\n".join(lines[first:])


def in_process(
    *arguments: str | Path,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    program: tuple[str, ...] = ("-m", "nas"),
    timeout: float = 120,
) -> Answer:
    """`python -m nas ARGUMENTS` in a fresh interpreter."""
    command = [sys.executable, *program, *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **(env or {})}
    result = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=timeout)
    return Answer(result.returncode, result.stdout, result.stderr)


def python(code: str, *arguments: str | Path, cwd: Path, env: Mapping[str, str] | None = None) -> Answer:
    """`python -c CODE ARGUMENTS` in a fresh interpreter."""
    return in_process(*arguments, cwd=cwd, env=env, program=("-c", code))
