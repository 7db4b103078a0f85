"""Compare every reference with an independent implementation of the same network, given the same random weights.

    python benchmarks/references.py              one JSON line per reference, then the seconds it took in all
    python benchmarks/references.py NAME ...     these alone
    python benchmarks/references.py --markdown   docs/references.md

The other implementation is torchvision's; timm's of Inception-ResNet-v2; and the plain modules of `plain_networks.py`
for the rest. It gets random weights, and running statistics from one forward pass in training mode. Both networks then
run in float64 on the same small images. The command fails where one differs from the other, or from what is published.
"""

from __future__ import annotations

import argparse
import importlib
import json
import platform
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models import get_model, get_model_weights
from torchvision.ops import StochasticDepth

from searchspace import REFERENCES, cost, reference
from searchspace.network import outline
from searchspace.references import SOURCES, load_torchvision
from searchspace.references.weights import TORCHVISION, WITH_AUXILIARY

DOCUMENT = Path(__file__).parents[1] / "docs" / "references.md"
sys.path.insert(0, str(Path(__file__).parent))  # where this file is imported, as the tests do, and not run
PLAIN = importlib.import_module("plain_networks").PLAIN

LIMIT = 1e-6  # of the largest logit, of the whole gradient's norm

# Sides of images whose last map has 2x2 pixels or more: with one pixel, all ways of pooling it would be alike.
PIXELS = dict.fromkeys(PLAIN, 16) | {"lenet5": 32, "alexnet": 96, "vgg": 64, "densenet": 64, "inception": 107}
OTHER_PIXELS = 48


class Differences(NamedTuple):
    """How far our network is from the other one; 0 is equal."""

    logits: float  # eval mode: the largest difference over the largest logit
    gradient: float  # training mode, no dropout nor drop path: norm of the difference over the norm of all gradients
    chance: float  # as `logits`, in training mode with dropout and drop path from the same seed: their places and rates
    statistics: float  # running means and variances after training: the largest difference over the largest of a layer


def counterpart(name: str, *, seed: int = 0, pixels: int | None = None, classes: int | None = None) -> nn.Module:
    """The other implementation in float64 and eval mode, every parameter random, its statistics those of a batch."""
    with torch.device("meta"):
        network = _construct(name, reference(name, num_classes=classes).classes)
    network.double().to_empty(device="cpu")
    torch.manual_seed(seed)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    with torch.no_grad():
        for parameter in network.parameters():
            _randomise(parameter)
        for norm in norms:
            norm.reset_running_stats()
            norm.weight.uniform_(0.5, 1.5)
            norm.momentum = 1.0  # the statistics become the batch's own, not a tenth of them
        network.train()(images(name, 8, pixels))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return network.eval()


def _randomise(parameter: Tensor) -> None:
    """Weights that keep the scale of what passes a ReLU (He et al. 2015), biases that matter beside it."""
    if parameter.dim() > 1:
        nn.init.kaiming_uniform_(parameter, nonlinearity="relu")
    else:
        nn.init.uniform_(parameter, -0.5, 0.5)


def _construct(name: str, classes: int) -> nn.Module:
    if name in TORCHVISION:
        arguments = {"aux_logits": False, "init_weights": False} if name in WITH_AUXILIARY else {}
        return get_model(name, weights=None, num_classes=classes, **arguments)
    if name in PLAIN:
        return PLAIN[name](classes)
    timm = importlib.import_module("timm")
    return timm.create_model(name, num_classes=classes, drop_rate=reference(name).head.dropout)


def smallest(name: str) -> int:
    """The side of the images for this name, by the first of the table's beginnings that it has."""
    return next((pixels for start, pixels in PIXELS.items() if name.startswith(start)), OTHER_PIXELS)


def images(name: str, count: int, pixels: int | None = None) -> Tensor:
    side = smallest(name) if pixels is None else pixels
    generator = torch.Generator().manual_seed(7)
    return torch.randn(count, reference(name).channels, side, side, dtype=torch.float64, generator=generator)


