import numpy as np
import pytest

from kerasseq.preprocessing.flat_sequences import FlatSequences


@pytest.fixture
def sequences():
    """[5, 6, 7], [8], [], [9, 4]"""
    arrays = [np.array(values, "int32") for values in ([5, 6, 7], [8], [], [9, 4])]
    return FlatSequences.of_arrays(arrays, "int32")


def test_as_a_list(sequences):
    assert [sequence.tolist() for sequence in sequences] == [[5, 6, 7], [8], [], [9, 4]]
    assert len(sequences) == 4 and sequences[-1].tolist() == [9, 4]
    assert sequences.lengths.tolist() == [3, 1, 0, 2]
    with pytest.raises(IndexError):
        sequences[4]


@pytest.mark.parametrize(
    ("rows", "limit", "multiple", "expected"),
    [
        ([1, 0], 9, 1, [[8, 0, 0], [5, 6, 7]]),
        ([1, 0], 2, 1, [[8, 0], [5, 6]]),
        ([3, 3, 2], 9, 4, [[9, 4, 0, 0], [9, 4, 0, 0], [0, 0, 0, 0]]),
    ],
)
def test_padded(sequences, rows, limit, multiple, expected):
    padded = sequences.padded(np.array(rows), limit, multiple)
    assert padded.dtype == np.int32 and padded.tolist() == expected


def test_no_sequences():
    empty = FlatSequences.of_arrays([], "int32")
    assert len(empty) == 0 and list(empty) == [] and empty.lengths.tolist() == []
