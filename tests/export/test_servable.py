"""What a stock CPU model server refuses."""

import pytest
import tensorflow as tf
import tensorflow_text

from kerasseq.export.servable import TEXT_OPERATIONS, refusal, unservable

FUNCTIONS = {
    "good": (lambda text: tf.strings.upper(text), []),
    "numpy_function": (lambda text: tf.numpy_function(lambda x: x, [text], tf.string), ["PyFunc (calls Python)"]),
    "py_function": (lambda text: tf.py_function(lambda x: x, [text], tf.string), ["EagerPyFunc (calls Python)"]),
    "linked": (lambda text: tensorflow_text.normalize_utf8(text), []),
    "unlinked": (
        lambda text: tensorflow_text.utf8_binarize(text), ["TFText>Utf8Binarize (is not linked into servers)"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_operations(save_module, tmp_path, name):
    function, problems = FUNCTIONS[name]
    assert unservable(save_module(tmp_path / name, function)) == problems


def test_devices(save_module, tmp_path):
    def on_a_gpu(text):
        with tf.device("/GPU:0"):
            return tf.strings.length(text)

    problems = unservable(save_module(tmp_path / "gpu", on_a_gpu))
    (problem,) = [problem for problem in problems if problem.startswith("StringLength")]
    assert "GPU:0" in problem and "a CPU server has no such device" in problem


def test_jit_compile(save_module, tmp_path):
    @tf.function(jit_compile=True)
    def inner(lengths):
        return lengths * 2

    problems = unservable(save_module(tmp_path / "jit", lambda text: inner(tf.strings.length(text))))
    assert any(problem.startswith("jit_compile in __inference_inner") for problem in problems)


def test_reasons():
    """And no operation in the table of TensorFlow Text's is TensorFlow's own."""
    assert refusal("MatMul") is None and refusal("SentencepieceTokenizeOp") is None
    assert refusal("CudnnRNNV3") == "needs cuDNN, and so a GPU"
    assert refusal("XlaLaunch") == refusal("XlaCallModule") == "needs XLA, which servers disable"
    assert refusal("TFText>RoundRobinTrim") == refusal("MyOwnOperation") == "is not linked into servers"
    assert not [name for name in TEXT_OPERATIONS if hasattr(tf.raw_ops, name)]
