"""Which techniques shorten training at equal accuracy: each beside the present recipe, equal time, four families.

    OMP_NUM_THREADS=1 python benchmarks/recipe.py --images FOLDER --out FILE [--cases base,...] [--seeds 0,1,2]
    python benchmarks/recipe.py --out FILE --markdown

A case is one technique (`techniques.py`), a family one small network for 32x32 images. Where a technique changes what
a step costs, steps with and without it are timed in turn first (process CPU time, one thread), and the training gets
as many steps as fit into the recipe's time. Equal seeds mean equal order of the images and, but for a whitening stem,
equal initial weights. One JSON line a training, appended to FILE; what stands there already is not run again. The
accuracies are those on the validation images; the test images are not read.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import torch
from techniques import Averages, Case, Constant, Cosine, Training
from torch.nn import functional

from nas.training.data import Dataset, load_dataset
from nas.training.device import describe_device
from nas.training.evaluate import accuracy, logits
from searchspace import Architecture, Head, Stage, cost
from searchspace.blocks import Conv, ConvLayer, Dense, Inception, MBConv, PoolLayer, Residual

IMAGES = (9_200, 0.435)  # 5,198 to train on, 4,002 for validation
STEPS = 160  # of 128 images: 4 epochs
PROGRESSIVE = ((0.3, 16), (0.3, 24), (0.4, 32))
CASES = {
    "base": Case(),
    "alternating flip": Case(alternating_flip=True),
    "label smoothing 0": Case(recipe={"label_smoothing": 0.0}),
    "label smoothing 0.2": Case(recipe={"label_smoothing": 0.2}),
    "16-24-32 pixels": Case(resolutions=PROGRESSIVE, free=False),
    "24-32 pixels": Case(resolutions=((0.5, 24), (0.5, 32)), free=False),
    "16-32 pixels": Case(resolutions=((0.4, 16), (0.6, 32)), free=False),
    "16-24-32 pixels, longer low": Case(resolutions=((0.4, 16), (0.3, 24), (0.3, 32)), free=False),
    "16-24-32 pixels, alternating flip": Case(resolutions=PROGRESSIVE, alternating_flip=True, free=False),
    "normalised gradient 0.1": Case(muon=0.1, muon_iterations=0, free=False),
    "muon 0.1, 5 iterations": Case(muon=0.1, muon_iterations=5, free=False),
    "muon 0.1, 16-24-32 pixels": Case(muon=0.1, resolutions=PROGRESSIVE, free=False),
    "muon 0.1, whitening 2x2": Case(muon=0.1, whitening=2, whitening_activation=True, free=False),
    "muon 0.1, alternating flip": Case(muon=0.1, alternating_flip=True, free=False),
    "muon 0.1, label smoothing 0.2": Case(recipe={"label_smoothing": 0.2}, muon=0.1, free=False),
    "muon 0.1, no zero-init": Case(muon=0.1, zero_init=False, free=False),
    "muon 0.1, batch 256": Case(recipe={"batch_size": 256}, muon=0.1, free=False),
    "muon 0.2, batch 512": Case(recipe={"batch_size": 512}, muon=0.2, free=False),
    "gradient clip 100": Case(recipe={"gradient_clip": 100.0}),
    "lookahead 0.95": Case(lookahead=0.95, free=False),
    "muon 0.05": Case(muon=0.05, free=False),
    "muon 0.1": Case(muon=0.1, free=False),
    "muon 0.2": Case(muon=0.2, free=False),
    "whitening 2x2": Case(whitening=2, free=False),
    "whitening 3x3": Case(whitening=3, free=False),
    "whitening 2x2, gelu": Case(whitening=2, whitening_activation=True, free=False),
    "skip easiest 25 %": Case(skipped=0.25),
    "skip easiest 50 %": Case(skipped=0.5),
    "batch 64": Case(recipe={"batch_size": 64}, free=False),
    "batch 256": Case(recipe={"batch_size": 256}, free=False),
    "batch 512": Case(recipe={"batch_size": 512}, free=False),
    "adam, constant 0.001": Case(
        Constant, {"optimizer": "adam", "learning_rate": 2e-3, "weight_decay": 0.0, "label_smoothing": 0.0}
    ),
    "adam, cosine 0.003": Case(Cosine, {"optimizer": "adam", "learning_rate": 6e-3, "weight_decay": 0.0}),
    "adam, one cycle": Case(recipe={"optimizer": "adam", "learning_rate": 8e-3}),
    "sgd, cosine": Case(Cosine),
    "warm-up 0.1": Case(recipe={"warmup": 0.1}),
    "warm-up 0.3": Case(recipe={"warmup": 0.3}),
    "rate 0.5": Case(recipe={"learning_rate": 0.5}),
    "rate 2": Case(recipe={"learning_rate": 2.0}),
    "rate 4": Case(recipe={"learning_rate": 4.0}),
    "no zero-init": Case(zero_init=False),
}
POINT = ConvLayer(width=1, kernel_size=(1, 1))
BRANCHES = ((POINT,), (POINT, ConvLayer(width=2)), (PoolLayer(), POINT))
MOMENTA, DECAYS = (0.1, 0.3, 0.5), (0.9, 0.95, 0.98)


def networks() -> dict[str, tuple[Architecture, bool]]:
    """A tiny network of each family, and whether it is trained in bfloat16, where that is faster than float32."""

    def body(*blocks, depth: int) -> tuple[Stage, ...]:
        return tuple(Stage(block=block, depth=depth, stride=1 + (place > 0)) for place, block in enumerate(blocks))

    full, half = ((Stage(block=Conv(width=16), stride=stride),) for stride in (1, 2))
    residual = body(*(Residual(width=w) for w in (16, 32, 64)), depth=1)
    dense = body(*(Dense(growth_rate=12, compression=c) for c in (1.0, 0.5, 0.5)), depth=3)
    inception = body(*(Inception(width=w, branches=BRANCHES) for w in (32, 64, 128)), depth=1)
    mbconv = body(*(MBConv(width=w, expansion=4.0) for w in (16, 32, 64)), depth=1)
    return {
        "residual": (Architecture(stem=full, stages=residual), True),
        "dense": (Architecture(stem=half, stages=dense, head=Head(norm="batch")), True),
        "inception": (Architecture(stem=half, stages=inception), True),
        "mbconv": (Architecture(stem=half, stages=mbconv), False),
    }


def step_cost(family: str, case: Case, data: Dataset) -> float:
    """CPU time of a step with the technique in units of the recipe's."""
    if case.free:
        return 1.0
    if not case.resolutions:
        return _step_cost(family, case, data)
    return sum(
        share * _step_cost(family, replace(case, resolutions=((1.0, pixels),)), data)
        for share, pixels in case.resolutions
    )


