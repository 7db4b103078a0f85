"""Channel boosting (Khan, Sohail and Ali 2018): channels from a frozen learner beside those of the images."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from torch import Tensor, nn
from torch.nn import functional

from searchspace.blocks.block import Block, BlockContext
from searchspace.cpu import concatenate
from searchspace.layers import convolution
from searchspace.record import ActivationName, NormName, Width
from searchspace.rounding import round_width

FEATURES = 64  # channels that leave the learner
LAYERS = ((32, 2), (64, 2), (FEATURES, 1))  # (channels, stride) of its 3x3 convolutions
SHRINKS = 4  # the side of its output is that of the images divided by this, rounded up


class ChannelBoost(Block):
    """The images, and beside them `width` channels that a 1x1 convolution makes of a frozen learner's features.

    The learner is a convolutional encoder that is never trained with the network; its parameters and multiply-adds
    count. `autoencoder` takes one that was trained to denoise the training images, once for a data set
    (`nas.training.learner`); `random`, the control, leaves it as it was initialised. It stands first, or nowhere.
    """

    kind: Literal["channel_boost"] = "channel_boost"
    width: Width
    learner: Literal["autoencoder", "random"] = "autoencoder"
    norm: NormName = "batch"
    activation: ActivationName = "relu"
    repeatable: ClassVar[bool] = False
    drops_path: ClassVar[bool] = False
    reads_images: ClassVar[bool] = True

    def out_channels(self, in_channels: int, index: int = 0) -> int:
        return in_channels + self.width

    def build(self, in_channels: int, context: BlockContext) -> nn.Module:
        return BoostedChannels(self, in_channels, context)

    def scaled(self, factor: float) -> Self:
        # The learner keeps its widths: one is trained for all networks of a data set.
        return self.model_copy(update={"width": round_width(self.width, factor)})


class BoostedChannels(nn.Module):
    """concatenate(x, adapter(upsample(learner(x)))) along the channels."""

    def __init__(self, block: ChannelBoost, in_channels: int, context: BlockContext) -> None:
        super().__init__()
        self.wants_autoencoder = block.learner == "autoencoder"
        self.learner = encoder(in_channels).requires_grad_(False)
        self.adapter = convolution(FEATURES, block.width, 1, norm=context.norm(block.norm), activation=block.activation)

    def forward(self, x: Tensor) -> Tensor:
        # Upsampled before the adapter, where no gradient flows: bilinear gradients on CUDA differ from run to run.
        z = functional.interpolate(self.learner(x), x.shape[-2:], mode="bilinear", align_corners=False)
        return concatenate([x, self.adapter(z)])


def encoder(channels: int) -> nn.Sequential:
    """A learner: images (N, channels, H, W) to features (N, FEATURES, ceil(H / SHRINKS), ceil(W / SHRINKS))."""
    layers = []
    for width, stride in LAYERS:
        layers.append(convolution(channels, width, stride=stride, bias=True, activation="relu"))
        channels = width
    return nn.Sequential(*layers)
