"""`leveret listen`: the nearest neighbours in a folder of sounds."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from leveret.commands.console import ConsoleReporter, out, safe
from leveret.text import number_of


@dataclass(frozen=True, kw_only=True)
class Listen:
    """A page on this machine that plays the sounds of a folder and finds those that sound alike.

    Choose a sound, or drop another one: the nearest by cosine similarity are shown, and can be played.

    The page is served on 127.0.0.1 alone and asks nothing of the outside. Ctrl-C ends it.

    Examples:
      leveret listen sounds/

      leveret listen sounds/ --encoder runs/best/checkpoint.safetensors --port 8000 --no-browser
    """

    folder: tyro.conf.Positional[Path]
    """Folder with audio files; folders within it count."""
    encoder: str = "melstats"
    """Encoder spec: a name, FILE.safetensors, py:FILE:CLASS, hear:MODULE, hf:MODEL, onnx:FILE, torchscript:FILE,
    pkg:NAME. The default, statistics of mel bands, has no weights: a trained encoder hears far more."""
    layer: str | None = None
    """Layer to read out; by default the encoder's last."""
    port: int = 0
    """Of 127.0.0.1; by default a free one."""
    browser: bool = True
    """Open the page."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of the network; the front end and the vectors stay float32."""

    def run(self) -> int:
        """Embed, serve until Ctrl-C."""
        import webbrowser

        from leveret.listening.neighbours import Sounds
        from leveret.listening.serving import ListenServer, check_port
        from leveret.loading import load_encoder
        from leveret.runner import Compute, runners_of

        check_port(self.port)
        reporter = ConsoleReporter()
        loaded = load_encoder(self.encoder)
        if loaded.note:
            reporter.say(f"note: {loaded.note}")
        compute = Compute(device=self.device, dtype=self.dtype)
        (runner,) = runners_of([loaded], compute, () if self.layer is None else (self.layer,))
        sounds = Sounds.of_folder(self.folder, runner, reporter)
        for why in sounds.skipped.values():
            reporter.say(f"skipped: {why}")
        with ListenServer(sounds, self.port) as server:
            count = f"{number_of(len(sounds.paths), 'sound')}, {len(sounds.skipped)} skipped"
            out.print(f"{count}: {safe(server.url)}  (Ctrl-C ends it)", soft_wrap=True)
            if self.browser:
                webbrowser.open(server.url)
            try:
                server.serve_forever()
            except KeyboardInterrupt:
                out.print("\nstopped")
        return 0
