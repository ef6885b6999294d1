import csv
import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from leveret.clips import Clip, Fold, partitions, split_hash
from leveret.manifests import ManifestError, read_manifest, read_training

HEADER = "file,label,split\n"
GOOD = f"{HEADER}a.wav,x,train\nb.wav,y,test\n"


@pytest.fixture
def manifest(tmp_path):
    """Writes set.csv, and set.tasks.json if there are settings."""

    def write(text, settings=None):
        path = tmp_path / "set.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        if settings is not None:
            path.with_name("set.tasks.json").write_text(settings if isinstance(settings, str) else json.dumps(settings))
        return path

    return write


def complaint(path):
    with pytest.raises(ManifestError) as caught:
        read_manifest(path)
    return str(caught.value)


def test_a_manifest_without_a_task_column_is_one_task_of_its_own_name(manifest, tmp_path):
    (part,) = read_manifest(manifest(GOOD))
    assert part.name == "set"
    assert part.kind == "single"
    assert part.slots == {"": ("x", "y")}
    assert part.folds == [
        Fold(
            [Clip("a.wav", tmp_path / "a.wav", ("x",), "a.wav")],
            [],
            [Clip("b.wav", tmp_path / "b.wav", ("y",), "b.wav")],
        )
    ]


def test_every_column_ends_where_it_belongs(manifest, tmp_path):
    text = (
        "task,split,label,group,source,file,seconds,start,end,mine\n"
        "t,train,x,ann,disc,sub/a.wav,9,1.5,2,?\nt,test,y,bob,tape,sub/a.wav,9,,0.5,?\nt,test,y,,,sub/a.wav,9,3,,?\n"
    )
    (part,) = read_manifest(manifest(text))
    path = tmp_path / "sub/a.wav"
    assert part.folds[0].train == [Clip("sub/a.wav@1.5-2", path, ("x",), "ann", "disc", 1.5, 2.0)]
    assert part.folds[0].test == [
        Clip("sub/a.wav@0-0.5", path, ("y",), "bob", "tape", 0.0, 0.5),
        Clip("sub/a.wav@3-", path, ("y",), "sub/a.wav", "", 3.0, None),
    ]


def test_tasks_come_in_the_order_of_first_appearance(manifest):
    text = "task,file,label,split\n" + "".join(
        f"{task},{label}{split}.wav,{label},{split}\n"
        for split in ("train", "test")
        for label in "xy"
        for task in ("zoo", "art")
    )
    assert [part.name for part in read_manifest(manifest(text))] == ["zoo", "art"]


@pytest.mark.parametrize(
    ("word", "place"),
    [
        ("training", "train"),
        *((word, "valid") for word in ("valid", "val", "validation", "dev")),
        *((word, "test") for word in ("eval", "evaluation")),
    ],
)
def test_the_usual_words_for_a_split_are_understood(manifest, word, place):
    (part,) = read_manifest(manifest(f"{GOOD}c.wav,x,{word}\n"))
    assert "c.wav" in [clip.id for clip in getattr(part.folds[0], place)]


def test_tags_are_split_and_a_clip_may_have_none(manifest):
    (part,) = read_manifest(manifest(f"{HEADER}a.wav,y|x|y,train\nb.wav,,test\nc.wav,z,test\n"))
    assert part.kind == "multi"
    assert part.slots == {"": ("x", "y", "z")}
    assert part.folds[0].train[0].labels == ("y", "x")
    assert [clip.labels for clip in part.folds[0].test] == [(), ("z",)]


def test_a_slot_of_a_short_name_is_not_taken_for_a_typing_error(manifest):
    (part,) = read_manifest(manifest("file,label:a,label:b,split\n1.wav,x,p,train\n2.wav,y,q,test\n"))
    assert part.slots == {"a": ("x", "y"), "b": ("p", "q")}


