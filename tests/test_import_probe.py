import json
import subprocess
import sys

import numpy as np
import soundfile
import soxr
import torch

from leveret import import_probe
from leveret.import_probe import FORMATS, main, soundfile_facts, soxr_facts, torch_facts


def test_every_format_is_really_decoded():
    facts = soundfile_facts(soundfile)
    assert facts["formats"] == dict.fromkeys(FORMATS, "reads")
    assert facts["libsndfile"] == soundfile.__libsndfile_version__


def test_a_format_that_is_not_there_or_decodes_wrongly_says_so(monkeypatch):
    monkeypatch.setattr(import_probe, "FORMATS", {"flac": ("FLAC", "PCM_16"), "xyz": ("XYZ", "PCM_16")})

    class Deaf:
        __libsndfile_version__ = "1.0.0"
        write = staticmethod(soundfile.write)

        @staticmethod
        def read(file, dtype):
            return np.zeros(48_000, dtype), 48_000

    facts = soundfile_facts(Deaf)
    assert facts["formats"]["flac"] == "decodes wrongly: 48000 samples at 48000 Hz, level 0.00"
    assert "XYZ" in facts["formats"]["xyz"]


def test_torch_and_soxr_are_put_to_work():
    assert torch_facts(torch)["threads"] == torch.get_num_threads()
    assert soxr_facts(soxr) == {}


def test_each_import_is_announced_before_it_is_tried(capsys):
    main(["json", "soxr"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines == [{"start": "json"}, {"done": "json"}, {"start": "soxr"}, {"done": "soxr"}]


def test_leverets_own_modules_hide_no_package():
    # beside the probe lies leveret/audio.py, and a package may be called audio
    command = [sys.executable, "-P", import_probe.__file__, "audio"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert "No module named 'audio'" in done.stderr.splitlines()[-1]
