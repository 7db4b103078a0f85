"""Train references against independent implementations of the same networks, with the same recipe and data.

    python benchmarks/classical.py --images FOLDER [--count 10000] [--epochs resnet20=10,...] [--seeds 0]

The other implementations are torchvision's MobileNetV2, its first convolution at stride 1 as the CIFAR form has it, and
the plain modules of `plain_networks.py`. Both start from the other implementation's initial weights; loop, recipe,
images and their order are the same. One JSON line a training; `--markdown` prints the table of docs/benchmarks.md from
such lines.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable

import torch
from plain_networks import PLAIN
from torch import nn
from torchvision.models import mobilenet_v2

from nas.training.data import Dataset, Split, load_dataset
from nas.training.device import describe_device, pick_device
from nas.training.evaluate import Preprocess, accuracy
from nas.training.loop import train
from nas.training.recipe import Recipe
from searchspace import build, cifar_form, reference

EPOCHS = {"resnet20": 10, "densenet_bc_100_12": 6, "mobilenet_v2": 10}


def small_mobilenet_v2(classes: int) -> nn.Module:
    network = mobilenet_v2(weights=None, num_classes=classes)
    network.features[0][0].stride = (1, 1)  # pyright: ignore[reportIndexIssue]
    return network


OTHERS: dict[str, Callable[[int], nn.Module]] = {
    "resnet20": PLAIN["resnet20"],
    "densenet_bc_100_12": PLAIN["densenet_bc_100_12"],
    "mobilenet_v2": small_mobilenet_v2,
}


def started(name: str, implementation: str, data: Dataset, seed: int) -> nn.Module:
    """A network with the initial weights of the other implementation; tensors stand in one order in both."""
    torch.manual_seed(seed)
    other = OTHERS[name](len(data.classes))
    if implementation == "other":
        return other
    architecture = cifar_form(reference(name), data.resolution)
    network = build(architecture.changed(classes=len(data.classes), channels=data.channels))
    network.load_state_dict(dict(zip(network.state_dict(), other.state_dict().values(), strict=True)))
    return network


def measure(name: str, implementation: str, data: Dataset, recipe: Recipe, seed: int, tested: int) -> dict:
    """Train one implementation and score it on validation and test images."""
    device = data.train.images.device
    network = started(name, implementation, data, seed).to(device)
    begun = time.monotonic()
    scores = list(train(network, data, recipe, seed=seed, resolution=data.resolution))
    seconds = time.monotonic() - begun
    test = data.read_test()
    assert test is not None, "the data have no test split"
    chosen = torch.arange(0, len(test), max(1, len(test) // tested), device=device)
    test = Split(test.images[chosen], test.labels[chosen])
    preprocess = Preprocess(data, data.resolution, device)
    return {
        "case": "classical networks",
        "network": name,
        "implementation": implementation,
        "seed": seed,
        "params": sum(parameter.numel() for parameter in network.parameters()),
        "epochs": recipe.epochs,
        "precision": "bfloat16" if recipe.bfloat16 else "float32",
        "images": len(data.train),
        "test_images": len(test),
        "val_accuracy": scores[-1].val_accuracy,
        "test_accuracy": accuracy(network, test, preprocess),
        "seconds": round(seconds, 1),
        "device": describe_device(device),
        "torch": torch.__version__,
    }


def markdown(lines: list[dict]) -> str:
    """One row a network: test accuracies of both implementations, seed by seed, and the difference of their means."""
    rows = ["| network | params | epochs | ours | other | difference |", "|---|--:|--:|--:|--:|--:|"]
    for name in dict.fromkeys(line["network"] for line in lines):
        mine, theirs = (
            [line for line in lines if (line["network"], line["implementation"]) == (name, side)]
            for side in ("ours", "other")
        )
        params = {line["params"] for line in mine + theirs}
        if len(params) > 1:
            raise SystemExit(f"{name}: the implementations have {params} parameters")
        listed = [", ".join(f"{line['test_accuracy']:.2%}" for line in side) for side in (mine, theirs)]
        means = [statistics.mean(line["test_accuracy"] for line in side) for side in (mine, theirs)]
        difference = f"{100 * (means[0] - means[1]):+.2f}"
        rows.append(f"| {name} | {params.pop():,} | {mine[0]['epochs']} | {' | '.join(listed)} | {difference} |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", help="folder with train/<class>/* and test/<class>/*")
    parser.add_argument("--count", type=int, default=10_000, help="images, a tenth of them for validation")
    parser.add_argument("--epochs", default="", help="such as resnet20=20,mobilenet_v2=5")
    parser.add_argument("--networks", default=",".join(OTHERS))
    parser.add_argument("--implementations", default="ours,other")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--test-images", type=int, default=10_000)
    parser.add_argument("--float32", action="store_true", help="no bfloat16")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--markdown", action="store_true", help="read JSON lines from standard input, print the table")
    arguments = parser.parse_args()
    if arguments.markdown:
        print(markdown([json.loads(line) for line in sys.stdin]))
        return
    epochs = EPOCHS | {
        name: int(count) for name, count in (item.split("=") for item in arguments.epochs.split(",") if item)
    }
    data = load_dataset(arguments.images or "cifar10", limit_train=arguments.count).to(pick_device(arguments.device))
    for name in arguments.networks.split(","):
        for seed in map(int, arguments.seeds.split(",")):
            for implementation in arguments.implementations.split(","):
                recipe = Recipe(epochs=epochs[name], bfloat16=not arguments.float32)
                line = measure(name, implementation, data, recipe, seed, arguments.test_images)
                print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
