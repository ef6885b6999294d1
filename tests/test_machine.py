import ctypes
import mmap
import os
import subprocess
import sys

import pytest

from leveret.machine import (
    cxx_compiler,
    forget_peak,
    has_bfloat16,
    has_cxx_compiler,
    keep_freed_memory,
    num_cores,
    resident_bytes,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model name\t: Xeon bf16\nflags\t\t: fpu avx512f avx512_bf16\n", True),
        ("model name\t: Xeon bf16\nflags\t\t: fpu avx512f\n", False),
        ("Features\t: fp asimd bf16 i8mm\n", True),
        ("", False),
    ],
)
def test_bfloat16_is_read_from_the_processors_flags(tmp_path, text, expected):
    (tmp_path / "cpuinfo").write_text(text)
    assert has_bfloat16(tmp_path / "cpuinfo") is expected


def test_what_the_system_does_not_tell_is_none(tmp_path):
    assert has_bfloat16(tmp_path / "cpuinfo") is None


def test_the_compiler_is_the_one_that_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", str(tmp_path / "none++"))
    assert cxx_compiler() == str(tmp_path / "none++")
    assert not has_cxx_compiler()
    monkeypatch.setenv("CXX", sys.executable)
    assert has_cxx_compiler()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux only")
def test_cores_are_those_that_this_process_may_use():
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert num_cores() == 1
    finally:
        os.sched_setaffinity(0, before)
    assert num_cores() == len(before)


def touch(size):
    """Take memory and give it back to the system itself: what the C library keeps of freed memory is its own affair."""
    with mmap.mmap(-1, size) as memory:
        for _ in range(size // 1_000_000):
            memory.write(b"1" * 1_000_000)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux only")
def test_the_peak_is_that_since_it_was_forgotten():
    size = 200_000_000
    touch(size)  # comes and goes before
    assert forget_peak()
    before = resident_bytes()
    peak = resident_bytes(peak=True)
    assert before is not None
    assert peak is not None
    assert peak - before < size / 4
    touch(size)
    now = resident_bytes()
    peak = resident_bytes(peak=True)
    assert now is not None
    assert peak is not None
    assert 0.9 * size < peak - before < 1.5 * size
    assert now - before < size / 4


AFTER_ONE_BLOCK = """
import ctypes, sys
from leveret.machine import keep_freed_memory, resident_bytes
assert sys.argv[1] == "as it is" or keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, size = ctypes.c_void_p, 200_000_000
before = resident_bytes()
block = ctypes.c_void_p(libc.malloc(ctypes.c_size_t(size)))
libc.memset(block, 1, ctypes.c_size_t(size))
libc.free(block)
print((resident_bytes() - before) / size)
"""


@pytest.mark.skipif(sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallopt"), reason="of glibc")
def test_what_is_freed_is_kept_where_that_is_asked_for():
    kept = {}
    for wish in ("as it is", "keep"):
        told = subprocess.run(
            [sys.executable, "-c", AFTER_ONE_BLOCK, wish], capture_output=True, text=True, check=True, timeout=60
        )
        kept[wish] = float(told.stdout)
    assert kept["as it is"] < 0.1
    assert kept["keep"] > 0.9


def test_another_c_library_is_left_as_it_is(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_freed_memory()
