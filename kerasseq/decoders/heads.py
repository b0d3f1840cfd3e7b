"""The embedding of target tokens, and the logits of the vocabulary."""

import keras
from keras import layers


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
