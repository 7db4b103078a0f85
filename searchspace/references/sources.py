"""Where each reference comes from, and its published counts where torchvision's metadata has none."""

from __future__ import annotations

from typing import NamedTuple


class Source(NamedTuple):
    """A paper; the parameters that the network has in public code, and its multiply-adds where somebody printed them.

    Both are None for torchvision's networks, whose weights carry them.
    """

    paper: str
    params: int | None = None
    macs: float | None = None


_VGG = Source("Simonyan and Zisserman 2014")
_RESNET = Source("He et al. 2015")
_RESNEXT = Source("Xie et al. 2017")
_WIDE = Source("Zagoruyko and Komodakis 2016")
_DENSENET = Source("Huang et al. 2017")
_MNASNET = Source("Tan et al. 2018")
_EFFICIENTNET = Source("Tan and Le 2019")

SOURCES: dict[str, Source] = {
    "lenet5": Source("LeCun et al. 1998", params=61_706),
    "alexnet": Source("Krizhevsky 2014"),  # "One weird trick", whose widths torchvision took
    "vgg11": _VGG,
    "vgg11_bn": _VGG,
    "vgg13": _VGG,
    "vgg13_bn": _VGG,
    "vgg16": _VGG,
    "vgg16_bn": _VGG,
    "vgg19": _VGG,
    "vgg19_bn": _VGG,
    "googlenet": Source("Szegedy et al. 2014"),
    "inception_v3": Source("Szegedy et al. 2015"),
    "inception_resnet_v2": Source("Szegedy et al. 2016", params=55_843_464, macs=13.18e9),  # timm's results
    "resnet18": _RESNET,
    "resnet34": _RESNET,
    "resnet50": _RESNET,
    "resnet101": _RESNET,
    "resnet152": _RESNET,
    # Multiply-adds: Li et al. 2017, "Pruning filters", and He et al. 2018, "Soft filter pruning"
    "resnet20": Source("He et al. 2015", params=269_722, macs=0.0406e9),
    "resnet56": Source("He et al. 2015", params=853_018, macs=0.125e9),
    "resnet110": Source("He et al. 2015", params=1_727_962, macs=0.253e9),
    "wide_resnet50_2": _WIDE,
    "wide_resnet101_2": _WIDE,
    "wrn_16_8": Source("Zagoruyko and Komodakis 2016", params=10_961_370),
    "wrn_28_10": Source("Zagoruyko and Komodakis 2016", params=36_479_194),
    "resnext50_32x4d": _RESNEXT,
    "resnext101_32x8d": _RESNEXT,
    "resnext29_8x64d": Source("Xie et al. 2017", params=34_426_698),
    "densenet121": _DENSENET,
    "densenet161": _DENSENET,
    "densenet169": _DENSENET,
    "densenet201": _DENSENET,
    "densenet_bc_100_12": Source("Huang et al. 2017", params=769_162),
    "mobilenet_v2": Source("Sandler et al. 2018"),
    "mnasnet0_5": _MNASNET,
    "mnasnet0_75": _MNASNET,
    "mnasnet1_0": _MNASNET,
    "mnasnet1_3": _MNASNET,
    "efficientnet_b0": _EFFICIENTNET,
    "efficientnet_b1": _EFFICIENTNET,
    "efficientnet_b2": _EFFICIENTNET,
    "efficientnet_b3": _EFFICIENTNET,
    "efficientnet_b4": _EFFICIENTNET,
    "efficientnet_b5": _EFFICIENTNET,
    "efficientnet_b6": _EFFICIENTNET,
    "efficientnet_b7": _EFFICIENTNET,
    "efficientnet_v2_s": Source("Tan and Le 2021"),
}
