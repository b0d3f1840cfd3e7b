import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasseq.preprocessing.python_dataset import python_dataset

SIGNATURE = {"rows": tf.TensorSpec([None, 1], tf.int32)}, tf.TensorSpec([None], tf.float32)


def make_dataset(sizes=(2, 1, 3)):
    """Batches of consecutive rows; the numbers of a pass are 7 and how many began before it."""
    count = iter(range(100))

    def begin_pass():
        return np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1]), (7, next(count))

    def make_batch(rows, numbers):
        return {"rows": rows[:, None].astype("int32")}, np.full(len(rows), numbers[0] + 10 * numbers[1], "float32")

    return python_dataset(begin_pass, make_batch, SIGNATURE)


def test_batches_and_passes():
    dataset = make_dataset()
    assert dataset.element_spec == SIGNATURE
    for number in range(2):
        batches = list(dataset.as_numpy_iterator())
        assert [inputs["rows"].ravel().tolist() for inputs, _ in batches] == [[0, 1], [2], [3, 4, 5]]
        assert [labels.tolist() for _, labels in batches] == [[7.0 + 10 * number] * size for size in (2, 1, 3)]


def test_passes_at_the_same_time():
    """As with a generator for each: an abandoned pass, and two in turns."""
    dataset = make_dataset()
    next(iter(dataset))
    first, second = iter(dataset), iter(dataset)
    found = [(int(labels[0]), len(labels)) for pair in zip(first, second, strict=True) for _, labels in pair]
    assert found == [(17, 2), (27, 2), (17, 1), (27, 1), (17, 3), (27, 3)]


def test_no_batches():
    assert list(python_dataset(lambda: ([], (0, 0)), None, SIGNATURE)) == []


def test_errors_show_the_cause():
    def make_batch(rows, numbers):
        raise KeyError("row 3 is missing")

    dataset = python_dataset(lambda: ([np.arange(2)], (0, 0)), make_batch, SIGNATURE)
    with pytest.raises(tf.errors.OpError, match="row 3 is missing"):
        next(iter(dataset))


def test_shapes_are_checked():
    dataset = python_dataset(lambda: ([np.arange(2)], (0, 0)), lambda *_: ({"rows": [1, 2]}, [1.0, 2.0]), SIGNATURE)
    with pytest.raises(tf.errors.InvalidArgumentError):
        next(iter(dataset))


def test_memory_of_the_process_is_left_alone():
    """TensorFlow says when it changes the settings of the C library: only after our data set, if at all."""
    script = """
import sys
import tensorflow as tf
from kerasseq.preprocessing import TextPreprocessor
preprocessor = TextPreprocessor.from_pairs([("one two", "eins zwei")] * 3, tokens="words")
list(preprocessor.dataset([("one", "zwei")] * 3, 2))
print("the generator begins", file=sys.stderr, flush=True)
list(tf.data.Dataset.from_generator(lambda: iter([1]), output_signature=tf.TensorSpec([], tf.int32)))
"""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "0", "KERAS_BACKEND": keras.backend.backend()}
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True)
    ours, _, generator = ran.stderr.partition("the generator begins")
    if "M_TRIM_THRESHOLD" not in generator:
        pytest.skip("this TensorFlow leaves the settings alone")
    assert "M_TRIM_THRESHOLD" not in ours
