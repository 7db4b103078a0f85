"""How fast the training is: of the loop, of trials side by side, to an accuracy, and of a whole search.

    python benchmarks/speed.py [--images FOLDER] [--cases loop,accuracy,beside,run,search] [--device auto]

One JSON line a case: medians, the range, and ratios of what was measured in turn, so that a change in the machine's
speed meets both sides. The plain loop is the one that most people write: torchvision transforms through PIL, a
DataLoader with workers, float32, NCHW, Adam.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace

import torch
from speed_accuracy import accuracies
from speed_beside import side_by_side
from speed_loops import Case, Elsewhere, networks, ours, plain
from speed_runs import speed_run, whole_search

from nas.training.device import describe_device, pick_device
from searchspace import cost


def loops(arguments: argparse.Namespace) -> Iterator[dict]:
    """Images per second of training steps, augmentation included; the first epoch of each loop is not counted."""
    for name in arguments.networks:
        for batch_size in arguments.batch_sizes:
            case = _case(arguments, name, batch_size)
            with ExitStack() as both:
                mine = both.enter_context(Elsewhere(ours, replace(case, epochs=arguments.epochs + 1)))
                theirs = both.enter_context(Elsewhere(plain, case))
                pairs = [(next(mine), next(theirs)) for _ in range(arguments.epochs + 1)][1:]
            ratios = [a.images_per_second / b.images_per_second for a, b in pairs]
            architecture = networks()[name]
            yield {
                "case": "loop against plain loop",
                "network": name,
                "params": cost(architecture).params,
                "macs": cost(architecture).macs,
                "batch_size": batch_size,
                "epochs": arguments.epochs,
                "ours_images_per_second": spread([a.images_per_second for a, _ in pairs]),
                "plain_images_per_second": spread([b.images_per_second for _, b in pairs]),
                "ratio": spread(ratios),
                "execution": pairs[-1][0].execution,
            } | _matrix_share(case, pairs[-1][0].images_per_second)


def _case(arguments: argparse.Namespace, network: str, batch_size: int) -> Case:
    """Enough images for at least four batches of the size."""
    count = max(arguments.count, 5 * batch_size)
    return Case(network, batch_size, arguments.images, count, arguments.device, arguments.epochs)


def _matrix_share(case: Case, images_per_second: float) -> dict:
    """The share of the device's measured bfloat16 matrix rate; a training step is three forward passes."""
    if not case.device.startswith("cuda"):
        return {}
    rate = matrix_rate(torch.device(case.device))
    done = images_per_second * 3 * 2 * cost(case.architecture()).macs
    return {"matrix_rate_tflops": round(rate / 1e12), "share_of_matrix_rate": round(done / rate, 3)}


def matrix_rate(device: torch.device, side: int = 8192, rounds: int = 20) -> float:
    """Operations per second of a bfloat16 matrix product, a multiplication and an addition each."""
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    times = []
    for _ in range(rounds):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        torch.mm(a, b)
        end.record()
        torch.cuda.synchronize(device)
        times.append(start.elapsed_time(end) / 1000)
    return 2 * side**3 / statistics.median(times)


def spread(values: Sequence[float]) -> dict[str, float]:
    digits = 2 if max(values) < 100 else 0
    return {
        "median": round(statistics.median(values), digits),
        "least": round(min(values), digits),
        "most": round(max(values), digits),
    }


CASES = {
    "loop": loops,
    "accuracy": accuracies,
    "beside": side_by_side,
    "run": speed_run,
    "search": whole_search,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", help="folder with train/<class>/* (default: random images)")
    parser.add_argument("--cases", default="loop", help=f"of {', '.join(CASES)}")
    parser.add_argument("--networks", default=",".join(networks()))
    parser.add_argument("--batch-sizes", default="128,512")
    parser.add_argument("--count", type=int, default=1422, help="images of the loop case, a tenth for validation")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--at-once", default="1,2,4,8,16", help="trials side by side")
    parser.add_argument("--seconds", type=float, default=600.0, help="of a whole search, and of the plain one")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--airbench", help="folder with airbench94_muon.py or airbench94.py, for the speed run")
    parser.add_argument("--baseline", help="a plain Optuna script, run as long as the whole search")
    arguments = parser.parse_args()
    arguments.device = str(pick_device(arguments.device))
    arguments.networks = arguments.networks.split(",")
    arguments.batch_sizes = [int(size) for size in arguments.batch_sizes.split(",")]
    arguments.at_once = [int(number) for number in arguments.at_once.split(",")]
    for option, given, known in (
        ("--cases", arguments.cases.split(","), CASES),
        ("--networks", arguments.networks, networks()),
    ):
        if unknown := [name for name in given if name not in known]:
            parser.error(f"{option}: unknown {', '.join(unknown)}; give some of {', '.join(known)}")
    device = describe_device(torch.device(arguments.device))
    for name in arguments.cases.split(","):
        for line in CASES[name](arguments):
            print(json.dumps({**line, "device": device, "torch": torch.__version__}), flush=True)


if __name__ == "__main__":
    main()