def test_spans_late_in_a_long_recording_are_different_clips(manifest):
    text = "file,label,split,start,end\nday.wav,x,train,80000.25,80001.5\nday.wav,y,test,80000.26,80001.5\n"
    (part,) = read_manifest(manifest(text))
    assert part.folds[0].train[0].id == "day.wav@80000.25-80001.5"
    assert part.folds[0].test[0].id == "day.wav@80000.26-80001.5"


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(manifest):
    (part,) = read_manifest(manifest(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode()))
    assert [clip.id for clip in part.folds[0].train] == ["a.wav"]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("file,split\na.wav,train\n", ["no column 'label'", "'file', 'split'"]),
        ("label,split\nx,train\n", ["no column 'file'"]),
        ("file,label\na.wav,x\n", ["no column 'split' (or 'fold')"]),
        ("file,lable,split\na.wav,x,train\n", ["unknown column 'lable'. Did you mean 'label'?"]),
        ("File,label,split\na.wav,x,train\n", ["unknown column 'File'. Did you mean 'file'?"]),
        ("filename,label,split\na.wav,x,train\n", ["unknown column 'filename'. Did you mean 'file'?"]),
        ("file,class,split\na.wav,x,train\n", ["unknown column 'class'. Did you mean 'label'?"]),
        ("file;label;split\na.wav;x;train\n", ["separator seems to be ';', expected commas"]),
        ("file,label,split,grop\na.wav,x,train,g\n", ["unknown column 'grop'. Did you mean 'group'?"]),
        ("file,label,split,split\na.wav,x,train,\n", ["stands twice"]),
        (f"{GOOD}c.wav,x,tset\n", ["'c.wav'", "unknown split 'tset'", "train, training"]),
        (f"{GOOD}c.wav,x\n", ["unknown split ''"]),
        (f"{GOOD}a.wav,y,test\n", ["row 4", "'a.wav' stands in row 2"]),
        (f"{HEADER}a.wav,x,train\nb.wav,x,test\n", ["single class 'x'"]),
        (f"{HEADER}a.wav,x,train\nb.wav,,test\n", ["row 3", "label of 'b.wav' is empty"]),
        (f"{HEADER},x,train\n", ["row 2", "'file' is empty"]),
        (f"{HEADER}a.wav,x,test\nb.wav,y,test\n", ["no train clips"]),
        (f"{HEADER}a.wav,x,train\nb.wav,y,train\n", ["no test clips"]),
        ("", ["no column 'file' and no column 'label'", "it has none"]),
        (HEADER, ["a header and no rows"]),
        ("file,label,fold\na.wav,x,1\nb.wav,y,1\n", ["single fold '1'"]),
        ("file,label,fold,split\na.wav,x,1,\nb.wav,y,,test\n", ["both a fold and a split"]),
        ("file,label,fold,split\na.wav,x,1,train\nb.wav,y,2,test\n", ["both a fold and a split"]),
        ("file,label:a,split\na.wav,x,train\nb.wav,,test\n", ["label of 'b.wav' is empty"]),
        ("file,label:a,label:b,split\na.wav,x,p,train\nb.wav,y,p,test\n", ["slot 'b'", "single class 'p'"]),
        (b"file,label,split\n\xe9.wav,x,train\n", ["not a UTF-8 CSV file"]),
        (b"\xff\xfef\x00i\x00l\x00e\x00", ["not a UTF-8 CSV file"]),
        (f'{HEADER}"{"a" * 140_000}",x,train\n', ["not a UTF-8 CSV file", "field larger"]),
    ],
)
def test_a_bad_manifest_is_refused_with_the_place_and_the_value(manifest, text, parts):
    message = complaint(manifest(text))
    assert "set.csv" in message
    for part in parts:
        assert part in message


@pytest.mark.parametrize("column", ["start", "end"])
@pytest.mark.parametrize("value", ["soon", "-1", "nan", "inf"])
def test_a_bad_number_is_refused_with_its_row(manifest, column, value):
    message = complaint(manifest(f"file,label,split,{column}\na.wav,x,train,{value}\nb.wav,y,test,\n"))
    assert "row 2" in message
    assert f"{column}={value!r}" in message


@pytest.mark.parametrize(("start", "end"), [("2", "1"), ("1", "1"), ("0", "0")])
def test_a_span_that_does_not_go_forward_is_refused(manifest, start, end):
    message = complaint(manifest(f"file,label,split,start,end\na.wav,x,train,{start},{end}\nb.wav,y,test,,\n"))
    assert "is not before end" in message


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_a_kind_that_the_columns_cannot_give_is_refused(manifest, kind):
    text = "file,label:a,split\na.wav,x,train\nb.wav,y,test\n"
    assert "needs a column label;" in complaint(manifest(text, {"set": {"kind": kind}}))


