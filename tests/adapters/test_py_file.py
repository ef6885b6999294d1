import sys

import numpy as np
import pytest
import torch

from leveret.adapters.faults import AdapterError, EncoderFailedError
from leveret.batches import Batch, CropRule
from leveret.loading import NotDeterministicError, NotFiniteError, fingerprint, load_encoder
from leveret.runner import Compute, runners_of, vectors_of_batch

HEAD = "import numpy as np\nimport torch\n"
GOOD = f"""{HEAD}
class Loud:
    sample_rate = 8000

    def embed(self, wave):
        return torch.stack([wave.mean(1), wave.square().mean(1), wave.amax(1)], 1)
"""


@pytest.fixture
def spec(tmp_path, monkeypatch):
    """Writes a file and gives what follows `--encoder`."""
    monkeypatch.setattr(sys, "path", list(sys.path))

    def write(source, name="E", file="mine.py"):
        (tmp_path / file).write_text(source)
        return f"py:{tmp_path / file}:{name}"

    return write


def body(text, head="class E:\n    sample_rate = 8000\n"):
    return f"{HEAD}{head}" + "".join(f"    {line}\n" for line in text.splitlines())


WAVES = torch.linspace(-1, 1, 16_000).reshape(2, 8_000)
EXPECTED = torch.stack([WAVES.mean(1), WAVES.square().mean(1), WAVES.amax(1)], 1)


def test_a_class_with_a_rate_and_embed_is_an_encoder(spec):
    loaded = load_encoder(spec(GOOD, "Loud"))
    encoder = loaded.encoder
    assert (encoder.sample_rate, encoder.embed_dim, dict(encoder.layers)) == (8_000, 3, {"embedding": 3})
    assert (loaded.name, loaded.origin, loaded.foreign) == ("Loud", "py adapter", True)
    torch.testing.assert_close(encoder(WAVES), EXPECTED)
    assert fingerprint(encoder, torch.device("cpu")).shape == (8, 3)


def test_a_path_is_searched_neither_before_nor_after(spec, tmp_path):
    (tmp_path / "neighbour_of_mine.py").write_text("WIDTH = 3\n")
    source = body("def embed(self, wave):\n    return wave[:, :WIDTH]").replace(
        HEAD, f"{HEAD}from neighbour_of_mine import WIDTH\n"
    )
    assert load_encoder(spec(source)).encoder.embed_dim == 3
    assert str(tmp_path) not in sys.path


@pytest.mark.parametrize(
    "source",
    [
        body("def __call__(self, wave):\n    return wave[:, :3]"),
        body("def embed(self, wave):\n    return wave.numpy()[:, :3]"),
        body("def embed(self, wave):\n    return wave.numpy()[:, :3].astype(np.float64)"),
        body("def embed(self, wave):\n    return wave[:, :3].half()"),
        body("def embed(self, wave):\n    out = wave.numpy()[:, 2::-1][:, ::-1].copy()\n    out.flags.writeable = False\n    return out"),  # noqa: E501
        body("def embed(self, wave):\n    return wave.numpy()[:, 2::-1][:, ::-1]"),
    ],
    ids=["callable", "numpy", "float64", "half", "read-only", "negative strides"],
)  # fmt: skip
def test_whatever_holds_the_numbers_becomes_a_float32_tensor(spec, source):
    found = load_encoder(spec(source)).encoder(WAVES)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, WAVES[:, :3], rtol=0, atol=1e-3)  # half has eleven bits


def test_a_torch_module_is_put_in_eval_mode_and_its_weights_count(spec):
    source = (
        f"{HEAD}class E(torch.nn.Module):\n    sample_rate = 8000\n"
        "    def __init__(self):\n        super().__init__()\n"
        "        self.net = torch.nn.Sequential(torch.nn.Linear(10, SIZE), torch.nn.Dropout(0.5))\n"
        "        torch.nn.init.constant_(self.net[0].weight, VALUE)\n"
        "        torch.nn.init.zeros_(self.net[0].bias)\n"
        "    def forward(self, wave):\n        return self.net(wave[:, :10]).numpy()\n"
    )
    one = load_encoder(spec(source.replace("SIZE", "3").replace("VALUE", "0.5")))
    assert one.num_parameters == 33
    assert not any(module.training for module in one.encoder.modules())
    with torch.inference_mode():
        torch.testing.assert_close(one.encoder(WAVES)[:, 0], 0.5 * WAVES[:, :10].sum(1))
    two = load_encoder(spec(source.replace("SIZE", "3").replace("VALUE", "0.25")))
    assert one.digest[32:] != two.digest[32:]


