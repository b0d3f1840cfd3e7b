"""Means over the global batch of the replicas of a `tf.distribute.Strategy`."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import keras
from keras import ops

from kerasseq.types import Tensor

# What the replicas have counted together, in the thread of each.
_counted = threading.local()


def replica_context() -> Any:
    """The context of a replica if there are several, else `None`.

    On other backends, and on one device, a step computes on the global batch.
    """
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf  # Deferred: other backends do without it.

    context = tf.distribute.get_replica_context()
    return context if context is not None and context.num_replicas_in_sync > 1 else None


@contextlib.contextmanager
def global_counts(data: Any) -> Iterator[None]:
    """Counts real tokens over the batches of all replicas, for `global_mean` in a step on these data.

    It comes before the model is called. TensorFlow traces replicas in turns and changes from one to the next where they
    exchange numbers, and Keras would mix up what their layers have added by `add_loss`.
    """
    context = replica_context()
    if context is None:
        yield
        return
    x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
    rows = ops.cast(ops.shape(y)[0], "float32")
    own = {"rows": rows, "target": real_tokens(y)}
    if "encoder_token_ids" in x:
        own["source"] = real_tokens(x["encoder_token_ids"])
    _counted.all = {name: context.all_reduce("sum", count) for name, count in own.items()}
    # A mean over rows, as Keras logs losses, is that over the tokens.
    _counted.logged = _counted.all["rows"] / ops.maximum(rows, 1.0)
    try:
        yield
    finally:
        del _counted.all, _counted.logged


def global_mean(total: Tensor, count: Tensor, of: str = "target") -> Tensor:
    """A total divided by a number of real tokens, at least 1, of the global batch.

    Args:
        total: float scalar, such as the sum of the losses of this replica's tokens.
        count: scalar, the number of those tokens.
        of: `"target"` or `"source"`, the side of the tokens.

    Returns:
        float32 scalar. The mean of its gradients over the replicas is the gradient of the mean over the global batch;
        the mean of its values, weighted by the numbers of rows, is that mean.
    """
    total = ops.cast(total, "float32")
    counts = getattr(_counted, "all", {})
    if of not in counts:
        return total / ops.maximum(ops.cast(count, "float32"), 1.0)
    mean = total / ops.maximum(counts[of], 1.0)
    gradient, value = mean * replica_context().num_replicas_in_sync, mean * _counted.logged
    return gradient + ops.stop_gradient(value - gradient)


def scaled(loss: Tensor) -> Tensor:
    """A loss as Keras expects it of a `keras.losses.Loss`: gradients are summed over replicas."""
    context = replica_context()
    return loss if context is None else loss / context.num_replicas_in_sync


def real_tokens(token_ids: Tensor) -> Tensor:
    """The number of ids that are not 0, a float32 scalar."""
    return ops.sum(ops.cast(ops.not_equal(token_ids, 0), "float32"))
