"""Foreign encoders made on the spot: tiny models of six families, an ONNX graph, a TorchScript file, a HEAR module."""

import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor

RATE = 8_000
HEAR_MODULE = """
import torch

class Model:
    sample_rate = 8000
    scene_embedding_size = 3
    timestamp_embedding_size = 3
    scale = 1.0

def load_model(model_file_path=""):
    model = Model()
    if model_file_path:
        with open(model_file_path) as file:
            model.scale = float(file.read())
    return model

def get_scene_embeddings(audio, model):
    return model.scale * torch.stack([audio.mean(1), audio.square().mean(1), audio.amax(1)], 1)
"""


def statistics(wave: Tensor) -> Tensor:
    """What the planted encoders give: mean, power, peak."""
    return torch.stack([wave.mean(1), wave.square().mean(1), wave.amax(1)], 1)


class Statistics(torch.nn.Module):
    """The same as a module with a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.sample_rate = RATE
        self.gain = torch.nn.Parameter(torch.ones(3))

    def forward(self, wave: Tensor) -> Tensor:
        return self.gain * torch.stack([wave.mean(1), wave.square().mean(1), wave.amax(1)], 1)


@pytest.fixture
def waves() -> Tensor:
    """Half a second of noise at three levels."""
    noise = torch.randn(3, RATE // 2, generator=torch.Generator().manual_seed(3))
    return noise * torch.tensor([[0.05], [0.2], [0.1]])


def save_onnx(
    path: Path, shape=("B", "N"), rate: str | None = str(RATE), axis: int = 1, kind: str = "FLOAT", inputs: int = 1
) -> Path:
    """A graph that gives `statistics`."""
    import onnx
    from onnx import TensorProto
    from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info

    given = [make_tensor_value_info(f"wave{k}", getattr(TensorProto, kind), list(shape)) for k in range(inputs)]
    nodes = [
        make_node("ReduceMean", ["wave0"], ["mean"], axes=[axis], keepdims=1),
        make_node("Mul", ["wave0", "wave0"], ["square"]),
        make_node("ReduceMean", ["square"], ["power"], axes=[axis], keepdims=1),
        make_node("ReduceMax", ["wave0"], ["peak"], axes=[axis], keepdims=1),
        make_node("Concat", ["mean", "power", "peak"], ["vector"], axis=axis),
    ]
    outputs = [make_tensor_value_info(name, getattr(TensorProto, kind), None) for name in ("vector", "power")]
    model = make_model(make_graph(nodes, "statistics", given, outputs), opset_imports=[make_opsetid("", 17)])
    model.ir_version = 8
    if rate is not None:
        onnx.helper.set_model_props(model, {"sample_rate": rate})
    onnx.save(model, path)
    return path


def save_torchscript(path: Path, module: torch.nn.Module | None = None) -> Path:
    """A scripted module; TorchScript announces its end with a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(module or Statistics()).save(path)
    return path


@pytest.fixture(scope="session")
def hf_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with six tiny models and their own feature extractors, as save_pretrained writes them."""
    from leveret.adapters.hf import _import_transformers, _quiet

    _import_transformers("hf:")
    import transformers as hf

    root = tmp_path_factory.mktemp("hf")
    speech = {
        "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 16,
        "conv_dim": (16,) * 7, "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2,
    }  # fmt: skip
    audio = {
        "patch_embeds_hidden_size": 8, "depths": [1, 1, 1, 1], "num_attention_heads": [1, 1, 2, 2], "hidden_size": 64,
    }  # fmt: skip
    text = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8, "vocab_size": 9}
    with _quiet(), torch.random.fork_rng():
        torch.manual_seed(0)
        made = {
            "wav2vec2": (hf.Wav2Vec2Model(hf.Wav2Vec2Config(**speech)), hf.Wav2Vec2FeatureExtractor(do_normalize=True)),
            # the large models: layer norm in every convolution, standardised waves, masks that we never make
            "hubert": (
                hf.HubertModel(hf.HubertConfig(**speech, do_stable_layer_norm=True, feat_extract_norm="layer")),
                hf.Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True),
            ),
            "wavlm": (hf.WavLMModel(hf.WavLMConfig(**speech)), hf.Wav2Vec2FeatureExtractor(do_normalize=False)),
            "whisper": (
                hf.WhisperModel(
                    hf.WhisperConfig(
                        d_model=16, encoder_layers=2, encoder_attention_heads=2, decoder_layers=1, vocab_size=9,
                        decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, pad_token_id=0,
                        bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
                    )
                ),
                hf.WhisperFeatureExtractor(),
            ),
            "ast": (
                hf.ASTModel(
                    hf.ASTConfig(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16)
                ),
                hf.ASTFeatureExtractor(),
            ),
            "clap": (
                hf.ClapModel(hf.ClapConfig(text_config=text, audio_config=audio, projection_dim=8)),
                hf.ClapFeatureExtractor(truncation="rand_trunc"),
            ),
        }  # fmt: skip
        for name, (model, extractor) in made.items():
            model.save_pretrained(root / name)
            extractor.save_pretrained(root / name)
    return root
