"""Parquet files with audio in them become the tree that a dataset's reader knows, once; hostile ones become nothing."""

import csv
import io
import json
import logging

import numpy as np
import pyarrow as pa
import pytest
import soundfile
from pyarrow import parquet
from tests.tasks.toy_music import nsynth_tree, tone

from leveret.dataroots import DataRoots
from leveret.datasets.subjects import subject
from leveret.evaluation import evaluate
from leveret.evaluation_config import EvaluateConfig
from leveret.home import home
from leveret.loading import load_tasks
from leveret.published_audio import DataFolder, DatasetError
from leveret.runner import Compute
from leveret.tasks import hf_parquet
from leveret.tasks.hf_parquet import FOLDER, TABLE, unpacked
from leveret.tasks.nsynth import nsynth_tasks


def wav(hertz=440.0):
    """The bytes of a wav of a fifth of a second."""
    file = io.BytesIO()
    soundfile.write(file, tone(hertz, 0.2), 16_000, format="WAV")
    return file.getvalue()


def write(path, rows, labels=None, **options):
    """A file as `datasets` writes it; `labels` are the names of the numbers in the column label."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(rows)
    if labels:
        about = {"info": {"features": {"label": {"names": labels, "_type": "ClassLabel"}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(about)})
    parquet.write_table(table, path, **options)


def audio(path=None, content=None):
    """A cell of the audio column."""
    return {"bytes": wav() if content is None else content, "path": path}


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "data root"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def esc50_rows(shared):
    """Of each fold three dogs and three roosters: rows of the real table, and the real audio."""
    with (shared / "meta" / "esc50" / "esc50.csv").open() as file:
        rows = list(csv.DictReader(file))
    chosen = [
        row
        for fold in "12345"
        for target in ("0", "1")
        for row in [row for row in rows if (row["fold"], row["target"]) == (fold, target)][:3]
    ]
    folder = shared / "data" / "dev" / "esc50"
    return [
        {
            "filename": row["filename"], "fold": int(row["fold"]), "target": int(row["target"]),
            "category": row["category"], "esc10": row["esc10"] == "TRUE", "src_file": int(row["src_file"]),
            "take": row["take"],
            "audio": audio(None, (folder / row["filename"]).with_suffix(".ogg").read_bytes()),
        }
        for row in chosen
    ]  # fmt: skip


@pytest.mark.real
def test_esc50_as_parquet_scores_as_esc50_in_its_archive(esc50_rows, tmp_path):
    for k, name in enumerate(("train-00000-of-00002-2f1ab7.parquet", "train-00001-of-00002-27425e.parquet")):
        write(tmp_path / "parquet" / "data" / name, esc50_rows[k::2], row_group_size=4)
    archive = tmp_path / "ESC-50-master"
    (archive / "meta").mkdir(parents=True)
    (archive / "audio").mkdir()
    with (archive / "meta" / "esc50.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(esc50_rows[0])[:-1], extrasaction="ignore")
        writer.writeheader()
        writer.writerows([*esc50_rows[0::2], *esc50_rows[1::2]])
    for row in esc50_rows:
        (archive / "audio" / row["filename"]).write_bytes(row["audio"]["bytes"])
    # what `leveret data check` looks at is what is evaluated
    seen = subject("esc50", DataRoots(folders={"esc50": tmp_path / "parquet"}))
    assert seen.root is not None
    assert (seen.root / "meta" / "esc50.csv").is_file()
    scores = []
    for folder in (tmp_path / "parquet", archive):
        config = EvaluateConfig(
            compute=Compute(device="cpu", threads=1), output=tmp_path / "runs", floor=False,
            data=DataRoots(folders={"esc50": folder}),
        )  # fmt: skip
        (run,) = evaluate("melstats", "esc50", "quick", config=config)
        (result,) = run.scorecard.tasks
        assert result.clips["test"] == 30
        scores.append((result.score, result.split_hash, run.predictions("esc50").scores[0].tolist()))
    assert scores[0] == scores[1]
    assert scores[0][0] > 0.6
    (tree,) = (path.parent for path in (home() / FOLDER).glob("*/index.json"))
    assert (tree / "meta" / "esc50.csv").read_text().splitlines() == (
        (archive / "meta" / "esc50.csv").read_text().splitlines()
    )


def commands(*names):
    """Rows as of google/speech_commands: the audio's own path has lost its folder."""
    labels = ["yes", "no", "_silence_"]
    return [
        {"file": name, "audio": audio(name.rsplit("/", 1)[-1]), "label": labels.index(name.split("/")[0])}
        for name in names
    ], labels


