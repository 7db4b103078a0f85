"""Inception-ResNet v2 (Szegedy et al. 2016) as TF-slim and timm build it, with the stem of Inception v3."""

from __future__ import annotations

from searchspace.architecture import Architecture, Head, Stage
from searchspace.blocks import Conv, Inception, InceptionResidual, PoolLayer
from searchspace.references.inception import SHRINKING_POOL, conv, unpadded_stem

# TensorFlow averages the pixels of the image alone.
FIRST_MODULE = Inception(
    branches=(
        (conv(96),),
        (conv(48), conv(64, 5)),
        (conv(64), conv(96, 3), conv(96, 3)),
        (PoolLayer(operation="average", count_include_pad=False), conv(64)),
    )
)
BLOCK_35 = InceptionResidual(
    width=320,
    branches=((conv(32),), (conv(32), conv(32, 3)), (conv(32), conv(48, 3), conv(64, 3))),
    residual_scale=0.17,
)
REDUCTION_35 = Inception(
    branches=((conv(384, 3, padding=0),), (conv(256), conv(256, 3), conv(384, 3, padding=0)), (SHRINKING_POOL,))
)
BLOCK_17 = InceptionResidual(
    width=1088,
    branches=((conv(192),), (conv(128), conv(160, (1, 7)), conv(192, (7, 1)))),
    residual_scale=0.1,
)
REDUCTION_17 = Inception(
    branches=(
        (conv(256), conv(384, 3, padding=0)),
        (conv(256), conv(288, 3, padding=0)),
        (conv(256), conv(288, 3), conv(320, 3, padding=0)),
        (SHRINKING_POOL,),
    )
)
BRANCHES_8 = ((conv(192),), (conv(192), conv(224, (1, 3)), conv(256, (3, 1))))


def inception_resnet_v2() -> Architecture:
    """Ten, twenty and ten residual blocks; the last is neither scaled down nor activated. Dropout as in TF-slim."""
    stages = (
        Stage(block=FIRST_MODULE),
        Stage(block=BLOCK_35, depth=10),
        Stage(block=REDUCTION_35, stride=2),
        Stage(block=BLOCK_17, depth=20),
        Stage(block=REDUCTION_17, stride=2),
        Stage(block=InceptionResidual(width=2080, branches=BRANCHES_8, residual_scale=0.2), depth=9),
        Stage(block=InceptionResidual(width=2080, branches=BRANCHES_8, residual_scale=1.0, output_activation=False)),
    )
    return Architecture(
        resolution=299,
        classes=1000,
        stem=unpadded_stem(),
        stages=stages,
        head=Head(blocks=(Stage(block=Conv(width=1536, kernel_size=1)),), dropout=0.2),
        norm_eps=1e-3,
    )
