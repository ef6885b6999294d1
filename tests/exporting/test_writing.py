import json

import pytest
import torch

from leveret.checkpoint import save_checkpoint
from leveret.evaluation import evaluate
from leveret.evaluation_config import EvaluateConfig
from leveret.exporting.folders import CODE_LICENCE, NotExportableError
from leveret.exporting.formats import Format
from leveret.exporting.writing import check_target, compared_sounds, greatest_difference, to_export, write
from leveret.predictions import RunError
from leveret.registry import UnknownNameError, entries

FORMATS = entries("exporting", "FORMATS")


def scribbler(text, suffix=""):
    """A format that writes its words."""

    def scribble(exported, path):
        if not suffix:
            path.mkdir()
            (path / CODE_LICENCE).write_text(text)
            if text == "torn":
                for one in path.iterdir():
                    one.unlink()
                path.rmdir()
                raise OSError("disk full")
        else:
            path.write_text(text)

    return Format("words", suffix, scribble)


def test_every_format_says_what_it_is_and_where_it_goes():
    assert set(FORMATS) == {"haiku", "hear", "hf", "mteb", "onnx", "torch"}
    for entry in FORMATS.values():
        assert entry.what
        assert entry.suffix in ("", ".npz", ".onnx", ".pt2")
    assert set(entries("exporting", "READERS")) < set(FORMATS)


def test_a_checkpoint_is_exported_with_what_its_writer_added(exported, tmp_path):
    one = exported("byola_cnn_tiny")
    save_checkpoint(tmp_path / "c.safetensors", one.name, one.config, one.encoder, {"license": "mit"})
    found, origin = to_export(str(tmp_path / "c.safetensors"))
    assert (found.name, found.config, found.extra, found.scorecard) == (one.name, one.config, {"license": "mit"}, None)
    assert origin == "checkpoint"
    assert not found.encoder.training
    assert all(torch.equal(a, b) for a, b in zip(found.encoder.parameters(), one.encoder.parameters(), strict=True))


def test_a_name_has_random_weights_and_says_so():
    found, origin = to_export("byola_cnn_tiny")
    assert (found.name, origin) == ("byola_cnn_tiny", "random weights, seed 0")
    assert to_export("melstats")[1] == "no weights"


def test_a_run_gives_its_scorecard_and_two_runs_are_one_too_many(tone_manifest, tmp_path):
    for name in ("a", "b"):
        evaluate(
            "melstats", f"manifest:{tone_manifest(name)}", "quick", config=EvaluateConfig(output=tmp_path / "runs")
        )
    first, second = sorted((tmp_path / "runs").iterdir())
    found, _ = to_export("melstats", first)
    assert found.scorecard == json.loads((first / "scorecard.json").read_text())
    with pytest.raises(NotExportableError, match="2 runs lie below"):
        to_export("melstats", tmp_path / "runs")
    with pytest.raises(RunError, match="no finished run"):
        to_export("melstats", second / "predictions")


@pytest.mark.parametrize(
    ("spec", "error", "complaint"),
    [
        ("onnx:e.onnx", NotExportableError, r"'?onnx:e\.onnx'? is somebody else's network"),
        ("py:e.py:E", NotExportableError, r"FILE\.safetensors"),
        ("melstat", UnknownNameError, "Did you mean 'melstats'"),
    ],
)
def test_what_cannot_be_exported_is_refused(spec, error, complaint):
    with pytest.raises(error, match=complaint):
        to_export(spec)


def test_a_place_is_refused_before_any_work(tmp_path):
    (tmp_path / "e.onnx").write_text("old")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("dear")
    file, folder = FORMATS["onnx"], FORMATS["hf"]
    for format, path, force, complaint in (
        (file, "e.pt", False, r"does not end in \.onnx"),
        (file, "none/e.onnx", False, "there is no folder"),
        (file, "e.onnx", False, "--force to replace it"),
        (folder, "home", False, "--force to replace it"),
        (folder, "home", True, "nothing that an export left"),
        (folder, "e.onnx", True, "nothing that an export left"),
    ):
        with pytest.raises(NotExportableError, match=complaint):
            check_target(format, tmp_path / path, force)
    check_target(file, tmp_path / "e.onnx", force=True)
    check_target(file, tmp_path / "new.onnx", force=False)
    (tmp_path / "empty").mkdir()
    check_target(folder, tmp_path / "empty", force=False)


def test_a_folder_is_replaced_when_the_new_one_is_whole(exported, tmp_path):
    one, path = exported("melstats"), tmp_path / "folder"
    write(one, scribbler("first"), path)
    check_target(scribbler("second"), path, force=True)
    write(one, scribbler("second"), path)
    assert (path / CODE_LICENCE).read_text() == "second"
    with pytest.raises(OSError, match="disk full"):
        write(one, scribbler("torn"), path)
    assert (path / CODE_LICENCE).read_text() == "second"
    assert [one.name for one in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize(("name", "place"), [("haiku", "p.npz"), ("hear", "module_of_mine")])
def test_what_was_written_is_read_back_and_compared(exported, tmp_path, name, place):
    one = exported("slowfast_nfnet_tiny")
    write(one, FORMATS[name], tmp_path / place)
    assert greatest_difference(one, name, tmp_path / place) < 1e-6
    with torch.no_grad():
        one.encoder.fast.final_conv.bias[0] += 1
    assert greatest_difference(one, name, tmp_path / place) > 1e-3
    assert greatest_difference(one, "hf", tmp_path / place) is None


def test_sounds_to_compare_on_are_one_and_several_and_no_whole_number_of_frames():
    shapes = [tuple(sounds.shape) for sounds in compared_sounds(16_000)]
    assert [batch for batch, _ in shapes] == [1, 2, 3]
    assert any(length % 160 for _, length in shapes)
