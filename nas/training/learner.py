"""The frozen learner of channel boosting: a denoising auto-encoder's encoder, trained once for a data set and kept."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional

from nas.files import write_whole
from nas.training.data import Dataset
from nas.training.evaluate import Preprocess
from nas.training.score import Diverged, Stopped
from nas.training.seeds import derive_seed, generator
from searchspace import Network
from searchspace.blocks.boost import FEATURES, SHRINKS, BoostedChannels, encoder

VERSION = 1  # of what is trained below; part of the file's name
STEPS = 200
BATCH_SIZE = 64
WINDOW = 32  # pixels: larger images are seen through windows of this side, so that every data set takes as long
NOISE = 0.5  # standard deviation, where that of the images is 1
RATE = 2e-3

State = dict[str, Tensor]


def install_learner(network: Network, dataset: Dataset, stop: Callable[[], bool] = lambda: False) -> None:
    """Give a network whose channel boost wants an auto-encoder the one of its data set; leave others as they are.

    Raises:
        Diverged, Stopped: as `trained_encoder`, where it is not kept from an earlier network.
    """
    boosts = [module for module in network.modules() if isinstance(module, BoostedChannels)]
    for boost in boosts:
        if boost.wants_autoencoder:
            boost.learner.load_state_dict(autoencoder(dataset, stop))


def autoencoder(dataset: Dataset, stop: Callable[[], bool] = lambda: False) -> State:
    """The encoder's weights for this data set, on the CPU: read from `dataset.learners`, else trained and kept there.

    A damaged file counts as none. Two processes that train at once write equal files, each as a whole.

    Raises:
        Diverged, Stopped: see `trained_encoder`.
    """
    file = dataset.learners / f"{dataset.fingerprint}-{VERSION}.safetensors"
    with torch.device("meta"):  # names and shapes alone; the caller's random numbers are left as they were
        expected = encoder(dataset.channels).state_dict()
    state = _read(file, expected)
    if state is None:
        state = trained_encoder(dataset, stop)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            write_whole(file, save(state, {"sha256": _checksum(state)}))
        except OSError as error:
            warnings.warn(f"{str(file)!r} cannot be written, so every network trains it anew: {error}", stacklevel=2)
    return state


def _read(file: Path, expected: State) -> State | None:
    """A kept encoder of the expected names and shapes; None where there is none, or a damaged one."""
    try:
        with safe_open(file, framework="pt") as tensors:
            state = {name: tensors.get_tensor(name) for name in tensors.keys()}  # noqa: SIM118  # it is no mapping
            checksum = (tensors.metadata() or {}).get("sha256")
    except (OSError, SafetensorError):
        return None
    shapes = {name: tensor.shape for name, tensor in state.items()}
    whole = shapes == {name: tensor.shape for name, tensor in expected.items()} and checksum == _checksum(state)
    return state if whole else None


def _checksum(state: State) -> str:
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(state[name].contiguous().numpy().tobytes())
    return digest.hexdigest()


def trained_encoder(dataset: Dataset, stop: Callable[[], bool] = lambda: False) -> State:
    """Train an encoder and a linear decoder to take noise from the training images (Vincent et al. 2008).

    Seen are `STEPS` batches of the training split, normalised, on its device. The seed follows from the data alone, so
    that every study of them, whatever its seed, has the same learner on one machine with the same number of threads.

    Raises:
        Diverged: the loss became NaN or infinite.
        Stopped: `stop()` was true before a step.
    """
    device = dataset.train.images.device
    seed = derive_seed(0, "learner", dataset.fingerprint)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "weights"))
        learner = encoder(dataset.channels)
        decoder = nn.Sequential(
            nn.Conv2d(FEATURES, dataset.channels * SHRINKS**2, 3, padding=1), nn.PixelShuffle(SHRINKS)
        )
    network = nn.Sequential(learner, decoder).to(device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)
    preprocess = Preprocess(dataset, dataset.resolution, device)
    random = generator(device, seed, "images")
    side = min(WINDOW, dataset.resolution)
    corners = torch.randint(
        dataset.resolution - side + 1, (STEPS, 2), generator=generator(torch.device("cpu"), seed, "windows")
    )
    loss = torch.zeros(())
    for top, left in corners.tolist():
        if stop():
            raise Stopped
        chosen = torch.randint(len(dataset.train), (BATCH_SIZE,), generator=random, device=device)
        images = preprocess(dataset.train.take(chosen)[0])[:, :, top : top + side, left : left + side]
        noise = torch.randn(images.shape, generator=random, device=device)
        cleaned = network(images + NOISE * noise)[:, :, :side, :side]
        loss = functional.mse_loss(cleaned, images)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    if not torch.isfinite(loss):
        raise Diverged(f"the loss of the channel boost's auto-encoder was {loss.item()}")
    return {name: tensor.detach().cpu().contiguous() for name, tensor in learner.state_dict().items()}
