import numpy as np
import pytest
import torch

from leveret.disk_rows import DiskRows, fetch
from leveret.mapped import MappedRows


@pytest.fixture
def tables(tmp_path):
    """Two memory maps of ten and of four rows of three numbers."""
    found = []
    for name, num_rows in (("a", 10), ("b", 4)):
        values = np.random.default_rng(num_rows).standard_normal((num_rows, 3)).astype(np.float16)
        values.tofile(tmp_path / name)
        found.append(np.memmap(tmp_path / name, dtype="float16", mode="r", shape=(num_rows, 3)))
    return found


def test_rows_are_read_in_the_order_in_which_they_were_chosen(tables):
    first = MappedRows((tables[0],), np.array([7, 0, 7, 3]))
    np.testing.assert_array_equal(first.read(), tables[0][[7, 0, 7, 3]])
    np.testing.assert_array_equal(first[1:3].read(), tables[0][[0, 7]])
    assert (len(first), first.shape, first.dtype, first.nbytes) == (4, (4, 3), np.float16, 24)
    assert first[:0].read().shape == (0, 3)


def test_blocks_of_several_tables_are_joined(tables):
    blocks = [
        MappedRows((tables[0],), np.array([9, 1])),
        MappedRows((tables[1],), np.array([3])),
        MappedRows((tables[0],), np.array([2])),
    ]
    joined = MappedRows.joined(blocks)
    assert len(joined.tables) == 2
    np.testing.assert_array_equal(joined.read(), np.concatenate([block.read() for block in blocks]))
    np.testing.assert_array_equal(joined[np.array([2, 0])].read(), [tables[1][3], tables[0][9]])


def test_rows_on_disk_stand_in_for_a_tensor(tables):
    index = np.array([4, 8, 1, 4])
    on_disk, tensor = DiskRows(MappedRows((tables[0],), index), torch.device("cpu")), torch.tensor(tables[0][index])
    assert (len(on_disk), on_disk.shape, on_disk.dtype, on_disk.device) == (4, (4, 3), torch.float16, tensor.device)
    assert on_disk.new_empty(2, 3).dtype == torch.float16
    torch.testing.assert_close(on_disk.read(), tensor, rtol=0, atol=0)
    chosen, found = torch.tensor([3, 0, 0]), [torch.empty(3, 3, dtype=torch.float16) for _ in range(2)]
    for X, out in zip((on_disk, tensor), found, strict=True):
        fetch(X, chosen, out)
    torch.testing.assert_close(found[0], tensor[chosen], rtol=0, atol=0)
    torch.testing.assert_close(found[1], tensor[chosen], rtol=0, atol=0)
