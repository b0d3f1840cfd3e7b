"""Many sequences of different lengths in one array."""

from collections.abc import Sequence

import numpy as np


class FlatSequences(Sequence[np.ndarray]):
    """Sequences in one flat array, in memory or mapped from a file.

    Args:
        values: array of all values, one sequence after the other.
        offsets: int64 `(sequences + 1,)`, where each sequence begins, and the number of values.

    Example:

    >>> import numpy as np
    >>> FlatSequences(np.array([5, 6, 7]), np.array([0, 1, 3]))[1].tolist()
    [6, 7]
    """

    def __init__(self, values: np.ndarray, offsets: np.ndarray) -> None:
        self.values = values
        self.offsets = offsets

    @classmethod
    def of_lengths(cls, values: Sequence[np.ndarray], lengths: Sequence[np.ndarray], dtype: str) -> "FlatSequences":
        """Joins the values and the lengths of several parts."""
        offsets = np.cumsum(np.concatenate([np.zeros(1, "int64"), *lengths]), dtype="int64")
        return cls(np.concatenate([np.zeros(0, dtype), *values]), offsets)

    @classmethod
    def of_arrays(cls, arrays: Sequence[np.ndarray], dtype: str) -> "FlatSequences":
        """Joins arrays, each a sequence."""
        return cls.of_lengths(arrays, [np.fromiter(map(len, arrays), "int64", len(arrays))], dtype)

    @property
    def lengths(self) -> np.ndarray:
        """The length of each sequence, int32 `(sequences,)`."""
        return np.diff(self.offsets).astype("int32")

    def lengths_of(self, rows: np.ndarray) -> np.ndarray:
        """The lengths of some sequences, int64 `(rows,)`."""
        return self.offsets[rows + 1] - self.offsets[rows]

    def padded(self, rows: np.ndarray, limit: int, multiple: int = 1) -> np.ndarray:
        """The beginnings of some sequences, at most `limit` values of each, padded with zeros: int32 `(rows, length)`.

        The length is that of the longest, rounded up to a multiple of `multiple`.
        """
        lengths = np.minimum(self.lengths_of(rows), limit)
        places = np.arange(-(-lengths.max() // multiple) * multiple)
        inside = places < lengths[:, np.newaxis]
        padded = np.zeros(inside.shape, "int32")
        padded[inside] = self.values[(self.offsets[rows][:, np.newaxis] + places)[inside]]
        return padded

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index):
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        index = index % len(self)
        return self.values[self.offsets[index] : self.offsets[index + 1]]
