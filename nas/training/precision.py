"""In which precision and memory format a network is trained on its device: known for CUDA, probed on CPUs."""

from __future__ import annotations

import copy
import hashlib
import json
import platform
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from nas.files import write_new
from nas.training.data import Dataset
from nas.training.device import fast_bfloat16
from nas.training.evaluate import Preprocess
from nas.training.learning_mode import learning_mode
from nas.training.recipe import Recipe
from searchspace.record import Record

PROBED_IMAGES = 64  # of 32x32 pixels; of larger ones fewer, at least two
PROBED_STEPS = 3  # the first is not counted
PROBED_ROUNDS = 2  # candidates in turn, so that what else the machine does meets them all
CLEARLY = 0.8  # of the time of what is expected to be best: what takes less is taken in its place
COLOURS = 4  # input channels up to which long strides are computed rightly; see `wrong_in_bfloat16`


class Precision(Record):
    """`bfloat16`: convolutions and linear layers in it, by autocast; weights and sums stay in float32."""

    bfloat16: bool
    channels_last: bool = True

    @property
    def memory_format(self) -> torch.memory_format:
        return torch.channels_last if self.channels_last else torch.contiguous_format

    @property
    def dtype(self) -> torch.dtype:
        """Of the images that the network is given."""
        return torch.bfloat16 if self.bfloat16 else torch.float32

    def __str__(self) -> str:
        return (
            f"{'bfloat16' if self.bfloat16 else 'float32'}, {'channels_last' if self.channels_last else 'contiguous'}"
        )


def precision_of(network: nn.Module, dataset: Dataset, recipe: Recipe, resolution: int, batch_size: int) -> Precision:
    """The precision for a training of `network` on `dataset`, kept beside the data set's other files."""
    device = dataset.train.images.device
    prepared = Preprocess(dataset, resolution, device)(dataset.train.images[:batch_size])
    folder = dataset.learners.parent / "precision"
    return choose_precision(network, prepared, folder, allow_bfloat16=recipe.bfloat16)


def choose_precision(network: nn.Module, images: Tensor, folder: Path, *, allow_bfloat16: bool = True) -> Precision:
    """What trains `network` fastest on its device; `images` (B, C, H, W) float32 are a batch as it will be given.

    CUDA devices take bfloat16, where they have it, and channels_last. On a CPU a few steps of a copy are timed, once
    for networks of the same kinds of blocks: the result is kept in `folder`, where every process and later run finds
    it, so that equal trials are computed alike.
    """
    fast = allow_bfloat16 and bfloat16_serves(network, images[:1])
    if images.device.type != "cpu":
        return Precision(bfloat16=fast)
    candidates = [Precision(bfloat16=True)] if fast else []
    candidates += [Precision(bfloat16=False), Precision(bfloat16=False, channels_last=False)]
    file = folder / f"{_key(network, images, fast)}.json"
    chosen = _read(file)
    if chosen is None:
        seconds = dict.fromkeys(candidates, float("inf"))
        for _ in range(PROBED_ROUNDS):
            for each in candidates:
                seconds[each] = min(seconds[each], _seconds_of_a_step(network, images, each))
        chosen = _keep(file, fastest(seconds), seconds)
    return chosen


def fastest(seconds: dict[Precision, float]) -> Precision:
    """The first, which is expected to be best, unless another is clearly faster: timings are noisy."""
    expected, best = next(iter(seconds)), min(seconds, key=seconds.__getitem__)
    return best if seconds[best] < CLEARLY * seconds[expected] else expected


def _key(network: nn.Module, images: Tensor, fast: bool) -> str:
    """Networks of one key are thought to be equally fast in equal precisions."""
    architecture = getattr(network, "architecture", None)
    if architecture is None:
        kinds = sorted({type(module).__name__ for module in network.modules()})
    else:
        kinds = sorted({stage.block.kind for stage in (*architecture.stem, *architecture.stages)})
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    machine = (platform.machine(), sorted(map(str, capabilities.items())), torch.__version__, torch.get_num_threads())
    probe = (PROBED_IMAGES, PROBED_STEPS, PROBED_ROUNDS, CLEARLY)
    text = json.dumps([probe, kinds, images.shape[2:], _power_of_two(len(images)), fast, machine])
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _power_of_two(number: int) -> int:
    return 1 << (number - 1).bit_length()