def test_slots_without_slot_columns_are_refused(manifest):
    assert "needs a column label:SLOT" in complaint(manifest(GOOD, {"set": {"kind": "slots"}}))


def test_tags_that_no_clip_has_are_refused(manifest):
    text = f"{HEADER}a.wav,,train\nb.wav,,test\n"
    assert "has no label" in complaint(manifest(text, {"set": {"kind": "multi"}}))


@pytest.mark.parametrize(
    ("written", "parts"),
    [
        ("{", ["not JSON"]),
        ("[]", ["one object with an object a task"]),
        ('{"set": 3}', ["one object with an object a task"]),
        ('{"set": {"domian": "music"}}', ["unknown setting 'domian'. Did you mean 'domain'?", "crop_seconds"]),
        ('{"other": {}}', ["speaks of 'other'"]),
        ('{"set": {"kind": "tags"}}', ["kind='tags'"]),
        ('{"set": {"kind": ["multi"]}}', ["kind=['multi']"]),
    ],
)
def test_bad_settings_are_refused(manifest, written, parts):
    message = complaint(manifest(GOOD, written))
    assert "set" in message
    for part in parts:
        assert part in message


def test_a_missing_manifest_and_a_folder_are_refused(tmp_path):
    assert "no manifest at" in complaint(tmp_path / "none.csv")
    assert "is a folder; expected a CSV or Parquet file" in complaint(tmp_path)


HOSTILE = "\x1b[2J\n.wav"


@pytest.mark.parametrize(
    "text",
    [
        f'{HEADER}"{HOSTILE}",x,train\n"{HOSTILE}",x,train\n',
        f'{HEADER}"{HOSTILE}",,train\n',
        f'{HEADER}"{HOSTILE}",x,never\nb.wav,y,test\n',
        f'{HEADER}a.wav,"{HOSTILE}",train\nb.wav,"{HOSTILE}",test\n',
        f'{HEADER}a.wav,x,"{HOSTILE}"\nb.wav,y,test\n',
        f'file,label,split,start\na.wav,x,train,"{HOSTILE}"\n',
        f'"{HOSTILE}",label,split\na.wav,x,train\n',
        f'file,label,split,"{HOSTILE}","{HOSTILE}"\na.wav,x,train,,\n',
        f'file,label,split,task\na.wav,x,train,"{HOSTILE}"\n',
        f'file,label,fold\na.wav,x,"{HOSTILE}"\nb.wav,y,"{HOSTILE}"\n',
    ],
)
def test_what_a_stranger_wrote_is_escaped_in_messages(manifest, text):
    message = complaint(manifest(text))
    assert message.isprintable()
    assert "\\x1b[2J\\n" in message


def test_a_parquet_manifest_reads_as_its_csv_does(manifest, tmp_path):
    text = "file,label,fold,start,end,group\na.wav,1,1,,,g\nb.wav,2,2,0.5,2.0,\n"
    (expected,) = read_manifest(manifest(text))
    columns = {
        "file": ["a.wav", "b.wav"], "label": [1, 2], "fold": pa.array([1, 2], pa.int8()), "start": [None, 0.5],
        "end": [None, 2.0], "group": ["g", None],
    }  # fmt: skip
    parquet.write_table(pa.table(columns), tmp_path / "set.parquet")
    (found,) = read_manifest(tmp_path / "set.parquet")
    assert found == expected


def test_tags_as_lists_in_parquet_are_refused_and_not_taken_for_one_label(tmp_path):
    table = pa.table({"file": ["a", "b"], "label": [["x"], ["y", "z"]], "split": ["train", "test"]})
    parquet.write_table(table, tmp_path / "set.parquet")
    assert "'label' holds lists" in complaint(tmp_path / "set.parquet")


def test_what_only_claims_to_be_parquet_is_refused(tmp_path):
    (tmp_path / "set.parquet").write_text(GOOD)
    assert "is not a Parquet file" in complaint(tmp_path / "set.parquet")


# a cell of csv can hold anything that UTF-8 can, but for NUL, which no file name can
cells = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8)
seconds = st.one_of(st.just(0.0), st.floats(0, 1e6, allow_subnormal=False).map(lambda value: round(value, 3)))


