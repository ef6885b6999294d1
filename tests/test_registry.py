import sys
from types import ModuleType

import pytest

from leveret import registry
from leveret.registry import UnknownNameError, entries, look_up, unknown_name


@pytest.fixture
def room(tmp_path, monkeypatch):
    """Makes the room `hats` of these files, name -> source."""

    def make(**files):
        for name, source in files.items():
            (tmp_path / f"{name}.py").write_text(source)
        package = ModuleType("leveret.hats")
        package.__path__ = [str(tmp_path)]
        monkeypatch.setitem(sys.modules, "leveret.hats", package)
        for name in files:
            monkeypatch.delitem(sys.modules, f"leveret.hats.{name}", raising=False)
        entries.cache_clear()
        return tmp_path

    yield make
    entries.cache_clear()
    for name in [name for name in sys.modules if name.startswith("leveret.hats.")]:
        del sys.modules[name]


def test_every_file_of_a_room_adds_its_entries_in_alphabetical_order(room):
    room(felt="HATS = {'fedora': 1, 'beret': 2}", straw="HATS = {'boater': 3}", blocks="FELT = {'no': 'entry'}")
    assert list(entries("hats").items()) == [("beret", 2), ("boater", 3), ("fedora", 1)]


def test_two_claims_to_one_name_name_both_files(room):
    folder = room(felt="HATS = {'fedora': 1}", straw="HATS = {'fedora': 2}")
    with pytest.raises(ValueError, match="'fedora'") as caught:
        entries("hats")
    assert str(folder / "felt.py") in str(caught.value)
    assert str(folder / "straw.py") in str(caught.value)


def test_a_room_may_declare_more_than_its_entries(room):
    room(felt="HATS = {'fedora': 1}\nBRIMS = {'wide': 7}", straw="BRIMS = {'none': 0}")
    assert entries("hats", "BRIMS") == {"none": 0, "wide": 7}
    assert look_up("hats", "wide", "BRIMS") == 7
    with pytest.raises(UnknownNameError, match=r"no brim 'wid'\. Did you mean 'wide'"):
        look_up("hats", "wid", "BRIMS")


@pytest.mark.parametrize("name", registry.ROOMS)
def test_every_room_can_be_read(name):
    assert all(isinstance(key, str) and key for key in entries(name))


@pytest.mark.parametrize(
    ("what", "told"), [("encoder", "leveret list encoders"), ("row of the paper", "leveret list published")]
)
def test_where_one_of_many_names_is_surely_meant_the_others_stay_in_their_list(what, told):
    names = [f"slowfast_{k}" for k in range(40)]
    message = str(unknown_name(what, "slowfst_7", names))
    assert message.startswith(f"no {what} 'slowfst_7'. Did you mean 'slowfast_7'")
    assert message.endswith(f"? `{told}` names all of them")
    assert "Known: slowfast_0, " in str(unknown_name(what, "xyzzy", names))  # no idea what was meant
    assert "Known: slowfast_0, " in str(unknown_name("layer", "slowfst_7", names))  # nothing lists layers


def test_an_unknown_name_gets_the_nearest_and_all_that_exist(room):
    room(felt="HATS = {'fedora': 1, 'beret': 2}")
    with pytest.raises(UnknownNameError) as caught:
        look_up("hats", "fedra")
    assert str(caught.value) == "no hat 'fedra'. Did you mean 'fedora'? Known: beret, fedora"


def test_a_name_that_is_near_nothing_gets_no_guess():
    assert str(unknown_name("task", "xyzzy", ["esc50"])) == "no task 'xyzzy'. Known: esc50"
    assert str(unknown_name("task", "xyzzy", [])) == "no task 'xyzzy'. Known: none"


def test_a_long_list_is_cut_with_its_count():
    message = str(unknown_name("task", "zzz", [f"t{k}" for k in range(43)]))
    assert message.endswith("t39 and 3 more")


def test_a_hostile_name_is_escaped_in_the_message():
    message = str(unknown_name("task", "\x1b[2J\n", ["esc50"]))
    assert message.isprintable()
