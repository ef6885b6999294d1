"""Toy trees of all datasets of HARES: a folder a dataset, in the layout of its archives."""

import csv

import soundfile
from tests.tasks.toy_environment import audioset_tree, birdsong_tree, tone, tut18_tree
from tests.tasks.toy_music import magnatagatune_tree, nsynth_tree
from tests.tasks.toy_speech import fluent_tree, speech_commands_tree, voxceleb_tree, voxforge_tree


def esc50_tree(root):
    """Two classes, two clips of each in each of five folds."""
    (root / "meta").mkdir(parents=True)
    (root / "audio").mkdir()
    with (root / "meta" / "esc50.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["filename", "fold", "target", "category", "esc10", "src_file", "take"])
        for number in range(20):
            fold, target = number // 4 + 1, number % 2
            name = f"{fold}-{100 + number}-A-{target}.wav"
            table.writerow([name, fold, target, ("dog", "rooster")[target], "True", 100 + number, "A"])
            soundfile.write(root / "audio" / name, tone(300 + 900 * target, 1.0, 44_100, number), 44_100)
    return root


TREES = {
    "audioset": audioset_tree, "birdsong": birdsong_tree, "tut18": tut18_tree, "esc50": esc50_tree,
    "speech_commands": speech_commands_tree, "fluent_speech_commands": fluent_tree, "voxforge": voxforge_tree,
    "voxceleb": voxceleb_tree, "nsynth": nsynth_tree, "magnatagatune": magnatagatune_tree,
}  # fmt: skip
