"""Random crops: the table of all of them equals redrawing, and redrawing is what anybody would write."""

import csv
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import nn
from torch.nn import functional as F

from leveret import batches, embedding, runner, workload
from leveret.audio import load, read_info
from leveret.augment import pairing
from leveret.bad_files import BadFilePolicy, TooManyBadFilesError
from leveret.batches import GRID_SECONDS, CropRule
from leveret.clips import Clip
from leveret.drawing import CropSource, StreamedCrops
from leveret.embedding import embed_job
from leveret.evaluation import Evaluation
from leveret.evaluation_config import EvaluateConfig
from leveret.loading import find_tasks, load_encoder
from leveret.optim import learning_rate
from leveret.probes.trainer import CHUNK_STEPS, Windows, draw, first_weights
from leveret.protocols import Protocol
from leveret.resampling import fit
from leveret.runner import Compute, runners_of
from leveret.scoring import score_task
from leveret.workload import Known, Workload

CPU = torch.device("cpu")
SHORT = Protocol(name="paper", steps=300, check_rates=False)  # into a second chunk of draws
RATE = 16_000


@pytest.fixture
def melstats():
    (one,) = runners_of([load_encoder("melstats")], Compute(device="cpu", threads=1))
    return one


@pytest.fixture
def embedded(monkeypatch):
    """How many windows encoders were given, batch by batch."""
    counts: list[int] = []
    vectors = runner.Network.vectors

    def counting(self, batch, layers):
        counts.append(batch.num_rows)
        return vectors(self, batch, layers)

    monkeypatch.setattr(runner.Network, "vectors", counting)
    return counts


def manifest_task(manifest, crop: float | str | None = 0.25, **changes):
    (task,) = find_tasks([f"manifest:{manifest}"], crop=crop).tasks
    return replace(task, **changes)


def evaluated(task, protocol, one_runner, policy=BadFilePolicy()):
    """What an evaluation does with one task and encoder: the workload, its vectors, the outcome."""
    work = Workload.make(task, protocol)
    work.plan(protocol, Known(), 1, lambda number: None)
    parts = [embed_job(job, [one_runner], policy=policy)[0] for job in work.jobs]
    vectors = work.vectors(parts, one_runner, policy)
    return work, vectors, score_task(task, work.folds, vectors, protocol, CPU)


