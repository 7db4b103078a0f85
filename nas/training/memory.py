"""Memory kept between steps, where the C library would give it back and fetch it again, zeroed, at every step."""

from __future__ import annotations

import ctypes
import os
import platform
from functools import cache

# glibc's malloc.h
M_TRIM_THRESHOLD = -1
M_TOP_PAD = -2
M_MMAP_MAX = -4
NEVER = -1  # as an unsigned number of bytes: more than any process has
KEEPING = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: NEVER, M_TOP_PAD: 256 * 2**20}
MADV_HUGEPAGE = 14  # sys/mman.h
HUGE_PAGE = 2 * 2**20
RESERVED_SHARE = 8  # an eighth of the machine's memory is laid out in huge pages, when it is first used


def keep_memory() -> bool:
    """Tell glibc to keep what is freed, in huge pages where the system has them; whether it could be told.

    Tensors above 32 MB are otherwise mapped anew in each step, page by page: a step of a small MBConv network with
    batches of 128 images made 88,000 page faults, and none after this call. The price: the process stays as large as
    its largest trial, until `give_back`; so it is for programs, the command line and workers, not for a library.
    """
    library = _glibc()
    if library is None or not all(library.mallopt(name, value) for name, value in KEEPING.items()):
        return False
    _prefer_huge_pages(library)
    return True


def give_back() -> None:
    """Return to the system what is free now: between trials, of which each needs other sizes."""
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)
        _prefer_huge_pages(library)


@cache
def _glibc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None


def _prefer_huge_pages(library: ctypes.CDLL) -> None:
    """Lay the heap's next bytes out in huge pages: take them, say so, and give them back without having used any."""
    library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    library.free.restype, library.free.argtypes = None, [ctypes.c_void_p]
    library.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // RESERVED_SHARE
    start = library.malloc(size)
    if start:  # not where a limit on the address space forbids it
        first = -(-start // HUGE_PAGE) * HUGE_PAGE
        library.madvise(first, start + size - first, MADV_HUGEPAGE)
        library.free(start)
