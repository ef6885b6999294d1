"""Whatever a manifest, a vector file, a checkpoint or a scorecard holds: it is read, or refused in one sentence."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet
from safetensors.torch import save_file

from leveret.checkpoint import CheckpointError, config_as_json, load_checkpoint
from leveret.contracts import Task
from leveret.loading import load_tasks
from leveret.manifests import ManifestError
from leveret.registry import UnknownNameError, look_up
from leveret.results import ResultError, Scorecard
from leveret.vectors import VectorsError, read_vectors

QUICK = settings(
    max_examples=250, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip
SOAK = settings(QUICK, max_examples=10_000)

ODD_TEXTS = (
    "", "|", "||", "a|b", "|a||b|", "a\nb", "a\r\nb", "\x1b[31mred", "[red]x[/red]", "=cmd()", "+1", "-1", "@a", "\t",
    "\u202egnp.wav", "\ufeff", "\0", "..", "../../etc/passwd", "/", "~nobody/x", "nan", "x" * 5000, '"', "'", ",", ";",
    "é", "日本", "-0", "1e400", "None", "True", " ", ":smile:", "%s", "{}", "\\",
)  # fmt: skip
odd = st.sampled_from(ODD_TEXTS) | st.text(max_size=5)


def columns_of_manifests():
    known = ["file", "label", "split", "task", "group", "source", "start", "end", "fold", "label:a", "label:b"]
    return st.lists(st.sampled_from([*known, "lable", "File", "label:", "", " file", "seconds", "notes"]), max_size=8)


def cells(column: str):
    usual = {
        "file": st.sampled_from(["a.wav", "b.wav", "sub/c.wav", "d.wav", "e.wav"]),
        "split": st.sampled_from(["train", "test", "valid", "dev", "eval", "Train", "holdout"]),
        "label": st.sampled_from(["x", "y", "x|y", "z"]),
        "start": st.sampled_from(["", "0", "0.5", "-1", "1e9", "nan", "inf", "0x1", "\uff11"]),
        "end": st.sampled_from(["", "1", "0.25", "-1", "1e9", "nan"]),
        "fold": st.sampled_from(["", "1", "2", "3"]),
        "task": st.sampled_from(["", "one", "two"]),
    }
    # mostly what it should be, so that the later rules are reached too
    return st.one_of(*[usual.get(column, st.sampled_from(["x", "y"]))] * 6, odd)


@st.composite
def manifests(draw):
    """Columns and rows of text."""
    columns = draw(st.one_of(st.just(["file", "label", "split", "task"]), columns_of_manifests()))
    rows = draw(st.lists(st.tuples(*map(cells, columns)), max_size=8))
    return columns, rows + draw(st.sampled_from([[], rows[:1], rows]))


@st.composite
def csv_files(draw):
    columns, rows = draw(manifests())
    text = io.StringIO()
    quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    writer = csv.writer(text, draw(st.sampled_from(["excel", "unix", "excel-tab"])), quoting=quoting)
    writer.writerows([columns, *rows])
    encoding = draw(st.sampled_from(["utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1"]))
    content = bytearray(text.getvalue().encode(encoding, errors="replace"))
    for at in draw(st.lists(st.floats(0, 1), max_size=2)):
        if content and draw(st.booleans()):
            content[int(at * (len(content) - 1))] ^= 1 << draw(st.integers(0, 7))
    return bytes(content)


values_of_json = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 100) | st.floats() | odd,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(odd, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def settings_files(draw):
    """None, JSON of the right shape with odd values, or anything."""
    keys = st.sampled_from(["domain", "kind", "metric", "crop_seconds", "stands_for", "notes", "colour"])
    usual = st.sampled_from(["speech", "multi", "single", "slots", "map", "accuracy", 3.0, None, "\ud800"])
    shaped = st.dictionaries(st.sampled_from(["set", "one", "two"]), st.dictionaries(keys, usual | values_of_json))
    chosen = draw(st.none() | shaped | values_of_json | st.binary(max_size=20))
    return chosen if chosen is None or isinstance(chosen, bytes) else json.dumps(chosen).encode()


def tried(read, errors, *given):
    """What is read, or what the error says."""
    try:
        return read(*given)
    except errors as error:
        return str(error)


def check_manifest(path: Path) -> None:
    """A list of whole tasks, or one error that names the file."""
    tasks = tried(load_tasks, ManifestError, [f"manifest:{path}"])
    if isinstance(tasks, str):
        assert path.stem in tasks
        return
    assert tasks
    for task in tasks:
        assert isinstance(task, Task)
        assert all(len(labels) >= 2 for _, labels in task.slots)
        for fold in task.folds():
            assert fold.train
            assert fold.test
            ids = [clip.id for clip in (*fold.train, *fold.valid, *fold.test)]
            assert len(set(ids)) == len(ids)


def write_manifest(folder: Path, content: bytes, settings: bytes | None) -> Path:
    (folder / "set.csv").write_bytes(content)
    beside = folder / "set.tasks.json"
    beside.unlink(missing_ok=True)
    if settings is not None:
        beside.write_bytes(settings)
    return folder / "set.csv"


@QUICK
@given(content=csv_files(), settings=st.none() | settings_files())
def test_a_csv_manifest_is_tasks_or_one_error(tmp_path, content, settings):
    check_manifest(write_manifest(tmp_path, content, settings))


@pytest.mark.soak
@SOAK
@given(content=csv_files(), settings=st.none() | settings_files())
def test_ten_thousand_csv_manifests_are_tasks_or_errors(tmp_path, content, settings):
    check_manifest(write_manifest(tmp_path, content, settings))


odd_columns = (
    st.lists(st.sampled_from(["a.wav", "b.wav", "x", "train", "test", None]), min_size=3, max_size=3).map(pa.array)
    | st.lists(st.none() | st.integers(-2, 5), min_size=3, max_size=3).map(pa.array)
    | st.lists(st.none() | st.floats(), min_size=3, max_size=3).map(lambda values: pa.array(values, pa.float64()))
    | st.just(pa.array([["x"], ["y", "z"], []]))
    | st.just(pa.array([b"\xff", b"x", None], pa.binary()))
    | st.just(pa.array(["x", "y", "x"]).dictionary_encode())
    | st.just(pa.array([1, 2, None], pa.timestamp("ns")))
    # bytes that claim to be text: what a careless program writes
    | st.just(pa.Array.from_buffers(pa.string(), 3, pa.array([b"\xff\xfe", b"b", b"c"], pa.binary()).buffers()))
    | st.just(pa.nulls(3))
)
names = st.sampled_from(["file", "label", "split", "start", "end", "task", "group", "label:a", "vector", "seconds"])


@st.composite
def parquet_files(draw, usual):
    """A table of the usual columns, some of them replaced, dropped or added; then perhaps harmed bytes."""
    columns = dict(usual) | draw(st.dictionaries(names, odd_columns, max_size=3))
    for name in draw(st.lists(st.sampled_from(sorted(columns)), max_size=1)):
        del columns[name]
    metadata = draw(st.none() | st.sampled_from([b"{", b"[]", b"3", b"\xff", b'{"encoder": 3}']))
    again = draw(st.sampled_from(["extra", "extra", *columns]))
    table = pa.Table.from_arrays([*columns.values(), pa.array([1, 2, 3])], names=[*columns, again])
    file = io.BytesIO()
    parquet.write_table(table.replace_schema_metadata(metadata and {b"leveret": metadata}), file)
    content = bytearray(file.getvalue())
    if draw(st.integers(0, 3)) == 0:
        content = content[: int(draw(st.floats(0, 1)) * len(content))]
    for at in draw(st.lists(st.floats(0, 1), max_size=3)):
        if content and draw(st.booleans()):
            content[int(at * (len(content) - 1))] ^= 1 << draw(st.integers(0, 7))
    return bytes(content)


TABLE = {
    "file": pa.array(["a.wav", "b.wav", "c.wav"]), "label": pa.array(["x", "y", "x"]),
    "split": pa.array(["train", "train", "test"]),
}  # fmt: skip
VECTORS = {"file": TABLE["file"], "vector": pa.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])}


@QUICK
@given(content=parquet_files(TABLE))
def test_a_parquet_manifest_is_tasks_or_one_error(tmp_path, content):
    (tmp_path / "set.parquet").write_bytes(content)
    check_manifest(tmp_path / "set.parquet")


def check_vectors(path: Path) -> None:
    found = tried(read_vectors, VectorsError, path)
    if isinstance(found, str):
        assert path.name in found
        return
    assert len(found.file) == len(found.start) == len(found.seconds) == len(found.vector) > 0
    assert np.isfinite(found.vector).all()
    assert isinstance(found.about, dict)


@QUICK
@given(content=parquet_files(VECTORS))
def test_a_vector_file_is_finite_vectors_or_one_error(tmp_path, content):
    (tmp_path / "v.parquet").write_bytes(content)
    check_vectors(tmp_path / "v.parquet")


@pytest.mark.soak
@SOAK
@given(manifest=parquet_files(TABLE), vectors=parquet_files(VECTORS))
def test_ten_thousand_parquet_files_are_read_or_errors(tmp_path, manifest, vectors):
    (tmp_path / "set.parquet").write_bytes(manifest)
    check_manifest(tmp_path / "set.parquet")
    (tmp_path / "v.parquet").write_bytes(vectors)
    check_vectors(tmp_path / "v.parquet")


NAME = "slowfast_nfnet_tiny"


@pytest.fixture(scope="module")
def weights():
    torch.manual_seed(0)
    return {key: tensor.detach().clone() for key, tensor in look_up("encoders", NAME).build().state_dict().items()}


@st.composite
def headers(draw):
    """Leveret's header with an odd value somewhere, or anything."""
    config = config_as_json(look_up("encoders", NAME))
    described = {"version": 1, "encoder": NAME, "config": config, "extra": {}}
    for _ in range(draw(st.integers(0, 2))):
        place, keys = draw(st.sampled_from([(described, [*described]), (config, [*config])]))
        key = draw(st.sampled_from(keys))
        if draw(st.booleans()):
            place.pop(key, None)
        else:
            place[key] = draw(
                values_of_json | st.sampled_from([10**7, -1, 0, 2**70, [3, 3], [0, 0, 0, 0], [10**7] * 4])
            )
    return json.dumps(described) if draw(st.integers(0, 4)) else draw(st.text(max_size=10))


