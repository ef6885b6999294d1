"""What this machine offers: cores, memory in use, bfloat16, a C++ compiler. No torch.

What an operating system does not tell is None, never a guess.
"""

import ctypes
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

_BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of glibc's mallopt


def num_cores() -> int:
    """Cores that this process may use, which a container or taskset can make fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_bytes() -> int:
    """All memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def has_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool | None:
    """Whether the processor computes in bfloat16 itself."""
    if not cpuinfo.is_file():
        return None
    lines = cpuinfo.read_text(errors="replace").splitlines()
    # x86 calls them flags, ARM features
    words = {word for line in lines if line.lower().startswith(("flags", "features")) for word in line.split()}
    return bool(words & _BFLOAT16_FLAGS)


def cxx_compiler() -> str:
    """The C++ compiler that torch.compile would call: what CXX names, or the system's."""
    return os.environ.get("CXX", {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++"))


def has_cxx_compiler() -> bool:
    """Whether it is there."""
    return shutil.which(cxx_compiler()) is not None


def resident_bytes(peak: bool = False) -> int | None:
    """Memory of this process now, or the most since `forget_peak`; Linux only."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return None
    wanted = "VmHWM:" if peak else "VmRSS:"
    sizes = [int(line.split()[1]) * 1024 for line in status.read_text().splitlines() if line.startswith(wanted)]
    return sizes[0] if sizes else None


def forget_peak() -> bool:
    """Have the peak of `resident_bytes` start anew; False where the system does not let us.

    What the C library keeps of freed memory goes back first, or work that fits into it would seem to take none.
    """
    trim = _of_glibc("malloc_trim")
    if trim is not None:
        trim(0)
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def keep_freed_memory() -> bool:
    """Have this process keep what it frees for what it takes next; False where the C library is not glibc.

    A training step frees hundreds of megabytes in large blocks, and the next one takes as many. The C library gives
    such blocks back at once, and the system clears each page anew: up to two fifths of a small network's step on a CPU.
    """
    setting = _of_glibc("mallopt")
    return setting is not None and bool(setting(_MMAP_MAX, 0)) and bool(setting(_TRIM_THRESHOLD, -1))


def _of_glibc(name: str) -> Callable[..., int] | None:
    found: Callable[..., int] | None = getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
    return found
