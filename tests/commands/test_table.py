"""Tables hold every name whole, at any width."""

import pytest

from leveret import cli
from leveret.commands import table
from leveret.commands.table import print_table

TASKS = ["mini_pitch", "mini_instrument"]
ENCODERS = ["melstats", "slowfast_nfnet_small", "byola_cnn_64mels_dataset", "vit_tiny", "cnn14_tiny", "mine"]
SCORE = "70.0 [53.7, 83.8] !"


@pytest.fixture
def printed(monkeypatch, capsys):
    """Lines that a table has on a terminal of so many columns."""

    def lines(width, *args, **more):
        monkeypatch.setattr(table, "room", lambda: width)
        print_table(*args, **more)
        return capsys.readouterr().out.splitlines()

    return lines


def scores(printed, width, num_encoders, keys=2):
    columns = ["task", "metric", *ENCODERS[:num_encoders], "chance", "floor"]
    rows = [[task, "accuracy", *[SCORE] * num_encoders, "5.0", "70.0"] for task in TASKS]
    return printed(width, "scores", columns, rows, range(2, len(columns)), keys=keys, tail=2)


@pytest.mark.parametrize("num_encoders", [1, 2, 4, 6])
@pytest.mark.parametrize("width", [60, 80, 120, None])
def test_what_does_not_fit_stands_below_and_no_cell_is_squeezed(printed, width, num_encoders):
    title, *lines = scores(printed, width, num_encoders)
    assert title == "scores"
    tables = "\n".join(lines).split("\n\n")
    named = []
    for one in tables:
        head, *rows = one.splitlines()
        assert head.split()[:2] == ["task", "metric"]
        assert [row.split()[:2] for row in rows] == [[task, "accuracy"] for task in TASKS]
        those = [name for name in head.split()[2:] if name in ENCODERS]
        assert those
        assert [row.count(SCORE) for row in rows] == [len(those)] * len(rows)
        named += those
    assert named == ENCODERS[:num_encoders]
    assert tables[-1].splitlines()[0].endswith(" floor")
    assert width is None or max(map(len, lines)) <= width
    assert len(tables) == 1 if width is None or num_encoders == 1 else True


def test_columns_stand_closer_before_they_part(printed):
    whole = max(map(len, scores(printed, None, 2)))
    assert len(scores(printed, whole - 1, 2)) == len(scores(printed, None, 2))
    assert "mini_pitch      accuracy" in scores(printed, whole - 1, 2)[2]


def test_one_encoder_that_does_not_fit_runs_over_the_edge(printed):
    assert next(line for line in scores(printed, 20, 1) if SCORE in line).split()[0] == "mini_pitch"


def test_texts_are_folded_between_words_and_names_never(printed):
    lines = printed(50, "", ["name", "what"], [["fluent_speech_commands", "Fluent Speech Commands Public License"]],
                    prose=(1,))  # fmt: skip
    assert lines == ["name                    what", "fluent_speech_commands  Fluent Speech Commands",
                     "                        Public License"]  # fmt: skip


def test_columns_that_are_left_out_are_named(printed):
    lines = printed(30, "", ["name", "licence", "get"], [["a" * 20, "CC BY 4.0", "by hand"]], spare=(1,))
    assert lines == [
        "name                  get",
        f"{'a' * 20}  by hand",
        "left out for want of room: licence; --json has all",
    ]
    assert "licence" in printed(40, "", ["name", "licence", "get"], [["a" * 20, "CC BY 4.0", "by hand"]], spare=(1,))[0]


def test_a_name_with_markup_and_terminal_codes_is_harmless(printed):
    assert printed(None, "", ["name"], [["[bold]x\\"], ["\x1b[2J"], ["音"]])[1:] == ["[bold]x\\", "\\x1b[2J", "音"]


@pytest.mark.parametrize("width", [60, 80])
@pytest.mark.parametrize("words", [["data", "list"], ["list", "encoders"], ["list", "published"]])
def test_lists_fit_and_their_names_can_be_copied(monkeypatch, capsys, width, words):
    monkeypatch.setattr(table, "room", lambda: None)
    assert cli.main(words) == 0
    whole = capsys.readouterr().out.split("\nadapters\n")[0].splitlines()
    monkeypatch.setattr(table, "room", lambda: width)
    assert cli.main(words) == 0
    narrow = capsys.readouterr().out.split("\nadapters\n")[0].splitlines()
    names = [line.split()[0] for line in whole[1:] if line.strip()]
    assert [name for line in narrow[1:] if line[:1].strip() and (name := line.split()[0]) in names][
        : len(names)
    ] == names
    assert max(len(line) for line in narrow if "`" not in line and "left out" not in line) <= width
