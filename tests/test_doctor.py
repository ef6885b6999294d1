import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from leveret import doctor, packages
from leveret.cache import Store
from leveret.doctor import (
    check_audio,
    check_compute,
    check_core,
    check_disk,
    check_extras,
    check_neighbours,
    check_text,
)
from leveret.home import cache_root
from leveret.packages import Imported, Requirement

WELL = Imported("", {})
IMPORTED = {name: WELL for name in ("platformdirs", "numpy", "filelock")}


def by_name(findings):
    return {finding.name: finding for finding in findings}


@pytest.fixture
def versions(monkeypatch):
    """Takes what is installed: distribution -> version."""

    def use(**installed):
        def version(name):
            if name not in installed:
                raise packages.PackageNotFoundError(name)
            return installed[name]

        monkeypatch.setattr(packages, "version", version)

    return use


def test_a_package_is_missing_broken_out_of_range_or_well(versions):
    versions(torch="2.13.0+cpu", numpy="1.20", soxr="1.0")
    core = [
        Requirement("torch", ">=2.9"), Requirement("numpy", ">=1.26"), Requirement("soxr", ""),
        Requirement("rich", ">=13"),
    ]  # fmt: skip
    imported = {"torch": Imported("", {"build": "CUDA 13.0"}), "numpy": WELL, "soxr": Imported("OSError: no", {})}
    found = by_name(check_core(core, imported))
    assert {name: finding.status for name, finding in found.items()} == {
        "torch": "pass", "numpy": "warn", "soxr": "fail", "rich": "fail",
    }  # fmt: skip
    assert found["torch"].seen == "2.13.0+cpu, built for CUDA 13.0"
    assert found["numpy"].seen == "1.20 is out of range"
    assert found["numpy"].advice == "pip install 'numpy>=1.26'"
    assert found["soxr"].seen == "1.0 is broken: OSError: no"
    assert found["rich"].seen == "is not installed"


def test_a_broken_neighbour_is_a_warning_and_a_good_one_nothing():
    imported = {"torchaudio": Imported("OSError: undefined symbol", {}), "timm": WELL}
    (found,) = check_neighbours(["torchaudio", "timm"], imported)
    assert (found.name, found.status) == ("torchaudio", "warn")
    assert "pip uninstall torchaudio" in found.advice


def test_extras_are_complete_broken_or_had_by_a_command(versions):
    versions(pretty_midi="0.2.11", transformers="5.0", pytest="9")
    needs = [
        Requirement("pretty_midi", "", "mini"), Requirement("transformers", "", "hf"),
        Requirement("onnxruntime", "", "onnx"), Requirement("nothing", "", "dev"),
    ]  # fmt: skip
    found = check_extras(needs, {"pretty_midi": WELL, "transformers": Imported("RuntimeError: torchvision", {})})
    broken, complete, missing = found
    assert (broken.name, broken.status) == ("[hf]", "warn")
    assert (complete.status, complete.seen) == ("pass", "mini")
    assert (missing.status, missing.seen) == ("note", "not installed: onnx")
    assert "[onnx]" in missing.advice


def test_a_format_that_does_not_decode_is_named():
    facts = {"libsndfile": "1.0.31", "formats": {"wav": "reads", "mp3": "Format not recognised."}}
    (found,) = check_audio({"soundfile": Imported("", facts)})
    assert found.status == "warn"
    assert found.seen == "libsndfile 1.0.31 reads wav; not mp3 (Format not recognised.)"
    assert check_audio({"soundfile": Imported("broken", {})}) == []


@pytest.mark.parametrize(
    ("threads", "set_to", "load", "status"),
    [
        (2, "", 0.1, "pass"),
        (1, "1", 0.1, "pass"),
        (8, "", 0.1, "warn"),
        (2, "64", 0.1, "warn"),
        (2, "all", 0.1, "warn"),
        (2, "", 7.0, "note"),
    ],
)
def test_threads_are_compared_with_cores(monkeypatch, threads, set_to, load, status):
    monkeypatch.setattr(doctor, "num_cores", lambda: 2)
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))
    monkeypatch.setenv("OMP_NUM_THREADS", set_to)
    torch = Imported("", {"threads": threads, "build": "cpu", "devices": []})
    found = by_name(check_compute({"torch": torch}))["threads"]
    assert found.status == status
    assert f"torch takes {threads}" in found.seen
    assert status == "pass" or found.advice


def test_devices_bfloat16_and_compiler_are_told(monkeypatch):
    monkeypatch.setattr(doctor, "has_bfloat16", lambda: False)
    monkeypatch.setenv("CXX", "no-such-compiler")
    facts = {"threads": 1, "build": "CUDA 13.0", "devices": []}
    found = by_name(check_compute({"torch": Imported("", facts)}))
    assert "sees no card" in found["devices"].seen
    assert (found["bfloat16"].status, found["compiler"].status) == ("note", "note")
    facts["devices"] = ["cuda:0 H100"]
    assert by_name(check_compute({"torch": Imported("", facts)}))["devices"].seen == "cpu, cuda:0 H100"
    assert "devices" not in by_name(check_compute({"torch": Imported("broken", {})}))


