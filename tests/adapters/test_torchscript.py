import pytest
import torch
from tests.adapters.conftest import RATE, Statistics, save_torchscript, statistics

from leveret.adapters.foreign import AdapterError
from leveret.loading import load_encoder


class NoRate(torch.nn.Module):
    def forward(self, wave: torch.Tensor) -> torch.Tensor:
        return wave[:, :4]


class Frames(torch.nn.Module):
    def forward(self, wave: torch.Tensor) -> torch.Tensor:
        return wave.unfold(1, 4, 4)


class Wide(torch.nn.Module):
    def forward(self, wave: torch.Tensor) -> torch.Tensor:
        return wave @ torch.ones(7, 2)


def test_a_module_with_a_rate_is_an_encoder(tmp_path, waves):
    loaded = load_encoder(f"torchscript:{save_torchscript(tmp_path / 'loud.pt')}")
    assert (loaded.name, loaded.encoder.sample_rate, loaded.encoder.embed_dim) == ("loud", RATE, 3)
    assert loaded.num_parameters == 3
    torch.testing.assert_close(loaded.encoder(waves), statistics(waves))


def test_the_rate_of_the_spec_stands_in(tmp_path):
    path = save_torchscript(tmp_path / "no_rate.pt", NoRate())
    assert load_encoder(f"torchscript:{path}#rate=22050").encoder.sample_rate == 22_050
    with pytest.raises(AdapterError, match=r"no sample_rate; say it, in Hz: torchscript:.*#rate=16000"):
        load_encoder(f"torchscript:{path}")


def test_other_weights_are_another_digest(tmp_path):
    path = save_torchscript(tmp_path / "loud.pt")
    before = load_encoder(f"torchscript:{path}").digest
    louder = Statistics()
    with torch.no_grad():
        louder.gain += 1
    save_torchscript(path, louder)
    assert load_encoder(f"torchscript:{path}").digest != before


@pytest.mark.parametrize(
    ("module", "complaint"),
    [
        (Frames(), r"returned torch.Size\(\[2, 2000, 4\]\)"),
        (Wide(), r"fails on waves of shape \(2, 8000\) \(RuntimeError: mat1 and mat2"),
    ],
)
def test_a_module_that_gives_no_vectors_says_what_it_gives(tmp_path, module, complaint):
    path = save_torchscript(tmp_path / "bad.pt", module)
    with pytest.raises(AdapterError, match=complaint) as caught:
        load_encoder(f"torchscript:{path}#rate=8000")
    assert "\n" not in str(caught.value)


def test_a_pickle_is_not_opened(tmp_path):
    path = tmp_path / "pickle.pt"
    torch.save({"weight": torch.ones(2)}, path)
    with pytest.raises(AdapterError, match="is no TorchScript file"):
        load_encoder(f"torchscript:{path}")
    path.write_bytes(b"no archive")
    with pytest.raises(AdapterError, match="is no TorchScript file"):
        load_encoder(f"torchscript:{path}")


@pytest.mark.parametrize("rest", ["", "none.pt", "#rate=16000"])
def test_no_file_is_refused_with_an_example(rest):
    with pytest.raises(AdapterError, match=r"expected such as torchscript:model\.pt#rate=16000"):
        load_encoder(f"torchscript:{rest}")