def _step_cost(family: str, case: Case, data: Dataset, rounds: int = 24) -> float:
    """Steps in turn, the first four not counted; the lower quartiles, which other work on the machine changes least."""
    architecture, bfloat16 = networks()[family]
    times: list[list[float]] = [[], []]
    pair = [Training(architecture, chosen, data, seed=0, steps=rounds, bfloat16=bfloat16) for chosen in (Case(), case)]
    for _ in range(rounds):
        for training, seconds in zip(pair, times, strict=True):
            started = time.process_time()
            training.step()
            seconds.append(time.process_time() - started)
    plain, changed = (statistics.quantiles(seconds[4:], n=4)[0] for seconds in times)
    return changed / plain


def measure(
    family: str, case: Case, data: Dataset, seed: int, steps: int, losses: torch.Tensor | None, thorough: bool
) -> dict:
    """One training; `thorough`: all momenta and decays, and scores after each epoch's worth of steps."""
    architecture, bfloat16 = networks()[family]
    training = Training(
        architecture, case, data, seed=seed, steps=steps, bfloat16=bfloat16, losses=losses if case.skipped else None
    )
    averages = Averages(training.network, MOMENTA if thorough else (0.1, 0.3), DECAYS if thorough else (), 0.3)
    curve, total, seconds = [], 0.0, 0.0
    for step in range(1, steps + 1):
        started = time.process_time()
        total += float(training.step())
        averages.step()
        seconds += time.process_time() - started
        if thorough and step % (steps // 4) == 0 and step < steps:
            curve.append(scores(training, averages, data, curve=True))
    return {
        "steps": steps,
        "epochs": round(steps * training.recipe.batch_size / len(data.train), 2),
        "accuracy": scores(training, averages, data),
        "curve": curve,
        "train_loss": round(total / steps, 4),
        "cpu_seconds": round(seconds, 2),
    }


def scores(training: Training, averages: Averages, data: Dataset, curve: bool = False) -> dict[str, float]:
    """Per cent of the validation images, each variant; in a curve at the resolution of the last step as well."""
    trained_at = training.preprocess.resolution
    found = {}
    for name in averages.variants():
        if curve and name not in ("momentum 0.1", "momentum 0.3", "momentum 0.3, decay 0.9"):
            continue
        for pixels in {data.resolution, trained_at if curve else data.resolution}:
            training.preprocess.resolution = pixels
            score = accuracy(training.network, data.validation, training.preprocess, bfloat16=training.bfloat16)
            found[name if pixels == data.resolution else f"{name}, {pixels} pixels"] = round(100 * score, 3)
    return found


def difficulty(data: Dataset) -> torch.Tensor:
    """How hard each training image is: the mean loss of a small proxy network after each of its three epochs."""
    half = body_of_proxy()
    training = Training(half, Case(), data, seed=1000, steps=3 * (STEPS // 4), bfloat16=True)
    losses = torch.zeros(len(data.train))
    for _ in range(3):
        for _ in range(STEPS // 4):
            training.step()
        output = logits(training.network, data.train.images, training.preprocess, bfloat16=True)
        losses += functional.cross_entropy(output, data.train.labels, reduction="none")
    return losses


def body_of_proxy() -> Architecture:
    stages = tuple(Stage(block=Residual(width=w), stride=1 + (w > 8)) for w in (8, 16, 32))
    return Architecture(stem=(Stage(block=Conv(width=8), stride=2),), stages=stages)


def table(lines: list[dict], variant: str = "momentum 0.1", reference: str | None = None) -> str:
    """Mean difference to the recipe of equal seeds in points, with its standard error, as Markdown."""
    base = {(x["family"], x["seed"]): x["accuracy"][reference or variant] for x in lines if x["case"] == "base"}
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    costs: dict[str, list[float]] = defaultdict(list)
    for x in lines:
        key = (x["family"], x["seed"])
        if key in base and variant in x["accuracy"]:
            name = x["case"] + ("" if x["equal"] == "time" else ", equal epochs")
            found[name][x["family"]].append(x["accuracy"][variant] - base[key])
            costs[name].append(x["step_cost"])
    families = list(networks())
    rows = [f"| technique | seeds | step cost | {' | '.join(families)} | mean |", "|---|--:|--:|" + "--:|" * 5]
    rows.append("| the recipe, per cent | | | " + " | ".join(level(base, family) for family in families) + " | |")
    for name, by_family in found.items():
        if name == "base" and variant == (reference or variant):
            continue
        known = [by_family[family] for family in families if by_family[family]]
        mean = statistics.mean(map(statistics.mean, known))
        several = all(len(values) > 1 for values in known)
        deviation = f" ± {sum(error(values) ** 2 for values in known) ** 0.5 / len(known):.1f}" if several else ""
        cells = [spread(by_family[family]) if by_family[family] else "-" for family in families]
        head = f"{name} | {max(map(len, known))} | {statistics.geometric_mean(costs[name]):.2f}"
        rows.append(f"| {head} | {' | '.join(cells)} | {mean:+.1f}{deviation} |")
    return "\n".join(rows)


def level(base: dict[tuple[str, int], float], family: str) -> str:
    values = [accuracy for (name, _), accuracy in base.items() if name == family]
    return f"{statistics.mean(values):.1f}" if values else "-"


def error(values: list[float]) -> float:
    """The standard error of the mean of two values or more."""
    return statistics.stdev(values) / len(values) ** 0.5


def spread(values: list[float]) -> str:
    return f"{statistics.mean(values):+.1f}" + (f" ± {error(values):.1f}" if len(values) > 1 else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", help="folder with train/<class>/*")
    parser.add_argument("--out", type=Path, required=True, help="file of JSON lines, read first and added to")
    cases = ",".join(name.replace(", ", "+") for name in CASES)
    parser.add_argument("--cases", default=cases, help="names in CASES, a comma and space in them written +")
    parser.add_argument("--families", default=",".join(networks()))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--equal", choices=("time", "epochs"), default="time")
    parser.add_argument("--steps", type=int, default=STEPS, help="of the recipe's training")
    parser.add_argument("--thorough", action="store_true", help="all momenta and decays, and scores after each epoch")
    parser.add_argument("--markdown", action="store_true", help="print the table of the lines in FILE")
    parser.add_argument("--variant", default="momentum 0.1")
    parser.add_argument("--reference", help="variant of the base (default: that of --variant)")
    arguments = parser.parse_args()
    lines = [json.loads(x) for x in arguments.out.read_text().splitlines()] if arguments.out.exists() else []
    if arguments.markdown:
        print(table([x for x in lines if x["base_steps"] == arguments.steps], arguments.variant, arguments.reference))
        return
    torch.set_num_threads(1)
    done = {(x["case"], x["family"], x["seed"], x["equal"], x["base_steps"]) for x in lines}
    costs = {(x["case"], x["family"]): x["step_cost"] for x in lines}
    data = load_dataset(arguments.images, limit_train=IMAGES[0], validation_fraction=IMAGES[1])
    names = [name.replace("+", ", ") for name in arguments.cases.split(",")]
    losses = difficulty(data) if any(CASES[name].skipped for name in names) else None
    for seed in map(int, arguments.seeds.split(",")):
        for name in names:
            for family in arguments.families.split(","):
                if (name, family, seed, arguments.equal, arguments.steps) in done:
                    continue
                case = CASES[name]
                if (name, family) not in costs:
                    costs[name, family] = round(step_cost(family, case, data), 4)
                steps = arguments.steps
                if arguments.equal == "time":
                    steps = round(steps / costs[name, family])
                found = measure(family, case, data, seed, steps, losses, arguments.thorough)
                line = {
                    "case": name,
                    "family": family,
                    "seed": seed,
                    "equal": arguments.equal,
                    "base_steps": arguments.steps,
                    "step_cost": costs[name, family],
                    **found,
                    "images": len(data.train),
                    "validation_images": len(data.validation),
                    "params": cost(networks()[family][0]).params,
                    "device": describe_device(data.train.images.device),
                    "torch": torch.__version__,
                }
                with arguments.out.open("a") as file:
                    file.write(json.dumps(line) + "\n")
                print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
