"""How many workers fit, and what each may use: decisions about numbers, made without the machine they are of."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from nas.errors import NasError
from nas.training.broken_device import is_broken
from nas.training.data import load_dataset
from nas.workers import capacity
from nas.workers.choice import describe, parse_workers, pick_devices
from nas.workers.control_group import available_memory, cpu_quota
from nas.workers.cores import Cores, Share, group_cores, parse_list, usable_cores
from nas.workers.messages import DeviceMemory, Job
from nas.workers.pool import Seat, WorkerPool
from nas.workers.process import Patience, _Silence
from nas.workers.shared_data import SharedDataset

GIB = 2**30
TWO_BY_TWO = Cores(((0, 2), (1, 3)))
EIGHT = Cores(tuple((cpu,) for cpu in range(8)))


# CPUs


def test_logical_cpus_are_grouped_by_core(tmp_path: Path) -> None:
    for cpu, siblings in enumerate(["0,2", "1,3", "0,2", "1,3"]):
        (tmp_path / f"cpu{cpu}/topology").mkdir(parents=True)
        (tmp_path / f"cpu{cpu}/topology/thread_siblings_list").write_text(siblings + "\n")
    assert group_cores([0, 1, 2, 3], tmp_path) == ((0, 2), (1, 3))
    assert group_cores([1, 2, 7], tmp_path) == ((1,), (2,), (7,)), "those that the affinity leaves, and unknown ones"
    assert parse_list("0-2,8") == {0, 1, 2, 8}


@pytest.mark.parametrize("workers", range(1, 9))
def test_workers_share_the_cpus_out_and_none_is_used_twice(workers: int) -> None:
    shares = EIGHT.shares(workers)
    cpus = [cpu for share in shares for cpu in share.cpus or ()]
    assert sorted(cpus) == list(range(8))
    assert all(share.threads == len(share.cpus or ()) for share in shares)
    assert max(share.threads for share in shares) - min(share.threads for share in shares) <= 1


def test_a_core_is_shared_only_when_there_are_not_enough() -> None:
    assert TWO_BY_TWO.shares(2) == [Share(1, (0, 2)), Share(1, (1, 3))]
    assert TWO_BY_TWO.shares(1) == [Share(2, (0, 1, 2, 3))]
    assert TWO_BY_TWO.shares(4) == [Share(1, (0,)), Share(1, (2,)), Share(1, (1,)), Share(1, (3,))]
    assert (TWO_BY_TWO.physical, TWO_BY_TWO.most_workers) == (2, 4)


def test_a_quota_limits_the_threads_and_binds_nobody() -> None:
    """Two containers on one machine would otherwise choose the same first CPUs."""
    container = Cores(EIGHT.cores, quota=4.5)
    assert container.shares(2) == [Share(2), Share(2)]
    assert container.shares(4) == [Share(1)] * 4
    assert container.most_workers == 4
    assert Cores(EIGHT.cores, quota=0.5).most_workers == 1
    assert Cores(EIGHT.cores, quota=64.0).shares(8)[7] == Share(1, (7,))


def test_where_no_affinity_can_be_set_nobody_is_bound() -> None:
    assert Cores(EIGHT.cores, can_bind=False).shares(4) == [Share(2)] * 4


def test_the_cpus_of_this_process_are_its_own() -> None:
    cores = usable_cores()
    assert sorted(cpu for core in cores.cores for cpu in core) == sorted(os.sched_getaffinity(0))


def group(tmp_path: Path, membership: str, **files: str) -> dict[str, Any]:
    for name, text in files.items():
        file = tmp_path / name.replace("__", "/").replace("_dot_", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")
    (tmp_path / "membership").write_text(membership + "\n")
    return {"root": tmp_path, "membership": tmp_path / "membership"}


def test_the_quota_of_a_control_group_is_the_smallest_above_it(tmp_path: Path) -> None:
    two = group(
        tmp_path, "0::/a/b", cpu_dot_max="900000 100000", a__cpu_dot_max="400000 100000", a__b__cpu_dot_max="max 100000"
    )
    assert cpu_quota(**two) == 4.0
    one = {"cpu__cpu.cfs_quota_us": "150000", "cpu__cpu.cfs_period_us": "100000"}
    assert cpu_quota(**group(tmp_path / "v1", "4:memory:/x\n3:cpu,cpuacct:/x", **one)) == 1.5
    assert cpu_quota(**group(tmp_path / "free", "0::/", cpu_dot_max="max 100000")) is None
    assert cpu_quota(tmp_path, tmp_path / "nothing") is None


def test_available_memory_is_the_machines_or_the_groups_if_that_is_less(tmp_path: Path) -> None:
    files = {"memory.max": str(8 * GIB), "memory.current": str(5 * GIB), "memory.stat": f"inactive_file {GIB}"}
    settings = group(tmp_path, "0::/", **files)
    (tmp_path / "meminfo").write_text("MemTotal: 64 kB\nMemAvailable: 67108864 kB\n")
    assert available_memory(**settings, machine=tmp_path / "meminfo") == 4 * GIB
    (tmp_path / "meminfo").write_text("MemAvailable: 1024 kB\n")
    assert available_memory(**settings, machine=tmp_path / "meminfo") == 2**20
    assert available_memory(tmp_path / "no", tmp_path / "no", tmp_path / "no") is None


def test_auto_on_the_cpu_is_a_worker_a_core_as_far_as_memory_reaches() -> None:
    assert capacity.workers_for_cpu(EIGHT, 64 * GIB) == 8
    assert capacity.workers_for_cpu(TWO_BY_TWO, None) == 2
    assert capacity.workers_for_cpu(EIGHT, 3 * GIB) == 3
    assert capacity.workers_for_cpu(EIGHT, 0) == 1


def test_as_many_as_fit_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    capacity.require_host(8, EIGHT, None)
    with pytest.raises(NasError, match="9 workers do not fit: 8 fit"):
        capacity.require_host(9, EIGHT, None)
    monkeypatch.setattr("nas.workers.choice.usable_cores", lambda: EIGHT)
    monkeypatch.setattr("nas.workers.choice.available_memory", lambda: None)
    assert [parse_workers(given) for given in (1, "1", 8, "8", "auto")] == [1, 1, 8, 8, "auto"]


# CUDA devices


def test_a_device_takes_as_many_as_its_free_memory_holds() -> None:
    """A context of 0.75 GiB each, and by estimate half a GiB for the least trial."""
    assert capacity.fit_on_device(DeviceMemory(80 * GIB, 80 * GIB, 0)) == 1 + int(79.5 / 1.25)
    assert capacity.fit_on_device(DeviceMemory(GIB // 4, 80 * GIB, 0)) == 1


def test_more_are_started_by_what_trials_took() -> None:
    assert capacity.fit_more(free=30 * GIB, peak=2 * GIB, unproven=0) == 8  # 0.75 + 1.5 * 2 each
    assert capacity.fit_more(free=30 * GIB, peak=2 * GIB, unproven=3) == 5, "three have still to take theirs"
    assert capacity.fit_more(free=2 * GIB, peak=2 * GIB, unproven=0) == 0


def growing(devices: list[str], notes: list[str]) -> WorkerPool:
    seats = [Seat(device, Share(1)) for device in devices]
    job = Job(print, None, (), "cuda:0", 1)
    return WorkerPool(job, seats, grow=True, note=notes.append)


def test_a_pool_grows_device_by_device_and_never_past_its_seats() -> None:
    notes: list[str] = []
    pool = growing(["cuda:0", "cuda:1"] * 4, notes)
    assert len(list(pool._open_seats())) == 2
    first, second = pool.seats[:2]
    for seat in (first, second):
        seat.worker = object()  # type: ignore[assignment]
    pool._learn(first, DeviceMemory(free=6 * GIB, total=8 * GIB, peak=GIB))  # 2.25 GiB each
    assert [seat.device for seat in pool._open_seats()].count("cuda:0") == 3
    assert [seat.device for seat in pool._open_seats()].count("cuda:1") == 1
    pool._learn(second, DeviceMemory(free=80 * GIB, total=80 * GIB, peak=GIB))
    assert len(list(pool._open_seats())) == 3 + 4
    pool._learn(first, DeviceMemory(free=0, total=8 * GIB, peak=7 * GIB))
    assert len(list(pool._open_seats())) == 7, "none is ended for it"
    assert notes == [
        "3 workers fit on cuda:0, by the 1.0 GiB that trials took so far",
        "4 workers fit on cuda:1, by the 1.0 GiB that trials took so far",
    ]


def test_more_workers_than_a_device_holds_are_refused_when_the_first_has_measured_it() -> None:
    pool = WorkerPool(Job(print, None, (), "cuda:0", 1), [Seat("cuda:0", Share(1)) for _ in range(4)])
    pool.seats[0].memory = DeviceMemory(free=2 * GIB, total=80 * GIB, peak=0)
    with pytest.raises(NasError) as refused:
        pool._require_room(pool.seats[0])
    assert str(refused.value) == (
        "4 workers do not fit: 2 fit, by estimate, into the 2.0 GiB that are free on cuda:0; ask for at most so many, "
        "or for --workers auto"
    )


def test_workers_spread_over_all_devices_unless_one_was_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert pick_devices("auto", torch.device("cuda:0")) == ["cuda:0", "cuda:1"]
    assert pick_devices("cuda:1", torch.device("cuda:1")) == ["cuda:1"]
    assert pick_devices("auto", torch.device("cpu")) == ["cpu"]


def test_whether_processes_share_a_device_at_once_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not capacity.mps_runs({}, tmp_path)
    assert not capacity.mps_runs({"CUDA_MPS_PIPE_DIRECTORY": str(tmp_path / "gone")}, tmp_path)
    (tmp_path / "control").touch()
    assert capacity.mps_runs({}, tmp_path)
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", str(tmp_path))
    assert describe(4, EIGHT, ["cuda:0"], False) == (
        "4 workers on cuda:0; those of a device compute at the same time, for NVIDIA's multi-process service (MPS) runs"
    )
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", str(tmp_path / "gone"))
    assert "in turns, for NVIDIA's multi-process service (MPS) does not run" in describe(4, EIGHT, ["cuda:0"], True)
    assert describe(4, EIGHT, ["cpu"], False) == "4 workers, 2 threads each"


@pytest.mark.parametrize(
    ("error", "broken"),
    [
        (torch.AcceleratorError("CUDA error: device-side assert triggered"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR"), True),
        (torch.AcceleratorError("CUDA error: out of memory"), False),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), False),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("CUDA error"), False),
    ],
)
def test_which_errors_leave_a_device_broken(error: Exception, broken: bool) -> None:
    assert is_broken(error) is broken


# A worker's silence


def test_silence_is_what_was_watched_and_its_limit_grows_with_the_longest() -> None:
    now = [0.0]
    silence = _Silence(Patience(floor=3, factor=2), lambda: now[0])

    def looks(count: int) -> bool:
        for _ in range(count):
            now[0] += 1
            if silence.too_long():
                return True
        return False

    assert not looks(3)
    assert looks(1)
    silence = _Silence(Patience(floor=3, factor=2), lambda: now[0])
    assert not looks(2)
    now[0] += 10**6  # this process slept
    silence.end()
    assert silence.allowed == 3 + 2 * 3
    assert not looks(9)
    assert looks(1)


# The data


def test_shared_data_are_the_data_but_for_the_test_split_and_each_writer_writes_alone() -> None:
    data = load_dataset("digits", limit_train=100)
    shared = SharedDataset.of(data)
    one, other = shared.open(), shared.open()
    for mine, theirs in ((one.train, data.train), (one.validation, data.validation)):
        assert torch.equal(mine.images, theirs.images)
        assert mine.images.stride() == theirs.images.stride()
        assert torch.equal(mine.labels, theirs.labels)
    assert (one.fingerprint, one.mean, one.classes) == (data.fingerprint, data.mean, data.classes)
    assert one.test_reader is None
    one.train.images.zero_()
    one.train.labels.fill_(9)
    assert torch.equal(other.train.images, data.train.images)
    assert torch.equal(shared.open().train.labels, data.train.labels)
    shared.close()
    assert int(other.train.images.sum()), "what is open stays"
