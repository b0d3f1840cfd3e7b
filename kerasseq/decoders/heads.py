"""The embedding of target tokens, and the logits of the vocabulary."""

import keras
from keras import layers, ops

from kerasseq.types import State, Tensor


def token_embedding(vocabulary_size: int, embedding_dim: int, tie_embeddings: bool) -> layers.Layer:
    """The embedding of target tokens; a tied one also maps features to logits, `embedding(features, reverse=True)`."""
    if tie_embeddings:
        return layers.ReversibleEmbedding(
            vocabulary_size,
            embedding_dim,
            embeddings_initializer=keras.initializers.RandomNormal(stddev=embedding_dim**-0.5),
            reverse_dtype="float32",
            name="embedding",
        )
    return layers.Embedding(vocabulary_size, embedding_dim, name="embedding")


def vocabulary_head(vocabulary_size: int) -> layers.Layer:
    """A dense layer from features to logits.

    Keras's default initializer depends on the vocabulary's size as well: the logits start near 0, and hardly any
    gradient reaches the features. This one starts with logits of the size of the features, as tied embeddings do.
    """
    return layers.Dense(vocabulary_size, kernel_initializer="lecun_normal", dtype="float32", name="logits")


def tied_projection(embedding: layers.Layer) -> State:
    """The matrix of tied logits, float32 `(features, vocabulary)`, as a constant of a decoder that all rows share.

    Products of few rows with the embedding's matrix, which is the transpose, are up to eight times as slow on a CPU.
    """
    return {"shared": {"projection": ops.cast(ops.transpose(embedding.embeddings), "float32")}}


def tied_logits(embedding: layers.Layer, features: Tensor, constants: State) -> Tensor:
    """Logits, float32: by the `tied_projection` in a search, else by the embedding's matrix itself."""
    if "shared" in constants:
        return ops.matmul(ops.cast(features, "float32"), constants["shared"]["projection"])
    return ops.cast(embedding(features, reverse=True), "float32")  # float32 under mixed precision too
