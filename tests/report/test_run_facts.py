from hashlib import sha256

from tests.report.toy_runs import scored, single, write_run

from leveret.report.run_facts import LISTED, as_text, run_facts


def test_every_value_of_the_scorecard_is_told_with_the_digest_of_its_file(tmp_path):
    run = write_run(tmp_path / "run", [scored(single(1))])
    facts = run_facts(run)
    said = {name: value for pairs in facts.parts.values() for name, value in pairs}
    assert said["sha256 of scorecard.json"] == sha256((run.folder / "scorecard.json").read_bytes()).hexdigest()
    assert said["command"] == "leveret evaluate --encoder melstats"
    assert said["versions"] == "torch 2.13.0"
    assert (said["digest"], said["code"]) == ("e" * 64, "c" * 64)
    assert said["parameters"] == "1,423,616"
    for values in (run.scorecard.run, run.scorecard.encoder, run.scorecard.protocol):
        assert {name.replace("_", " ") for name in values} <= said.keys()


def test_clips_of_each_task_are_told_with_what_was_skipped_and_why(tmp_path):
    skipped = {f"{k}.wav": "not audio" for k in range(LISTED + 3)}
    found = scored(
        single(1), skipped=skipped, silent=["s.wav"], coverage=0.5, official_clips={"test": 50}, variant="v2"
    )
    (task,) = run_facts(write_run(tmp_path / "run", [found])).tasks
    assert (task.clips, task.published, task.coverage, task.variant) == ("train 80, test 40", "test 50", "50.0", "v2")
    assert task.split_hash == "5" * 64
    assert len(task.skipped) == LISTED
    assert task.skipped_more == 3
    assert task.skipped[0] == ("0.wav", "not audio")
    assert (task.silent, task.silent_more) == (["s.wav"], 0)


def test_values_are_printed_as_people_write_them():
    assert [as_text(value) for value in (True, None, 16_000, 0.00020, 52.9419, "x", [0, 1], {"a": [1]})] == [
        "yes", "none", "16,000", "0.0002", "52.94", "x", "[0, 1]", '{"a": [1]}'
    ]  # fmt: skip
