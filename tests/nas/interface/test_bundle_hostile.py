"""A damaged or hostile export is refused with a plain message: quickly, without running or allocating anything."""

from __future__ import annotations

import random
import shutil
import sys
from pathlib import Path

import pytest
from command import python, refused
from damage import CARD, HOSTILE, WEIGHTS, sign

import nas
from nas.errors import BundleError


def refusal(bundle: Path) -> str:
    with pytest.raises(BundleError) as refused:
        nas.load(bundle)
    message = str(refused.value)
    assert 1 <= len(message.splitlines()) <= 2
    assert all(line.isprintable() for line in message.splitlines()), message
    assert len(message) < 600 + len(str(bundle)), message
    return message


def test_a_whole_bundle_opens(bundle: Path) -> None:
    assert nas.load(bundle).card.dataset == "digits"
    sign(bundle)
    assert nas.load(bundle).card.dataset == "digits"  # the control: signing alone changes nothing


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.timeout(20)
def test_refused(name: str, bundle: Path) -> None:
    HOSTILE[name](bundle)
    refusal(bundle)
    assert not (bundle / "canary").exists()


def test_the_command_line_refuses_in_plain_lines(bundle: Path) -> None:
    (bundle / WEIGHTS).write_bytes(b"\x80\x04K\x01.")
    assert "model.safetensors" in refused("predict", bundle, "picture.png")
    assert "no export folder" in refused("predict", bundle / "absent", "picture.png")
    assert "no export folder" in refused("predict", bundle / CARD, "picture.png")
    assert "no export folder" in refused("predict", bundle.parent, "picture.png")


def test_truncated_anywhere_is_refused(bundle: Path) -> None:
    for file in (WEIGHTS, CARD, "architecture.json"):
        data = (bundle / file).read_bytes()
        for part in range(64):
            (bundle / file).write_bytes(data[: len(data) * part // 64])
            refusal(bundle)
        (bundle / file).write_bytes(data)
    nas.load(bundle)


def test_every_sampled_bit_flip_is_refused(bundle: Path) -> None:
    rng = random.Random(0)
    for file, count in ((WEIGHTS, 100), ("architecture.json", 60)):
        data = bytearray((bundle / file).read_bytes())
        for _ in range(count):
            place, bit = rng.randrange(len(data)), 1 << rng.randrange(8)
            data[place] ^= bit
            (bundle / file).write_bytes(data)
            refusal(bundle)
            data[place] ^= bit
        (bundle / file).write_bytes(data)
    nas.load(bundle)


def test_zero_filled_blocks_are_refused(bundle: Path) -> None:
    data = (bundle / WEIGHTS).read_bytes()
    block = len(data) // 16
    for number in range(16):
        zeroed = data[: number * block] + bytes(block) + data[(number + 1) * block :]
        (bundle / WEIGHTS).write_bytes(zeroed)
        refusal(bundle)


def test_safetensors_alone_would_miss_a_flipped_bit(bundle: Path) -> None:
    """The control of the two above: without the hash a flipped weight goes through."""
    data = bytearray((bundle / WEIGHTS).read_bytes())
    data[-2] ^= 1
    (bundle / WEIGHTS).write_bytes(data)
    refusal(bundle)
    sign(bundle)
    nas.load(bundle)


WATCHED = """
import resource, sys, time
from pathlib import Path
import nas
from nas.errors import BundleError

folders = sys.argv[1:]
nas.load(folders[0]).predict  # everything is imported, and a whole bundle opens under the hook below
events = []

FORBIDDEN = (
    "exec", "compile", "ctypes.", "os.fork", "os.posix_spawn", "os.system", "pickle.", "socket.", "subprocess."
)

def watch(event, arguments):
    if event.startswith(FORBIDDEN):
        events.append((event, arguments))

sys.addaudithook(watch)
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (192 << 20),) * 2)
for folder in folders:
    started = time.monotonic()
    try:
        nas.load(folder)
        print("opened", folder)
    except BundleError as error:
        seconds = time.monotonic() - started
        print("refused" if seconds < 5 else f"slow {seconds:.1f} s", folder)
print("events", events)
import pickle
pickle.loads(pickle.dumps(Path("x")))
print("control", events)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_nothing_runs_and_little_is_allocated(exported: Path, tmp_path: Path) -> None:
    folders = [exported]
    for number, (name, damage) in enumerate(HOSTILE.items()):
        if name == "header of 100 MB":
            continue  # costs disk, and the one of a gigabyte says the same
        folder = tmp_path / f"{number}"
        shutil.copytree(exported, folder)
        damage(folder)
        folders.append(folder)
    answer = python(WATCHED, *folders, cwd=tmp_path)
    assert answer.code == 0, answer.err[-2000:]
    opened, *refusals, events, control = answer.out.splitlines()
    assert opened.startswith("opened")
    assert len(refusals) == len(folders) - 1
    assert [line for line in refusals if not line.startswith("refused")] == []
    assert events == "events []"
    assert "pickle.find_class" in control  # the watch sees what it watches for
