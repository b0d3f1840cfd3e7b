"""The embedding of target tokens, and the logits of the vocabulary."""

from collections.abc import Callable
from typing import Any

from keras import layers, ops

from kerasseq.layers.embedding import embeddings_initializer, token_embedding
from kerasseq.layers.single_step import without_time_axis
from kerasseq.projection import project
from kerasseq.types import State, Tensor


def target_embedding(vocabulary_size: int, embedding_dim: int, tie_embeddings: bool) -> layers.Layer:
    """The embedding of target tokens; a tied one also maps features to logits, `embedding(features, reverse=True)`."""
    if not tie_embeddings:
        return token_embedding(vocabulary_size, embedding_dim)
    return layers.ReversibleEmbedding(
        vocabulary_size,
        embedding_dim,
        embeddings_initializer=embeddings_initializer(embedding_dim),
        reverse_dtype="float32",
        name="embedding",
    )


def vocabulary_head(vocabulary_size: int) -> layers.Layer:
    """A dense layer from features to logits.

    Keras's default initializer depends on the vocabulary's size as well: the logits start near 0, and hardly any
    gradient reaches the features. This one starts with logits of the size of the features, as tied embeddings do.
    """
    return layers.Dense(vocabulary_size, kernel_initializer="lecun_normal", dtype="float32", name="logits")


def tied_projection(embedding: layers.Layer, batch_size: Tensor) -> State:
    """The matrix of tied logits, float32 `(features, vocabulary)`, as a constant of a decoder that all rows share.

    It is a copy of the embedding's matrix, transposed: on a CPU, products of few rows are up to eight times as fast
    with it. For a single sequence the copy would take as long as its products, so then it is empty, `(features, 0)`.
    """

    def copy():
        return ops.cast(ops.transpose(embedding.embeddings), "float32")

    def empty():
        return ops.zeros((embedding.output_dim, 0), dtype="float32")

    return {"shared": {"projection": either(batch_size > 1, copy, empty)}}


def without_projection(constants: State) -> State:
    """The constants without the `tied_projection`, which whole sequences do not need; a graph then never makes it."""
    shared = {name: value for name, value in constants.get("shared", {}).items() if name != "projection"}
    return {**constants, "shared": shared}


def logits_of(features: Tensor, head: layers.Layer | None, embedding: layers.Layer, constants: State) -> Tensor:
    """Logits, float32 `(batch, steps, vocabulary)`: by a `vocabulary_head`, or tied to the embedding if it is `None`.

    In a search, whose constants hold the `tied_projection`, those of a single row are a product with the matrix itself,
    from the left.
    """
    if head is not None or "projection" not in constants.get("shared", {}):
        return without_time_axis(lambda rows: project(rows, head, embedding), features)
    projection = constants["shared"]["projection"]
    rows = ops.reshape(ops.cast(features, "float32"), (-1, embedding.output_dim))

    def by_copy():
        return ops.matmul(rows, projection)

    def by_matrix():
        matrix = ops.cast(embedding.embeddings, "float32")
        return ops.transpose(ops.matmul(matrix, ops.transpose(rows)))

    logits = either(ops.shape(projection)[1] > 0, by_copy, by_matrix)
    return ops.reshape(logits, (*ops.shape(features)[:-1], embedding.input_dim))


def either(condition: Any, yes: Callable[[], Tensor], no: Callable[[], Tensor]) -> Tensor:
    """`ops.cond`, decided at once where the condition is known."""
    if isinstance(condition, bool):
        return yes() if condition else no()
    return ops.cond(condition, yes, no)
