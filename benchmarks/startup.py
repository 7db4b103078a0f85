"""What a search costs besides training: one JSON line a case.

    python benchmarks/startup.py --images FOLDER --storage-folder /path/on/a/disk

`help`: seconds of `nas --help`, against an interpreter that does nothing. `first step`: seconds from the command `nas
search` to the end of the first trial's first training step, on a warm disk. `overhead`: seconds a trial of a search in
space `cifar` whose training takes no time: ask, build, cost, records; in a new study, and in one that holds 500 trials.
`dry run`: seconds of `nas search --dry-run`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Said by the plugin below at the second look for a stop signal, which comes after the first step.
FIRST_STEP = "the first step is done"
PLUGIN = f"""
import os
import nas.workers.choice
from nas.training.trial import train_architecture

def until_the_first_step(*arguments, stop, **settings):
    looks = 0
    def look():
        nonlocal looks
        looks += 1
        if looks == 2:
            print({FIRST_STEP!r}, flush=True)
            os._exit(0)
        return False
    yield from train_architecture(*arguments, stop=look, **settings)

nas.workers.choice.train_architecture = until_the_first_step
"""


def say(case: str, seconds: list[float], **facts: Any) -> None:
    numbers = {"median": statistics.median(seconds), "least": min(seconds), "most": max(seconds)}
    rounded = {name: round(value, 4) for name, value in numbers.items()}
    print(json.dumps({"case": case, "count": len(seconds), "seconds": rounded, **facts}), flush=True)


def process_seconds(command: list[str], expected: str = "", **options: Any) -> float:
    """How long a process takes that must succeed and print what is expected."""
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    seconds = time.perf_counter() - started
    if done.returncode != 0 or expected not in done.stdout:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return seconds


def repeated(times: int, call: Callable[[int], float]) -> list[float]:
    """What each of `times` calls says, after one that is not counted: it warms the disk."""
    return [call(number) for number in range(times + 1)][1:]


def first_step(images: Path, times: int, extra: list[str], dry_run: bool) -> list[float]:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "first_step.py").write_text(PLUGIN)
        command = [sys.executable, "-m", "nas", "search", "--dataset", str(images), "--budget", "1", *extra]
        command += ["--dry-run"] if dry_run else ["--import", "first_step"]

        def once(number: int) -> float:
            storage = ["--storage", f"sqlite:///{folder}/{number}.db"]
            return process_seconds([*command, *storage], "" if dry_run else FIRST_STEP, cwd=folder)

        return repeated(times, once)


def overhead(times: int, trials: int, before: int, folder: Path) -> list[float]:
    """Seconds a trial of each of `times` searches of `trials` trials, in a study with `before` trials."""
    from nas.searching import search
    from nas.training.score import EpochScore

    def instant(architecture: Any, *, seed: int, stop: Callable[[], bool]) -> Iterator[EpochScore]:
        for epoch in range(1, 4):
            accuracy = int(architecture.digest[:8], 16) / 2**32
            yield EpochScore(epoch, 1.0, accuracy, 0.01, 100.0, 128)

    taken = []
    with tempfile.TemporaryDirectory(dir=folder) as home:
        settings: dict[str, Any] = {"space": "cifar", "epochs": 3, "pruner": "none", "evaluate": instant}
        settings |= {"storage": f"sqlite:///{home}/nas.db", "device": "cpu", "limit_train": 200}
        if before:
            search("digits", budget=before, study="0", resolution=32, **settings)
        for number in range(times):
            done = before + number * trials if before else 0
            study = "0" if before else str(number)
            started = time.perf_counter()
            search("digits", budget=done + trials, study=study, resolution=32, **settings)
            taken.append((time.perf_counter() - started) / trials)
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--images", type=Path, help="A folder with train/<class>/*; without it those cases are left out."
    )
    parser.add_argument("--storage-folder", type=Path, default=Path(tempfile.gettempdir()), help="Where databases are.")
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--before", type=int, default=500)
    parser.add_argument("--only", default="", help="The one case to measure.")
    arguments = parser.parse_args()
    facts = {"cores": os.cpu_count()}

    def wanted(case: str) -> bool:
        return arguments.only in ("", case)

    if wanted("help"):
        for case, words in (("nothing", ["-c", "pass"]), ("help", ["-m", "nas", "--help"])):
            command = [sys.executable, *words]
            say(case, repeated(arguments.times, lambda _, command=command: process_seconds(command)), **facts)
    if arguments.images is not None:
        for limit in (["--limit-train", "2000"], []):
            for space in ("tiny", "cifar"):
                images = {"images": limit[-1] if limit else "all", "space": space, **facts}
                for case in ("first step", "dry run"):
                    if wanted(case):
                        extra = [*limit, "--space", space]
                        seconds = first_step(arguments.images.resolve(), arguments.times, extra, case == "dry run")
                        say(case, seconds, **images)
    if wanted("overhead"):
        for before in (0, arguments.before):
            seconds = overhead(arguments.times, arguments.trials, before, arguments.storage_folder)
            say("overhead", seconds, trials_before=before, trials=arguments.trials, **facts)


if __name__ == "__main__":
    main()
