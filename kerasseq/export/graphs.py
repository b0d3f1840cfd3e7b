"""Rewrites saved graphs to run faster on CPUs at small batch sizes."""

import os

import tensorflow as tf
from tensorflow.core.framework.node_def_pb2 import NodeDef
from tensorflow.core.protobuf import saved_model_pb2

SAVED_MODEL_FILE = "saved_model.pb"
SWAP_LAST_TWO = [0, 2, 1]


def read_saved_model(folder: str | os.PathLike) -> saved_model_pb2.SavedModel:
    """The `SavedModel` message in a version's folder."""
    with open(os.path.join(folder, SAVED_MODEL_FILE), "rb") as file:
        return saved_model_pb2.SavedModel.FromString(file.read())


def without_onednn_batch_products(folder: str | os.PathLike) -> int:
    """Rewrites the batched matrix products of a version for TensorFlow's own kernel. Returns their number.

    Attention multiplies a vector with a small matrix for each row and in each step. TensorFlow replaces `BatchMatMulV2`
    by oneDNN, which takes 50 to 90 microseconds to set up such a product; TensorFlow's own kernel, which
    `BatchMatMulV3` keeps, takes 7, and is not slower for hundreds of rows either. A transposed factor becomes an
    attribute of the product, as TensorFlow's optimizer does for the older operation.
    """
    saved_model = read_saved_model(folder)
    count = 0
    for meta_graph in saved_model.meta_graphs:
        library = meta_graph.graph_def.library.function
        for nodes in [meta_graph.graph_def.node, *(function.node_def for function in library)]:
            by_name = {node.name: node for node in nodes}
            for node in nodes:
                if node.op == "BatchMatMulV2" and node.attr["T"].type == tf.float32.as_datatype_enum:
                    rewrite(node, by_name)
                    count += 1
    with open(os.path.join(folder, SAVED_MODEL_FILE), "wb") as file:
        file.write(saved_model.SerializeToString(deterministic=True))
    return count


def rewrite(node: NodeDef, by_name: dict[str, NodeDef]) -> None:
    """Turns a `BatchMatMulV2` into a `BatchMatMulV3`."""
    node.op = "BatchMatMulV3"
    for name in ("Ta", "Tb", "Tout"):
        node.attr[name].CopyFrom(node.attr["T"])
    del node.attr["T"]
    for index, transposed in enumerate(("adj_x", "adj_y")):
        factor = source_of(node.input[index], by_name)
        if factor is not None and factor.op == "Transpose" and swaps_last_two(factor, by_name):
            node.input[index] = factor.input[0]
            node.attr[transposed].b = not node.attr[transposed].b


def swaps_last_two(transpose: NodeDef, by_name: dict[str, NodeDef]) -> bool:
    """Whether a `Transpose` exchanges the last two of three axes."""
    permutation = source_of(transpose.input[1], by_name)
    if permutation is None or permutation.op != "Const":
        return False
    return tf.make_ndarray(permutation.attr["value"].tensor).tolist() == SWAP_LAST_TWO


def source_of(name: str, by_name: dict[str, NodeDef]) -> NodeDef | None:
    """The node that computes an input: `name`, `name:0` in graphs, `name:output:0` in functions."""
    return by_name.get(name.split(":")[0])
