"""The 29 recipes against a second copy of the paper's section 3, appendix C and tables 2, 3 and 6 to 9, typed apart."""

import pytest

from leveret.hollow import hollow
from leveret.recipes import find_recipe, in_days, recipes, steps_of_epochs
from leveret.registry import UnknownNameError, look_up

NETWORKS = {  # encoder: HARES supervised (tables 6, 8), HARES SimCLR (tables 7, 9)
    "byola_cnn": (63.3, 68.2),
    "efficientnet_b0": (53.6, 49.2),
    "cnn14": (62.4, 48.9),
    "vit_base": (60.6, 64.5),
    "resnet50": (61.4, 67.8),
    "slowfast_resnet50": (63.4, 71.7),
    "nfnet_f0": (65.5, 69.2),
    "slowfast_nfnet_f0": (68.6, 74.6),
    "slowfast_resnet50_no_norm": (67.7, 71.9),
    "slowfast_resnet50_ln": (65.5, 73.1),
    "slowfast_resnet50_in": (61.6, 73.5),
    "slowfast_nf_resnet50": (67.2, 72.9),
}
OTHERS = {  # encoder, objective, corpus, batch, steps, crop, HARES
    "bidir_cpc_audioset": ("bidir_cpc", "cpc", "audioset", 256, 200_000, 10.0, 67.6),
    "bidir_cpc_librispeech": ("bidir_cpc", "cpc", "librispeech", 256, 80_000, 10.0, 64.2),
    "wav2vec2_audioset": ("wav2vec2_base", "wav2vec2", "audioset", 256, 200_000, 10.0, 42.1),
    "wav2vec2_librispeech": ("wav2vec2_base", "wav2vec2", "librispeech", 256, 80_000, 10.0, 56.6),
    # 100 epochs of 1.9 m clips by 256; its own crop of 0.95 s (nttcslab/byol-a)
    "byola_audioset": ("byola_cnn_64mels_dataset", "byola", "audioset", 256, 742_188, 0.95, 64.9),
}
SECOND_COPY = (
    {
        f"{name}_supervised": (name, "supervised", "audioset", 1024, 100_000, 3.0, scores[0])
        for name, scores in NETWORKS.items()
    }
    | {
        f"{name}_simclr": (name, "simclr", "audioset", 4096, 200_000, 3.0, scores[1])
        for name, scores in NETWORKS.items()
    }
    | OTHERS
)
TABLES = {
    "byola_cnn_supervised": {2, 6}, "slowfast_resnet50_ln_supervised": {8}, "byola_cnn_simclr": {2, 7},
    "slowfast_resnet50_in_simclr": {3, 9}, "slowfast_nfnet_f0_simclr": {2, 3, 4, 9}, "wav2vec2_audioset": {2},
}  # fmt: skip


def test_a_shorter_run_warms_up_for_5_percent_at_most():
    recipe = find_recipe("bidir_cpc_librispeech")
    assert [recipe.warmup(steps) for steps in (400, 79_999, 80_000, 200_000)] == [20, 3_999, 5_000, 5_000]
    assert find_recipe("byola_audioset").warmup(400) == 0


def test_there_are_29():
    assert list(recipes()) == list(SECOND_COPY)
    assert len(SECOND_COPY) == 12 * 2 + 2 * 2 + 1 == 29


@pytest.mark.parametrize("name", SECOND_COPY)
def test_a_recipe_is_the_papers(name):
    recipe = find_recipe(name)
    config = recipe.config()
    crop = config.objective_config.crop_seconds
    scores = recipe.row.averages["hares"]
    assert (
        config.encoder, config.objective, recipe.corpus, config.batch, config.steps, crop, scores
    ) == SECOND_COPY[name]  # fmt: skip
    assert (config.recipe, config.scale, config.changed) == (name, "paper", ())
    assert config.encoder_config == look_up("encoders", config.encoder)
    assert config.objective_config == look_up("objectives", config.objective)
    if config.objective == "byola":  # nttcslab/byol-a: Adam at 3e-4 throughout
        assert (config.rate, config.warmup_steps, config.schedule) == (3e-4, 0, "constant")
    else:  # appendix C: from 0 to 2e-4 over 5k steps, then a cosine down to 0
        assert (config.rate, config.warmup_steps, config.schedule) == (2e-4, 5_000, "cosine")
    if config.objective == "simclr":  # section 3 and appendix C
        assert (config.objective_config.temperature, config.objective_config.hidden) == (0.1, (4096, 4096, 4096))


