import sys

import pytest
import torch
from tests.adapters.conftest import HEAR_MODULE, RATE, statistics

from leveret.adapters.foreign import AdapterError
from leveret.loading import load_encoder


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """Writes a HEAR module that can be imported by name."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(source=HEAR_MODULE, name="planted_hear"):
        monkeypatch.delitem(sys.modules, name, raising=False)
        (tmp_path / f"{name}.py").write_text(source)
        return tmp_path / f"{name}.py"

    yield write
    sys.modules.pop("planted_hear", None)


def test_a_module_by_name_and_by_path_is_one_encoder(planted, waves):
    path = planted()
    for spec in ("hear:planted_hear", f"hear:{path}"):
        loaded = load_encoder(spec)
        assert (loaded.name, loaded.encoder.sample_rate, loaded.encoder.embed_dim) == ("planted_hear", RATE, 3)
        torch.testing.assert_close(loaded.encoder(waves), statistics(waves))


def test_a_folder_is_a_package_whose_every_file_counts(planted, tmp_path, waves):
    folder = tmp_path / "whole-package"
    folder.mkdir()
    (folder / "api.py").write_text(HEAR_MODULE)
    (folder / "__init__.py").write_text("from .api import get_scene_embeddings, load_model\n")
    digests = set()
    for spec in (f"hear:{folder}", f"hear:{folder}/__init__.py"):
        loaded = load_encoder(spec)
        assert loaded.name == "whole-package"
        torch.testing.assert_close(loaded.encoder(waves), statistics(waves))
        digests.add(loaded.digest)
    assert len(digests) == 1
    (folder / "api.py").write_text(HEAR_MODULE + "# another line\n")
    assert load_encoder(f"hear:{folder}").digest not in digests


def test_the_model_file_goes_to_load_model_and_into_the_digest(planted, tmp_path, waves):
    path = planted()
    file = tmp_path / "weights.txt"
    digests = {load_encoder(f"hear:{path}").digest}
    for scale in ("2.0", "3.0"):
        file.write_text(scale)
        loaded = load_encoder(f"hear:{path}@{file}")
        assert loaded.name == "planted_hear@weights.txt"
        torch.testing.assert_close(loaded.encoder(waves), float(scale) * statistics(waves))
        digests.add(loaded.digest)
    assert len(digests) == 3


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("", "no function load_model nor get_scene_embeddings"),
        (HEAR_MODULE.replace("get_scene", "get_some"), "no function get_scene_embeddings"),
        (HEAR_MODULE.replace("sample_rate = 8000", "rate = 8000"), "no sample_rate .* but rate = 8000"),
        (HEAR_MODULE.replace("scene_embedding_size = 3", "scene_embedding_size = 5"), "is 5, but .* vectors of 3"),
        (HEAR_MODULE.replace("amax(1)], 1)", "amax(1)], 1)[None]"), r"returned torch.Size\(\[1, 2, 3\]\)"),
    ],
)
def test_a_module_that_does_not_keep_to_the_api_says_where(planted, source, complaint):
    with pytest.raises(AdapterError, match=complaint):
        load_encoder(f"hear:{planted(source)}")


@pytest.mark.parametrize(
    ("rest", "complaint"),
    [
        ("", "is no module name"),
        ("no-such module", "is no module name"),
        ("..", "is no module name"),
        ("no_such_hear_module", "no module 'no_such_hear_module' can be imported here"),
        ("no_such.hear_module@w.pt", "no module 'no_such' can be imported here"),
        ("none.py", "no file 'none.py'"),
        ("a\0b.py", "no file"),
    ],
)
def test_no_module_is_one_sentence(rest, complaint):
    with pytest.raises(AdapterError, match=complaint):
        load_encoder(f"hear:{rest}")
