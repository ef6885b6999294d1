import json

import pytest

from leveret import cli

BAD = """
import torch


class Nan:
    sample_rate = 8000

    def embed(self, wave):
        vectors = torch.stack([wave.abs().mean(1), wave.diff().abs().mean(1), wave.abs().amax(1)], 1)
        return vectors / vectors.norm(dim=1, keepdim=True)
"""


@pytest.fixture
def bad(tmp_path):
    (tmp_path / "bad.py").write_text(BAD)
    return f"py:{tmp_path / 'bad.py'}:Nan"


def test_a_usable_encoder_is_status_0(capsys):
    assert cli.main(["check", "melstats", "--quick", "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("melstats\n16000 Hz, 240 numbers, no weights, cpu\n\npass  shapes")
    assert "parameters      0\n" in out
    assert out.splitlines()[-1].startswith("usable: 14 checks, none fails; ")


def test_one_that_fails_is_status_1_and_says_what_to_do(capsys, bad):
    assert cli.main(["check", "melstats", bad, "--quick", "--device", "cpu"]) == 1
    out = capsys.readouterr().out
    assert "FAIL  hard sounds     silence: NaN in 3 of 3 numbers" in out
    assert "to do: floor what is divided by" in out
    assert out.splitlines()[-1].startswith("not usable: 1 of 15 fail (hard sounds)")


def test_json_is_alone_on_standard_output(capsys, bad):
    assert cli.main(["check", bad, "--quick", "--device", "cpu", "--json"]) == 1
    (report,) = json.loads(capsys.readouterr().out)
    assert (report["spec"], report["usable"]) == (bad, False)
    assert report["encoder"]["sample_rate"] == 8000
    assert report["costs"]["gmacs"] is None
    found = {finding["name"]: finding for finding in report["findings"]}
    assert found["hard sounds"]["status"] == "fail"


def test_what_cannot_be_loaded_is_told_without_costs(capsys, tmp_path):
    assert cli.main(["check", f"py:{tmp_path}/none.py:X"]) == 1
    out = capsys.readouterr().out
    assert "FAIL  loading" in out
    assert "no file" in " ".join(out.split())  # the console breaks lines
    assert "parameters" not in out


@pytest.mark.parametrize(("words", "says"), [(["melstat"], "Did you mean 'melstats'"), ([], "no encoder to check")])
def test_a_mistake_in_the_command_is_status_2(capsys, words, says):
    assert cli.main(["check", *words]) == 2
    assert says in capsys.readouterr().err
