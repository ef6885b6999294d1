"""Haiku parameters in and out: what dm-haiku writes gives the golden outputs, and goes back bit by bit."""

import importlib.util
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from leveret.checkpoint import load_checkpoint
from leveret.cli import main
from leveret.haiku_weights import HaikuError, from_haiku, haiku_paths, read_haiku, to_haiku
from leveret.hollow import hollow
from leveret.registry import look_up


def program():
    """The network in Haiku that the benchmarks use."""
    pytest.importorskip("haiku")
    path = Path(__file__).parents[2] / "benchmarks" / "jax_slowfast.py"
    spec = importlib.util.spec_from_file_location("jax_slowfast", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def params(golden_parameter):
    """Parameters as dm-haiku structures them, filled by the rule of the golden numbers."""
    haiku = program()
    jax = haiku.jax
    init, _ = haiku.slowfast()
    shapes = jax.eval_shape(init, jax.random.PRNGKey(0), jax.ShapeDtypeStruct((1, 64, 32, 1), np.float32))
    return {
        module: {name: golden_parameter(f"{module}/{name}", leaf.shape) for name, leaf in values.items()}
        for module, values in shapes.items()
    }


def test_what_dm_haiku_wrote_gives_the_golden_outputs_and_goes_back_bit_by_bit(params, tmp_path, golden, golden_input):
    flat = {f"{module}/{name}": value for module, values in params.items() for name, value in values.items()}
    np.savez(tmp_path / "params.npz", **flat)
    found = from_haiku(read_haiku(tmp_path / "params.npz"))
    assert (found.name, found.unused) == ("slowfast_nfnet_f0", ())
    with torch.inference_mode():
        features = found.encoder.network(golden_input("c"))
    np.testing.assert_allclose(features.numpy(), golden("slowfast")["slowfast/c/out_f64"], atol=1e-5, rtol=0)
    back = to_haiku(found.encoder)
    assert back.keys() == flat.keys()
    assert all(
        (value.shape, value.tobytes()) == (flat[path].shape, flat[path].tobytes()) for path, value in back.items()
    )


@pytest.mark.parametrize("form", ["dictionary", "haiku", "jax"])
def test_pickles_of_every_sort_hold_the_same(params, tmp_path, form):
    haiku = program()
    fast = {
        module.removeprefix("slow_fast_nf_net/~/"): values for module, values in params.items() if "NFNet/" in module
    }
    held = {
        "dictionary": fast,
        "haiku": {"params": haiku.hk.data_structures.to_haiku_dict(fast), "state": {}},
        "jax": (haiku.jax.tree_util.tree_map(haiku.jnp.asarray, fast), {}),
    }[form]
    (tmp_path / "fast.pkl").write_bytes(pickle.dumps(held))
    found = from_haiku(read_haiku(tmp_path / "fast.pkl"))
    assert (found.name, found.unused) == ("nfnet_f0_fast", ())
    back = to_haiku(found.encoder)
    for module, values in fast.items():
        for name, value in values.items():
            assert back[f"{module}/{name}"].tobytes() == value.tobytes()


@pytest.mark.parametrize(
    ("name", "root"),
    [("nfnet_f0_fast", "NFNet"), ("nfnet_f0_slow", "NFNet"), ("slowfast_nfnet_small", "slow_fast_nf_net")],
)
def test_the_encoder_is_found_by_its_sizes_whatever_stands_around_it(name, root):
    encoder = look_up("encoders", name).build()
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.normal_()
    arrays = {f"simclr/~/{path}": value for path, value in to_haiku(encoder).items()}
    assert all(path.startswith(f"simclr/~/{root}/") for path in arrays)
    found = from_haiku({**arrays, "simclr/~/projector/linear/w": np.zeros((3, 4), np.float32)})
    assert (found.name, found.unused) == (name, ("simclr/~/projector/linear/w",))
    for ours, theirs in zip(encoder.parameters(), found.encoder.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_paths_are_those_of_the_authors_program(golden_manifest):
    for name, manifest in (
        ("slowfast_nfnet_f0", "slowfast"),
        ("nfnet_f0_fast", "F0-fast"),
        ("nf_resnet50", "nf-resnet50"),
    ):
        with hollow():
            encoder = look_up("encoders", name).build()
        theirs = {path for path in golden_manifest(manifest) if "/linear/" not in path or "squeeze" in path}
        assert set(haiku_paths(encoder).values()) == theirs


def fast():
    return dict(to_haiku(look_up("encoders", "nfnet_f0_fast").build()))


def test_what_does_not_fit_is_named():
    arrays = fast()
    with pytest.raises(HaikuError, match=r"nfnet_f0_slow: NFNet/~/stem_conv0/w is \(3, 3, 1, 2\), expected \(1, 3"):
        from_haiku(arrays, "nfnet_f0_slow")
    del arrays["NFNet/~/final_conv/w"]
    with pytest.raises(HaikuError, match="nfnet_f0_fast: NFNet/~/final_conv/w is missing"):
        from_haiku(arrays)
    arrays = fast() | {"NFNet/~/final_conv/gain": np.full(384, np.nan, np.float32)}
    with pytest.raises(HaikuError, match="final_conv/gain holds values that are not finite"):
        from_haiku(arrays)
    with pytest.raises(HaikuError, match="the file has linear/w: not the authors' parameters"):
        from_haiku({"linear/w": np.zeros((2, 2))})


@pytest.mark.parametrize("name", ["resnet_tiny", "melstats", "vit_tiny", "slowfast_nf_resnet_tiny"])
def test_other_networks_have_no_haiku_names(name):
    with pytest.raises(HaikuError, match="give an NFNet"):
        to_haiku(look_up("encoders", name).build())


def test_the_command_makes_a_checkpoint(tmp_path, capsys):
    arrays = fast() | {"classifier/w": np.zeros((2, 2), np.float32)}
    np.savez(tmp_path / "fast.npz", **arrays)
    line = ["import", str(tmp_path / "fast.npz"), "-o", str(tmp_path / "fast.safetensors")]
    assert main(line) == 0
    assert "left out: 1 arrays (classifier/w)" in capsys.readouterr().out
    checkpoint = load_checkpoint(tmp_path / "fast.safetensors")
    assert checkpoint.name == "nfnet_f0_fast"
    assert checkpoint.extra["imported"]["file"] == "fast.npz"
    assert all(value.tobytes() == arrays[path].tobytes() for path, value in to_haiku(checkpoint.encoder).items())
    assert main(line) == 2
    assert "is there already" in capsys.readouterr().err
    assert main([*line, "--force"]) == 0


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no whole pickle"),
        (b"PK\x03\x04 torn", "no whole pickle"),
        (pickle.dumps(print), "is refused: it names builtins.print"),
        (None, "no file"),
    ],
    ids=["empty", "torn", "malicious", "missing"],
)
def test_a_bad_file_is_one_error_and_leaves_nothing(tmp_path, capsys, content, says):
    if content is not None:
        (tmp_path / "x.pkl").write_bytes(content)
    assert main(["import", str(tmp_path / "x.pkl"), "-o", str(tmp_path / "x.safetensors")]) == 2
    assert says in capsys.readouterr().err
    assert not list(tmp_path.glob("*.safetensors*"))


def test_an_npz_of_objects_is_refused(tmp_path):
    np.savez(tmp_path / "x.npz", w=np.array([{}], dtype=object))
    with pytest.raises(HaikuError, match="holds more than arrays"):
        read_haiku(tmp_path / "x.npz")
