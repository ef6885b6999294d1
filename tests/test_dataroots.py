from pathlib import Path

import pytest

from leveret.dataroots import VARIABLE, DataRoots
from leveret.published_audio import Dataset, DatasetError
from leveret.registry import UnknownNameError

DATASET = Dataset(
    name="birds", title="Birds", source="https://example.org/birds", tasks=("birds",), make=lambda folder: [],
    variants=("official", "user"),
)  # fmt: skip
NAMES = ("birds", "words")


def test_a_root_holds_a_folder_a_dataset_and_a_named_folder_goes_before_it(tmp_path):
    (tmp_path / "root" / "birds").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    root = DataRoots.parse([str(tmp_path / "root")], [], NAMES)
    assert root.folder(DATASET).root == tmp_path / "root" / "birds"
    both = DataRoots.parse([str(tmp_path / "root"), f"birds={tmp_path / 'other'}"], [], NAMES)
    assert both.folder(DATASET).root == tmp_path / "other"
    assert both.folder(DATASET, str(tmp_path)).root == tmp_path


def test_the_environment_names_the_root_where_nobody_else_does(tmp_path, monkeypatch):
    (tmp_path / "birds").mkdir()
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert DataRoots().folder(DATASET).root == tmp_path / "birds"


def test_labels_belong_to_a_dataset(tmp_path):
    (tmp_path / "birds").mkdir()
    roots = DataRoots.parse([str(tmp_path)], ["birds=labels.csv"], NAMES)
    assert roots.folder(DATASET).labels == Path("labels.csv")


@pytest.mark.parametrize(
    ("data", "labels", "says"),
    [
        (["a", "b"], [], r"2 data roots \(a, b\); give one"),
        (["bird=x"], [], r"no dataset 'bird' in 'bird=x'; known: birds, words"),
        ([], ["labels.csv"], r"labels 'labels.csv'; expected NAME=FILE"),
    ],
)
def test_what_cannot_be_meant_is_told(data, labels, says):
    with pytest.raises(DatasetError, match=says):
        DataRoots.parse(data, labels, NAMES)


def test_a_dataset_that_is_nowhere_says_where_to_put_it_and_where_to_get_it(tmp_path, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(DatasetError, match=r"nobody says where Birds lies: give --data.*example.org"):
        DataRoots().folder(DATASET)
    with pytest.raises(DatasetError, match=r"no Birds at .*birds: no such folder.*example.org") as found:
        DataRoots(root=tmp_path).folder(DATASET)
    assert f"`leveret data get birds --data {tmp_path}`" in str(found.value)
    with pytest.raises(DatasetError, match=r"`leveret data get birds --data birds=none`"):
        DataRoots(folders={"birds": Path("none")}).folder(DATASET)


def test_a_variant_is_one_that_the_dataset_has_and_the_first_where_nobody_names_one(tmp_path):
    (tmp_path / "birds").mkdir()
    assert DataRoots(root=tmp_path).folder(DATASET).variant == "official"
    named = DataRoots.parse([str(tmp_path)], [], NAMES, ["birds=user"])
    assert named.folder(DATASET).variant == "user"
    with pytest.raises(UnknownNameError, match=r"no variant of birds 'usr'. Did you mean 'user'"):
        DataRoots.parse([str(tmp_path)], [], NAMES, ["birds=usr"]).folder(DATASET)