rows = st.tuples(
    cells,  # file
    st.lists(cells.filter(lambda text: "|" not in text and text == text.strip()), max_size=3, unique=True),  # labels
    cells,  # group
    cells,  # source
    seconds,  # start
    st.none() | st.floats(0.25, 1e3).map(lambda length: round(length, 3)),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=st.lists(rows, min_size=4, max_size=8, unique_by=lambda row: (row[0], row[4])))
def test_what_is_written_reads_back_as_the_same_clips(tmp_path, drawn):
    made: list[Clip] = []
    written: list[list[object]] = []
    for k, (name, labels, group, source, start, length) in enumerate(drawn):
        end = None if length is None else round(start + length, 3)
        span = f"@{start:.15g}-{'' if end is None else f'{end:.15g}'}" if start or end is not None else ""
        tags = tuple(dict.fromkeys([*labels, f"{k % 2}", "any"]))
        made.append(Clip(f"{name}{span}", tmp_path / name, tags, group, source, start, end))
        split = "train" if k < 2 else "test" if k < 4 else "valid"
        written.append([name, "|".join(tags), split, group, source, start, "" if end is None else end])
    with (tmp_path / "set.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerow(["file", "label", "split", "group", "source", "start", "end"])
        writer.writerows(written)
    (part,) = read_manifest(tmp_path / "set.csv")
    assert part.kind == "multi"
    assert part.folds == [Fold(made[:2], made[4:], made[2:4])]
    assert part.slots == {"": tuple(sorted({label for clip in made for label in clip.labels}))}


def fold(*ids, labels=("x",)):
    made = [Clip(one, Path("/here") / one, labels, f"group of {one}") for one in ids]
    return Fold(made[:2], [], made[2:])


def test_the_split_hash_ignores_where_files_lie_and_in_which_order():
    one = fold("a", "b", "c")
    moved = Fold([replace(clip, path=Path("/there")) for clip in reversed(one.train)], [], one.test)
    assert split_hash([one]) == split_hash([moved])


@pytest.mark.parametrize(
    "other",
    [
        [fold("a", "c", "b")],
        [fold("a", "b", "c", labels=("y",))],
        [fold("a", "b")],
        [fold("a", "b", "c"), fold("a", "b", "c")],
        [Fold((one := fold("a", "b", "c")).train, one.test, [])],
        [Fold([replace(clip, group="g") for clip in one.train], [], one.test)],
    ],
    ids=["places", "labels", "missing", "folds", "valid", "groups"],
)
def test_the_split_hash_tells_different_splits(other):
    assert split_hash(other) != split_hash([fold("a", "b", "c")])


def test_clips_that_stand_in_the_same_splits_are_one_part_and_none_is_lost():
    made = [Clip(str(k), Path(str(k)), ("x",), str(k)) for k in range(6)]
    folds = [Fold(made[2:], [], made[:2]), Fold(made[:4], [], made[4:])]
    parts = partitions(folds)
    assert [[clip.id for clip in part] for part in parts] == [["2", "3"], ["4", "5"], ["0", "1"]]


def test_one_file_by_two_spellings_of_its_path_is_one_clip_twice(manifest):
    with pytest.raises(ManifestError, match=r"row 4: '\./x/\.\./a\.wav' stands in row 2 of task .* already"):
        read_manifest(manifest(f"{HEADER}a.wav,y,train\nb.wav,x,train\n./x/../a.wav,y,test\n"))


def test_blanks_around_tags_are_no_part_of_them(manifest):
    (part,) = read_manifest(manifest(f"{HEADER}a.wav,dog | animal,train\nb.wav, dog,train\nc.wav,animal|,test\n"))
    assert part.slots == {"": ("animal", "dog")}


def test_spans_that_differ_in_the_last_bit_alone_are_one(manifest):
    text = "file,label,split,start,end\na.wav,x,train,0.3,1\nb.wav,y,train,,\na.wav,y,test,0.30000000000000004,1\n"
    assert "row 4: 'a.wav@0.3-1' stands in row 2" in complaint(manifest(text))


def test_training_tables_take_a_file_however_it_is_spelt_and_tags_without_blanks(manifest):
    text = "task,file,label,split\nt,a.wav,dog | cat,train\nu,./a.wav,x,train\nt,b.wav,cat,train\nu,x/../b.wav,x,test\n"
    (clip,) = read_training(manifest(text))
    assert clip.labels == ("t:dog", "t:cat", "u:x")