def test_a_change_of_the_file_changes_the_digest(spec):
    assert load_encoder(spec(GOOD, "Loud")).digest != load_encoder(spec(f"{GOOD}\n# other\n", "Loud")).digest


def test_an_encoder_of_leverets_own_contract_is_taken_as_it_is(spec):
    source = (
        f"{HEAD}from leveret.contracts import Encoder\n\n"
        "class E(Encoder):\n    embed_dim = 4\n    layers = {'x': 4}\n"
        "    def embed(self, features, layer=None):\n        return features[:, :4]\n"
    )
    encoder = load_encoder(spec(source)).encoder
    assert type(encoder).__name__ == "E"
    assert encoder(WAVES).shape == (2, 4)


def test_dataclasses_with_postponed_annotations_work(spec):
    source = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\n\n@dataclass\nclass E:\n"
        "    sample_rate: int = 8000\n    def embed(self, wave):\n        return wave[:, :2]\n"
    )
    assert load_encoder(spec(source)).encoder.embed_dim == 2


def test_foreign_code_that_writes_into_the_waves_harms_nobody(spec):
    encoder = load_encoder(spec(body("def embed(self, wave):\n    wave *= 2\n    return wave[:, :3]"))).encoder
    before = WAVES.clone()
    torch.testing.assert_close(encoder(WAVES), 2 * before[:, :3])
    assert torch.equal(WAVES, before)
    fingerprint(encoder, torch.device("cpu"))


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("class Other:\n    pass\ndef E():\n    pass\n", "has no class 'E'; it has Other"),
        ("", "has no class 'E'; it has none"),
        (
            "class E:\n    def embed(self, wave):\n        return wave\n",
            "E has no sample_rate (Hz); it is never guessed",
        ),
        ("class E:\n    sr = 16000\n", "E has no sample_rate (Hz) but sr = 16000: call that sample_rate"),
        ("class E:\n    sample_rate = '16k'\n", "sample_rate is '16k'; a whole number of hertz was expected"),
        ("class E:\n    sample_rate = True\n", "sample_rate is True; a whole number"),
        ("class E:\n    sample_rate = 22050.5\n", "sample_rate is 22050.5; a whole number"),
        ("class E:\n    sample_rate = float('nan')\n", "sample_rate is nan; a whole number"),
        ("class E:\n    sample_rate = 0\n", "sample_rate is 0; hertz were expected, 1000 or more"),
        ("class E:\n    sample_rate = 16\n", "sample_rate is 16; hertz were expected, did you mean 16000?"),
        ("class E:\n    sample_rate = 44.1\n", "sample_rate is 44.1; hertz were expected, did you mean 44100?"),
        (
            "from leveret.contracts import Encoder\nclass E(Encoder):\n    sample_rate, embed_dim, layers = 16, 1, {}\n"
            "    def embed(self, features, layer=None): return features[:, :1]\n",
            "did you mean 16000?",
        ),
        (
            "class E:\n    def __init__(self): self.sample_rate = {}['rate']\n",
            "E cannot be made (mine.py:2: KeyError: 'rate')",
        ),
        (body("def embed(self, wave): return torch.fft.rfft(wave)"), "gave complex64; real vectors were expected"),
        (body("def embed(self, wave): return np.fft.rfft(wave.numpy())"), "; real vectors were expected: take .abs()"),
        ("class E:\n    sample_rate = 8000\n", "has no method embed"),
        ("class E:\n    sample_rate = 8000\n    embed = None\n", "has no method embed"),
        (
            body("def encode(self, wave): ...", "class E(torch.nn.Module):\n    sample_rate = 8000\n"),
            "has no method embed",
        ),
        ("class E:\n    def __init__(self, size): pass\n", "cannot be made without arguments"),
        ("from leveret.contracts import Encoder\nclass E(Encoder):\n    pass\n", "abstract"),
        (
            body("def embed(self, wave): return wave[:, :, None]"),
            "returned torch.Size([2, 8000, 1]) for waves (2, 8000)",
        ),
        (body("def embed(self, wave): return wave.mean(0)"), "expected a tensor or array (2, D)"),
        (body("def embed(self, wave): return wave[:1]"), "returned torch.Size([1, 8000])"),
        (body("def embed(self, wave): return wave[:, :3].tolist()"), "returned list"),
        (body("def embed(self, wave): return None"), "returned NoneType"),
    ],
)
def test_what_cannot_be_used_is_refused_with_what_it_lacks(spec, source, complaint):
    with pytest.raises(AdapterError) as caught:
        load_encoder(spec(source))
    assert complaint in str(caught.value)
    assert "py:" in str(caught.value)


