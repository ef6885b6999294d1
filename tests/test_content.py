import hashlib
import os
import sqlite3

import pytest
import torch
from torch import nn

from leveret import content
from leveret.content import code_digest, content_digests, file_sha256, weights_digest


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("LEVERET_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / f"{k}.bin" for k in range(3)]
    for k, path in enumerate(paths):
        path.write_bytes(b"sound" * k)
    return paths


@pytest.fixture
def reads(monkeypatch):
    """Names of the files that were read."""
    seen = []

    def counted(path):
        seen.append(path.name)
        return file_sha256(path)

    monkeypatch.setattr(content, "file_sha256", counted)
    return seen


def test_digests_are_those_of_the_bytes_in_the_order_asked(files):
    expected = [hashlib.sha256(b"sound" * k).hexdigest() for k in (2, 0, 1, 2)]
    assert content_digests([files[2], files[0], files[1], files[2]], 2) == expected


def test_a_name_that_is_not_utf8_is_remembered_too(tmp_path, reads):
    path = tmp_path / os.fsdecode(b"\xff.wav")
    path.write_bytes(b"sound")
    assert content_digests([path], 1) == content_digests([path], 1) == [hashlib.sha256(b"sound").hexdigest()]
    assert len(reads) == 1


def test_a_file_is_read_once_until_it_changes(files, reads):
    before = content_digests(files, 2)
    assert content_digests(files, 2) == before
    assert sorted(reads) == ["0.bin", "1.bin", "2.bin"]
    files[1].write_bytes(b"noise")
    os.utime(files[2], (1, 1))
    after = content_digests(files, 2)
    assert sorted(reads[3:]) == ["1.bin", "2.bin"]
    assert after[0] == before[0]
    assert after[1] == hashlib.sha256(b"noise").hexdigest()
    assert after[2] == before[2]


def test_more_files_than_one_question_may_name(tmp_path, reads):
    paths = [tmp_path / f"many{k}" for k in range(1200)]
    for path in paths:
        path.touch()
    assert len(set(content_digests(paths, 2))) == 1
    assert content_digests(paths, 2) == content_digests(paths, 2)
    assert len(reads) == 1200


def test_a_file_that_cannot_be_read_has_an_empty_digest_and_is_asked_again(tmp_path, files):
    folder, missing = tmp_path / "folder", tmp_path / "missing"
    folder.mkdir()
    assert content_digests([folder, missing, files[0]], 1) == ["", "", hashlib.sha256(b"").hexdigest()]
    missing.write_bytes(b"here now")
    assert content_digests([missing], 1) == [hashlib.sha256(b"here now").hexdigest()]


def test_no_files_have_no_digests():
    assert content_digests([], 1) == []


def test_a_damaged_database_is_named_with_what_to_do(files, own_home):
    own_home.mkdir()
    (own_home / "digests.sqlite").write_bytes(b"this is not a database, it only has its name" * 10)
    with pytest.raises(OSError, match=r"digests\.sqlite.*remove it"):
        content_digests(files, 1)


def test_a_database_that_somebody_writes_meanwhile_is_waited_for(files, own_home):
    content_digests(files, 1)
    other = sqlite3.connect(own_home / "digests.sqlite")
    with other:
        other.execute("insert into digests values ('k', 'd')")
    other.close()
    assert content_digests(files, 1)[0] == hashlib.sha256(b"").hexdigest()


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


def changed(module):
    with torch.no_grad():
        module[0].weight[0, 0] += 1e-6
    return module


def renamed():
    return nn.ModuleDict({"a": network()[0], "b": network()[1]})


def test_equal_weights_have_equal_digests_and_any_change_tells():
    digest = weights_digest(network())
    assert digest == weights_digest(network())
    found = [
        digest,
        weights_digest(changed(network())),
        weights_digest(network().double()),
        weights_digest(network().bfloat16()),
        weights_digest(renamed()),
        weights_digest(nn.Sequential(network()[0])),
    ]
    buffer = network()
    buffer[1].running_mean += 1
    assert len({*found, weights_digest(buffer)}) == 7


def test_scalars_empty_and_strided_tensors_can_be_digested():
    module = nn.Module()
    module.register_buffer("scalar", torch.tensor(3))
    module.register_buffer("empty", torch.empty(0, 4))
    module.register_buffer("turned", torch.arange(6.0).reshape(2, 3).T)
    module.register_buffer("truth", torch.tensor([True, False]))
    digest = weights_digest(module)
    module.turned = module.turned.contiguous()
    assert weights_digest(module) == digest


def test_the_digest_of_the_code_is_stable():
    assert code_digest() == code_digest()
    assert len(code_digest()) == 64
