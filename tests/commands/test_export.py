import json

import pytest

from leveret import cli
from leveret.commands import export
from leveret.exporting import writing


def test_random_weights_are_written_with_a_warning_and_compared(capsys, tmp_path):
    path = tmp_path / "e.pt2"
    assert cli.main(["export", "byola_cnn_tiny", "--to", "torch", "-o", str(path)]) == 0
    captured = capsys.readouterr()
    assert captured.err.startswith("WARNING: byola_cnn_tiny has random weights, seed 0: what is written has learned")
    assert captured.out.startswith("byola_cnn_tiny, random weights, seed 0, 16000 Hz to 32 numbers, at most ")
    assert captured.out.endswith(f" from torch: {path}\n")
    assert path.stat().st_size > 0


def test_json_is_alone_on_standard_output(capsys, tmp_path):
    path = tmp_path / "e.pt2"
    path.write_text("old")
    assert cli.main(["export", "melstats", "--to", "torch", "-o", str(path), "--force", "--json"]) == 0
    captured = capsys.readouterr()
    said = json.loads(captured.out)
    assert said.pop("difference") < 1e-4
    assert said == {
        "output": str(path), "format": "torch", "encoder": "melstats", "origin": "no weights", "sample_rate": 16_000,
        "embed_dim": 240,
    }  # fmt: skip
    assert captured.err == ""


@pytest.mark.parametrize("difference", [1e-3, float("nan")])
def test_an_export_that_differs_is_status_1(capsys, tmp_path, monkeypatch, difference):
    monkeypatch.setattr(writing, "greatest_difference", lambda *others: difference)
    assert export.Export(encoder="slowfast_nfnet_tiny", to="haiku", output=tmp_path / "e.npz").run() == 1
    assert "do not use it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["melstats", "--to", "onxx", "-o", "e.onnx"], "no format 'onxx'. Did you mean 'onnx'"),
        (["melstat", "--to", "onnx", "-o", "e.onnx"], "Did you mean 'melstats'"),
        (["hear:module", "--to", "onnx", "-o", "e.onnx"], "somebody else's network"),
        (["none.safetensors", "--to", "onnx", "-o", "e.onnx"], "no checkpoint at none.safetensors"),
        (["melstats", "--to", "onnx", "-o", "e.pt"], "does not end in .onnx"),
        (["melstats", "--to", "onnx", "-o", "none/e.onnx"], "there is no folder"),
        (["melstats", "--to", "onnx", "-o", "e.onnx", "--run", "none"], "no finished run at none"),
        (["melstats", "--to", "haiku", "-o", "e.npz"], "no network of the authors' program"),
    ],
)
def test_a_mistake_is_one_clear_error_and_nothing_is_written(capsys, tmp_path, monkeypatch, words, says):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["export", *words]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("leveret: error: ")
    assert says.lower() in captured.err.lower()
    assert captured.out == ""
    assert not [path for path in tmp_path.iterdir() if path.name != "home"]
