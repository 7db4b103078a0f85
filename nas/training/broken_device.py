"""How a device shows that it is of no more use to a process."""

from __future__ import annotations

import torch

from nas.training.out_of_memory import is_out_of_memory


def is_broken(error: BaseException) -> bool:
    """Whether no further work on the CUDA device can succeed in this process: its errors but for lack of memory."""
    if is_out_of_memory(error) or "out of memory" in str(error):
        return False
    if isinstance(error, torch.AcceleratorError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in ("CUDA error", "cuDNN error"))
