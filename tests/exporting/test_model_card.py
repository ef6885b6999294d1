"""A model card says what a run measured of these very weights, and what nobody knows."""

import json

import pytest
import yaml

from leveret.checkpoint import save_checkpoint
from leveret.content import weights_digest
from leveret.evaluation import evaluate
from leveret.exporting.folders import NotExportableError
from leveret.exporting.model_card import model_card
from leveret.results import ResultError


@pytest.fixture
def scorecard(exported, tone_manifest, tmp_path):
    one = exported()
    save_checkpoint(tmp_path / "one.safetensors", one.name, one.config, one.encoder)
    [run] = evaluate([str(tmp_path / "one.safetensors")], f"manifest:{tone_manifest()}", "quick")
    return json.loads(run.scorecard.to_json())


def parts(card):
    """The header's values, and the text."""
    empty, header, text = card.split("---\n", 2)
    assert empty == ""
    return yaml.safe_load(header), text


def test_without_a_run_and_a_license_the_card_says_so(exported):
    one = exported()
    header, text = parts(model_card(one, "my-encoder"))
    assert header["license"] == "unknown"
    assert header["library_name"] == "transformers"
    assert one.name in header["tags"]
    assert "\nNot evaluated.\n" in text
    assert "checkpoint names no license" in text
    assert "Nothing is recorded of how the weights were trained." in text
    assert f"sha256 `{weights_digest(one.encoder)}`" in text
    assert "| parameters | 22,532 |" in text


def test_the_license_and_plain_facts_of_the_checkpoint_are_told(exported):
    extra = {"license": "cc-by-4.0", "steps": 1200, "files": ["a", "b"]}
    header, text = parts(model_card(exported(extra=extra), "my-encoder"))
    assert header["license"] == "cc-by-4.0"
    assert "names no license" not in text
    assert "- steps: 1200\n" in text
    assert "- files" not in text


def test_the_example_of_the_card_is_python(exported):
    _, text = parts(model_card(exported(), 'my "encoder"'))
    program = text.split("```python\n")[1].split("```")[0]
    assert 'from_pretrained("my \\"encoder\\"", trust_remote_code=True)' in program
    compile(program, "card", "exec")


def test_the_run_stands_in_the_card_with_protocol_interval_coverage_and_hashes(exported, scorecard):
    _, text = parts(model_card(exported(scorecard=scorecard), "my-encoder"))
    [result] = scorecard["tasks"]
    low, high = result["interval"]
    assert "Not evaluated" not in text
    assert f"Protocol: {scorecard['protocol']['title']}." in text
    [row] = [line for line in text.splitlines() if line.startswith("| tones |")]
    assert row == (
        f"| tones | {result['metric'].replace('_', chr(92) + '_')} | {100 * result['score']:.1f} | "
        f"{100 * low:.1f} to {100 * high:.1f} (few groups) | 100.0% | unchecked | `{result['split_hash'][:12]}` |"
    )
    assert "- tones: interval over" in text  # fewer than ten groups
    assert f"code {scorecard['run']['code']}" in text


def test_a_run_of_other_weights_is_refused(exported, scorecard):
    scorecard["encoder"]["digest"] = "f" * 64
    with pytest.raises(
        NotExportableError, match=r"with weights ffffffffffff, .*expected a run that evaluated these very"
    ):
        model_card(exported(scorecard=scorecard), "my-encoder")


def test_what_is_no_scorecard_is_refused(exported):
    with pytest.raises(ResultError, match="not a leveret scorecard"):
        model_card(exported(scorecard={"schema_version": 1}), "my-encoder")


def test_words_of_strangers_neither_break_the_header_nor_become_markup(exported, scorecard):
    scorecard["tasks"][0]["task"] = "a | b\n<script>"
    scorecard["protocol"]["title"] = "[quick](http://x)"
    extra = {"license": 'mit"\nlibrary_name: evil', "note": "`x`\x1b[31m"}
    header, text = parts(model_card(exported(scorecard=scorecard, extra=extra), "my-encoder"))
    assert header["library_name"] == "transformers"
    assert header["license"] == 'mit"\nlibrary_name: evil'
    assert "| a \\| b\\\\n\\<script\\> |" in text
    assert "\\[quick\\](http://x)" in text
    assert "\x1b" not in text
