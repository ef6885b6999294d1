from pathlib import Path

import pytest
from platformdirs import user_cache_path

from leveret.home import home, require_space


def test_the_variable_names_the_home(monkeypatch, tmp_path):
    monkeypatch.setenv("LEVERET_HOME", str(tmp_path))
    assert home() == tmp_path
    monkeypatch.setenv("LEVERET_HOME", "~/hare")
    assert home() == Path.home() / "hare"


def test_without_it_the_home_is_the_users_cache(monkeypatch):
    monkeypatch.delenv("LEVERET_HOME")
    assert home() == user_cache_path("leveret")


def test_work_that_does_not_fit_on_the_disk_is_refused_with_both_sizes(tmp_path):
    require_space(tmp_path, 1, "a byte")
    with pytest.raises(OSError, match=rf"the corpus needs 1000000000.00 GB at {tmp_path}, and [\d.]+ GB are free"):
        require_space(tmp_path, 10**18, "the corpus")
