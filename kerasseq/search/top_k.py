"""Top-k over large vocabularies, and gathers of rows."""

import math

from keras import ops

from kerasseq.types import Tensor


def best_tokens(logits: Tensor, count: int, masked: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The `count` likeliest tokens of each row: log-probabilities, float32 `(rows, count)`, and ids, int32.

    Tokens are chosen by the `masked` logits, very low for those that are not allowed; the log-probabilities are still
    those of `logits (rows, vocabulary)`.
    """
    unmasked = masked is None or masked is logits
    logits = ops.cast(logits, "float32")
    values, token_ids = top_k(logits if unmasked else masked, count)
    # The largest logit is known without another pass over all of them.
    largest = values[:, :1] if unmasked else ops.max(logits, axis=-1, keepdims=True)
    total = ops.sum(ops.exp(logits - largest), axis=-1, keepdims=True)
    return values - largest - ops.log(total), token_ids


def top_k(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """`keras.ops.top_k` over the last axis of `(rows, size)`, faster on a CPU where size is large.

    The `count` largest values lie in the `count` blocks with the largest maxima, so only these are searched. Equal
    values may be chosen in another order. Returns values in descending order and their indices, both `(rows, count)`.
    """
    size = values.shape[-1]
    width = math.isqrt(size // count)  # About as many blocks as candidates in the chosen blocks.
    if count == 1 or width < 8:  # A single one is found in one pass.
        best, indices = ops.top_k(values, count)
        return best, ops.cast(indices, "int32")
    if size % width:
        values = ops.pad(values, ((0, 0), (0, -size % width)), constant_values=-math.inf)
    blocks = ops.reshape(values, (-1, values.shape[-1] // width, width))
    _, chosen = ops.top_k(ops.max(blocks, axis=-1), count)
    chosen = ops.cast(chosen, "int32")  # (rows, count)
    candidates = ops.reshape(take_rows(blocks, chosen), (-1, count * width))
    best, indices = ops.top_k(candidates, count)
    indices = ops.cast(indices, "int32")
    return best, ops.take_along_axis(chosen, indices // width, axis=1) * width + indices % width


def take_rows(tensor: Tensor, indices: Tensor) -> Tensor:
    """`tensor[b, indices[b, i]]`: `(batch, size, ...)` and int32 `(batch, count)` -> `(batch, count, ...)`."""
    batch, size, *rest = ops.shape(tensor)
    rows = ops.arange(batch, dtype="int32")[:, None] * size + indices
    return ops.take(ops.reshape(tensor, (batch * size, *rest)), rows, axis=0)
