"""Every benchmark one after the other, as the Markdown of RESULTS.md. Run it on a machine that does nothing else."""

import os
import subprocess
import sys
from pathlib import Path

# name, threads that the script is to be judged at
SCRIPTS = {
    "decode.py": 1,
    "logmel.py": 1,
    "linear_probe.py": 1,
    "mlp_probe.py": 1,
    "embed_vs_jax.py": 2,
    "onnx_vs_jax.py": 2,
    "encoders.py": 1,
    "train_step.py": 2,
    "networks.py": 2,
    "gradient_cache.py": 2,
    "loader.py": 1,
}


def main() -> None:
    """Run them; stop at the first that fails."""
    for name, threads in SCRIPTS.items():
        print(f"\n## {name}, {threads} thread{'s' if threads > 1 else ''}\n", flush=True)
        environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        subprocess.run([sys.executable, "-W", "ignore", Path(__file__).with_name(name)], check=True, env=environment)


if __name__ == "__main__":
    main()
