"""`leveret describe` on the terminal and as JSON."""

import json

import pytest

from leveret.cli import main


def test_the_table_and_the_totals_are_printed(capsys):
    assert main(["describe", "slowfast_nfnet_tiny", "--seconds", "1"]) == 0
    shown = capsys.readouterr().out
    assert "slowfast_nfnet_tiny: 1 s at 16,000 Hz -> features 1 x 100 x 80 -> vector of 96" in shown
    assert "slow.stages.2" in shown
    assert "parameters 22,532; MACs" in shown


def test_json_holds_the_same(capsys):
    assert main(["describe", "vit_tiny", "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    assert about["parameters"] == sum(part["parameters"] for part in about["parts"]) == 26_400
    assert about["features"] == [1, 300, 80]


def test_a_spectrogram_takes_the_place_of_a_sound(capsys):
    assert main(["describe", "slowfast_nfnet_tiny", "--spectrogram", "400x128"]) == 0
    assert "slowfast_nfnet_tiny: features 1 x 400 x 128 -> vector of 96" in capsys.readouterr().out
    assert main(["describe", "slowfast_nfnet_tiny", "--spectrogram", "400x128", "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    assert (about["seconds"], about["features"]) == (None, [1, 400, 128])


@pytest.mark.parametrize("size", ["400", "400x", "0x80", "axb", "400x-1", "4000000x80", "400x80x1"])
def test_a_spectrogram_of_no_size_is_one_line(capsys, size):
    assert main(["describe", "slowfast_nfnet_tiny", "--spectrogram", size]) == 2
    assert "expected frames x mel bins, such as 400x128" in capsys.readouterr().err


def test_an_encoder_of_waves_takes_no_spectrogram(capsys):
    assert main(["describe", "wav2vec2_tiny", "--spectrogram", "400x128"]) == 2
    assert "does not take an input of shape (1, 400, 128)" in capsys.readouterr().err


def test_another_encoder_tells_its_outside(capsys, tmp_path):
    (tmp_path / "own.py").write_text(
        "import torch\n"
        "class Own:\n"
        "    sample_rate, embed_dim = 8000, 2\n"
        "    def embed(self, waves):\n"
        "        return torch.stack([waves.mean(1), waves.std(1)], 1)\n"
    )
    assert main(["describe", f"py:{tmp_path}/own.py:Own"]) == 0
    assert "somebody else's network, whose parts leveret does not look into" in capsys.readouterr().out


def test_an_unknown_encoder_is_one_line(capsys):
    assert main(["describe", "slowfast_nfnet_f1"]) == 2
    assert "Did you mean 'slowfast_nfnet_f0'" in capsys.readouterr().err