def test_speech_commands_get_their_folders_and_the_lists_of_their_splits(root):
    splits = {
        "train-00000-of-00001": ("yes/0a_nohash_0.wav", "no/0a_nohash_0.wav"),
        "validation-00000-of-00001": ("yes/0b_nohash_0.wav", "./yes/0b_nohash_1.wav"),
        "test-00000-of-00001": ("no/0c_nohash_0.wav", "_silence_/0.wav"),
    }
    for name, files in splits.items():
        rows, labels = commands(*(name.removeprefix("./") for name in files))
        rows[-1]["file"] = files[-1]
        write(root / "data" / f"{name}.parquet", rows, labels)
    tree = unpacked(DataFolder(root, variant="v2")).root
    assert sorted(path.relative_to(tree).as_posix() for path in tree.rglob("*.wav")) == [
        "_silence_/0.wav", "no/0a_nohash_0.wav", "no/0c_nohash_0.wav", "yes/0a_nohash_0.wav", "yes/0b_nohash_0.wav",
        "yes/0b_nohash_1.wav",
    ]  # fmt: skip
    assert (tree / "testing_list.txt").read_text() == "no/0c_nohash_0.wav\n"
    assert (tree / "validation_list.txt").read_text() == "yes/0b_nohash_0.wav\nyes/0b_nohash_1.wav\n"
    assert (tree / "no" / "0a_nohash_0.wav").read_bytes() == wav()
    rows = list(csv.DictReader((tree / TABLE).read_text().splitlines()))
    assert [(row["split"], row["label"], row["label_name"]) for row in rows][:2] == [
        ("test", "1", "no"), ("test", "2", "_silence_"),
    ]  # fmt: skip
    assert unpacked(DataFolder(root, variant="v2")).variant == "v2"


def test_official_files_beside_the_parquets_are_taken_over_and_go_before_what_is_written(root):
    rows, labels = commands("yes/0a_nohash_0.wav", "no/0a_nohash_0.wav")
    write(root / "test-0.parquet", rows, labels)
    before = unpacked(DataFolder(root)).root
    assert (before / "testing_list.txt").read_text() == "no/0a_nohash_0.wav\nyes/0a_nohash_0.wav\n"
    (root / "testing_list.txt").write_text("no/0a_nohash_0.wav\n")
    (root / "README.md").write_text("not metadata")
    tree = unpacked(DataFolder(root)).root
    assert (tree / "testing_list.txt").read_text() == "no/0a_nohash_0.wav\n"
    assert not (tree / "README.md").exists()
    assert (before / "testing_list.txt").read_text() == "no/0a_nohash_0.wav\nyes/0a_nohash_0.wav\n"
    one, other = (place / "yes" / "0a_nohash_0.wav" for place in (before, tree))
    assert one.stat().st_ino == other.stat().st_ino  # audio is not on the disk twice
    (root / "testing_list.txt").write_text("yes/0a_nohash_0.wav\n")
    assert (unpacked(DataFolder(root)).root / "testing_list.txt").read_text() == "yes/0a_nohash_0.wav\n"


def test_a_dataset_whose_parquet_lacks_the_metadata_is_read_with_its_own_index_beside(root, tmp_path):
    tree = nsynth_tree(tmp_path / "nsynth")
    for split in ("train", "valid", "test"):
        rows = [
            {"audio": audio(path.name, path.read_bytes())} for path in sorted((tree / f"nsynth-{split}").rglob("*.wav"))
        ]
        write(root / "data" / f"{split}-00000-of-00001.parquet", rows)
        (root / f"nsynth-{split}").mkdir()
        (tree / f"nsynth-{split}" / "examples.json").rename(root / f"nsynth-{split}" / "examples.json")
    for task in load_tasks(["nsynth"], data=DataRoots(folders={"nsynth": root})):
        (fold,) = task.folds()
        assert [len(part) for part in (fold.train, fold.valid, fold.test)] == [6, 4, 4]
        assert all(clip.path.is_file() for clip in (*fold.train, *fold.valid, *fold.test))
    with pytest.raises(DatasetError, match="no audio of NSynth"):
        nsynth_tasks(DataFolder(root))


def test_it_is_unpacked_once_and_told_of(root, caplog):
    write(root / "a.parquet", [{"audio": audio("x.wav")}])
    with caplog.at_level(logging.WARNING, "leveret"):
        first = unpacked(DataFolder(root))
    assert "unpacking 1 Parquet files" in caplog.text
    assert str(home() / FOLDER) in caplog.text
    caplog.clear()
    assert unpacked(DataFolder(root.rename(root.with_name("moved")))) == first
    assert not caplog.text


def test_other_bytes_make_another_tree(root):
    write(root / "a.parquet", [{"audio": audio("x.wav")}])
    first = unpacked(DataFolder(root)).root
    write(root / "a.parquet", [{"audio": audio("x.wav", wav(880))}])
    assert unpacked(DataFolder(root)).root != first


