import pytest

import leveret.distributed as distributed
from leveret.cli import main
from leveret.distributed import World


@pytest.fixture
def rank_of_many(monkeypatch):
    """Puts this process in the place of a rank, without its fellows."""

    def place(rank, size):
        monkeypatch.setattr(distributed, "_world", World(rank, size))

    return place


def test_a_process_alone_is_a_world_of_one_and_exchanges_with_itself(tmp_path):
    distributed.start()
    assert distributed.world() == World(0, 1, 0, 1)
    assert distributed.gather("x") == ["x"]
    assert distributed.from_first([1]) == [1]
    assert distributed.share([1.0, 2.0]) == slice(0, 2)
    distributed.barrier()
    distributed.require_same("anything", "a")
    distributed.require_shared(tmp_path / "not there")
    assert not (tmp_path / "not there").exists()
    with distributed.in_turn():
        assert distributed.is_first()
    distributed.leave()


@pytest.mark.parametrize("size", [2, 3, 7])
@pytest.mark.parametrize("weights", [[1.0] * 10, [0.0, 5.0, 1.0, 1.0, 3.0, 0.0], [100.0], [1.0, 0.0], [0.0, 0.0], []])
def test_every_item_is_in_one_share_and_shares_follow_the_ranks(rank_of_many, size, weights):
    for shared, count in ((lambda: distributed.share(weights), len(weights)), (lambda: distributed.even_share(5), 5)):
        taken = []
        for rank in range(size):
            rank_of_many(rank, size)
            taken += range(count)[shared()]
        assert taken == list(range(count))


def test_shares_weigh_about_the_same(rank_of_many):
    weights = [1.0] * 60 + [10.0] * 12  # short windows first, as a plan has them
    sums = []
    for rank in range(3):
        rank_of_many(rank, 3)
        sums.append(sum(weights[distributed.share(weights)]))
    assert sums == [60.0, 60.0, 60.0]


def test_a_command_that_several_processes_cannot_share_says_so(monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert main(["list", "probes"]) == 2
    assert "`leveret list` is the work of one process; start it without torchrun" in capsys.readouterr().err