@pytest.mark.parametrize(("name", "tables"), TABLES.items())
def test_the_tables_that_a_row_stands_in_are_named(name, tables):
    assert set(find_recipe(name).row.tables) == tables
    assert f"tables {', '.join(map(str, sorted(tables)))}," in find_recipe(name).header()[0]


@pytest.mark.parametrize("name", SECOND_COPY)
def test_small_scale_is_a_small_network_of_the_family_with_everything_in_proportion(name):
    recipe = find_recipe(name)
    paper, small = recipe.config(), recipe.config("small")
    assert isinstance(small.encoder_config, type(paper.encoder_config))
    assert (small.recipe, small.scale, small.batch, small.rate) == (name, "small", 128, paper.rate)
    assert small.objective_config.crop_seconds == min(1.0, paper.objective_config.crop_seconds)
    assert small.steps < 40_000
    assert small.warmup_steps == (0 if paper.warmup_steps == 0 else small.steps // 20)
    assert _parameters(small.encoder) < 0.3 * _parameters(paper.encoder)
    if negatives := getattr(paper.objective_config, "num_negatives", 0):
        assert small.objective_config.num_negatives == negatives // 10


def test_a_header_tells_row_command_time_and_scores():
    text = "\n".join(find_recipe("slowfast_nfnet_f0_simclr").header())
    for part in (
        "row SF NFNet-F0, simclr, trained on AudioSet",
        "batch 4,096, 200,000 steps, crops of 3 s; Adam, rate 0.0002, warm-up 5,000 steps, cosine",
        "leveret pretrain --recipe slowfast_nfnet_f0_simclr --data ROOT",
        "on one A100 80 GB",
        "an estimate of the encoder's work alone, from 3.719 GMACs a crop",
        "HARES 74.6; environment 75.8, speech 77.2, music 68.6",
        "fluent_speech_commands 46.1",
    ):
        assert part in text
    assert "environment not printed" not in text


def test_a_header_says_what_the_paper_does_not_print():
    text = "\n".join(find_recipe("bidir_cpc_librispeech").header())
    assert "HARES 64.2; environment 59.9, speech 75.3, music 51.5" in text
    assert "trained on LibriSpeech" in text


def test_the_estimate_is_operations_over_peak():
    recipe = find_recipe("resnet50_supervised")
    assert recipe.gpu_seconds == pytest.approx(2 * recipe.macs * 3 * 1024 * 100_000 / (0.35 * 312e12))


def test_what_differs_from_the_recipe_is_named_and_what_does_not_decide_is_not():
    from dataclasses import replace

    recipe = find_recipe("slowfast_nfnet_f0_simclr")
    config = recipe.config()
    assert recipe.changes(config, "audioset:/data/audioset", "none") == ()
    assert recipe.changes(replace(config, seed=3, dtype="bfloat16", micro_batch=64, keep=1), "audioset", "none") == ()
    assert recipe.changes(replace(config, batch=64), "recordings/", "group") == (
        "corpus=recordings/ (audioset)", "join=group (none)", "batch=64 (4096)",
    )  # fmt: skip


def test_an_unknown_recipe_is_named():
    with pytest.raises(UnknownNameError, match=r"no recipe 'slowfast_nfnet_f0_simcrl'. Did you mean"):
        find_recipe("slowfast_nfnet_f0_simcrl")


def test_epochs_are_counted_in_whole_batches():
    assert steps_of_epochs(1, 512, 256) == 2
    assert steps_of_epochs(1, 513, 256) == 3


@pytest.mark.parametrize(
    ("seconds", "told"), [(60, "1 minute"), (5_000, "83 minutes"), (40_000, "11 hours"), (340_000, "3.9 days")]
)
def test_a_long_time_is_told_to_two_digits(seconds, told):
    assert in_days(seconds) == told


def _parameters(encoder: str) -> int:
    with hollow():
        return sum(parameter.numel() for parameter in look_up("encoders", encoder).build().parameters())
