"""Tied logits of single steps, by both of their roads."""

import numpy as np
import pytest
import tensorflow as tf

from kerasseq.decoders.heads import logits_of, target_embedding, tied_projection
from kerasseq.projection import project

VOCABULARY, DIM = 11, 5


@pytest.fixture
def embedding():
    embedding = target_embedding(VOCABULARY, DIM, tie_embeddings=True)
    embedding.build((None, None))
    return embedding


@pytest.mark.parametrize("traced", [False, True])
@pytest.mark.parametrize("rows", [1, 3])  # of a beam
@pytest.mark.parametrize(("batch_size", "columns"), [(1, 0), (2, VOCABULARY)])
def test_both_roads_give_the_product_with_the_matrix(embedding, batch_size, columns, rows, traced):
    features = np.random.default_rng(1).normal(size=(batch_size * rows, 1, DIM)).astype("float32")

    def run(features):
        constants = tied_projection(embedding, tf.shape(features)[0] // rows if traced else batch_size)
        return logits_of(features, None, embedding, constants), constants["shared"]["projection"]

    if traced:
        run = tf.function(run, [tf.TensorSpec([None, 1, DIM], tf.float32)], autograph=False)
        assert run.get_concrete_function().output_shapes[0].as_list() == [None, 1, VOCABULARY]
    logits, projection = run(features)
    assert projection.shape == (DIM, columns)  # No copy for a single sequence.
    np.testing.assert_allclose(logits, features @ embedding.get_weights()[0].T, rtol=1e-5, atol=1e-6)


def test_without_a_projection_the_layer_itself_is_called(embedding):
    features = tf.random.normal((2, 4, DIM))
    logits = logits_of(features, None, embedding, {"memory_mask": None})
    np.testing.assert_allclose(logits, project(features, None, embedding), rtol=1e-6)
    np.testing.assert_allclose(logits, embedding(features, reverse=True), rtol=1e-6)
