"""Does a fitted direction give better networks than a fixed one? A JSON line a case.

    python benchmarks/scaling.py --images FOLDER --limit-train 2000 --epochs 4 --out scaling.jsonl
    python benchmarks/scaling.py --report scaling.jsonl

Each start is fitted first (short trainings at twice its multiply-adds), then scaled to each factor of them along the
fitted direction, width alone, EfficientNet's exponents and a random direction, and trained from other seeds than those
of the fit. A case that stands in --out is not trained again, so the benchmark may be interrupted and gone on with;
--minutes ends it between two cases. Directions that give the same network share its trainings.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import nas
from nas.errors import NasError
from nas.quantities import show_count
from nas.scaling.fitted import fit_on
from nas.scaling.ground import Ground
from nas.scaling.learnt import fitted_direction
from nas.scaling.start import Start
from nas.training.data import Dataset, load_dataset
from nas.training.device import describe_device, pick_device
from nas.training.recipe import Recipe
from nas.training.seeds import derive_seed
from nas.training.trial import train_to_the_end
from searchspace import Architecture, Stage
from searchspace.blocks import Conv, MBConv, Residual
from searchspace.directions import DIRECTIONS, Direction, Pixels
from studies import StudyStore


def starts(data: Dataset) -> dict[str, Architecture]:
    """Two small networks of about 3 M multiply-adds at 32 pixels, of three stages each."""
    shape: dict[str, Any] = {"channels": data.channels, "resolution": data.resolution, "classes": len(data.classes)}
    stem = (Stage(block=Conv(width=16, kernel_size=3), stride=2),)
    residual = tuple(
        Stage(block=Residual(width=width), depth=depth, stride=stride)
        for width, depth, stride in ((16, 2, 1), (24, 2, 2), (48, 2, 2))
    )
    mbconv = tuple(
        Stage(block=MBConv(width=width, kernel_size=3, expansion=4), depth=depth, stride=stride)
        for width, depth, stride in ((16, 2, 1), (32, 2, 2), (64, 2, 2))
    )
    return {
        "residual": Architecture(**shape, stem=stem, stages=residual, name="residual"),
        "mbconv": Architecture(**shape, stem=stem, stages=mbconv, name="mbconv"),
    }


def random_direction(start: str, factor: float, seed: int) -> Direction:
    """Uniform on the simplex, another one for each seed, so that their mean is that of not knowing."""
    draws = random.Random(f"{start} {factor} {seed}")
    cuts = sorted((draws.random(), draws.random()))
    return fitted_direction("random", (cuts[0], cuts[1] - cuts[0], 1 - cuts[1]))


def fitted(start: Architecture, data: Dataset, arguments: argparse.Namespace) -> nas.ScalingFit:
    """The fit of the start; its trainings stand in the database beside --out."""
    ground = Ground(
        start=Start(start, Pixels(16, data.resolution)),
        data=data,
        recipe=Recipe(epochs=arguments.epochs),
        seed=0,
        store=StudyStore(f"sqlite:///{Path(arguments.out).resolve().with_suffix('.db')}"),
        device=describe_device(data.train.images.device),
    )
    return fit_on(ground, arguments.epochs, arguments.fit_seeds, say=lambda text: print(text, flush=True))


def main() -> None:
    arguments = parse()
    if arguments.report:
        print(report(Path(arguments.report)))
        return
    ends = time.monotonic() + 60 * arguments.minutes
    out = Path(arguments.out)
    data = load_dataset(arguments.images, limit_train=arguments.limit_train, resolution=arguments.resolution)
    data = data.to(pick_device(arguments.device))
    for name, start in starts(data).items():
        if name not in arguments.starts.split(","):
            continue
        fit = fitted(start, data, arguments)
        for seed in range(arguments.seeds):
            for factor in map(float, arguments.factors.split(",")):
                directions = {
                    "fitted": fit.direction,
                    "width": DIRECTIONS["width"],
                    "efficientnet": DIRECTIONS["efficientnet"],
                    "random": random_direction(name, factor, seed),
                }
                for label, direction in directions.items():
                    if time.monotonic() > ends:
                        print("the time is over; the same command goes on")
                        return
                    case = {"start": name, "factor": factor, "direction": label, "seed": seed}
                    measure(case, start, fit, direction, data, arguments, out)


def measure(
    case: dict[str, Any],
    start: Architecture,
    fit: nas.ScalingFit,
    direction: Direction,
    data: Dataset,
    arguments: argparse.Namespace,
    out: Path,
) -> None:
    """Train one case, unless it stands in the file or its direction makes no such network, and write its line."""
    lines = read(out)
    if any(all(line[key] == value for key, value in case.items()) for line in lines):
        return
    ends = (16, data.resolution)
    limit = round(case["factor"] * fit.cost.macs)
    try:
        made = nas.scale(start, max_macs=limit, direction=direction, resolution_range=ends).best
    except NasError as error:  # it asks most of what this network cannot give up
        print(f"{case}: {error}", flush=True)
        return
    same = [line for line in lines if line["digest"] == made.architecture.digest and line["seed"] == case["seed"]]
    if same:
        found = {key: same[0][key] for key in ("val_accuracy", "seconds")}
    else:
        began = time.monotonic()
        seed = derive_seed(1000 + case["seed"], "benchmark")
        _, scores = train_to_the_end(made.architecture, data, Recipe(epochs=arguments.epochs), seed)
        found = {"val_accuracy": scores[-1].val_accuracy, "seconds": round(time.monotonic() - began, 1)}
    line = case | found
    line |= {"law": direction.name, "exponents": [round(share, 3) for share in direction.exponents]}
    line |= {"digest": made.architecture.digest, "params": made.cost.params, "macs": made.cost.macs}
    line |= {"activations": made.cost.activations, "share": round(made.share, 4)}
    line |= {"pixels": made.architecture.resolution, "sure": fit.verdict.sure, "epochs": arguments.epochs}
    line |= {"images": len(data.train), "device": describe_device(data.train.images.device)}
    with out.open("a") as file:
        file.write(json.dumps(line) + "\n")
    print(json.dumps(line), flush=True)


def read(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []


def report(file: Path) -> str:
    """The table of docs/benchmarks.md: mean and standard deviation over seeds."""
    groups: dict[tuple[str, float, str], list[dict[str, Any]]] = defaultdict(list)
    for line in read(file):
        groups[line["start"], line["factor"], line["direction"]].append(line)
    rows = ["| start | MACs | direction | activations | params | accuracy | seeds |", "|---|---|---|---|---|---|---|"]
    for (start, factor, direction), lines in groups.items():
        scores = [line["val_accuracy"] for line in lines]
        spread = f" ± {statistics.stdev(scores):.2%}" if len(scores) > 1 else ""
        counts = [show_count(statistics.mean(line[name] for line in lines)) for name in ("activations", "params")]
        cells = [start, f"x{factor:g}", direction, *counts, f"{statistics.mean(scores):.2%}{spread}", str(len(scores))]
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", default="cifar10")
    parser.add_argument("--limit-train", type=int)
    parser.add_argument("--resolution", type=int)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--fit-seeds", type=int, default=2)
    parser.add_argument("--starts", default="residual,mbconv")
    parser.add_argument("--factors", default="4,0.25")
    parser.add_argument("--minutes", type=float, default=1e9)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", default="scaling.jsonl")
    parser.add_argument("--report")
    return parser.parse_args()


if __name__ == "__main__":
    main()
