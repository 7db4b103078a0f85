"""Who works on a trial, and whether that process still lives."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self


def this_process() -> str:
    """host/boot-namespace/pid/start: no two processes share it, not even after a reboot or when a pid is used again."""
    return f"{_host()}/{os.getpid()}/{_start_time(os.getpid())}"


def is_here(owner: str) -> bool:
    """Whether this machine, in this boot, can say if the owner lives."""
    return owner.startswith(_host() + "/")


def lives(owner: str) -> bool:
    """Whether the owning process runs; only to be asked where `is_here`."""
    pid, started = owner.rsplit("/", 2)[1:]
    return _start_time(int(pid)) == started != ""


def _host() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8]
    except OSError:
        boot = "boot"
    return f"{socket.gethostname()}/{boot}{_pid_namespace()}"


def _pid_namespace() -> str:
    """Containers of one machine may share its name, but see each other's processes no more than another machine's."""
    try:
        return "-" + os.readlink("/proc/self/ns/pid").strip("pid:[]")
    except OSError:
        return ""


def _start_time(pid: int) -> str:
    """Clock ticks from boot to the process's start; empty when it does not run."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return _signalled(pid)
    return "" if fields[0] in "ZX" else fields[19]


def _signalled(pid: int) -> str:
    """Without /proc (macOS): whether the pid exists, which a reused pid can feign."""
    if os.path.exists("/proc/self/stat"):
        return ""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    return "running"


class Heartbeat:
    """Calls `beat` every `seconds` while entered, in a thread; a failing beat is tried again at the next turn."""

    def __init__(self, beat: Callable[[], object], seconds: float = 10.0) -> None:
        self._beat = beat
        self._seconds = seconds
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="nas-heartbeat")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._done.wait(self._seconds):
            try:
                self._beat()
            except Exception:  # a database that is away for a moment must not end the training
                continue