@pytest.mark.parametrize("rest", ["none.py:E", "E", "", ":", "none.py:", ".:E"])
def test_a_file_that_is_not_there_is_refused_with_an_example(rest):
    with pytest.raises(AdapterError, match=r"py:my_encoder\.py:MyEncoder"):
        load_encoder(f"py:{rest}")


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("\n1 / 0\n", "line 2: ZeroDivisionError: division by zero; mend the file"),
        ("import os\nclass E\n", "line 2: SyntaxError: expected ':'; mend the file"),
        (
            "import not_there_at_all\n",
            "line 1: ModuleNotFoundError: No module named 'not_there_at_all'; install it, or mend the file",
        ),
        ("import neighbour\n", "line 1: neighbour.py:2: KeyError: 1; mend the file"),
        ("raise SystemExit(2)\n", "line 1: SystemExit: 2; mend the file"),
    ],
)
def test_a_file_that_cannot_be_imported_is_told_with_its_line(spec, tmp_path, source, told):
    (tmp_path / "neighbour.py").write_text("\n{}[1]\n")
    with pytest.raises(AdapterError) as caught:
        load_encoder(spec(source))
    assert str(caught.value).endswith(f":E: mine.py cannot be imported, {told}")
    assert caught.value.__cause__ is not None


def test_an_embed_that_fails_at_once_is_told_with_its_line_and_what_it_was_given(spec):
    with pytest.raises(
        AdapterError, match=r"E fails on waves of shape \(2, 8000\) \(mine.py:6: AssertionError: assert wave.ndim"
    ) as caught:
        load_encoder(spec(body("def embed(self, wave):\n    assert wave.ndim == 1")))
    assert isinstance(caught.value.__cause__, AssertionError)


def test_an_embed_that_fails_later_is_told_with_its_line_and_what_it_was_given(spec):
    named = spec(body("def embed(self, wave):\n    assert wave.shape[1] == 8000, 'a second'\n    return wave[:, :3]"))
    with pytest.raises(EncoderFailedError) as caught:
        load_encoder(named).encoder(WAVES[:, :7000])
    assert str(caught.value) == (
        f"{named} fails on waves of shape (2, 7000) (mine.py:6: AssertionError: a second); lengths vary and so does "
        f"the batch; `leveret check {named}` tries many"
    )
    assert isinstance(caught.value.__cause__, AssertionError)


@pytest.mark.parametrize("error", ["KeyboardInterrupt", "MemoryError", "torch.OutOfMemoryError"])
def test_what_is_not_the_encoders_fault_is_not_blamed_on_it(spec, error):
    source = f"def embed(self, wave):\n    if wave.shape[1] != 8000: raise {error}\n    return wave[:, :3]"
    encoder = load_encoder(spec(body(source))).encoder
    with pytest.raises({"K": KeyboardInterrupt, "M": MemoryError, "t": torch.OutOfMemoryError}[error[0]]):
        encoder(WAVES[:, :7000])


