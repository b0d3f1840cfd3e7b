"""Metrics of logits, averaged over the real target tokens of all batches."""

import keras
from keras import ops

from kerasseq.losses import token_weights
from kerasseq.projection import TokenResults, projection_of
from kerasseq.types import Tensor

__all__ = ["Perplexity", "TokenAccuracy"]


class TokenMean(keras.metrics.Metric):
    """The mean of a value over all tokens whose id is not 0. Subclasses define `values(y_true, y_pred)`."""

    def __init__(self, name: str, dtype: str | None = None) -> None:
        super().__init__(name=name, dtype=dtype)
        self.total = self.add_variable(shape=(), initializer="zeros", name="total")
        self.count = self.add_variable(shape=(), initializer="zeros", name="count")

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> None:
        """Adds a batch: ids `(batch, target)`, logits `(batch, target, vocabulary)`, optional weights."""
        weights = ops.cast(token_weights(y_true, sample_weight), self.dtype)
        projection = projection_of(y_pred)
        results = None if projection is None else projection.results
        if results is not None and results.targets is y_true and self.reads_results():
            values = self.known_values(results)
        else:
            values = self.values(y_true, ops.cast(y_pred, "float32"))  # (batch, target)
        values = ops.cast(values, self.dtype)
        self.total.assign_add(ops.sum(values * weights))
        self.count.assign_add(ops.sum(weights))

    def values(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """The value of each token, `(batch, target)`. Padding is masked by the caller."""
        raise NotImplementedError

    def known_values(self, results: TokenResults) -> Tensor:
        """The same from the results of a loss, without logits. Optional."""
        raise NotImplementedError

    def reads_results(self) -> bool:
        """Whether the class that defines `values` defines `known_values` as well."""
        return "known_values" in vars(next(base for base in type(self).__mro__ if "values" in vars(base)))

    def result(self) -> Tensor:
        return ops.divide_no_nan(self.total, self.count)


@keras.saving.register_keras_serializable(package="kerasseq")
class TokenAccuracy(TokenMean):
    """Share of real target tokens that have the highest logit.

    Example:

    >>> import keras, kerasseq
    >>> metric = kerasseq.metrics.TokenAccuracy()
    >>> metric.update_state(keras.ops.array([[1, 2, 0]]), keras.ops.one_hot([[1, 1, 1]], 4))
    >>> float(metric.result())
    0.5
    """

    def __init__(self, name: str = "token_accuracy", dtype: str | None = None) -> None:
        super().__init__(name=name, dtype=dtype)

    def values(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return ops.equal(ops.cast(y_true, "int32"), ops.cast(ops.argmax(y_pred, axis=-1), "int32"))

    def known_values(self, results: TokenResults) -> Tensor:
        return ops.equal(ops.cast(results.targets, "int32"), results.top_ids)


@keras.saving.register_keras_serializable(package="kerasseq")
class Perplexity(TokenMean):
    """exp of the mean cross-entropy of the real target tokens, without label smoothing.

    Example:

    >>> import keras, kerasseq
    >>> metric = kerasseq.metrics.Perplexity()
    >>> metric.update_state(keras.ops.array([[1, 2, 0]]), keras.ops.zeros((1, 3, 4)))
    >>> round(float(metric.result()), 3)
    4.0
    """

    def __init__(self, name: str = "perplexity", dtype: str | None = None) -> None:
        super().__init__(name=name, dtype=dtype)

    def values(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return ops.sparse_categorical_crossentropy(y_true, y_pred, from_logits=True)

    def known_values(self, results: TokenResults) -> Tensor:
        return -results.log_probabilities

    def result(self) -> Tensor:
        return ops.exp(super().result())
