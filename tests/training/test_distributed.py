"""Several processes train one network: each its share of every batch, all with the same weights."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from nas.errors import NasError
from nas.training.distributed import ALONE, Group, joined, pick_own_device, refuse_several

TRAIN = """
import json, os, sys
from pathlib import Path
import torch
from safetensors.torch import save_file
from nas.training.data import load_dataset
from nas.training.distributed import Group, joined
from nas.training.long_run import LongRun
from nas.training.recipe import Recipe, fine_tuning
from nas.training.trial import train_to_the_end
from searchspace import Architecture, Stage, build
from searchspace.blocks import Conv, Residual

folder, norm, how = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
if how == "apart":
    Group.replica = lambda self, network: network
last = Residual(width=16) if how == "fine-tuning" else Conv(width=16, norm=norm)
stages = (Stage(block=Conv(width=8, norm=norm)), Stage(block=last, stride=2, depth=2))
drop_path = 0.5 if how == "fine-tuning" else 0.0
architecture = Architecture(channels=1, resolution=8, classes=10, stages=stages, drop_path=drop_path)
recipe = Recipe(epochs=3, batch_size=32, learning_rate=0.1, bfloat16=False)
trunk = None
if how == "fine-tuning":
    recipe = fine_tuning(recipe, 0.1)
    trunk = dict(list(build(architecture).state_dict().items())[:-2])  # each process its own: the first one's counts
with joined(torch.device("cpu")) as group:
    data = load_dataset("digits", limit_train=150)
    network, scores = train_to_the_end(architecture, data, recipe, 0, trunk=trunk, run=LongRun(group))
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, folder / f"{group.rank}")
    figures = [[score.train_loss, score.val_accuracy, score.batch_size] for score in scores]
    (folder / f"{group.rank}.json").write_text(json.dumps(figures))
"""


def launched(processes: int, *program: str | Path, cwd: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    """A program under torchrun, or without it as one process."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = [sys.executable, *(torchrun if processes > 1 else []), *map(str, program)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "NAS_DATA_DIR": str(cwd / "cache")}
    answer = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)
    assert answer.returncode == code, answer.stderr
    return answer


def trained(folder: Path, processes: int, norm: str = "none", how: str = "together") -> list[dict[str, Any]]:
    """The weights and scores of each process."""
    folder.mkdir()
    (folder / "train.py").write_text(TRAIN)
    launched(processes, folder / "train.py", folder, norm, how, cwd=folder)
    ranks = range(processes)
    return [
        {"state": load_file(folder / f"{r}"), "scores": json.loads((folder / f"{r}.json").read_text())} for r in ranks
    ]


def same(first: dict[str, Any], second: dict[str, Any]) -> bool:
    return all(torch.equal(tensor, second["state"][name]) for name, tensor in first["state"].items())


@pytest.mark.slow
def test_two_processes_learn_what_one_does(tmp_path: Path) -> None:
    """Without batch normalisation, whose statistics are those of a share, a batch in parts has the whole's gradient."""
    (one,) = trained(tmp_path / "one", 1)
    first, second = trained(tmp_path / "two", 2)
    assert same(first, second), "replicas are equal bit by bit"
    assert first["scores"] == second["scores"]
    for (alone, _, size), (together, _, both) in zip(one["scores"], first["scores"], strict=True):
        assert together == pytest.approx(alone, rel=1e-4)
        assert size == both == 32, "a batch is that of all processes"
    for name, tensor in one["state"].items():
        torch.testing.assert_close(first["state"][name], tensor, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_processes_that_do_not_average_their_gradients_learn_apart(tmp_path: Path) -> None:
    """The control: the comparison above sees replicas that differ."""
    first, second = trained(tmp_path / "apart", 2, how="apart")
    assert not same(first, second)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["together", "fine-tuning"])
def test_weights_are_equal_too_with_normalised_batches_and_in_both_phases_of_fine_tuning(
    tmp_path: Path, how: str
) -> None:
    """Statistics are those of each one's share; the first one's go into the network that is written."""
    first, second = trained(tmp_path / "two", 2, norm="batch", how=how)
    learnt = [name for name in first["state"] if "running" not in name]
    assert all(torch.equal(first["state"][name], second["state"][name]) for name in learnt)
    assert first["scores"] == second["scores"], "the first one's accuracy is everybody's"


RESUMED = """
import os, sys
from pathlib import Path
import torch
from nas.errors import RunError
from nas.training import long_run
from nas.training.checkpoint import Checkpoint
from nas.training.data import load_dataset
from nas.training.distributed import joined
from nas.training.long_run import LongRun, here
from nas.training.recipe import Recipe
from nas.training.trial import train_to_the_end
from searchspace import Architecture, Stage
from searchspace.blocks import Conv

long_run.describe_kind = lambda device: f"a GPU of process {os.environ['RANK']}"
architecture = Architecture(channels=1, resolution=8, classes=10, stages=(Stage(block=Conv(width=8)),))
ended = []
with joined(torch.device("cpu")) as group:
    data = load_dataset("digits", limit_train=150)
    for stop in (lambda: bool(ended), lambda: False):
        file = Path(sys.argv[1]) / "checkpoint"
        point = Checkpoint(file, here(torch.device("cpu"), group, False), print, writes=group.first)
        run = LongRun(group, point, say=print if group.first else lambda text: None)
        try:
            told = lambda score, epochs: ended.append(score.epoch)
            train_to_the_end(architecture, data, Recipe(epochs=20, batch_size=32), 0, stop, told, run=run)
        except RunError as error:
            group.told(lambda: 0.0)  # the others read what the first one wrote
    assert group.first is False or ended[-1] == 20
"""


