"""Compare every reference with torchvision: parameters, multiply-adds, and logits from the same random weights.

    python benchmarks/references.py              one JSON line per reference
    python benchmarks/references.py --markdown   the table of docs/references.md

Torchvision's network gets random BatchNorm weights and biases, and running statistics from one forward pass in
training mode; both networks then run in float64 in eval mode on the same images.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Iterator
from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models import get_model, get_model_weights

from searchspace import REFERENCES, build, cost, reference
from searchspace.references import load_torchvision

LIMIT = 1e-6  # of the largest logit
PIXELS = 48  # the last maps of most networks have 2x2 pixels
SOURCES = {
    "vgg": "Simonyan and Zisserman 2014",
    "googlenet": "Szegedy et al. 2014",
    "resnet": "He et al. 2015",
    "densenet": "Huang et al. 2017",
    "mobilenet": "Sandler et al. 2018",
    "efficientnet": "Tan and Le 2019",
}


def random_torchvision(name: str, *, seed: int = 0, pixels: int = PIXELS, classes: int = 1000) -> nn.Module:
    """Torchvision's network in float64 and eval mode, every BatchNorm with weights and statistics of its own."""
    torch.manual_seed(seed)
    arguments = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    network = get_model(name, weights=None, num_classes=classes, **arguments)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias, std=0.5)
        norm.momentum = 1.0  # the statistics become the batch's own, not a tenth of them
    with torch.no_grad():
        network.train()(images(8, pixels).float())
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return network.double().eval()


def images(count: int, pixels: int = PIXELS) -> Tensor:
    return torch.randn(count, 3, pixels, pixels, dtype=torch.float64, generator=torch.Generator().manual_seed(7))


def logits(network: nn.Module, pixels: int = PIXELS) -> Tensor:
    with torch.no_grad():
        return network(images(2, pixels))


def ours(name: str, state_dict: dict[str, Tensor], classes: int = 1000) -> nn.Module:
    """The reference of this name with torchvision's weights, in float64 and eval mode."""
    network = build(reference(name, num_classes=classes)).double().eval()
    network.load_state_dict(load_torchvision(name, state_dict))
    return network


def relative_difference(given: Tensor, expected: Tensor) -> float:
    """The largest difference over the largest expected logit."""
    return ((given - expected).abs().max() / expected.abs().max()).item()


def rows() -> Iterator[dict[str, Any]]:
    for name in REFERENCES:
        meta = get_model_weights(name).DEFAULT.meta
        counted = cost(reference(name))
        theirs = random_torchvision(name)
        difference = relative_difference(logits(ours(name, theirs.state_dict())), logits(theirs))
        yield {
            "name": name,
            "params": counted.params,
            "params_published": meta["num_params"],
            "gmacs": counted.macs / 1e9,
            "gmacs_published": meta["_ops"],
            "gmacs_difference": round(counted.macs / 1e9 / meta["_ops"] - 1, 5),
            "logit_difference": difference,
            "source": next(source for family, source in SOURCES.items() if name.startswith(family)),
        }


HEADER = """\
# References

Published networks, described in the language of this package and compared with torchvision's: the parameters and
multiply-adds (MACs, which torchvision calls GFLOPs) of its published weights at their crop size, and the logits of both
networks with the same random weights in float64, as the largest difference over the largest logit.
`efficientnet_b1` to `b7` are `efficientnet_b0`, scaled.
"""
COLUMNS = "name | params | published | G MACs | published | difference | largest logit difference | source"


def markdown(table: list[dict[str, Any]]) -> str:
    lines = [HEADER, f"| {COLUMNS} |", "|---|--:|--:|--:|--:|--:|--:|---|"]
    for row in table:
        cells = (
            row["name"],
            f"{row['params']:,}",
            f"{row['params_published']:,}",
            f"{row['gmacs']:.3f}",
            f"{row['gmacs_published']:.3f}",
            f"{row['gmacs_difference']:+.2%}",
            f"{row['logit_difference']:.1e}",
            row["source"],
        )
        lines.append(f"| {' | '.join(cells)} |")
    versions = f"Python {platform.python_version()}, torch {torch.__version__}, torchvision {torchvision.__version__}"
    lines.append(f"\nWritten by `python benchmarks/references.py --markdown > docs/references.md` with {versions}.")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--markdown", action="store_true", help="print docs/references.md")
    if parser.parse_args().markdown:
        print(markdown(list(rows())))
        return
    for row in rows():
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
