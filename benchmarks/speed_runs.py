"""The speed cases of one long run: a fixed network to 94 % and 96 %, and a whole search."""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from nas.training.batches import batches  # noqa: F401  # imported before the clock starts, as in any warm process
from nas.training.data import load_dataset
from nas.training.evaluate import Preprocess, accuracy
from nas.training.loop import train
from nas.training.recipe import Recipe
from searchspace import Architecture, Stage, build
from searchspace.blocks import Conv, Pool, Residual

GOALS = (0.94, 0.96)
SCHEDULES = {0.94: 10, 0.96: 30}


def fixed_network(width: int) -> Architecture:
    """A residual network after the small ones of the CIFAR-10 speed records (Page 2018): 3 stages, pooled between."""
    stages = (
        Stage(block=Conv(width=width), depth=1),
        Stage(block=Pool(), stride=2),
        Stage(block=Residual(width=2 * width), depth=1),
        Stage(block=Pool(), stride=2),
        Stage(block=Residual(width=4 * width), depth=1),
        Stage(block=Pool(), stride=2),
        Stage(block=Residual(width=4 * width), depth=1),
    )
    return Architecture(stem=(Stage(block=Conv(width=width)),), stages=stages, resolution=32, classes=10)


def speed_run(arguments: argparse.Namespace) -> Iterator[dict]:
    """Seconds from the built network to a test accuracy, capture and evaluation included, `--seeds` runs each.

    With `--airbench FOLDER` its script runs in the same way, and the goal is what it reaches on these images.
    """
    device = torch.device(arguments.device)
    data = load_dataset(arguments.images or "cifar10").to(device)
    test = data.read_test()
    assert test is not None, "the speed run needs a test split"
    for goal, epochs in SCHEDULES.items():
        runs = []
        for seed in range(arguments.seeds):
            torch.manual_seed(seed)
            started = time.monotonic()
            network = build(fixed_network(128 if goal > 0.95 else 64), device=device)
            recipe = Recipe(epochs=epochs, batch_size=1024)
            for _ in train(network, data, recipe, seed=seed, resolution=32):
                pass
            reached = accuracy(network, test, Preprocess(data, 32, device), bfloat16=True)
            runs.append((time.monotonic() - started, reached))
        yield {
            "case": "speed run",
            "goal": goal,
            "epochs": epochs,
            "seconds": [round(seconds, 2) for seconds, _ in runs],
            "test_accuracy": [round(reached, 4) for _, reached in runs],
            "mean_test_accuracy": round(statistics.mean(reached for _, reached in runs), 4),
        }
    if arguments.airbench:
        yield from _airbench(Path(arguments.airbench))


def _airbench(folder: Path) -> Iterator[dict]:
    """What airbench's own scripts print, run as they are."""
    for script in sorted(folder.glob("airbench9[46]*.py")):
        started = time.monotonic()
        done = subprocess.run([sys.executable, script.name], cwd=folder, capture_output=True, text=True)
        text = done.stdout[-4000:]
        yield {
            "case": "airbench",
            "script": script.name,
            "returncode": done.returncode,
            "seconds_of_the_process": round(time.monotonic() - started, 1),
            "accuracies": re.findall(r"0\.9\d{3}", text)[-3:],
            "last_lines": text.splitlines()[-4:],
        }


def whole_search(arguments: argparse.Namespace) -> Iterator[dict]:
    """`nas search --budget 50`, and its winner trained to the end; with `--baseline` a plain script for as long."""
    with tempfile.TemporaryDirectory() as folder:
        cuda = arguments.device.startswith("cuda")
        data = ["--dataset", arguments.images or "cifar10"]
        options = [] if cuda else ["--space", "tiny", "--limit-train", "8000", "--epochs", "6", "--workers", "2"]
        started = time.monotonic()
        found = _nas(folder, "search", *data, "--budget", "50", "--time", f"{arguments.seconds:.0f}s", *options)
        searched = time.monotonic() - started
        final = _nas(folder, "export", "--out", "best")
        whole = time.monotonic() - started
        yield {
            "case": "whole search",
            "trials": found["slots"]["DONE"],
            "ended": found["ended"],
            "search_seconds": round(searched),
            "seconds_with_the_winners_training": round(whole),
            "best_val_accuracy": found["best"]["val_accuracy"],
            "test_accuracy": final["metrics"]["test_accuracy"] if "metrics" in final else final.get("test_accuracy"),
        }
    if arguments.baseline:
        yield from _baseline(arguments, whole)


def _nas(folder: str, *command: str) -> dict:
    environment = {**os.environ, "NAS_STORAGE": f"sqlite:///{folder}/nas.db"}
    done = subprocess.run(
        [sys.executable, "-m", "nas", *command, "--json"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        check=True,
    )
    return json.loads(done.stdout)


def _baseline(arguments: argparse.Namespace, seconds: float) -> Iterator[dict]:
    """A plain Optuna script with --data FILE.npz --seconds S, for as long as our search and its winner took."""
    import numpy as np

    data = load_dataset(arguments.images or "cifar10", limit_train=10_500 if arguments.device == "cpu" else None)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "images.npz"
        test = data.read_test()
        assert test is not None
        images = np.concatenate([split.images.permute(0, 2, 3, 1).numpy() for split in (data.train, data.validation)])
        labels = np.concatenate([split.labels.numpy() for split in (data.train, data.validation)])
        np.savez(
            file,
            x_train=images,
            y_train=labels,
            x_test=test.images.permute(0, 2, 3, 1).numpy(),
            y_test=test.labels.numpy(),
        )
        command = [sys.executable, str(Path(arguments.baseline).resolve()), "--data", str(file)]
        command += ["--seconds", f"{seconds:.0f}", "--train-size", "8000", "--val-size", "2500", "--epochs", "6"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        yield {
            "case": "plain script for as long",
            "seconds": round(seconds),
            "returncode": done.returncode,
            **_printed(done.stdout),
        }


def _printed(text: str) -> dict:
    """The JSON document that a script printed; its last lines where it is none."""
    try:
        return {"printed": json.loads(text)}
    except ValueError:
        return {"last_lines": text.splitlines()[-20:]}
