"""Several processes that train one network, each on its own GPU, started by torchrun."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from nas.errors import NasError, RunError
from nas.training.device import pick_device

AGREED = 16  # steps between two questions whether anybody wants to stop


@dataclass(frozen=True)
class Group:
    """The processes that train one network together, of which this one has the number `rank`, from 0.

    All do the same with the same seeds, each on its share of every batch. The first one alone evaluates, writes and
    speaks. A group of one needs neither torch.distributed nor a GPU.
    """

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        return self.rank == 0

    @property
    def others(self) -> tuple[int, ...]:
        """What the seeds of random layers depend on beside the epoch: nothing in the first process."""
        return () if self.first else (self.rank,)

    def replica(self, network: nn.Module) -> nn.Module:
        """The network as this process trains it: with the first one's weights, and the mean of all gradients."""
        if self.size == 1:
            return network
        device = next(network.parameters()).device
        return DistributedDataParallel(
            network, device_ids=None if device.type == "cpu" else [device], gradient_as_bucket_view=True
        )

    def share(self, batch: Tensor) -> Tensor:
        """This process's part of a batch; the sizes are equal, since `require_divisible` was asked."""
        return batch.tensor_split(self.size)[self.rank] if self.size > 1 else batch

    def mean(self, value: Tensor) -> Tensor:
        """The mean of everybody's value, which all get."""
        if self.size > 1:
            distributed.all_reduce(value)
            value /= self.size
        return value

    def told(self, measure: Callable[[], float]) -> float:
        """What the first process measures, which all get; the others wait for it."""
        if self.size == 1:
            return measure()
        number = torch.tensor([measure() if self.first else 0.0], dtype=torch.float64)
        distributed.broadcast(number, src=0)
        return number.item()

    def agreed(self, stop: Callable[[], bool]) -> Callable[[], bool]:
        """`stop`, so that all stop before the same step; they ask each other at every few calls, which all make."""
        if self.size == 1:
            return stop
        calls = 0

        def stopped() -> bool:
            nonlocal calls
            calls += 1
            if calls % AGREED:
                return False
            wishes = torch.tensor([int(stop())])
            distributed.all_reduce(wishes)
            return bool(wishes.item())

        return stopped

    @contextmanager
    def first_alone(self) -> Iterator[None]:
        """The first process runs the block, then the others do: they find what it downloaded or wrote."""
        if not self.first:
            self.told(lambda: 0.0)
        yield
        if self.first:
            self.told(lambda: 0.0)

    def require_equal(self, number: int, what: str) -> None:
        """Raise RunError unless all processes have the same number below 2**63 of something."""
        if self.size > 1:
            seen = [torch.zeros(1, dtype=torch.int64) for _ in range(self.size)]
            distributed.all_gather(seen, torch.tensor([number]))
            if any(other != seen[0] for other in seen):
                raise RunError(what)

    def require_divisible(self, batch_size: int) -> None:
        """Refuse batches that cannot be shared equally, or leave one image, which batch normalisation cannot take.

        Raises:
            NasError: naming the nearest size that can.
        """
        if batch_size % self.size or batch_size < 2 * self.size:
            near = max(2, round(batch_size / self.size)) * self.size
            raise NasError(
                f"a batch of {batch_size} images cannot be shared by {self.size} processes: --batch-size {near}"
            )


ALONE = Group()


def asked_size() -> int:
    """How many processes torchrun started for one training; 1 without it."""
    text = os.environ.get("WORLD_SIZE", "1")
    return int(text) if text.isascii() and text.isdigit() else 1


def refuse_several(what: str, instead: str) -> None:
    """Raise NasError if torchrun started several processes of a command that has no use for them."""
    if asked_size() > 1:
        raise NasError(f"{what} is one process, and torchrun started {asked_size()}: {instead}")


def pick_own_device(name: str) -> torch.device:
    """This process's device: the GPU of its number on this machine, or the CPU where there is none, or is asked for.

    Raises:
        NasError: torchrun started more processes than there are GPUs, or a GPU's number was given.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise NasError(f"--device {name}: under torchrun each process takes the GPU of its own number; use auto or cpu")
    count = torch.cuda.device_count() if name != "cpu" else 0
    number = int(os.environ.get("LOCAL_RANK", "0"))
    if not count:
        return pick_device(name)
    if number >= count:
        raise NasError(f"torchrun started more processes than this machine's {count} GPUs: --nproc-per-node {count}")
    return torch.device("cuda", number)


@contextmanager
def joined(device: torch.device) -> Iterator[Group]:
    """The group that torchrun started this process in, on the device of `pick_own_device`; left at the end.

    Numbers on CUDA devices go through NCCL, all others through Gloo.

    Raises:
        NasError: the environment does not say how to meet.
        RunError: another process ended before its time.
    """
    if asked_size() == 1:
        yield ALONE
        return
    cuda = device.type == "cuda"
    if cuda:
        torch.cuda.set_device(device)
    try:
        distributed.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo")
    except ValueError as error:  # MASTER_ADDR is not set, and the like
        several = f"WORLD_SIZE in the environment asks for {asked_size()} processes"
        raise NasError(f"{several}, which do not know where to meet: start them with torchrun ({error})") from None
    try:
        yield Group(distributed.get_rank(), distributed.get_world_size())
    except (distributed.DistError, RuntimeError) as error:
        if isinstance(error, distributed.DistError) or "gloo" in str(error).lower():
            raise RunError("another process ended: it says why, or was killed; the same command resumes") from error
        raise
    finally:
        distributed.destroy_process_group()
