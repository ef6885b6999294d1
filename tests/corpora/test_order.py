import numpy as np
import pytest

from leveret.corpora.order import Order

PIECES = np.array([0, 40, 64, 128, 150, 214, 278, 300, 364, 428, 492, 500, 564, 628, 692, 700, 764, 828])


def shards(seed=1, batch=16):
    return Order(seed, batch, PIECES, window=50)


@pytest.mark.parametrize("order", [Order.of_files(3, 12, 100), shards()], ids=["files", "shards"])
def test_every_epoch_has_each_clip_once_and_another_order(order):
    steps = range(3 * order.epoch_clips // order.batch + 2)
    # by lanes: the n-th epoch of the batch is that of each lane
    width, length = order.batch // order.lanes, order.num_clips // order.lanes
    read = np.stack([order.clips(step, 0, order.batch) for step in steps])
    by_lane = read.reshape(len(read), order.lanes, width).swapaxes(0, 1).reshape(order.lanes, -1)
    epochs = [by_lane[:, k * length : (k + 1) * length] for k in range(3)]
    for epoch in epochs:
        assert len(np.unique(epoch)) == order.epoch_clips
    assert not np.array_equal(epochs[0], epochs[1])


@pytest.mark.parametrize("order", [Order.of_files(3, 12, 100), shards(batch=12)], ids=["files", "shards"])
def test_a_step_is_the_same_however_it_is_asked_for_and_shared_out(order):
    again = type(order)(order.seed, order.batch, order.edges, order.window)
    whole = order.clips(31, 0, 12)
    assert np.array_equal(np.concatenate([again.clips(31, first, 3) for first in (0, 3, 6, 9)]), whole)
    assert not np.array_equal(Order(order.seed + 1, 12, order.edges, order.window).clips(31, 0, 12), whole)


def test_a_batch_larger_than_the_corpus_goes_on_into_the_next_epochs():
    read = Order.of_files(0, 25, 10).clips(0, 0, 25)
    assert sorted(read[:10]) == sorted(read[10:20]) == list(range(10))


def test_a_lane_reads_whole_pieces_within_its_window_and_a_batch_has_clips_of_every_lane():
    order = shards()
    assert order.lanes == 4
    read = np.concatenate([order.clips(step, 0, 4) for step in range(50 // 4)])  # the first lane's first window
    pieces = np.unique(np.searchsorted(PIECES, read, side="right") - 1)
    assert len(read) == len(set(read)) == 48
    assert len(pieces) <= 3  # one whole, and at most two that the window cuts
    assert not np.array_equal(read, np.sort(read))


def test_few_pieces_make_one_lane():
    assert Order(0, 64, np.array([0, 64, 100]), window=64).lanes == 1
