import pytest

from leveret.findings import Finding, counted, usable, with_status


def of(*statuses):
    return [Finding(status, f"{status}{k}", "seen") for k, status in enumerate(statuses)]


def test_only_a_failure_makes_it_unusable():
    assert usable(of("pass", "note", "warn"))
    assert not usable(of("pass", "fail"))
    assert usable([])


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        (["pass", "pass"], "2 checks, none fails"),
        (["pass", "warn"], "2 checks, none fails; 1 warning"),
        (["fail", "pass", "fail", "warn", "warn"], "2 of 5 fail (fail0, fail2); 2 warnings"),
    ],
)
def test_the_count_names_what_fails(statuses, expected):
    assert counted(of(*statuses)) == expected


def test_a_finding_is_described_in_full():
    found = Finding("warn", "rate", "8 Hz", "16 Hz", "set it")
    assert found.described() == {
        "status": "warn", "name": "rate", "seen": "8 Hz", "expected": "16 Hz", "advice": "set it",
    }  # fmt: skip
    assert with_status([found, *of("pass")], "warn") == [found]
