import pytest

from leveret.journal import append_line, from_json, mended, read_lines

ENTRIES = [{"rows": [0, 4], "bad": {"2": "a\nb \u2028 \x1b"}}, {"rows": [4, 8], "bad": {}}, {"rows": [8, 9], "bad": {}}]


@pytest.fixture
def journal(tmp_path):
    for entry in ENTRIES:
        append_line(tmp_path / "j.jsonl", entry)
    return tmp_path / "j.jsonl"


def test_what_was_recorded_is_read_and_nothing_is_mended(journal):
    assert list(read_lines(journal)) == ENTRIES
    assert mended(journal) is None
    assert len(journal.read_bytes().splitlines()) == 3


def test_no_journal_records_nothing(tmp_path):
    assert list(read_lines(tmp_path / "none")) == []
    assert mended(tmp_path / "none") is None


@pytest.mark.parametrize("cut", [1, 2, 20])
def test_a_line_without_its_end_goes_and_is_no_damage(journal, cut):
    whole = journal.read_bytes()
    journal.write_bytes(whole[:-cut])
    assert mended(journal) == (b"".join(whole.splitlines(keepends=True)[:2]), False)


def test_a_flipped_bit_anywhere_but_in_the_last_line_end_is_damage_that_costs_its_lines_alone(journal):
    whole = journal.read_bytes()
    for at in range(len(whole) - 1):
        for bit in (0, 3, 7):
            content = bytearray(whole)
            content[at] ^= 1 << bit
            journal.write_bytes(content)
            kept, damaged = mended(journal)
            assert damaged
            assert len(kept.splitlines()) == (1 if whole[at : at + 1] == b"\n" else 2)
            assert [entry for entry in read_lines(journal) if entry not in ENTRIES] == []


@pytest.mark.parametrize("content", [b"", b"\xff", b"{", b"nul"])
def test_what_is_no_json_is_none(content):
    assert from_json(content) is None
    assert from_json(b'{"a": 1}') == {"a": 1}
