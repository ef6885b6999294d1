"""`--to hf`: a folder for the hub of Hugging Face, which transformers loads with the code that lies in it.

    AutoModel.from_pretrained(FOLDER, trust_remote_code=True)

It needs transformers and torch, not leveret. The weights train, and save_pretrained writes the same folder again, but
for the model card.
Source: transformers, "Sharing custom models" (auto_map); its dynamic_module_utils.py, which follows relative imports
among files of one flat folder.
Departures: no feature extractor is needed, since the network takes waves; preprocessor_config.json says for those who
ask that waves go in as they are.
"""

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from leveret.checkpoint import config_as_json
from leveret.exporting.folders import whole_folder, write_files
from leveret.exporting.formats import Exported, Format
from leveret.exporting.model_card import model_card
from leveret.exporting.sources import network_sources
from leveret.version import __version__

WEIGHTS = "model.safetensors"


def write_hf(exported: Exported, path: Path) -> None:
    """Write the folder.

    Raises:
        NotExportableError: Something lies there, or the scorecard is of another encoder.
    """
    card = model_card(exported, path.resolve().name)
    sources = network_sources(exported.name, exported.config, "leveret.exporting.carried.modeling_leveret")
    texts = {
        "config.json": _json(_config(exported)),
        "preprocessor_config.json": _json(_preprocessor(exported)),
        "README.md": card,
    }
    with whole_folder(path) as folder:
        write_files(folder, {**sources, **texts})
        weights = {f"encoder.{key}": value.contiguous() for key, value in exported.encoder.state_dict().items()}
        save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
        (folder / WEIGHTS).chmod((folder / "config.json").stat().st_mode)  # safetensors lets none but the owner read


def _config(exported: Exported) -> dict[str, Any]:
    return {
        "architectures": ["LeveretModel"],
        "auto_map": {
            "AutoConfig": "configuration_leveret.LeveretConfig",
            "AutoModel": "modeling_leveret.LeveretModel",
        },
        "model_type": "leveret",
        "encoder": exported.name,
        "sizes": config_as_json(exported.config),
        "sampling_rate": exported.encoder.sample_rate,
        "hidden_size": exported.encoder.embed_dim,
        "dtype": "float32",
        "leveret_version": __version__,
    }


def _preprocessor(exported: Exported) -> dict[str, Any]:
    return {
        "feature_extractor_type": "Wav2Vec2FeatureExtractor",
        "feature_size": 1,
        "sampling_rate": exported.encoder.sample_rate,
        "padding_value": 0.0,
        "do_normalize": False,
        "return_attention_mask": False,
    }


def _json(values: dict[str, Any]) -> str:
    return json.dumps(values, indent=2) + "\n"


FORMATS = {"hf": Format("a folder for the hub of Hugging Face, with code and model card", "", write_hf)}