def paired(name: str, network: nn.Module, state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """The other network's tensors under the names of ours: torchvision's by its names, others by their order."""
    tensors = load_torchvision(name, state_dict) if name in TORCHVISION else state_dict
    return dict(zip(network.state_dict(), tensors.values(), strict=True))


def ours(name: str, state_dict: dict[str, Tensor], classes: int | None = None, **changes: Any) -> nn.Module:
    """The reference of this name with the other network's weights, in float64 and eval mode; `changes` are controls."""
    architecture = reference(name, num_classes=classes).changed(**changes)
    network = outline(architecture).double().to_empty(device="cpu").eval()
    network.load_state_dict(paired(name, network, state_dict))
    return network


def logits(network: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return network(x)


def relative_difference(given: Tensor, expected: Tensor) -> float:
    """The largest difference over the largest expected value."""
    return ((given - expected).abs().max() / expected.abs().max()).item()


def compare(name: str, network: nn.Module, theirs: nn.Module, pixels: int | None = None) -> Differences:
    """Both networks on the same images; leaves them trained by two batches, without dropout and drop path."""
    x = images(name, 4, pixels)
    in_eval = relative_difference(logits(network.eval(), x), logits(theirs.eval(), x))
    by_chance = [_logits_by_chance(whose, x) for whose in (network, theirs)]
    for whose in (network, theirs):
        _backward(whose, x)
    pairs = paired(name, network, theirs.state_dict(keep_vars=True))
    return Differences(
        logits=in_eval,
        gradient=_gradient_difference(network, pairs),
        chance=relative_difference(*by_chance),
        statistics=_statistics_difference(network, pairs),
    )


def _logits_by_chance(network: nn.Module, x: Tensor) -> Tensor:
    torch.manual_seed(11)
    return logits(network.train(), x)


def _backward(network: nn.Module, x: Tensor) -> None:
    """Gradients of a random weighting of the logits."""
    for module in network.modules():
        if isinstance(module, nn.Dropout | StochasticDepth):
            module.p = 0.0
    network.zero_grad()
    output = network.train()(x)
    output.backward(torch.randn(output.shape, dtype=output.dtype, generator=torch.Generator().manual_seed(13)))


def _gradient_difference(network: nn.Module, pairs: dict[str, Tensor]) -> float:
    difference = whole = 0.0
    for name, parameter in network.named_parameters():
        expected = pairs[name].grad
        assert parameter.grad is not None, name
        assert expected is not None, name
        difference += torch.dist(parameter.grad, expected).item() ** 2
        whole += torch.linalg.vector_norm(expected).item() ** 2
    return (difference / whole) ** 0.5


def _statistics_difference(network: nn.Module, pairs: dict[str, Tensor]) -> float:
    statistics = [(name, buffer) for name, buffer in network.named_buffers() if buffer.is_floating_point()]
    return max((relative_difference(buffer, pairs[name]) for name, buffer in statistics), default=0.0)


def published(name: str) -> tuple[int | None, float | None]:
    """Parameters and multiply-adds from the metadata of torchvision's weights, or from the table of sources."""
    if name not in TORCHVISION:
        return SOURCES[name].params, SOURCES[name].macs
    meta = get_model_weights(name)["DEFAULT"].meta
    return meta["num_params"], meta["_ops"] * 1e9


def row(name: str) -> dict[str, Any]:
    counted = cost(reference(name))
    params, macs = published(name)
    started = time.process_time()
    theirs = counterpart(name)
    params_theirs = sum(parameter.numel() for parameter in theirs.parameters())
    differences = compare(name, ours(name, theirs.state_dict()), theirs)
    return {
        "name": name,
        "params": counted.params,
        "params_published": params,
        "params_compared": params_theirs,
        "macs": counted.macs,
        "macs_published": macs,
        **{f"{what}_difference": value for what, value in differences._asdict().items()},
        "compared_with": "torchvision" if name in TORCHVISION else "plain PyTorch" if name in PLAIN else "timm",
        "source": SOURCES[name].paper,
        "seconds": round(time.process_time() - started, 1),
    }


def problems(entry: dict[str, Any]) -> list[str]:
    """What in a row is not as published."""
    found = [
        f"{what} {entry[what]:.1e} is not below {LIMIT:.0e}"
        for what in (f"{field}_difference" for field in Differences._fields)
        if not entry[what] < LIMIT
    ]
    if entry["params"] != entry["params_compared"]:
        found.append(f"{entry['params']:,} parameters, {entry['params_compared']:,} in {entry['compared_with']}")
    if entry["name"] != "inception_v3" and entry["params"] != entry["params_published"]:
        found.append(f"{entry['params']:,} parameters, published {entry['params_published']:,}")
    if entry["macs_published"] and not abs(entry["macs"] / entry["macs_published"] - 1) < 0.01:
        found.append(f"{gigas(entry['macs'])} G MACs, published {gigas(entry['macs_published'])}")
    return [f"{entry['name']}: {problem}" for problem in found]


HEADER = """\
# References

Published networks, described in the language of this package, each compared with an independent implementation of the
same network that has the same random weights, in float64 on small images: torchvision's, timm's of Inception-ResNet-v2,
and plain PyTorch modules (`benchmarks/plain_networks.py`) for the networks that both lack. The largest difference of
the logits in eval mode is given as a share of the largest logit; the difference of the gradients of all parameters in
training mode, without dropout and drop path, as a share of the whole gradient's norm. In training mode with dropout and
drop path from the same seed, the logits agree as well, and so do the running statistics afterwards: what is dropped,
how often, and the momentum of the statistics are the same. A difference of 0 is equality bit for bit.

Parameters and multiply-adds (MACs, which torchvision calls GFLOPs) are those of the published size of images. Published
ones are those of torchvision's weights at their crop size; of other networks, the parameters of public code and MACs
where somebody printed them: timm, Li et al. 2017 and He et al. 2018 (pruned ResNets), quoted
without a second look at the source. `efficientnet_b1` to `b7` are
`efficientnet_b0`, scaled. Torchvision counts the auxiliary classifier of its `inception_v3`, which has 3,326,696
parameters and helps only while training; the references leave auxiliary classifiers out.

Cells with two previous cells as their inputs (NASNet, DARTS) are outside the language, in which a block has one input.
"""
COLUMNS = "name | params | published | G MACs | published | difference | logits | gradients | compared with | source"


def gigas(macs: float | None) -> str:
    """Billions, in three digits or more; empty where nobody published them."""
    if macs is None:
        return ""
    return f"{macs / 1e9:.3f}" if macs >= 1e8 else f"{macs / 1e9:.3g}"


def markdown(table: list[dict[str, Any]]) -> str:
    lines = [HEADER, f"| {COLUMNS} |", "|---|--:|--:|--:|--:|--:|--:|--:|---|---|"]
    for entry in table:
        macs, published_macs = entry["macs"], entry["macs_published"]
        cells = (
            entry["name"],
            f"{entry['params']:,}",
            f"{entry['params_published']:,}",
            gigas(macs),
            gigas(published_macs),
            f"{macs / published_macs - 1:+.2%}" if published_macs else "",
            f"{entry['logits_difference']:.1e}",
            f"{entry['gradient_difference']:.1e}",
            entry["compared_with"],
            entry["source"],
        )
        lines.append(f"| {' | '.join(cells)} |")
    versions = f"Python {platform.python_version()}, torch {torch.__version__}, torchvision {torchvision.__version__}"
    lines.append(f"\nWritten by `python benchmarks/references.py --markdown > docs/references.md` with {versions}.")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: every reference")
    parser.add_argument("--markdown", action="store_true", help="print docs/references.md")
    arguments = parser.parse_args()
    started = time.perf_counter()
    table = []
    for name in arguments.names or REFERENCES:
        table.append(row(name))
        if not arguments.markdown:
            print(json.dumps(table[-1]), flush=True)
    if arguments.markdown:
        print(markdown(table))
    else:
        print(json.dumps({"seconds": round(time.perf_counter() - started, 1), "threads": torch.get_num_threads()}))
    wrong = [problem for entry in table for problem in problems(entry)]
    if wrong:
        raise SystemExit("\n".join(wrong))


if __name__ == "__main__":
    main()