def test_a_width_that_depends_on_the_length_is_told_with_both(spec):
    named = spec(body("def embed(self, wave): return wave[:, ::100]"))
    with pytest.raises(AdapterError) as caught:
        load_encoder(named).encoder(torch.zeros(1, 40_100))
    assert str(caught.value) == (
        f"{named} gave vectors of 401 numbers for waves of 5.01 s, and of 80 before; one width for all lengths was "
        "expected: pool over time"
    )


def test_a_rate_that_is_a_float_by_its_type_only_is_a_rate(spec):
    encoder = load_encoder(spec(body("def embed(self, wave): return wave[:, :3]").replace("8000", "8000.0"))).encoder
    assert (type(encoder.sample_rate), encoder.sample_rate) == (int, 8_000)


def test_an_own_encoder_of_the_contract_that_fails_is_told_too(spec):
    source = (
        f"{HEAD}from leveret.contracts import Encoder\n\n"
        "class E(Encoder):\n    embed_dim, layers = 4, {'x': 4}\n"
        "    def embed(self, features, layer=None):\n        if len(features) == 3: raise IndexError\n"
        "        return features[:, :len(features) if len(features) == 5 else 4]\n"
    )
    (runner,) = runners_of([load_encoder(spec(source))], Compute(device="cpu"))
    with pytest.raises(EncoderFailedError, match=r"E fails on waves of shape \(3, 500\) \(mine.py:8: IndexError"):
        vectors_of_batch([runner], Batch(0, {16_000: torch.zeros(3, 500)}))
    with pytest.raises(AdapterError, match=r"E gave vectors \(5, 5\) for 5 waves of 0.0312 s; \(5, 4\) were expected"):
        vectors_of_batch([runner], Batch(0, {16_000: torch.zeros(5, 500)}))


def test_an_encoder_that_looks_across_its_batch_is_warned_of_and_the_cache_does_not_care(spec):
    source = "def embed(self, wave):\n    x = wave.square()[:, :3]\n    return x - SHARE * x.mean(0)"
    (alone,) = runners_of([load_encoder(spec(body(source.replace("SHARE", "0"))))], Compute(device="cpu"))
    assert alone.warning == ""
    assert "warning" not in alone.described()
    named = spec(body(source.replace("SHARE", "0.5")))
    (runner,) = runners_of([load_encoder(named)], Compute(device="cpu"))
    assert runner.warning.startswith(f"{named}: vectors depend on the rest of the batch (by ")
    assert runner.described()["warning"] == runner.warning
    assert "warning" not in runner.identity(CropRule(seconds=1.0), "")["encoder"]


def test_vectors_that_are_no_numbers_are_told_with_the_encoder(spec):
    named = spec(body("def embed(self, wave): return wave[:, :3] / 0"))
    with pytest.raises(NotFiniteError, match=r"^py:.*mine\.py:E gives NaN or infinity"):
        runners_of([load_encoder(named)], Compute(device="cpu"))


def test_a_file_without_a_class_asks_for_the_class(spec):
    with pytest.raises(AdapterError, match="which class of the file"):
        load_encoder(spec(GOOD).removesuffix(":E"))


def test_an_encoder_that_is_not_deterministic_is_refused(spec):
    encoder = load_encoder(spec(body("def embed(self, wave): return wave[:, :3] + torch.rand(len(wave), 3)"))).encoder
    with pytest.raises(NotDeterministicError):
        fingerprint(encoder, torch.device("cpu"))


def test_files_of_one_name_in_two_folders_are_two_encoders(spec, tmp_path):
    for width in (2, 3):
        (tmp_path / str(width)).mkdir()
        (tmp_path / str(width) / "mine.py").write_text(
            body("def embed(self, wave): return wave[:, :WIDTH]").replace(HEAD, f"{HEAD}WIDTH = {width}\n")
        )
    two, three = (load_encoder(f"py:{tmp_path / str(width) / 'mine.py'}:E").encoder for width in (2, 3))
    assert np.array_equal([two(WAVES).shape[1], three(WAVES).shape[1]], [2, 3])