def check_checkpoint(path: Path, weights, header: str, change: str, at: float, share: float) -> None:
    tensors = dict(weights)
    key = sorted(tensors)[int(at * (len(tensors) - 1))]
    if change == "drop":
        del tensors[key]
    elif change == "rename":
        tensors[key + ".x"] = tensors.pop(key)
    elif change == "reshape":
        tensors[key] = tensors[key].reshape(-1)[:1].clone()
    elif change == "integers":
        tensors[key] = torch.zeros(tensors[key].shape, dtype=torch.int8)
    elif change == "nan":
        tensors[key] = torch.full_like(tensors[key], torch.nan)
    save_file(tensors, path, metadata={"leveret": header} if change != "no header" else None)
    content = bytearray(path.read_bytes())
    if change == "cut":
        content = content[: int(share * len(content))]
    elif change == "flip":
        content[int(share * min(len(content) - 1, 4000))] ^= 1 << int(at * 7)
    path.write_bytes(content)
    found = tried(load_checkpoint, (CheckpointError, UnknownNameError), path)
    if not isinstance(found, str):
        assert found.name == NAME
        assert isinstance(found.extra, dict)
        assert found.encoder.state_dict().keys() == weights.keys()


changes = st.sampled_from(
    ["none", "drop", "rename", "reshape", "integers", "nan", "no header", "cut", "flip", "flip", "flip"]
)


