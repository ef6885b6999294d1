"""`leveret describe`: what an encoder is made of."""

import json
import sys
from dataclasses import asdict, dataclass

import tyro

from leveret.commands.console import out, safe
from leveret.commands.table import print_table


@dataclass(frozen=True, kw_only=True)
class Describe:
    """The parts of an encoder with their output shapes, parameters and multiply-accumulates, read from the module.

    Shapes are channels x frames x mel bins, or frames x width.

    Multiply-accumulates (MACs) are of one example, without the front end: half of what is elsewhere counted as FLOPs.

    Examples:
      leveret describe slowfast_nfnet_f0

      leveret describe vit_base --seconds 10

      leveret describe slowfast_nfnet_f0_table5 --spectrogram 400x128

      leveret describe checkpoint.safetensors --json
    """

    encoder: tyro.conf.Positional[str]
    """A name (`leveret list encoders`), FILE.safetensors, or another encoder spec."""
    seconds: float = 3.0
    """Length of the sound."""
    spectrogram: str | None = None
    """FRAMESxMELS in place of a sound, past the front end."""
    json: bool = False
    """Print JSON on standard output."""

    def run(self) -> int:
        """Describe, print."""
        from leveret.description import describe, in_words, size
        from leveret.loading import load_encoder

        features = None if self.spectrogram is None else (1, *_frames_and_mels(self.spectrogram))
        loaded = load_encoder(self.encoder)
        found = describe(loaded.encoder, self.seconds, features)
        if self.json:
            about = loaded.described() | {"seconds": None if features else self.seconds} | asdict(found)
            sys.stdout.write(json.dumps(about, indent=1) + "\n")
            return 0
        rows = [
            [part.name, part.what, size(part.shape), f"{part.parameters:,}", in_words(part.macs)]
            for part in found.parts
        ]
        sound = "" if features else f"{self.seconds:g} s at {loaded.encoder.sample_rate:,} Hz -> "
        seen = f"features {size(found.features)}" if len(found.features) > 1 else f"{found.features[0]:,} samples"
        out.print(f"{safe(loaded.name)}: {sound}{seen} -> vector of {found.embed_dim:,}")
        if rows:
            print_table("", ["part", "what", "output", "parameters", "MACs"], rows, numbers=range(3, 5), prose=(1,))
        else:
            out.print("somebody else's network, whose parts leveret does not look into")
        if found.parameters is not None:
            macs = (
                f"`leveret check {safe(self.encoder)}` counts MACs" if found.macs is None
                else f"MACs {in_words(found.macs)} an example, without the front end"
            )  # fmt: skip
            out.print(f"parameters {found.parameters:,}; {macs}", soft_wrap=True)
        out.print("layers: " + safe(", ".join(f"{name} ({width})" for name, width in found.layers.items())))
        return 0


def _frames_and_mels(text: str) -> tuple[int, int]:
    frames, _, mels = text.partition("x")
    if not all(one.isascii() and one.isdigit() and len(one) < 6 and int(one) for one in (frames, mels)):
        raise ValueError(f"--spectrogram {text!r}; expected frames x mel bins, such as 400x128")
    return int(frames), int(mels)
