"""The label-smoothed cross-entropy of a projection, block by block: no more logits at a time than one block has."""

from collections.abc import Callable

from keras import ops

from kerasseq.projection import Projection, TokenResults
from kerasseq.types import Tensor

# Logits of a block, 64 MB: 2,666 tokens of 6,000. Smaller blocks of an ordinary batch do not pay: the gradient of the
# kernel is read and written for each, and tensors below 32 MB, which the C library keeps, leave gaps in its memory.
LOGITS_AT_ONCE = 16_000_000


def projected_crossentropy(
    projection: Projection, targets: Tensor, weights: Tensor, label_smoothing: float, logits_at_once: int | None = None
) -> tuple[Tensor, TokenResults]:
    """The weighted sum of the token losses of `kerasseq.losses.MaskedCrossentropy`.

    The gradients of a sum are known up to a factor when its value is, so both are computed in one pass over blocks of
    tokens, and no logits are kept for a second. Padding is left out before the product with the kernel. There is no
    second derivative, and none for the weights.

    Args:
        projection: of features `(batch, target, dim)`.
        targets: int `(batch, target)`, 0 for padding.
        weights: float32 `(batch, target)`, of each token.
        label_smoothing: float in [0, 1).
        logits_at_once: int, the most logits of a block. Default: `LOGITS_AT_ONCE`.

    Returns:
        the sum, a float32 scalar, and the results of each token.
    """
    ids = ops.reshape(ops.cast(targets, "int32"), (-1,))
    real = ops.nonzero(ids)[0]  # (tokens,)
    ids, weights = ops.take(ids, real, axis=0), ops.take(ops.reshape(weights, (-1,)), real, axis=0)
    shape = ops.shape(projection.features)
    features = ops.take(ops.reshape(projection.features, (-1, shape[-1])), real, axis=0)
    kernel = projection.kernel
    vocabulary_size = kernel.shape[0 if projection.transposed else 1]
    bias = ops.zeros((vocabulary_size,)) if projection.bias is None else projection.bias
    rows_at_once = max(1, (logits_at_once or LOGITS_AT_ONCE) // vocabulary_size)
    # Negative ids are out of range. They must not index the vocabulary from its end.
    ids = ops.where(ids < 0, vocabulary_size, ids)
    block = crossentropy_block(projection.transposed, projection.bias is not None, label_smoothing)
    sum_of = sum_with_gradient(block, ids, weights, rows_at_once, projection.transposed, label_smoothing)
    total, log_probabilities, top_ids = sum_of(features, kernel, bias)

    def of_all_tokens(values):
        flat = ops.scatter(real[:, None], ops.stop_gradient(values), (shape[0] * shape[1],))
        return ops.reshape(flat, shape[:2])

    return total, TokenResults(targets, of_all_tokens(log_probabilities), of_all_tokens(top_ids))


def crossentropy_block(transposed: bool, has_bias: bool, label_smoothing: float) -> Callable[..., tuple]:
    """A function of a block's features, ids, weights, of the kernel and the bias.

    It returns the gradients of kernel and bias, and for each token the gradient of its features, the logit of its
    target, the logarithm of the sum of all exponentials, and the id of the highest logit.
    """
    import tensorflow as tf  # Deferred: other backends do without it, and without blocks.

    def block(features, ids, weights, kernel, bias):
        to_logits = ops.transpose(kernel) if transposed else kernel
        logits = ops.matmul(features, to_logits)  # (tokens, vocabulary)
        if has_bias:
            logits = logits + bias
        # keras.ops.argmax takes ten times as long, because it handles negative zeros.
        top_ids = tf.argmax(logits, axis=-1, output_type="int32")
        top, at_target = (ops.take_along_axis(logits, index[:, None], axis=-1) for index in (top_ids, ids))
        exponentials = ops.exp(logits - top)
        normalizers = ops.sum(exponentials, axis=-1, keepdims=True)

        # p - q, where q is e / K except at y, scaled by the normalizer; `scale` divides the vectors below by it.
        smoothing = label_smoothing / logits.shape[-1]
        at_y = ops.exp(at_target - top) - (1 - label_smoothing) * normalizers
        indices = ops.stack([ops.arange(ops.shape(ids)[0], dtype="int32"), ids], axis=-1)
        residuals = ops.scatter_update(exponentials, indices, at_y[:, 0])
        if label_smoothing:
            residuals = residuals - smoothing * normalizers
        scale = weights[:, None] / normalizers
        to_features = ops.matmul(residuals, ops.transpose(to_logits)) * scale
        scaled = features * scale
        if transposed:
            to_kernel = ops.matmul(ops.transpose(residuals), scaled)
        else:
            to_kernel = ops.matmul(ops.transpose(scaled), residuals)
        to_bias = ops.matmul(ops.transpose(scale), residuals)[0] if has_bias else ops.zeros_like(bias)
        return (to_kernel, to_bias), (to_features, at_target[:, 0], (ops.log(normalizers) + top)[:, 0], top_ids)

    return block


def sum_with_gradient(
    block: Callable[..., tuple],
    ids: Tensor,
    weights: Tensor,
    rows_at_once: int,
    transposed: bool,
    label_smoothing: float,
) -> Callable[..., tuple[Tensor, Tensor, Tensor]]:
    """A function `(features, kernel, bias)` of the sum over all blocks and the results of tokens, with its gradient."""

    @ops.custom_gradient
    def run(features, kernel, bias):
        count = ops.shape(ids)[0]
        blocks = ops.maximum((count + rows_at_once - 1) // rows_at_once, 1)
        size = (count + blocks - 1) // blocks  # The blocks have the same size, but for the last.

        def block_at(index, results):
            begin, end = index * size, ops.minimum((index + 1) * size, count)
            sums, own_results = block(features[begin:end], ids[begin:end], weights[begin:end], kernel, bias)
            starts = [(begin, 0), (begin,), (begin,), (begin,)]
            updates = zip(results, starts, own_results, strict=True)
            return sums, [ops.slice_update(*update) for update in updates]

        def add_block(index, sums, results):
            own_sums, results = block_at(index, results)
            return index + 1, [total + own for total, own in zip(sums, own_sums, strict=True)], results

        # The first block before the loop: most batches have but one, and its gradient of the kernel needs no sum.
        results = [ops.zeros_like(tensor) for tensor in (features, weights, weights, ids)]
        sums, results = block_at(0, results)
        _, sums, results = ops.while_loop(lambda index, *_: index < blocks, add_block, (1, list(sums), results))
        to_kernel, to_bias = sums
        to_features, at_targets, log_normalizers, top_ids = results

        log_probabilities = at_targets - log_normalizers
        losses = -(1 - label_smoothing) * log_probabilities
        if label_smoothing:
            mean_kernel = ops.mean(kernel, axis=0 if transposed else 1)
            mean_logits = ops.matmul(features, mean_kernel[:, None])[:, 0] + ops.mean(bias)
            losses -= label_smoothing * (mean_logits - log_normalizers)
        # Gathers on a GPU do not check ids: the loss is then NaN, as that of Keras.
        losses = ops.where(ids < bias.shape[0], losses, float("nan"))

        def gradient(upstream, *_):
            return to_features * upstream, to_kernel * upstream, to_bias * upstream

        return (ops.sum(losses * weights), log_probabilities, top_ids), gradient

    return run
