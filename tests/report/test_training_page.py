"""The page of a pretraining says what its folder holds, of a finished run and of one under way, and runs nothing."""

import json
import re
from dataclasses import replace

import pytest
from tests.report.test_page import Page

from leveret.cli import main
from leveret.journal import append
from leveret.report.training_page import training_page
from leveret.report.training_run import TrainingRunError, is_training_run, read_training_run

EVIL = "</script><img src=x onerror=alert(1)>\u202e.wav"


def write(folder, steps=1000, log_every=10, **config):
    """The folder of a run half done, whose loss falls from 4 to 2; a probe every 250 steps."""
    folder.mkdir()
    settings = {
        "encoder": "nfnet_tiny", "encoder_config": {"width": 8}, "objective": "simclr",
        "objective_config": {"temperature": 0.1}, "recipe": "", "scale": "paper", "changed": [], "batch": 16,
        "steps": 2 * steps, "rate": 2e-4, "probe_tasks": ["esc50"],
    }  # fmt: skip
    about = {"leveret": "0.1.0", "config": settings | config, "machine": {"processes": 2, "device": "cpu"}}
    about["data"] = {"corpus": "sounds", "digest": "d" * 64, "num_clips": 1234, "labels": [EVIL, "dog"]}
    (folder / "config.json").write_text(json.dumps(about))
    start = {"crops_a_step": 32, "command": ["leveret", "pretrain", EVIL], "started": "2026-01-02T03:04:05+00:00"}
    append(folder / "starts.jsonl", {"step": 0, **start, "versions": {"torch": "2.13.0"}})
    append(folder / "starts.jsonl", {"step": 500, **start})
    append(folder / "skipped-0.jsonl", {"clip": EVIL, "why": "is no audio"})
    append(folder / "skipped-1.jsonl", {"clip": "b.wav", "why": "ends at 3 s"})
    for step in range(0, steps + 1, log_every):
        if step:
            loss = 4 - 2 * step / steps
            figures = {"loss": loss, "rate": 2e-4, "gradient_norm": 1.0, "accuracy": step / steps}
            figures |= {"crops_per_second": 64.0, "share_of_peak": None, "memory_bytes": 2_500_000_000}
            append(folder / "log.jsonl", {"step": step, **figures, "trivial_pairs": 0.125, "padded": 0.0, "skipped": 2})
        if step % 250 == 0:
            score = None if step == 500 else 0.25 + step / 4000
            append(
                folder / "log.jsonl",
                {"step": step, "probe/esc50": score, "melstats/esc50": 0.375, "probe_seconds": 30.0},
            )
    return folder


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "run")


def described(text):
    """What the charts say of themselves."""
    return {tag["aria-label"] for name, tag in Page(text).tags if name == "svg"}


def fact(text, name):
    return re.search(rf"<dt>{re.escape(name)}</dt><dd>(.*?)</dd>", text).group(1)


def test_curves_start_and_end_where_the_log_does(folder):
    text = training_page(read_training_run(folder))
    assert described(text) == {
        "loss. 3.98 after step 10, 2 after step 1,000",
        "accuracy. 0.01 after step 10, 1 after step 1,000",
        "learning rate. 0.0002 after step 10, 0.0002 after step 1,000",
        "gradient norm. 1 after step 10, 1 after step 1,000",
        "crops a second. 64 after step 10, 64 after step 1,000",
        "memory, the most so far (GB). 2.5 after step 10, 2.5 after step 1,000",
        "pairs of nearly the same crop (%). 12.5 after step 10, 12.5 after step 1,000",
        "crops with silence added (%). 0 after step 10, 0 after step 1,000",
        "clips that cannot be read. 2 after step 10, 2 after step 1,000",
        "esc50 (%). encoder: 25 after step 0, 50 after step 1,000; melstats: 37.5 after step 0, 37.5 after step 1,000",
    }
    charts = Page(text).data["charts"]
    assert [charts[0]["lines"][0][name][-1] for name in ("steps", "values", "x")] == [1000, "2", 368]


def test_the_time_of_a_run_is_unknown_where_no_start_says_how_much_a_step_is(folder):
    run = read_training_run(folder)
    assert run.seconds == pytest.approx(500)
    assert replace(run, starts=[]).seconds is None


def test_the_facts_are_those_of_the_folder(folder):
    text = training_page(read_training_run(folder))
    assert "<title>nfnet_tiny by simclr - leveret</title>" in text
    assert fact(text, "steps") == "1,000 of 2,000"
    assert fact(text, "crops seen") == "32,000"
    assert fact(text, "time in training") == "8 min 20 s"  # 32,000 crops, 64 a second
    assert fact(text, "time in probes, beside") == "2 min 30 s"
    assert fact(text, "clips skipped") == "2"
    assert fact(text, "temperature") == "0.1"
    assert fact(text, "num clips") == "1,234"
    assert fact(text, "versions") == "torch 2.13.0"
    assert "went on after step 500" in text
    assert "<code>b.wav</code> ends at 3 s" in text
    page = Page(text)
    assert page.row("esc50") == ["37.5", "25.0", "50.0step 1,000", "50.0step 1,000", "+12.5"]
    steps = [row[0] for row in page.rows if row and row[0].replace(",", "").isdigit()]
    assert (len(steps), steps[0], steps[-1]) == (12, "10", "1,000")


def test_a_recipe_is_named_with_what_was_changed(tmp_path):
    folder = write(tmp_path / "run", recipe="cpc_audioset", scale="small", changed=["batch=16 (128)"])
    text = training_page(read_training_run(folder))
    assert "<h1>cpc_<wbr>audioset</h1>" in text
    assert fact(text, "changed") == "[&#34;batch=16 (128)&#34;]"


def test_names_from_strangers_run_nothing_and_nothing_is_asked_of_the_outside(folder):
    text = training_page(read_training_run(folder))
    page = Page(text)
    assert "\u202e" not in text
    assert not [tag for tag, _ in page.tags if tag == "img"]
    assert not re.search(r'(?:src|href)="(?!#|data:,)', text)
    assert not [attributes for _, attributes in page.tags if "style" in attributes]


def test_a_run_of_one_step_and_one_without_probes_have_a_page(tmp_path):
    one = write(tmp_path / "one", steps=10)
    (one / "log.jsonl").unlink()
    append(one / "log.jsonl", {"step": 1, "loss": 3.5, "crops_per_second": 10.0})
    (one / "starts.jsonl").unlink()
    text = training_page(read_training_run(one))
    assert described(text) == {
        "loss. 3.5 after step 1, 3.5 after step 1",
        "crops a second. 10 after step 1, 10 after step 1",
    }
    assert 'id="probes"' not in text


def test_what_is_no_pretraining_is_refused(tmp_path, folder):
    assert is_training_run(folder)
    assert not is_training_run(tmp_path)
    with pytest.raises(TrainingRunError, match="holds no pretraining run"):
        read_training_run(tmp_path)
    (folder / "log.jsonl").unlink()
    with pytest.raises(TrainingRunError, match="has no line in its log yet"):
        read_training_run(folder)


def test_the_command_writes_the_page_and_takes_a_pretraining_alone(folder, tmp_path, capsys):
    path = tmp_path / "training.html"
    assert main(["report", str(folder), "-o", str(path)]) == 0
    assert capsys.readouterr().out.startswith("pretraining after step 1,000, ")
    assert path.read_text(encoding="utf-8") == training_page(read_training_run(folder))
    assert main(["report", str(folder), str(tmp_path), "-o", str(path)]) == 2
    assert "is a pretraining, whose page stands alone" in capsys.readouterr().err
