"""Imports modules for real and tells of each, as a program of its own: `python -P import_probe.py NAME...`.

`leveret doctor` starts it, since an import can fail, hang, or take the process with it, and then it is this one. Every
line on standard output is JSON: {"start": NAME}, then {"done": NAME, ...facts}. An import that fails ends it, with the
reason as the last line on standard error.
"""

import importlib
import json
import sys
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any

FORMATS = {
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}


def torch_facts(torch: Any) -> dict[str, Any]:
    """The build and what it can compute on, by computing."""
    devices = []
    if torch.cuda.is_available():
        devices += [f"cuda:{k} {torch.cuda.get_device_name(k)}" for k in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        devices.append("mps")
    assert float(torch.ones(3, 3).matmul(torch.ones(3, 3)).sum()) == 27.0
    return {
        "threads": torch.get_num_threads(),
        "build": f"CUDA {torch.version.cuda}" if torch.version.cuda else "cpu",
        "devices": devices,
    }


def soundfile_facts(soundfile: Any) -> dict[str, Any]:
    """The library's version, and for each format "reads", or why it does not: a second of tone is written and read."""
    import numpy as np

    tone = (0.5 * np.sin(2 * np.pi * 440 * np.arange(48_000) / 48_000)).astype(np.float32)
    formats = {}
    for name, (container, subtype) in FORMATS.items():
        memory = BytesIO()
        try:
            soundfile.write(memory, tone, 48_000, format=container, subtype=subtype)
            memory.seek(0)
            wave, rate = soundfile.read(memory, dtype="float32")
        except (RuntimeError, ValueError, TypeError) as error:
            formats[name] = str(error) or type(error).__name__
            continue
        loudness = float(np.sqrt(np.mean(wave**2)))
        right = rate == 48_000 and abs(len(wave) - 48_000) < 4800 and abs(loudness - 0.35) < 0.05
        formats[name] = "reads" if right else f"decodes wrongly: {len(wave)} samples at {rate} Hz, level {loudness:.2f}"
    return {"libsndfile": soundfile.__libsndfile_version__, "formats": formats}


def soxr_facts(soxr: Any) -> dict[str, Any]:
    """Whether it resamples."""
    import numpy as np

    assert len(soxr.resample(np.zeros(48_000, np.float32), 48_000, 16_000)) == 16_000
    return {}


FACTS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "torch": torch_facts,
    "soundfile": soundfile_facts,
    "soxr": soxr_facts,
}


def main(names: Sequence[str]) -> None:
    """Import each in turn."""
    for name in names:
        _tell({"start": name})
        module = importlib.import_module(name)
        _tell({"done": name, **FACTS.get(name, lambda module: {})(module)})


def _tell(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