@pytest.mark.slow
def test_processes_on_unlike_devices_resume_together(tmp_path: Path) -> None:
    """Each sees that its own device is not the first one's, by which it must not choose another way than the others."""
    (tmp_path / "resume.py").write_text(RESUMED)
    answer = launched(2, tmp_path / "resume.py", tmp_path, cwd=tmp_path)
    assert answer.stdout.count("resuming at epoch") == 1


FINAL = ("-m", "nas", "train", "lenet5", "--dataset", "digits", "--resolution", "16", "--limit-train", "150",
         "--recipe", "final", "--epochs", "2", "--batch-size", "32", "--device", "cpu")  # fmt: skip


@pytest.mark.slow
def test_torchrun_trains_one_network_and_one_process_speaks(tmp_path: Path) -> None:
    answer = launched(2, *FINAL, "--out", "net", cwd=tmp_path)
    assert answer.stdout.count("lenet5 on digits: validation accuracy") == 1
    assert answer.stderr.count("epoch 2/2") == 1
    assert (tmp_path / "net" / "card.json").is_file()
    assert not list((tmp_path / "cache" / "checkpoints").glob("*"))


@pytest.mark.slow
def test_what_one_process_cannot_do_ends_them_all_with_its_reason(tmp_path: Path) -> None:
    """Wrong input is told once; a batch that cannot be shared equally names one that can."""
    (tmp_path / "net").mkdir()
    told = launched(2, *FINAL, "--out", "net", cwd=tmp_path, code=1).stderr
    assert told.count("'net' exists") == 1
    told = launched(3, *FINAL, cwd=tmp_path, code=1).stderr
    assert "a batch of 32 images cannot be shared by 3 processes: --batch-size 33" in told


@pytest.mark.slow
def test_a_process_that_is_killed_ends_them_all_and_one_goes_on(tmp_path: Path) -> None:
    """What the first one had learnt is kept, and no process waits for the dead one."""
    final = [*FINAL, "--data-dir", str(tmp_path)]
    final[final.index("--epochs") + 1] = "400"
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    log = tmp_path / "log"
    with (
        log.open("w") as stderr,
        subprocess.Popen([*torchrun, *final], cwd=tmp_path, env=environment, stderr=stderr) as group,
    ):
        until = time.monotonic() + 120
        while log.read_text().count("epoch ") < 3 and group.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        children = [int(pid) for pid in Path(f"/proc/{group.pid}/task/{group.pid}/children").read_text().split()]
        assert len(children) == 2, log.read_text()
        os.kill(max(children), signal.SIGKILL)
        assert group.wait(60) == 1
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()], "nothing is left behind"
    (checkpoint,) = (tmp_path / "checkpoints").glob("*")
    command = [sys.executable, *final]
    answer = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert answer.returncode == 0, answer.stderr
    assert "resuming at epoch" in answer.stderr
    assert "processes 2, now 1" in answer.stderr
    assert not checkpoint.exists()


# Without torchrun


def test_one_process_is_a_group_of_one_and_needs_nothing() -> None:
    batch = torch.arange(6)
    assert ALONE.share(batch) is batch
    assert ALONE.mean(batch) is batch
    assert ALONE.told(lambda: 0.5) == 0.5
    assert ALONE.agreed(stop := lambda: True) is stop
    with joined(torch.device("cpu")) as group, group.first_alone():
        assert group == ALONE


def test_shares_are_equal_and_make_the_batch() -> None:
    batch = torch.arange(12)
    shares = [Group(rank, 3).share(batch) for rank in range(3)]
    assert {len(share) for share in shares} == {4}
    assert torch.equal(torch.cat(shares), batch)


@pytest.mark.parametrize(("size", "near"), [(100, 99), (2, 6), (128, 129)])
def test_a_batch_that_cannot_be_shared_is_refused_with_one_that_can(size: int, near: int) -> None:
    with pytest.raises(
        NasError, match=f"a batch of {size} images cannot be shared by 3 processes: --batch-size {near}"
    ):
        Group(0, 3).require_divisible(size)
    Group(0, 3).require_divisible(near)


@pytest.mark.parametrize(
    ("text", "several"), [("1", False), ("", False), ("many", False), ("-2", False), ("²", False), ("2", True)]
)
def test_several_processes_are_those_that_the_environment_names(
    monkeypatch: pytest.MonkeyPatch, text: str, several: bool
) -> None:
    monkeypatch.setenv("WORLD_SIZE", text)
    if not several:
        refuse_several("nas search", "start it once")
        return
    with pytest.raises(NasError, match="nas search is one process, and torchrun started 2: start it once"):
        refuse_several("nas search", "start it once")


def test_each_process_takes_the_gpu_of_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert pick_own_device("cpu") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert pick_own_device("auto") == pick_own_device("cuda") == torch.device("cuda:1")
    with pytest.raises(NasError, match="each process takes the GPU of its own number"):
        pick_own_device("cuda:0")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(NasError, match="more processes than this machine's 1 GPUs: --nproc-per-node 1"):
        pick_own_device("auto")


def test_processes_without_a_meeting_place_are_told_of_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(NasError, match="start them with torchrun"), joined(torch.device("cpu")):
        pass
