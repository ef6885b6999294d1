from leveret.commands.finding_lines import print_findings, print_pairs, print_verdict
from leveret.findings import Finding

FINDINGS = [
    Finding("pass", "shapes", "as declared", "as declared"),
    Finding("fail", "a [bold]long[/bold] name", "word " * 40, "less\x1b[31m", "cut [it]"),
    Finding("note", "speed", "not timed", advice="raise --limit"),
]


def test_lines_are_aligned_short_and_safe(capsys):
    print_findings(FINDINGS)
    print_pairs([("GMACs", "12")], [finding.name for finding in FINDINGS])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100
    assert all(line == line.rstrip() for line in lines)
    assert lines[0].split() == ["pass", "shapes", "as", "declared"]
    column = lines[0].index("as declared")
    assert lines[1].startswith("FAIL  a [bold]long[/bold] name  word word")
    assert {line[:column].strip() for line in lines[2:-3]} == {""}
    assert f"{' ' * column}expected: less\\x1b[31m" in lines
    assert f"{' ' * column}to do: cut [it]" in lines
    assert lines[-1] == f"{'GMACs':>11}".ljust(column) + "12"


def test_only_what_is_not_well_says_what_was_expected(capsys):
    print_findings([FINDINGS[0], FINDINGS[2]])
    out = capsys.readouterr().out
    assert "expected" not in out
    assert "to do: raise --limit" in out


def test_the_verdict_is_a_line(capsys):
    print_verdict(False, "not usable", "1 of 3 fail (a [b])")
    assert capsys.readouterr().out == "not usable: 1 of 3 fail (a [b])\n"
