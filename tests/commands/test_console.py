"""What long work says where nobody sees a bar."""

import time

from leveret.commands import console


def test_without_a_terminal_long_work_says_a_line_now_and_then(capsys, monkeypatch):
    monkeypatch.setattr(console, "LINE_SECONDS", 0.05)
    with console.ConsoleReporter().stage("embedding \x1b[2J", 100, "clips") as advance:
        advance(1)
        assert capsys.readouterr().err == ""
        time.sleep(0.06)
        advance(24)
        said = capsys.readouterr().err
        advance(1)
        assert capsys.readouterr().err == "", "not at every step"
    assert said.startswith("embedding \\x1b[2J: 25%, ")
    assert said.endswith(" clips/s, 0 s left\n")


def test_short_work_says_nothing(capsys):
    with console.ConsoleReporter().stage("embedding", 2, "clips") as advance:
        advance(1)
        advance(1)
    assert capsys.readouterr().err == ""
