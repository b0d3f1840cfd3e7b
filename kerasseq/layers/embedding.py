"""Embeddings of tokens."""

import keras
from keras import layers


def embeddings_initializer(embedding_dim: int) -> keras.initializers.Initializer:
    """Makes vectors of length 1 in expectation, as in Vaswani et al. 2017.

    Those of Keras have half that length at 256 dimensions, and layers that follow hardly tell tokens apart at first.
    """
    return keras.initializers.RandomNormal(stddev=embedding_dim**-0.5)


def token_embedding(vocabulary_size: int, embedding_dim: int) -> layers.Embedding:
    """An embedding whose vectors have length 1 in expectation."""
    return layers.Embedding(
        vocabulary_size, embedding_dim, embeddings_initializer=embeddings_initializer(embedding_dim), name="embedding"
    )