@pytest.fixture
def birds(shared, tmp_path):
    """A few real clips of 5 s: 8 to train on, 4 to test."""
    source = shared / "data" / "dev" / "manifest.csv"
    with source.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["task"] == "env_bird"]
    lines = ["task,split,label,group,file"]
    for split, number in (("train", 4), ("test", 2)):
        for label in sorted({row["label"] for row in rows}):
            some = [row for row in rows if (row["split"], row["label"]) == (split, label)][:number]
            lines += [f"birds,{split},{label},{row['group']},{source.parent / row['file']}" for row in some]
    (tmp_path / "birds.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "birds.csv"


def as_anybody_would(task, encoder, steps):
    """The paper's protocol, one step after the other: draw clips, crop them, embed the crops, train."""
    (fold,) = task.folds()
    labels = task.slots[0][1]
    waves = [load(clip.path, RATE) for clip in fold.train]
    count = torch.tensor([1 + round(100 * (read_info(clip.path).seconds - task.crop_seconds)) for clip in fold.train])
    windows = Windows(count.cumsum(0) - count, count)
    num_samples = round(task.crop_seconds * RATE)
    layer = nn.Linear(encoder.embed_dim, len(labels))
    with torch.no_grad():
        layer.weight.copy_(first_weights(len(labels), encoder.embed_dim, 0))
        layer.bias.zero_()
    optimizer = torch.optim.Adam(layer.parameters(), betas=(0.9, 0.999), eps=1e-8)
    for step in range(steps):
        clips, rows = (part[step % CHUNK_STEPS] for part in draw(windows, 0, step // CHUNK_STEPS, task.batch))
        places = ((rows - windows.first[clips]) * 160).tolist()  # 10 ms are 160 samples
        crops = [waves[clip][place : place + num_samples] for clip, place in zip(clips.tolist(), places, strict=True)]
        with torch.inference_mode():
            found = encoder(torch.from_numpy(np.stack(crops)))
        targets = torch.tensor([labels.index(fold.train[clip].labels[0]) for clip in clips.tolist()])
        loss = F.cross_entropy(layer(found.clone()), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.param_groups[0]["lr"] = learning_rate(step, steps)
        optimizer.step()
    return layer


def relative_difference(one, other, start):
    """Of two trainings that began at `start`: their distance as a share of the way that they went."""
    return float((one - other).norm() / (one - start).norm())


@pytest.mark.real
def test_training_is_what_anybody_would_write(birds, melstats):
    task = manifest_task(birds)
    _, _, outcome = evaluated(task, SHORT, melstats)
    layer = as_anybody_would(task, load_encoder("melstats").encoder, SHORT.steps)
    weight = outcome.probes[0][0].weight[0]
    start = first_weights(2, melstats.width, 0)
    # float32 in other batches and another order; Adam divides by the size of a gradient, so small ones count as much
    assert relative_difference(weight, layer.weight.detach(), start) < 1e-2
    _, _, other = evaluated(task, replace(SHORT, seeds=(1,)), melstats)
    away = relative_difference(
        weight, other.probes[0][0].weight[0] - first_weights(2, melstats.width, 1) + start, start
    )
    assert away > 0.1  # other draws would be seen


@pytest.mark.real
def test_the_table_of_all_crops_equals_redrawing(birds, melstats, monkeypatch):
    task, protocol = manifest_task(birds), replace(SHORT, steps=500)
    work, _, from_table = evaluated(task, protocol, melstats)
    assert work.streamed is None
    assert sum(job.plan.num_rows for job in work.jobs) == 8 * 476 + (8 + 4) * 20  # crops, and windows of all clips
    monkeypatch.setattr(workload, "CROPS_EMBEDDED_ONCE", 8 * 476 - 1)
    work, _, redrawn = evaluated(task, protocol, melstats)
    assert work.streamed is not None
    assert sum(job.plan.num_rows for job in work.jobs) == (8 + 4) * 20
    start = first_weights(2, melstats.width, 0)
    one, other = (outcome.probes[0][0] for outcome in (from_table, redrawn))
    # the same vectors but for the last bit of float32, which other batches may round otherwise
    torch.testing.assert_close(one.weight, other.weight, rtol=1e-5, atol=1e-6)
    assert relative_difference(one.weight[0], other.weight[0], start) < 1e-3
    assert from_table.values["score"] == redrawn.values["score"]
    assert from_table.values["train_score"] == redrawn.values["train_score"]
    assert from_table.values["probe"]["crops"] == {"from": 8 * 476, "embedded": "once"}
    assert redrawn.values["probe"]["crops"] == {"from": 8 * 476, "embedded": "as drawn"}


@pytest.mark.parametrize("streamed", [False, True], ids=["once", "as drawn"])
def test_seeds_together_equal_seeds_apart(tone_manifest, melstats, monkeypatch, streamed):
    monkeypatch.setattr(workload, "CROPS_EMBEDDED_ONCE", 0 if streamed else 10**6)
    task = manifest_task(tone_manifest())
    together = evaluated(task, replace(SHORT, seeds=(0, 5)), melstats)[2]
    for place, seed in enumerate((0, 5)):
        apart = evaluated(task, replace(SHORT, seeds=(seed,)), melstats)[2]
        torch.testing.assert_close(together.probes[0][0].weight[place], apart.probes[0][0].weight[0], atol=1e-5, rtol=0)
    assert list(together.values["seeds"]) == ["0", "5"]


@pytest.mark.parametrize("streamed", [False, True], ids=["once", "as drawn"])
def test_an_under_fitted_probe_is_told_from_the_windows(tone_manifest, melstats, monkeypatch, streamed):
    monkeypatch.setattr(workload, "CROPS_EMBEDDED_ONCE", 0 if streamed else 10**6)
    task, protocol = manifest_task(tone_manifest()), replace(SHORT, check_rates=True)
    paper = evaluated(task, protocol, melstats)[2].values["probe"]
    cached = evaluated(task, replace(protocol, name="cached"), melstats)[2].values["probe"]
    assert paper["rate_check"] == cached["rate_check"]
    assert paper["rate_check"] is not None
    assert (paper["crops"] is None, cached["crops"]) == (False, None)


@pytest.mark.parametrize("crop", ["clip", 0.4, 1.0])
def test_where_the_crop_is_the_whole_clip_it_is_cached(tone_manifest, melstats, embedded, crop):
    task = manifest_task(tone_manifest(), crop)
    _, _, cached = evaluated(task, replace(SHORT, name="cached"), melstats)
    assert sum(embedded) == 40  # the validation clips are not read
    work, vectors, paper = evaluated(task, SHORT, melstats)
    assert sum(embedded) == 40
    assert (vectors.crops, work.streamed) == (None, None)
    assert torch.equal(paper.probes[0][0].weight, cached.probes[0][0].weight)
    np.testing.assert_array_equal(paper.predictions.scores[0], cached.predictions.scores[0])


def test_machines_draw_nothing_so_paper_is_cached(tone_manifest, melstats):
    task = manifest_task(tone_manifest(), head="svm", mixed_passes=3)
    paper, cached = Protocol(name="paper"), Protocol()
    assert paper.mixed_passes(task) == cached.mixed_passes(task) == 3
    one, other = (evaluated(task, protocol, melstats)[2] for protocol in (paper, cached))
    np.testing.assert_array_equal(one.predictions.scores[0], other.predictions.scores[0])


def test_no_validation_clip_is_read(tone_manifest):
    work = Workload.make(manifest_task(tone_manifest()), SHORT)
    assert all(not fold.valid for fold in work.folds)


@pytest.fixture
def headers(monkeypatch):
    """How often the header of each file was read, but for decoding it."""
    counts: Counter[str] = Counter()

    def counting(path):
        counts[path.name] += 1
        return read_info(path)

    monkeypatch.setattr(batches, "read_info", counting)
    return counts


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("crop", [0.25, 0.4])
def test_a_header_is_read_once(tone_manifest, headers, monkeypatch, streamed, crop):
    if streamed:
        monkeypatch.setattr(workload, "CROPS_EMBEDDED_ONCE", 0)
        monkeypatch.setattr(workload, "TRAIN_CLIPS_SCORED", 10)
    task = manifest_task(tone_manifest(), crop)
    known = Known()
    for one in (task, replace(task, name="the same clips", batch=8), replace(task, name="mixed", mixed_passes=10)):
        work = Workload.make(one, SHORT)
        work.plan(SHORT, known, 1, lambda number: None)
        assert bool(work.streamed) == (streamed or one.mixed_passes > 0)
    assert set(headers.values()) == {1}
    assert len(headers) == 40


def test_folds_and_mixtures_read_a_header_once_too(tone_manifest, headers):
    manifest = tone_manifest(splits="a b c")
    manifest.write_text(manifest.read_text().replace("task,split,", "task,fold,", 1))
    machine = manifest_task(manifest, head="svm", mixed_passes=3)
    for task, protocol in ((machine, Protocol(name="paper")), (replace(machine, head="linear"), SHORT)):
        headers.clear()
        Workload.make(task, protocol).plan(protocol, Known(), 1, lambda number: None)
        assert set(headers.values()) == {1}
        assert len(headers) == 60


def test_a_bad_header_is_read_once_and_told(tone_manifest, headers):
    manifest = tone_manifest()
    (manifest.parent / "audio" / "000.wav").write_text("not audio")
    work = Workload.make(manifest_task(manifest), SHORT)
    work.plan(SHORT, Known(), 1, lambda number: None)
    assert headers["000.wav"] == 1
    assert list(work.bad()) == ["audio/000.wav"]
    assert work.jobs[1].plan.num_rows == 19 * 16


def test_one_file_that_two_tasks_call_by_other_names_has_rows_for_both(tone_manifest, tmp_path):
    manifest = tone_manifest()
    above = tmp_path / "above.csv"
    above.write_text(manifest.read_text().replace("audio/", "tones/audio/"))
    config = EvaluateConfig(
        encoders=("melstats",), tasks=(f"manifest:{manifest}", f"manifest:{above}"), crop=0.25, floor=False,
        protocol=SHORT, compute=Compute(device="cpu", threads=1), output=tmp_path / "runs",
    )  # fmt: skip
    (run,) = Evaluation(config).run()
    one, other = run.scorecard.tasks
    assert one.score == other.score


def test_an_interrupted_table_goes_on_where_it_was(tone_manifest, melstats, embedded, monkeypatch):
    task = manifest_task(tone_manifest())
    counting = runner.Network.vectors

    def crashing(self, batch, layers):
        if sum(embedded) >= 200:
            raise KeyboardInterrupt
        return counting(self, batch, layers)

    monkeypatch.setattr(runner.Network, "vectors", crashing)
    with pytest.raises(KeyboardInterrupt):
        evaluated(task, SHORT, melstats)
    monkeypatch.setattr(runner.Network, "vectors", counting)
    evaluated(task, SHORT, melstats)
    assert sum(embedded) == 20 * 16 + 40 * 2  # each crop and each window once: 0.25 s in 0.4 s begin at 16 places
    evaluated(task, SHORT, melstats)
    assert sum(embedded) == 20 * 16 + 40 * 2


def test_each_different_crop_of_a_chunk_is_embedded_once(tone_manifest, melstats, embedded, monkeypatch):
    monkeypatch.setattr(workload, "CROPS_EMBEDDED_ONCE", 0)
    evaluated(manifest_task(tone_manifest()), replace(SHORT, steps=CHUNK_STEPS + 1), melstats)
    windows = Windows(16 * torch.arange(20), torch.full((20,), 16))
    first, second = (draw(windows, 0, chunk, 64)[1] for chunk in (0, 1))
    # of the second chunk one step only
    assert sum(embedded) == 40 * 2 + len(first.unique()) + len(second[0].unique())


@pytest.fixture
def source(tmp_path):
    """Four clips of noise: 1.5, 0.4, 1.0 and 2.0 s; crops of 1 s."""

    def make(mixed=False, whole_clip=False):
        clips = []
        for k, seconds in enumerate((1.5, 0.4, 1.0, 2.0)):
            path = tmp_path / f"{k}.wav"
            soundfile.write(path, np.random.default_rng(k).uniform(-0.5, 0.5, round(seconds * RATE)), RATE)
            clips.append(Clip(path.name, path, ("ab"[k % 2],), str(k)))
        return CropSource.make(clips, CropRule(seconds=1.0, whole_clip=whole_clip), mixed, 1)

    return make


def drawn_of(source, melstats, seeds=(0,), chunk=0, batch=64, policy=BadFilePolicy(), steps=CHUNK_STEPS):
    """The draws of a chunk, and what became of them."""
    stream = StreamedCrops(source, melstats, policy)
    crops = stream.of(source.clips, CPU)
    count = crops.count
    parts = [draw(Windows(count.cumsum(0) - count, count), seed, chunk, batch) for seed in seeds]
    clips, rows = (torch.stack(part, 1)[:steps] for part in zip(*parts, strict=True))
    return clips, rows - (count.cumsum(0) - count)[clips], crops.drawn(clips, rows, seeds, chunk * CHUNK_STEPS)


@pytest.mark.parametrize("whole_clip", [False, True])
def test_each_example_is_the_crop_that_was_drawn(source, melstats, whole_clip):
    made = source(whole_clip=whole_clip)
    assert made.num_starts.tolist() == [51, 1, 1, 101]
    clips, starts, (X, kept, places) = drawn_of(made, melstats, seeds=(0, 3), steps=4)
    assert torch.equal(kept, clips)
    encoder = load_encoder("melstats").encoder
    for clip, start, place in zip(clips.flatten().tolist(), starts.flatten().tolist(), places.flatten(), strict=True):
        wave = load(made.clips[clip].path, RATE)[start * 160 : start * 160 + RATE]
        wave = wave if whole_clip else fit(wave, RATE)
        with torch.inference_mode():
            expected = encoder(torch.from_numpy(wave)[None])[0]
        torch.testing.assert_close(X[place], expected, atol=1e-5, rtol=1e-5)


def test_starts_are_uniform(source, melstats, monkeypatch):
    plans = []
    monkeypatch.setattr(
        StreamedCrops, "embed", lambda self, plan: plans.append(plan) or (np.zeros((plan.num_rows, 1)), plan.start >= 0)
    )
    for chunk in range(4):
        drawn_of(source(mixed=True), melstats, chunk=chunk)
    clip, start = (np.concatenate([getattr(plan, name) for plan in plans]) for name in ("clip", "start"))
    steps = start / GRID_SECONDS
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-9)
    for number, num_starts in enumerate((51, 1, 1, 101)):
        own = np.bincount(np.round(steps[clip == number]).astype(int), minlength=num_starts)
        expected = len(clip) / 4 / num_starts
        assert len(own) == num_starts
        assert np.abs(own - expected).max() < 6 * expected**0.5  # six deviations


def test_an_example_is_mixed_with_another_of_its_batch_by_seed_and_step(source, melstats, monkeypatch):
    plans = []
    monkeypatch.setattr(
        StreamedCrops, "embed", lambda self, plan: plans.append(plan) or (np.zeros((plan.num_rows, 1)), plan.start >= 0)
    )
    clips, starts, _ = drawn_of(source(mixed=True), melstats, seeds=(0, 3), chunk=1, batch=8, steps=5)
    (plan,) = plans
    found = sorted(zip(plan.clip, plan.start, plan.partner, plan.partner_start, plan.share, strict=True))
    expected = []
    for s, seed in enumerate((0, 3)):
        for step in range(5):
            pairs = pairing(8, 1, seed, first_pass=CHUNK_STEPS + step)
            for k, (other, share) in enumerate(zip(pairs.partner[0], pairs.share[0], strict=True)):
                own, partner = ((clips[step, s, one], starts[step, s, one] * GRID_SECONDS) for one in (k, other))
                expected.append((*map(float, own), *map(float, partner), float(share)))
    np.testing.assert_allclose(found, sorted(expected), rtol=1e-6)
    drawn_of(source(mixed=True), melstats, seeds=(3,), chunk=1, batch=8, steps=5)
    assert set(plans[1].share.tolist()) < set(plan.share.tolist())  # alone or with others, a seed draws the same


def test_a_task_that_mixes_is_embedded_as_drawn_and_learns(tone_manifest, melstats, embedded):
    task = manifest_task(tone_manifest(), crop=0.4, mixed_passes=10, num_windows=10, head="mlp", batch=16)
    protocol = replace(SHORT, steps=40)
    work, _, outcome = evaluated(task, protocol, melstats)
    assert work.streamed is not None
    assert sum(embedded) == 40 + 40 * 16
    assert outcome.values["probe"]["crops"] == {"from": 20, "embedded": "as drawn"}
    again = evaluated(task, protocol, melstats)[2]
    for name, tensor in outcome.probes[0][0].tensors().items():
        assert torch.equal(tensor, again.probes[0][0].tensors()[name])


def test_a_clip_that_cannot_be_decoded_is_replaced_in_its_batch_and_named(source, melstats):
    made = source()
    path = made.clips[3].path.with_suffix(".flac")
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, 2 * RATE), RATE)
    path.write_bytes(path.read_bytes()[:20_000])
    broken = replace(made, clips=[*made.clips[:3], replace(made.clips[3], path=path)])
    with pytest.raises(TooManyBadFilesError, match="1 of 4 clips"):
        drawn_of(broken, melstats, steps=2)
    stream = StreamedCrops(broken, melstats, BadFilePolicy("skip"))
    crops = stream.of(broken.clips, CPU)
    clips = torch.tensor([[[3, 0, 3, 3, 1]]])
    first = crops.count.cumsum(0) - crops.count
    X, kept, places = crops.drawn(clips, first[clips], (0,), 0)
    assert kept.tolist() == [[[1, 0, 0, 0, 1]]]
    assert list(stream.bad) == ["3.wav"]
    assert "3.flac" in stream.bad["3.wav"]
    assert len({tuple(X[place].tolist()) for place in places.flatten()}) == 2
    with pytest.raises(ValueError, match="not one of the 2 crops"):
        crops.drawn(torch.tensor([[[3, 3]]]), first[torch.tensor([[[3, 3]]])], (0,), 0)


def test_a_bad_clip_of_a_streamed_task_stands_in_the_result(tone_manifest, monkeypatch, tmp_path):
    monkeypatch.setattr(workload, "CROPS_EMBEDDED_ONCE", 0)
    monkeypatch.setattr(workload, "TRAIN_CLIPS_SCORED", 10)  # every second one: not the bad one
    manifest = tone_manifest()
    bad = manifest.parent / "audio" / "001.wav"
    whole, _ = soundfile.read(bad)
    soundfile.write(bad, np.full_like(whole, np.nan), RATE, subtype="FLOAT")
    config = EvaluateConfig(
        encoders=("melstats",), tasks=(f"manifest:{manifest}",), crop=0.25, policy=BadFilePolicy("skip"),
        protocol=SHORT, compute=Compute(device="cpu", threads=1), output=tmp_path / "runs",
    )  # fmt: skip
    (run,) = Evaluation(config).run()
    (result,) = run.scorecard.tasks
    assert list(result.skipped) == ["audio/001.wav"]
    assert result.clips["train"] == 19


def test_the_plan_counts_crops_and_names_half_precision(tone_manifest, monkeypatch, tmp_path):
    config = EvaluateConfig(
        encoders=("melstats",), tasks=(f"manifest:{tone_manifest()}",), crop=0.25,
        protocol=replace(SHORT, seeds=(0, 1)), compute=Compute(device="cpu", threads=1), output=tmp_path / "runs",
    )  # fmt: skip
    (row,) = Evaluation(config).plan().rows
    assert (row["windows"], row["drawn"], row["dtype"]) == (20 * 16 + 40 * 2, 0, "float32")
    assert row["bytes"] == (20 * 16 + 40 * 2) * 4 * load_encoder("melstats").encoder.embed_dim
    monkeypatch.setattr(embedding, "HALF_PRECISION_ABOVE", 300_000)
    (row,) = Evaluation(config).plan().rows
    assert row["dtype"] == "float16"
    monkeypatch.setattr(workload, "CROPS_EMBEDDED_ONCE", 0)
    (row,) = Evaluation(config).plan().rows
    assert row["drawn"] == 300 * 64 * 2
    assert row["windows"] == 40 * 2 + 300 * 64 * 2


def test_vectors_made_elsewhere_have_no_crops(tone_manifest, tmp_path):
    config = EvaluateConfig(tasks=(f"manifest:{tone_manifest()}",), vectors=(Path("v.parquet"),), protocol=SHORT)
    with pytest.raises(ValueError, match="score vector files by `cached` or `quick`"):
        Evaluation(config)
