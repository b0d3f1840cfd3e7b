"""Data sets whose batches are made in Python."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kerasseq.types import Tensor

PASSES_KEPT = 4  # passes over one generator that are under way; nothing tells when one is given up


def python_dataset(
    begin_pass: Callable[[], tuple[Sequence[np.ndarray], tuple[int, int]]],
    make_batch: Callable[[np.ndarray, tuple[int, int]], Any],
    signature: Any,
) -> tf.data.Dataset:
    """Builds a `tf.data.Dataset` from a function that makes a batch.

    `tf.data.Dataset.from_generator` would do, but it sets glibc's `M_TRIM_THRESHOLD` for the whole process (TensorFlow
    2.21). All large tensors are then returned to the system as soon as they are freed, and a third of the time of a
    training step goes into asking for them again.

    Args:
        begin_pass: function without arguments, called once per pass: the rows of each batch, int arrays, and two
            integers, such as a seed and the number of the pass.
        make_batch: function of the rows of a batch and those two integers that returns arrays, nested as `signature`.
        signature: nested `tf.TensorSpec`s of a batch.
    """
    specs = keras.tree.flatten(signature)

    def pass_arrays():
        rows, numbers = begin_pass()
        ends = np.cumsum([len(batch) for batch in rows], dtype="int64")
        return [np.concatenate([np.zeros(0, "int64"), *rows], dtype="int64"), ends, np.asarray(numbers, "int64")]

    def batch_arrays(rows, numbers):
        arrays = keras.tree.flatten(make_batch(rows, tuple(numbers.tolist())))
        return [np.asarray(array, spec.dtype.as_numpy_dtype) for array, spec in zip(arrays, specs, strict=True)]

    def one_pass(_):
        rows, ends, numbers = call_python(
            pass_arrays, [], [tf.TensorSpec([size], tf.int64) for size in (None, None, 2)]
        )

        def one_batch(index):
            start = tf.where(index > 0, ends[index - 1], 0)
            arrays = call_python(batch_arrays, [rows[start : ends[index]], numbers], specs)
            return keras.tree.pack_sequence_as(signature, arrays)

        return tf.data.Dataset.range(tf.size(ends, tf.int64)).map(one_batch)

    return tf.data.Dataset.from_tensors(0).flat_map(one_pass)


def generator_dataset(generate: Callable[[], Iterator[Any]], signature: Any) -> tf.data.Dataset:
    """Builds a `tf.data.Dataset` from a generator, see `python_dataset` for why `from_generator` does not do.

    Args:
        generate: function without arguments, called once per pass, that returns an iterator of batches.
        signature: nested `tf.TensorSpec`s of a batch.
    """
    specs = keras.tree.flatten(signature)
    nothing = [np.zeros([size or 0 for size in spec.shape], spec.dtype.as_numpy_dtype) for spec in specs]
    numbers = itertools.count()
    passes: dict[int, Iterator[Any]] = {}

    def begin():
        number = next(numbers)
        passes[number] = generate()
        for oldest in list(passes)[:-PASSES_KEPT]:
            del passes[oldest]
        return [np.int64(number)]

    def next_batch(number):
        if number not in passes:
            raise RuntimeError(
                f"Expected at most {PASSES_KEPT} passes over a stream at the same time. Received: a request for a "
                "batch of an older one. Make a data set for each."
            )
        try:
            arrays = keras.tree.flatten(next(passes[number]))
        except StopIteration:
            del passes[number]
            return [np.False_, *nothing]
        return [
            np.True_,
            *(np.asarray(array, spec.dtype.as_numpy_dtype) for array, spec in zip(arrays, specs, strict=True)),
        ]

    def one_pass(_):
        (number,) = call_python(begin, [], [tf.TensorSpec([], tf.int64)])
        types = [tf.TensorSpec([], tf.bool), *specs]
        batches = tf.data.Dataset.counter().map(lambda _: tuple(call_python(next_batch, [number], types)))
        batches = batches.take_while(lambda is_batch, *_: is_batch)
        return batches.map(lambda _, *arrays: keras.tree.pack_sequence_as(signature, arrays))

    return tf.data.Dataset.from_tensors(0).flat_map(one_pass)


def call_python(
    function: Callable[..., list[np.ndarray]], arguments: list[Tensor], specs: list[tf.TensorSpec]
) -> list[Tensor]:
    """Calls a function of arrays in a graph, as often as the graph runs; `specs` are those of its results."""
    results = tf.numpy_function(function, arguments, [spec.dtype for spec in specs])
    return [tf.ensure_shape(result, spec.shape) for result, spec in zip(results, specs, strict=True)]