def _seconds_of_a_step(network: nn.Module, images: Tensor, precision: Precision) -> float:
    """Of a forward and a backward pass of a copy, which draws from nobody's random numbers.

    Seconds of this process's processors, which other processes on them do not lengthen.
    """
    probe = copy.deepcopy(network)
    learning_mode(probe)
    probe.to(memory_format=precision.memory_format)  # pyright: ignore[reportCallIssue]
    count = max(2, PROBED_IMAGES * 32**2 // max(32**2, images.shape[-2] * images.shape[-1]))
    batch = images[:count].to(precision.dtype).contiguous(memory_format=precision.memory_format)
    times = []
    with torch.random.fork_rng(devices=[]):
        for _ in range(PROBED_STEPS):
            started = time.process_time()
            with torch.autocast("cpu", torch.bfloat16, enabled=precision.bfloat16):
                output = probe(batch)
            output.float().square().mean().backward()
            times.append(time.process_time() - started)
            probe.zero_grad(set_to_none=True)
    return min(times[1:])


def _read(file: Path) -> Precision | None:
    """What was chosen before; None where nothing was, or the file is damaged."""
    try:
        return Precision.model_validate(json.loads(file.read_text(encoding="utf-8"))["precision"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _keep(file: Path, chosen: Precision, seconds: dict[Precision, float]) -> Precision:
    """What stands in the file then: of two processes that probed at once, the first one's choice serves both."""
    document = {"precision": chosen.model_dump(), "seconds": {str(each): round(s, 6) for each, s in seconds.items()}}
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if _read(file) is None:
            file.unlink(missing_ok=True)  # a damaged one
        write_new(file, json.dumps(document).encode())
    except OSError as error:
        warnings.warn(f"{str(file)!r} cannot be written, so every network is probed anew: {error}", stacklevel=2)
        return chosen
    return _read(file) or chosen


def bfloat16_serves(network: nn.Module, images: Tensor) -> bool:
    """Whether bfloat16 is fast on the network's device and right for this network; `images` are one batch of one."""
    if not fast_bfloat16(images.device):
        return False
    return images.device.type != "cpu" or not _any_is_wrong(network, images)


@torch.no_grad()
def _any_is_wrong(network: nn.Module, images: Tensor) -> bool:
    found = False

    def look(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        nonlocal found
        found = found or (isinstance(module, nn.Conv2d) and wrong_in_bfloat16(module, inputs[0].shape[-2:]))

    handles = [module.register_forward_pre_hook(look) for module in network.modules()]
    training = network.training
    try:
        network.eval()(images)
    finally:
        network.train(training)
        for handle in handles:
            handle.remove()
    return found


def wrong_in_bfloat16(layer: nn.Conv2d, sides: Sequence[int]) -> bool:
    """Whether torch 2.15 (oneDNN 3.13) may compute the layer wrongly on CPUs, over maps of so many rows and columns.

    Where a stride is longer than a side of the map, as of ImageNet's networks on images of 8 pixels, the weights'
    gradients come from memory that was never written, or ruin other memory; so do those of dilated convolutions that
    are strided or depthwise. On CPUs with AMX the outputs of others with strides above 2 are wrong, but for those over
    a few channels, as of colours. float32 is right in all of these.
    """
    depthwise = layer.groups == layer.in_channels > 1
    long = max(layer.stride) > 2 and not depthwise and layer.in_channels > COLOURS
    beyond = any(stride > side for stride, side in zip(layer.stride, sides, strict=True))
    dilated = max(layer.dilation) > 1 and (depthwise or max(layer.stride) > 1)
    return dilated or ((long or beyond) and max(layer.kernel_size) > 1)
