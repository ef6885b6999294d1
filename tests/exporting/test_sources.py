"""The source of any network runs without leveret and holds nothing that the network does not need."""

import ast
import dataclasses
from dataclasses import dataclass

import pytest
import torch

from leveret.adapters.foreign import module_of_file
from leveret.contracts import Encoder
from leveret.exporting.folders import NotExportableError
from leveret.exporting.hear_folder import write_hear
from leveret.exporting.sources import network_sources
from leveret.registry import entries

HEAR = "leveret.exporting.carried.hear_module"
TINY = [name for name in entries("encoders") if "tiny" in name or name == "melstats"]


def test_every_architecture_is_among_the_tiny_ones():
    assert {type(entries("encoders")[name]) for name in TINY} == {
        type(config) for config in entries("encoders").values()
    }


def test_every_network_gives_the_same_vectors_in_a_process_without_leveret(exported, without_leveret, waves, tmp_path):
    expected = {}
    for name in TINY:
        one = exported(name)
        write_hear(one, tmp_path / name)
        with torch.inference_mode():
            expected[name] = one.encoder(waves)
    torch.save(waves, tmp_path / "waves.pt")
    without_leveret(
        "import importlib, torch\n"
        "torch.set_num_threads(1)\n"
        "waves = torch.load('waves.pt')\n"
        f"modules = [importlib.import_module(name) for name in {TINY}]\n"
        "found = {one.__name__: one.get_scene_embeddings(waves, one.load_model()) for one in modules}\n"
        "torch.save({name: vectors.clone() for name, vectors in found.items()}, 'found.pt')\n",
        tmp_path,
    )
    found = torch.load(tmp_path / "found.pt")
    for name in TINY:
        # another process may take other kernels, so not bit for bit
        torch.testing.assert_close(found[name], expected[name], rtol=1e-5, atol=1e-6, msg=name)


@pytest.mark.parametrize("name", {type(config): name for name, config in entries("encoders").items()}.values())
def test_the_source_imports_torch_the_standard_library_and_itself(name):
    files = network_sources(name, entries("encoders")[name], HEAR)
    imported = set()
    for source in files.values():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ImportFrom):
                imported.add("." + f"{node.module}.py" if node.level else str(node.module).split(".")[0])
            elif isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
    relative = {name.removeprefix(".") for name in imported if name.startswith(".")}
    assert relative | {"hear_module.py"} == set(files)
    outside = {name for name in imported if not name.startswith(".")} - {"torch", "safetensors"}
    assert outside <= {
        "abc", "collections", "copy", "dataclasses", "difflib", "itertools", "json", "math", "pathlib", "typing",
    }  # fmt: skip


def test_of_each_module_what_the_network_needs_stays_word_for_word():
    files = network_sources("slowfast_nfnet_tiny", entries("encoders")["slowfast_nfnet_tiny"], HEAR)
    assert "class Encoder(" in files["contracts.py"]
    assert "class Task(" not in files["contracts.py"]
    assert "ENCODERS" not in files["slowfast.py"]
    assert "ENCODERS" not in files["nfnet.py"]
    assert "# Over rows of a matrix" in files["layers.py"]  # comments inside a definition
    assert '"""Each residual branch adds' in files["nfnet.py"]  # the text behind a constant
    assert "Beta(5, 2)" not in files["draws.py"]  # another definition of a module that is needed
    assert "from .shapes import Float" in files["layers.py"]
    for name, source in files.items():
        assert source.startswith("# From leveret "), name
        assert "SPDX-License-Identifier: Apache-2.0" in source.splitlines()[1], name
        assert "\n\n\n\n" not in source, name


def test_comments_above_what_is_left_out_go_with_it(monkeypatch):
    planted = (
        '"""Planted."""\n\nimport os\nfrom math import cos, sin\n\nA = 1\n"""Of A."""\n\nB = 2\n"""Of B."""\n\n\n'
        "# Why f.\ndef f():\n    return sin(A)\n\n\n"
        "# Why g.\n@staticmethod\ndef g():\n    return cos(os.getpid() + B)\n"
    )
    monkeypatch.setattr("leveret.exporting.sources._source", lambda module: planted)

    @dataclass(frozen=True)
    class Named:
        pass

    Named.__module__, Named.__name__ = "leveret.planted", "f"
    files = network_sources("planted", Named(), "leveret.exporting.carried.architecture")
    assert files["planted.py"].split("\n", 3)[3] == (
        '"""Planted."""\n\nfrom math import sin\n\nA = 1\n"""Of A."""\n\n\n# Why f.\ndef f():\n    return sin(A)\n'
    )


def test_a_network_from_elsewhere_is_refused_with_where_it_is_from():
    @dataclass(frozen=True)
    class Mine:
        def build(self) -> Encoder:
            raise AssertionError

    with pytest.raises(NotExportableError, match=r"network of mine is defined in .*test_sources, outside of leveret"):
        network_sources("mine", Mine(), HEAR)


def test_a_config_with_changed_sizes_travels_with_them(exported, tmp_path):
    config = dataclasses.replace(entries("encoders")["byola_cnn_tiny"], width=24)
    encoder = config.build().eval()
    write_hear(dataclasses.replace(exported("byola_cnn_tiny"), config=config, encoder=encoder), tmp_path / "wider")
    assert module_of_file("hear:wider", tmp_path / "wider" / "__init__.py").load_model().scene_embedding_size == 24
