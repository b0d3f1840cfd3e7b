"""Batched matrix products of a saved graph, rewritten: the same numbers by TensorFlow's other kernel."""

import collections

import numpy as np
import pytest
import tensorflow as tf

from kerasseq.export.graphs import read_saved_model, without_onednn_batch_products

PRODUCTS = {
    "plain": lambda a, b: tf.matmul(a, tf.transpose(b, [0, 2, 1])),
    "transposed by an attribute": lambda a, b: tf.matmul(a, b, transpose_b=True),
    "transposed both ways": lambda a, b: tf.matmul(a, tf.transpose(tf.transpose(b, [0, 2, 1]), [0, 2, 1]), False, True),
    "the first one": lambda a, b: tf.matmul(tf.transpose(a, [0, 2, 1]), b, transpose_a=True, transpose_b=True),
    "another permutation": lambda a, b: tf.matmul(a, tf.transpose(tf.transpose(b, [1, 2, 0]), [2, 1, 0])),
    "in a loop": lambda a, b: tf.while_loop(
        lambda i, _: i < 3, lambda i, c: (i + 1, c + tf.matmul(a, tf.transpose(b, [0, 2, 1])) / 3.0),
        (0, tf.zeros([tf.shape(a)[0], tf.shape(a)[1], tf.shape(b)[1]])),
        shape_invariants=(tf.TensorShape([]), tf.TensorShape([None, None, None])),
    )[1],
}  # fmt: skip


@pytest.mark.parametrize("name", PRODUCTS)
def test_products_are_the_same(tmp_path, name):
    module = tf.Module()
    spec = tf.TensorSpec([None, None, None], tf.float32)
    module.product = tf.function(lambda a, b: {"c": PRODUCTS[name](a, b)})
    traced = module.product.get_concrete_function(
        tf.TensorSpec(spec.shape, name="a"), tf.TensorSpec(spec.shape, name="b")
    )
    tf.saved_model.save(module, str(tmp_path), signatures={"serving_default": traced})
    assert without_onednn_batch_products(tmp_path) >= 1
    (meta_graph,) = read_saved_model(tmp_path).meta_graphs
    functions = meta_graph.graph_def.library.function
    operations = collections.Counter(node.op for function in functions for node in function.node_def)
    assert operations["BatchMatMulV3"] >= 1 and not operations["BatchMatMulV2"]
    random = np.random.default_rng(1)
    loaded = tf.saved_model.load(str(tmp_path))
    for rows in (1, 3):
        a, b = random.normal(size=(rows, 2, 5)).astype("float32"), random.normal(size=(rows, 4, 5)).astype("float32")
        served = loaded.signatures["serving_default"](a=tf.constant(a), b=tf.constant(b))["c"]
        np.testing.assert_allclose(served, a @ b.transpose(0, 2, 1), rtol=1e-5, atol=1e-5)
    assert without_onednn_batch_products(tmp_path) == 0


def test_other_types_are_left_alone(tmp_path):
    module = tf.Module()
    spec = tf.TensorSpec([None, None, None], tf.float64, name="a")
    module.product = tf.function(lambda a: {"c": tf.matmul(a, a)})
    tf.saved_model.save(
        module, str(tmp_path), signatures={"serving_default": module.product.get_concrete_function(spec)}
    )
    assert without_onednn_batch_products(tmp_path) == 0
