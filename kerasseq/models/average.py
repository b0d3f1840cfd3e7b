"""The average of models: one model with the mean of their weights."""

import math
from collections.abc import Iterable
from typing import Any

import keras

from kerasseq.seq2seq import Seq2Seq


def average_weights(models: Iterable[Seq2Seq], name: str | None = None) -> Seq2Seq:
    """Builds a model whose weights are the means of those of several models, such as the last epochs of a training.

    It decodes as fast as one of them, where an `Ensemble` takes the time of all. Only models of one training, or of
    trainings that began with the same weights, can be averaged: others have no weights in common.

    Args:
        models: iterable of `kerasseq.Seq2Seq`, at least one, of one architecture and one vocabulary. Each is looked at
            once, so a generator that loads them need not hold them all.
        name: str. Default: that of the first model.

    Returns:
        a new `kerasseq.Seq2Seq`, not compiled. Integer weights, such as the states of random generators, are those of
        the first model.

    Raises:
        ValueError: if there are no models, or they differ in architecture or vocabulary.

    Example:

    >>> import keras, kerasseq
    >>> models = [kerasseq.models.GRUSeq2Seq(100, 120, embedding_dim=8, units=8) for _ in range(2)]
    >>> average = kerasseq.models.average_weights(models)
    >>> first, second, mean = ([w.numpy() for w in model.trainable_weights] for model in [*models, average])
    >>> bool(abs((first[0] + second[0]) / 2 - mean[0]).max() < 1e-6)
    True

    Source: Vaswani et al. 2017, section 6.1; Junczys-Dowmunt et al. 2016, for translation.
    """
    first: Seq2Seq | None = None
    totals: list[Any] = []
    count = 0
    for index, model in enumerate(models):
        if not isinstance(model, Seq2Seq):
            raise ValueError(
                "models must be kerasseq.Seq2Seq models; of a TextGenerator pass its `model`. Received at index "
                f"{index}: a {type(model).__name__}."
            )
        if first is None:
            first = model
        else:
            check_alike(first, model, index)
        arrays = [keras.ops.convert_to_numpy(weight) for weight in model.weights]
        # In float64: sums of many models must not lose what they differ in.
        arrays = [
            array.astype("float64") if is_real(weight) else array
            for array, weight in zip(arrays, model.weights, strict=True)
        ]
        if totals:
            totals = [
                total + array if is_real(weight) else total
                for total, array, weight in zip(totals, arrays, model.weights, strict=True)
            ]
        else:
            totals = arrays
        count = index + 1
    if first is None:
        raise ValueError("models must be at least one kerasseq.Seq2Seq model. Received: none.")
    average = Seq2Seq.from_config({**first.get_config(), "name": name or first.name})
    average.vocabulary_digest = first.vocabulary_digest
    for weight, total in zip(average.weights, totals, strict=True):
        weight.assign(total / count if is_real(weight) else total)
    return average


def is_real(weight: keras.Variable) -> bool:
    """Whether a weight has real numbers, of which there is a mean."""
    return "float" in keras.backend.standardize_dtype(weight.dtype)


def check_alike(first: Seq2Seq, other: Seq2Seq, index: int) -> None:
    """Raises a `ValueError` unless two models have weights of the same shapes, and the same vocabularies."""
    shapes, others = ([tuple(weight.shape) for weight in model.weights] for model in (first, other))
    if shapes != others:
        counts = [f"{sum(map(math.prod, one)):,}" for one in (others, shapes)]
        raise ValueError(
            "Models of one architecture can be averaged. Received: other shapes of weights at index "
            f"{index} ({counts[0]} weights) than at index 0 ({counts[1]}). Average checkpoints of one training; "
            "kerasseq.models.Ensemble joins different models."
        )
    if len({first.vocabulary_digest, other.vocabulary_digest} - {None}) > 1:
        raise ValueError(
            f"Models of one vocabulary can be averaged. Received: another vocabulary at index {index}. Average "
            "checkpoints of one training."
        )