@settings(QUICK, max_examples=60)
@given(header=headers(), change=changes, at=st.floats(0, 1), share=st.floats(0, 1))
def test_a_checkpoint_is_an_encoder_or_one_error(tmp_path, weights, header, change, at, share):
    check_checkpoint(tmp_path / "e.safetensors", weights, header, change, at, share)


@pytest.mark.soak
@settings(SOAK, max_examples=2000)
@given(header=headers(), change=changes, at=st.floats(0, 1), share=st.floats(0, 1))
def test_two_thousand_checkpoints_are_encoders_or_errors(tmp_path, weights, header, change, at, share):
    check_checkpoint(tmp_path / "e.safetensors", weights, header, change, at, share)


RESULT = {
    "task": "t", "suite": "s", "domain": "speech", "stands_for": "", "kind": "single", "metric": "accuracy",
    "score": 0.5, "interval": [0.4, 0.6], "interval_groups": 20, "interval_wide": False, "metrics": {},
    "per_class": {}, "chance": 0.5, "majority": 0.5, "floor": None, "train_score": 0.9, "seeds": {"0": 0.5},
    "folds": [], "probe": {}, "clips": {}, "skipped": {}, "silent": [], "coverage": 1.0, "unscored_classes": [],
    "split_hash": "h", "notes": "", "seconds": 1.0,
}  # fmt: skip


@st.composite
def scorecards(draw):
    result = dict(RESULT)
    card = {"encoder": {"name": "e"}, "protocol": {"title": "quick"}, "tasks": [result], "run": {}, "schema_version": 1}
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.sampled_from([card, result]))
        key = draw(st.sampled_from(sorted(place)))
        if draw(st.booleans()):
            del place[key]
        else:
            place[key] = draw(values_of_json)
        if not place:
            break
    text = json.dumps(card)
    return text if draw(st.integers(0, 3)) else text[: int(draw(st.floats(0, 1)) * len(text))]


def check_scorecard(text: str) -> None:
    card = tried(Scorecard.from_json, ResultError, text, "card.json")
    if isinstance(card, str):
        assert "card.json" in card
        return
    # what was believed can be worked with
    assert isinstance(card.encoder["name"], str)
    assert isinstance(card.protocol["title"], str)
    card.summaries()
    for result in card.tasks:
        assert all(isinstance(warning, str) for warning in result.warnings)


@QUICK
@given(text=scorecards())
def test_a_scorecard_is_read_or_refused_by_name(text):
    check_scorecard(text)


@pytest.mark.soak
@SOAK
@given(text=scorecards())
def test_ten_thousand_scorecards_are_read_or_refused(text):
    check_scorecard(text)
