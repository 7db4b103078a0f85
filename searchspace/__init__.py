"""What can be built: architectures as data, the blocks they are made of, their cost, their scaling, search spaces."""

from searchspace.architecture import Architecture, Head, Stage
from searchspace.blocks import BLOCKS, register_block
from searchspace.boosting import boosted
from searchspace.cost import Cost, cost
from searchspace.drawing import draw
from searchspace.errors import ArchitectureError, SpaceError, TooLarge
from searchspace.laws import LAWS
from searchspace.mutation import mutate
from searchspace.network import Network, build
from searchspace.references import REFERENCES, reference
from searchspace.references.small_images import cifar_form
from searchspace.scaling import EFFICIENTNET, ScalingLaw, compound, dollar, scale
from searchspace.space import Choices, Chooser, Dimension, SearchSpace, Task, scaling_dimensions
from searchspace.spaces import SPACES, find_space, register_space

__all__ = [
    "BLOCKS",
    "EFFICIENTNET",
    "LAWS",
    "REFERENCES",
    "SPACES",
    "Architecture",
    "ArchitectureError",
    "Choices",
    "Chooser",
    "Cost",
    "Dimension",
    "Head",
    "Network",
    "ScalingLaw",
    "SearchSpace",
    "SpaceError",
    "Stage",
    "Task",
    "TooLarge",
    "boosted",
    "build",
    "cifar_form",
    "compound",
    "cost",
    "dollar",
    "draw",
    "find_space",
    "mutate",
    "reference",
    "register_block",
    "register_space",
    "scale",
    "scaling_dimensions",
]