def test_a_home_that_is_not_there_yet_is_well_and_is_not_made(tmp_path):
    found = by_name(check_disk(IMPORTED))
    assert {finding.status for finding in found.values()} <= {"pass", "warn"}  # warn: less than 5 GB are free here
    assert found["cache"].seen == "0 stores, 0.00 GB"
    assert not (tmp_path / "home").exists()


def test_a_home_that_cannot_be_written_fails(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LEVERET_HOME", str(tmp_path / "file" / "home"))
    (found,) = check_disk(IMPORTED)
    assert found.status == "fail"
    assert "LEVERET_HOME" in found.advice
    monkeypatch.setenv("LEVERET_HOME", str(tmp_path))
    monkeypatch.setattr(doctor, "_writable", lambda folder: False)
    assert check_disk(IMPORTED)[0].status == "fail"


@pytest.mark.parametrize(("free", "status"), [(1e10, "pass"), (1e9, "warn"), (1e7, "fail")])
def test_little_space_is_told(monkeypatch, free, status):
    class Usage:
        def __init__(self):
            self.free = free

    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: Usage())
    assert by_name(check_disk(IMPORTED))["home"].status == status


def test_caches_are_counted_and_what_is_damaged_is_told():
    identity = {"encoder": {"config": {}, "origin": "none"}}
    vectors = np.ones((4, 2), np.float32)
    with Store.open(cache_root(), identity, 4, 2, "float32", vectors) as store:
        store.write(0, vectors, {})
    found = by_name(check_disk(IMPORTED))["cache"]
    assert (found.status, found.seen.split(",")[0]) == ("pass", "1 store")
    (store.folder / "rows.bin").write_bytes(b"short")
    found = by_name(check_disk(IMPORTED))["cache"]
    assert found.status == "warn"
    assert "4 rows damaged" in found.seen
    (store.folder / "identity.json").write_text("{")
    found = by_name(check_disk(IMPORTED))["cache"]
    assert found.status == "warn"
    assert "1 store with a damaged identity.json or journal.jsonl" in found.seen


def test_the_disk_is_left_alone_where_what_reads_it_is_broken():
    assert check_disk(IMPORTED | {"numpy": Imported("OSError", {})}) == []


def test_an_encoding_other_than_utf_8_is_told(monkeypatch):
    assert check_text().status == "pass"
    monkeypatch.setattr(sys, "getfilesystemencoding", lambda: "ascii")
    assert check_text().status == "warn"


def leveret(words, site: Path):
    """The command in another process, with planted packages first on its path."""
    paths = os.pathsep.join([str(site), *sys.path])
    environment = os.environ | {"PYTHONPATH": paths}
    return subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True, env=environment)


@pytest.fixture
def site(tmp_path):
    folder = tmp_path / "site"
    folder.mkdir()
    return folder


def test_a_broken_torchaudio_is_named_and_leveret_is_well(site):
    (site / "torchaudio").mkdir()
    (site / "torchaudio" / "__init__.py").write_text("raise OSError('libtorchaudio.so: undefined symbol')\n")
    done = leveret(["leveret", "doctor", "--json"], site)
    report = json.loads(done.stdout)
    found = {finding["name"]: finding for finding in report["findings"]}
    assert (done.returncode, report["well"]) == (0, True), done.stderr
    assert found["torchaudio"]["status"] == "warn"
    assert found["torchaudio"]["seen"] == "is broken: OSError: libtorchaudio.so: undefined symbol"
    assert found["torch"]["status"] == "pass"
    assert found["audio"]["seen"].endswith("reads wav, flac, ogg, opus, mp3")


def test_a_torch_that_crashes_is_named_and_the_rest_is_looked_at(site):
    (site / "torch.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    done = leveret(["leveret", "doctor"], site)
    assert done.returncode == 1, done.stderr
    assert "is broken: crashes the process (SIGSEGV)" in done.stdout
    assert "to do: pip install --force-reinstall 'torch'" in done.stdout
    assert "reads wav, flac, ogg, opus, mp3" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("broken: torch")
    assert done.stderr == ""


def test_a_broken_command_line_still_has_a_doctor(site):
    (site / "tyro.py").write_text("raise ImportError('no tyro today')\n")
    done = leveret(["leveret", "doctor"], site)
    assert done.returncode == 2
    assert "the command line cannot start (no tyro today)" in done.stderr
    done = leveret(["leveret.doctor"], site)
    assert done.returncode == 0, done.stderr
    (line,) = (line for line in done.stdout.splitlines() if "tyro" in line and line.startswith("fail"))
    assert "is broken: ImportError: no tyro today" in line
