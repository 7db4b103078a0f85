"""Which device trains, and what it is fast at."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import version

import torch

from nas.errors import NasError

PACKAGES = ("torch", "torchvision", "optuna")


def pick_device(name: str | torch.device = "auto") -> torch.device:
    """`auto` is the first CUDA device when there is one, else the CPU.

    Raises:
        NasError: the name is not auto, cpu, cuda or cuda:N, or there is no such device.
    """
    name = str(name)  # also of a torch.device
    if not re.fullmatch(r"auto|cpu|cuda(:[0-9]{1,9})?", name):
        raise NasError(f"device {name!r} is not known: use auto, cpu, cuda or cuda:N")
    count = torch.cuda.device_count() if name != "cpu" else 0
    if name == "auto":
        return torch.device("cuda:0" if count else "cpu")
    if name == "cpu":
        return torch.device("cpu")
    index = int(name.partition(":")[2] or 0)  # torch.device reads 256 as 0
    if index >= count:
        has = f"this machine has {count} (cuda:0 to cuda:{count - 1})" if count else "torch sees no CUDA device here"
        raise NasError(f"device {name!r} is not there: {has}; use --device auto or cpu")
    return torch.device("cuda", index)


def fast_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 pays: on CUDA devices that have it, on CPUs with avx512_bf16 or amx_bf16 instructions."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = getattr(torch.cpu, "get_capabilities", None)
    if capabilities is not None:
        known = capabilities()
        return bool(known.get("avx512_bf16") or known.get("amx_bf16"))
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            text = file.read()
    except OSError:
        return False
    return bool(re.search(r"\b(avx512_bf16|amx_bf16)\b", text))


def describe_device(device: torch.device, threads: int | None = None) -> str:
    """The device as people name it, with its index or thread count (by default, this process's)."""
    if device.type == "cuda":
        return f"{device} {describe_kind(device)}"
    return describe_kind(device, threads)


def describe_kind(device: torch.device, threads: int | None = None) -> str:
    """The same without the index, which says nothing of what a device computes."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"cpu {platform.machine()} ({threads or torch.get_num_threads()} threads of {os.cpu_count()} cores)"


def versions() -> dict[str, str]:
    """What a trial's result depends on beside its settings."""
    return {"python": platform.python_version(), "nas": version("nas")} | {name: version(name) for name in PACKAGES}