def test_an_interrupted_unpacking_leaves_nothing_that_counts(root, monkeypatch):
    write(root / "a.parquet", [{"audio": audio("x.wav")}])

    def break_off(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(hf_parquet, "_write_audio", break_off)
        with pytest.raises(KeyboardInterrupt):
            unpacked(DataFolder(root))
    assert (unpacked(DataFolder(root)).root / "x.wav").read_bytes() == wav()
    assert not list((home() / FOLDER).glob("*.partial"))


def test_a_full_disk_is_told_before_anything_is_written(root, monkeypatch):
    write(root / "a.parquet", [{"audio": audio("x.wav")}])
    monkeypatch.setattr("leveret.home.disk_usage", lambda _: type("Usage", (), {"free": 10})())
    with pytest.raises(OSError, match="unpacking the Parquet files needs"):
        unpacked(DataFolder(root))
    assert not list((home() / FOLDER).iterdir())


def test_a_folder_without_audio_in_parquet_stays_as_it_is(root):
    folder = DataFolder(root)
    assert unpacked(folder) is folder
    write(root / "vectors.parquet", [{"file": "x.wav", "vector": [1.0]}])
    assert unpacked(folder) is folder


def test_row_groups_are_read_one_at_a_time(root):
    noise = np.random.default_rng(0)
    rows = [{"audio": audio(f"{k}.wav", noise.bytes(1 << 20))} for k in range(96)]
    write(root / "a.parquet", rows, row_group_size=12, compression="none", use_dictionary=False)
    del rows
    pool = pa.system_memory_pool()
    default = pa.default_memory_pool()
    try:
        pa.set_memory_pool(pool)
        unpacked(DataFolder(root))
    finally:
        pa.set_memory_pool(default)
    assert pool.max_memory() < 48 << 20  # of 96 MB: a row group of 12 MB, and what pyarrow makes of it


@pytest.mark.parametrize(
    "name", ["../x.wav", "a/../../x.wav", "a\\..\\x.wav", "\x1b[31mx.wav", "a\0.wav", "x" * 300 + ".wav", "a.csv/x.wav",
             "/tmp/../x.wav"],
)  # fmt: skip
def test_a_name_that_nobody_gives_in_good_faith_is_refused(root, tmp_path, name):
    write(root / "a.parquet", [{"file": name, "audio": audio("x.wav")}])
    with pytest.raises(DatasetError, match=r"row 0 calls its audio .*is no path inside a dataset") as caught:
        unpacked(DataFolder(root))
    assert "\x1b" not in str(caught.value)
    assert not list(tmp_path.rglob("*x.wav"))


def test_a_path_of_the_machine_that_wrote_the_file_gives_way_to_the_audios_own(root):
    write(root / "a.parquet", [{"file": "/home/x/.cache/huggingface/x/id1/y.wav", "audio": audio("id1/y.wav")}])
    assert (unpacked(DataFolder(root)).root / "id1" / "y.wav").is_file()


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([{"audio": audio("/etc/x.wav")}], r"calls its audio '/etc/x.wav'; expected a relative path"),
        ([{"audio": audio("x.exe")}], r"calls its audio 'x.exe'; expected a relative path that ends in one of .wav"),
        ([{"audio": audio(None)}, {"audio": audio("x.wav")}], r"row 0 calls its audio None"),
        ([{"audio": audio("x.wav", b"")}], r"row 0 holds no audio, only its name"),
        ([{"audio": audio("x.wav")}, {"audio": None}], r"row 1 holds no audio"),
        ([{"audio": audio("x.wav")}, {"audio": audio("x.wav")}], r"row 1 calls its audio 'x.wav', as a row before"),
        (
            [{"audio": audio("x.wav")}, {"audio": audio("x.wav/y.wav")}],
            r"row 1 calls its audio 'x.wav/y.wav', as",
        ),
    ],
)
def test_rows_without_audio_or_a_name_of_their_own_are_named(root, rows, says):
    write(root / "a.parquet", rows)
    with pytest.raises(DatasetError, match=says):
        unpacked(DataFolder(root))


def test_a_label_out_of_range_is_named(root):
    rows, labels = commands("yes/0a_nohash_0.wav")
    write(root / "a.parquet", [{**rows[0], "label": 3}], labels)
    with pytest.raises(DatasetError, match=r"row 0 has label=3; its file names the labels 0 to 2"):
        unpacked(DataFolder(root))


def test_two_versions_in_one_folder_are_refused(root):
    write(root / "a.parquet", [{"audio": audio("x.wav"), "label": 1}])
    write(root / "b.parquet", [{"audio": audio("y.wav"), "category": "dog"}])
    with pytest.raises(DatasetError, match=r"b.parquet has the columns category, and .*a.parquet has label"):
        unpacked(DataFolder(root))


@pytest.mark.parametrize("damage", [lambda b: b"", lambda b: b[: len(b) // 2], lambda b: b"not parquet" * 99])
def test_a_file_that_was_cut_is_named(root, damage):
    write(root / "a.parquet", [{"audio": audio("x.wav")}])
    (root / "a.parquet").write_bytes(damage((root / "a.parquet").read_bytes()))
    with pytest.raises(DatasetError, match=r"a.parquet is no whole Parquet file .*download it again"):
        unpacked(DataFolder(root))


def test_bytes_that_do_not_decompress_are_named(root):
    write(root / "a.parquet", [{"audio": audio(f"{k}.wav", bytes(9999))} for k in range(9)], compression="zstd")
    content = bytearray((root / "a.parquet").read_bytes())
    content[8:200] = bytes(192)
    (root / "a.parquet").write_bytes(content)
    with pytest.raises(DatasetError, match=r"a.parquet is no whole Parquet file"):
        unpacked(DataFolder(root))
    assert not list((home() / FOLDER).glob("*/index.json"))
