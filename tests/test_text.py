import pytest

from leveret.text import number_of, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain name.wav", "plain name.wav"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("two\nlines\r\t", "two\\nlines\\r\\t"),
        ("right to left \u202e", "right to left \\u202e"),
        ("no utf-8 \udcff", "no utf-8 \\udcff"),
        ("Gr\u00fc\u00dfe", "Gr\u00fc\u00dfe"),
    ],
)
def test_control_characters_become_escapes_and_letters_stay(text, shown):
    assert printable(text) == shown


def test_what_is_kept_stays():
    assert printable("a\nb\x1b", keep="\n") == "a\nb\\x1b"


def test_other_things_are_shown_as_text():
    assert printable(3.5) == "3.5"


@pytest.mark.parametrize(("number", "said"), [(0, "0 clips"), (1, "1 clip"), (2000, "2,000 clips")])
def test_a_count_of_one_has_no_plural(number, said):
    assert number_of(number, "clip") == said
