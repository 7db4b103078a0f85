"""Modes that spare work on the meta device, where tensors have shapes and no numbers.

There torch runs initialisation, normalisation and activations in Python, which took most of the time of a count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

_FILLS = frozenset(
    {
        *(getattr(Tensor, name) for name in ("normal_", "uniform_", "fill_", "zero_", "copy_")),
        *(getattr(nn.init, name) for name in ("normal_", "uniform_", "trunc_normal_", "constant_", "ones_", "zeros_")),
        *(getattr(nn.init, f"{name}_{law}_") for name in ("kaiming", "xavier") for law in ("normal", "uniform")),
    }
)
_KEEP_SHAPE = frozenset(
    getattr(functional, name)
    for name in ("relu", "relu6", "leaky_relu", "silu", "gelu", "hardswish", "hardsigmoid", "dropout", "dropout2d")
)
_NORMS = {functional.batch_norm: 1, functional.group_norm: 2}  # the place of a tensor with a number per channel


class Unfilled(TorchFunctionMode):
    """Tensors keep whatever they hold: nothing is initialised."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        given = kwargs or {}
        if func in _FILLS:
            return args[0] if args else given["tensor"]  # torch hands its initialisers over by name
        return func(*args, **given)


class ShapesAlone(TorchFunctionMode):
    """Functions whose output has their input's shape return the input; a norm of other channels fails as it does."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if args and (func in _KEEP_SHAPE or (func in _NORMS and _of_its_channels(args[0], args[_NORMS[func] :][:1]))):
            return args[0]
        return func(*args, **(kwargs or {}))


def _of_its_channels(x: Tensor, numbers: tuple[Tensor | None, ...]) -> bool:
    return all(each is not None and len(each) == x.shape[1] for each in numbers) and len(numbers) == 1


class MacCounter(TorchDispatchMode):
    """Counts multiply-adds as torch's FlopCounterMode counts two operations for each, without its record by module."""

    def __init__(self) -> None:
        super().__init__()
        self._flops = 0

    @property
    def macs(self) -> int:
        return self._flops // 2

    def __torch_dispatch__(
        self,
        func: torch._ops.OpOverload,
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = kwargs or {}
        output = func(*args, **given)
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self._flops += formula(*args, **given, out_val=output)
        return output
