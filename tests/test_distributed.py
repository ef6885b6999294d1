import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from torch.distributed import HashStore

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


def test_ranks_that_are_started_again_agree_on_a_new_word_whoever_comes_first():
    store, words = HashStore(), []  # torchrun's, which it keeps

    def word(rank):
        return distributed._word_of_this_start(store, World(rank, 3))

    for _ in range(3):
        with ThreadPoolExecutor(3) as pool:
            others = [pool.submit(word, rank) for rank in (1, 2)]
            time.sleep(0.2)  # they find what an earlier start left, and must not take it
            assert not any(other.done() for other in others)
            words.append(pool.submit(word, 0).result(timeout=10))
            assert [other.result(timeout=10) for other in others] == [words[-1]] * 2
    assert len(set(words)) == 3


def test_a_process_is_alone_for_a_while(rank_of_many):
    rank_of_many(0, 3)
    with distributed.alone():
        assert distributed.gather("x") == ["x"]
    assert distributed.world() == World(0, 3)
    with suppress(OSError), distributed.alone():
        raise OSError("disk full")
    assert distributed.world() == World(0, 3)


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
