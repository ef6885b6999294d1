import pytest

from leveret.journal import append, is_damaged, mend, pieces, replace_file

PIECES = [{"rows": [0, 3], "bad": {}}, {"rows": [3, 7], "bad": {"4": "why\n\u00e9"}}]


@pytest.fixture
def journal(tmp_path):
    path = tmp_path / "journal.jsonl"
    for piece in PIECES:
        append(path, piece)
    return path


def test_what_was_appended_comes_back_in_order(journal):
    assert list(pieces(journal)) == PIECES
    assert not is_damaged(journal)


def test_a_journal_that_is_not_there_is_empty(tmp_path):
    path = tmp_path / "none"
    mend(path)
    assert list(pieces(path)) == []
    assert not is_damaged(path)
    assert not path.exists()


def test_a_line_without_its_end_is_no_damage_and_spoils_nothing_behind_it(journal):
    with journal.open("a") as file:
        file.write('{"rows": [7, 9], "ba')
    assert not is_damaged(journal)
    mend(journal)
    append(journal, {"rows": [7, 9]})
    assert list(pieces(journal)) == [*PIECES, {"rows": [7, 9]}]


def test_any_flipped_byte_costs_one_line_and_is_told(journal):
    content = journal.read_bytes()
    for place in range(len(content) - 1):
        journal.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        assert is_damaged(journal), place
        assert sum(piece in PIECES for piece in pieces(journal)) == len(list(pieces(journal))) < 2
    mend(journal)
    assert not is_damaged(journal)


def test_deeply_nested_nonsense_is_a_damaged_line(journal):
    with journal.open("a") as file:
        file.write("[" * 100_000 + "\n")
    assert is_damaged(journal)
    assert list(pieces(journal)) == PIECES


def test_a_file_is_replaced_whole(tmp_path):
    replace_file(tmp_path / "a", b"one")
    replace_file(tmp_path / "a", b"two")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"two"]
