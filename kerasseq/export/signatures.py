"""The signatures of an exported model."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from kerasseq import search
from kerasseq.export.exportable import Exportable
from kerasseq.layers.inner_layers import inner_layers
from kerasseq.progress import progress_bar
from kerasseq.types import Tensor


def signatures(generator: Exportable) -> dict[str, Any]:
    """The serving functions by name: raw sources `[batch]` to a dict of tensors, batch first; see `export`."""
    source = generator.preprocessor.source_signature
    sampler, length = generator.sampler, generator.max_length
    greedy = search.GreedySampler(sampler.constraints)
    answers: dict[str, Callable[[Tensor], dict]] = {
        "serving_default": lambda raw: best(generator.decode(raw, sampler, length)),
        "greedy": lambda raw: best(generator.decode(raw, greedy, length)),
        "nbest": lambda raw: generator.decode(raw, sampler, length, num_hypotheses=sampler.rows_per_sequence),
    }
    if generator.model.decoder.has_attention:
        answers["attention"] = lambda raw: best(generator.decode_with_details(raw, sampler, length))

    def trace(answer):
        serve = tf.function(lambda **inputs: answer(inputs[source.name]), autograph=False)
        return serve.get_concrete_function(**{source.name: source})

    with without_cudnn(generator.model):
        return {name: trace(answer) for name, answer in progress_bar("trace", "signature", of=answers.items())}


def score_signature(generator: Exportable) -> Any:
    """The serving function that scores given targets: raw sources and `target`, both `[batch]`."""
    source = generator.preprocessor.source_signature
    target = tf.TensorSpec([None], tf.string, name="target")

    def score(**inputs):
        outputs = generator.log_probabilities(inputs[source.name], inputs["target"])
        return {"score": tf.reduce_sum(outputs.pop("log_probabilities"), axis=1), **outputs}

    with without_cudnn(generator.model):
        function = tf.function(score, autograph=False)
        return function.get_concrete_function(**{source.name: source, "target": target})


def best(outputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Outputs with the best hypothesis alone: `text` and `score`, `[batch]`."""
    return {**outputs, "text": outputs["text"][:, 0], "score": outputs["score"][:, 0]}


@contextlib.contextmanager
def without_cudnn(model: keras.Model) -> Iterator[None]:
    """Makes Keras layers in a model trace graphs that run everywhere, on machines with a GPU too.

    Keras chooses cuDNN's kernels while it traces, if it sees a GPU. A CPU server has none.
    """
    chosen = {layer: layer.use_cudnn for layer in inner_layers(model) if hasattr(layer, "use_cudnn")}
    try:
        for layer in chosen:
            layer.use_cudnn = False
        yield
    finally:
        for layer, use_cudnn in chosen.items():
            layer.use_cudnn = use_cudnn
