"""Clips a second of each architecture, its multiply-accumulates (MACs), and its share of the machine's own best.

    python benchmarks/encoders.py [--only resnet50 vit_base] [--rounds 5] [--batch 8] [--seconds 3]

Each encoder is the frozen copy that embedding uses, from the wave to the vector, the front end included; weights are
freshly drawn, which changes no time. Its peer is the fastest of three products of square matrices, timed in the same
rounds: the machine's rate of MACs at its best. The share is the encoder's rate by that one. What is not counted (front
end, norms, activations) takes time all the same, so that no encoder comes to 100 %. Float32, one thread, processor
time.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial

import torch
from timing import in_turn, table

from leveret.description import macs
from leveret.inference import for_inference
from leveret.loading import create_encoder
from leveret.stimuli import noise

ENCODERS = (
    "byola_cnn", "efficientnet_b0", "cnn14", "vit_base", "resnet50", "slowfast_resnet50", "slowfast_nf_resnet50",
    "nf_resnet50", "nfnet_f0", "slowfast_nfnet_f0", "bidir_cpc", "wav2vec2_base",
)  # fmt: skip
SIDES = (1024, 2048, 3072)


def main() -> None:
    """Time each encoder against matrix products and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=ENCODERS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=3.0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    matrices = {side: torch.randn(side, side) for side in SIDES}
    products: dict[str, Callable[[], object]] = {
        str(side): partial(torch.mm, one, one) for side, one in matrices.items()
    }
    rows = []
    with torch.inference_mode():
        for name in options.only:  # one at a time: all together would take gigabytes
            encoder = create_encoder(name, 0)
            giga = macs(encoder, options.seconds) / 1e9
            network = for_inference(encoder)
            samples = round(options.seconds * encoder.sample_rate)
            waves = torch.from_numpy(noise(5, options.batch * samples).reshape(options.batch, samples))
            times = in_turn({name: partial(network, waves)} | products, options.rounds, time.process_time)
            best = max(side**3 / 1e6 / times[str(side)] for side in SIDES)  # GMACs a second
            clips = 1e3 * options.batch / times[name]
            rows.append((name, clips, giga, clips * giga, best, f"{100 * clips * giga / best:.0f} %"))
    print("| encoder | clips a second | GMACs a clip | GMACs a second | matrix product, GMACs a second | share |")
    table(rows)


if __name__ == "__main__":
    main()
