"""Seeds by name and number, so that nothing depends on how many random numbers were drawn before."""

from __future__ import annotations

import hashlib

import torch


def derive_seed(seed: int, *purpose: object) -> int:
    """A 63-bit seed for one purpose: `derive_seed(0, "shuffle", 3)` is the same on every machine and run."""
    text = "/".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(device: torch.device, seed: int, *purpose: object) -> torch.Generator:
    return torch.Generator(device).manual_seed(derive_seed(seed, *purpose))
