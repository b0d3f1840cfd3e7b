"""Writes models for LiteRT, the former TensorFlow Lite: phones, small boards, and Python without TensorFlow."""

import json
import os
import tempfile
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kerasseq.arguments import check_choice
from kerasseq.export.exportable import Exportable
from kerasseq.preprocessing.pairs import LENGTH_OFFSET
from kerasseq.preprocessing.vocabulary import END_ID, START_ID
from kerasseq.search import LengthLimits, SuppressTokens
from kerasseq.search.request import IMPOSSIBLE
from kerasseq.search.top_k import best_tokens
from kerasseq.seq2seq import Seq2Seq
from kerasseq.types import Tensor

FORMAT = 1
MODEL_FILE = "model.tflite"
DESCRIPTION_FILE = "litert.json"
QUANTIZATIONS = (None, "int8")
VOCABULARIES = ("spm", "chars", "words")  # that machines without TensorFlow can read
SHARED = "shared"  # The key of what all rows share among the constants of a decoder.
MASK = "_mask"  # The end of the names of encoder inputs that say which positions are real.


def export_litert(generator: Exportable, folder: str | os.PathLike, quantize: str | None = None) -> str:
    """Writes a model for LiteRT: greedy search, one source at a time, with LiteRT's built-in operations alone.

    The folder gets `model.tflite` with two signatures, the vocabularies, and `litert.json`, which says how a search
    runs; `kerasseq.serving.LiteRTModel` is such a search in Python without TensorFlow.

    - `encode` reads the encoder's inputs, such as `encoder_token_ids` (int32 `[1, source]`, tokens and END) or
      `encoder_frames` (float32 `[1, frames, bins]`). It returns the initial state of the decoder, `state_0` and so on,
      and what stays the same in all steps, `constant_0` and so on.
    - `step` reads these and `token_ids` (int32 `[1]`, the previous token, START first). It returns the most probable
      token, `token_ids` (int32 `[1]`), its `log_probability` (float32 `[1]`), and the next state.

    Args:
        generator: a `kerasseq.TextGenerator`. Of its sampler, `SuppressTokens` and the limits of `LengthLimits` apply.
        folder: path of a folder that does not exist or is empty.
        quantize: str, `"int8"` for weights of 8 bits: about a third of the size, and faster. Default: float32.

    Returns:
        str, path of the folder.

    Raises:
        FileExistsError: if the folder has files.
        ValueError: if `quantize` is unknown, the sampler has other constraints, the state of the decoder grows from
            step to step, as that of a Transformer does, or the model has operations that LiteRT lacks.

    Example:

    ```python
    translator.export_litert("phone/translation_en_fr", quantize="int8")
    model = kerasseq.serving.LiteRTModel("phone/translation_en_fr")
    model.generate("How are you?")
    ```
    """
    check_choice("quantize", quantize, QUANTIZATIONS)
    folder = os.path.abspath(os.path.expanduser(os.fspath(folder)))
    if os.path.exists(folder) and (not os.path.isdir(folder) or os.listdir(folder)):
        raise FileExistsError(f"A model for LiteRT is written to a new folder. Received: {folder}, which exists.")
    description = describe(generator)
    functions = signatures(generator)
    os.makedirs(os.path.dirname(folder), exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".litert-", dir=os.path.dirname(folder)) as temporary:
        complete = os.path.join(temporary, "model")
        os.mkdir(complete)
        with open(os.path.join(complete, MODEL_FILE), "wb") as file:
            file.write(convert(functions, temporary, quantize))
        generator.preprocessor.save_assets(complete)
        with open(os.path.join(complete, DESCRIPTION_FILE), "w", encoding="utf-8") as file:
            json.dump({**description, "quantize": quantize, "files": sorted(os.listdir(complete))}, file, indent=1)
        os.replace(complete, folder)
    return folder


def describe(generator: Exportable) -> dict[str, Any]:
    """What a search outside of TensorFlow needs to know; the content of `litert.json`."""
    preprocessor = generator.preprocessor
    if unknown := {tokenizer.suffix for tokenizer in preprocessor.tokenizers} - set(VOCABULARIES):
        raise ValueError(
            f"Models for LiteRT have vocabularies of subwords, characters or words. Received: {', '.join(unknown)}."
        )
    ratio, offset = preprocessor.length_ratio, float(LENGTH_OFFSET)
    for constraint in generator.sampler.constraints:
        if isinstance(constraint, LengthLimits) and constraint.min_length == 1 and not constraint.min_length_ratio:
            if constraint.max_length_ratio is not None:
                ratio, offset = constraint.max_length_ratio, constraint.max_length_offset
        elif not isinstance(constraint, SuppressTokens):
            raise ValueError(
                "Models for LiteRT support SuppressTokens and the maximum of LengthLimits. Received: "
                f"{type(constraint).__name__}. Export TextGenerator(model, preprocessor, sampler='greedy') instead."
            )
    return {
        "format": FORMAT,
        "start_id": START_ID,
        "end_id": END_ID,
        "max_source_length": preprocessor.max_source_length,
        "max_length": generator.max_length,
        "length_ratio": ratio,
        "length_offset": offset,
        "length_stride": 1 if preprocessor.max_source_length else generator.model.encoder.stride,
    }


# === Graphs ===


def signatures(generator: Exportable) -> dict[str, Any]:
    """The concrete functions `encode` and `step`, in which the weights are constants."""
    model, shapes = generator.model, generator.preprocessor.encoder_inputs
    shared = shared_constants(model, shapes)
    suppressed = [token for constraint in generator.sampler.constraints for token in constraint.suppressed_ids]
    allowed = ~np.isin(np.arange(model.decoder.vocabulary_size), suppressed)
    structures: dict[str, Any] = {}

    def encode(**inputs):
        state, constants = model.start(model.encode(with_masks(inputs, shapes)))
        structures.update(state=state, constants=constants)
        own = [tensor for path, tensor in keras.tree.flatten_with_path(constants) if path not in shared]
        return {**numbered("state", keras.tree.flatten(state)), **numbered("constant", own)}

    def step(token_ids, **tensors):
        state = [tensors[f"state_{index}"] for index in range(len(keras.tree.flatten(structures["state"])))]
        own = (tensors[f"constant_{index}"] for index in range(len(tensors)))
        paths = [path for path, _ in keras.tree.flatten_with_path(structures["constants"])]
        constants = [tf.constant(shared[path]) if path in shared else next(own) for path in paths]
        outputs = model.step(
            token_ids,
            keras.tree.pack_sequence_as(structures["state"], state),
            keras.tree.pack_sequence_as(structures["constants"], constants),
        )
        logits = tf.cast(outputs["logits"], tf.float32)  # (1, vocabulary)
        masked = tf.where(tf.constant(allowed), logits, IMPOSSIBLE) if suppressed else None
        log_probabilities, best = best_tokens(logits, 1, masked)
        return {
            "token_ids": best[:, 0],
            "log_probability": log_probabilities[:, 0],
            **numbered("state", keras.tree.flatten(outputs["state"])),
        }

    inputs = {
        name: tf.TensorSpec((1, *shape), model.encoder.input[name].dtype, name)
        for name, shape in shapes.items()
        if not name.endswith(MASK)
    }
    encode_graph = with_constant_weights(model, encode, inputs)
    specs = {
        name: tf.TensorSpec(tensor.shape, tensor.dtype, name)
        for name, tensor in encode_graph.structured_outputs.items()
    }
    step_graph = with_constant_weights(model, step, {"token_ids": tf.TensorSpec([1], tf.int32, "token_ids"), **specs})
    return {"encode": encode_graph, "step": step_graph}


def with_constant_weights(model: Seq2Seq, function: Any, inputs: dict[str, tf.TensorSpec]) -> Any:
    """Traces a function; the converter quantizes constants, but not variables."""
    weights = list(zip(model.weights, model.get_weights(), strict=True))

    def traced(**tensors):
        with keras.StatelessScope([(weight, tf.constant(values)) for weight, values in weights]):
            return function(**tensors)

    return tf.function(traced, autograph=False).get_concrete_function(**inputs)


def shared_constants(model: Seq2Seq, shapes: dict[str, tuple[int | None, ...]]) -> dict[tuple, np.ndarray]:
    """What all rows share among the constants of the decoder, by path; and a check that the state keeps its shape."""
    found: list[dict[tuple, np.ndarray]] = []
    for length in (3, 5):
        inputs = {
            name: tf.ones([1, *(size or length for size in shape)], model.encoder.input[name].dtype)
            for name, shape in shapes.items()
        }
        state, constants = model.start(model.encode(inputs))
        after = model.step(tf.constant([START_ID]), state, constants)["state"]
        before, after = ([tuple(tensor.shape) for tensor in keras.tree.flatten(nest)] for nest in (state, after))
        if before != after:
            raise ValueError(
                "A model for LiteRT has a decoder whose state keeps its shape, such as that of AttentionSeq2Seq. "
                f"Received: {type(model.decoder).__name__}, with states of shapes {before} before a step and {after} "
                "after it."
            )
        paths = keras.tree.flatten_with_path(constants)
        found.append({path: keras.ops.convert_to_numpy(tensor) for path, tensor in paths if SHARED in path})
    if any(not np.array_equal(value, found[1][path]) for path, value in found[0].items()):
        raise ValueError(
            "A model for LiteRT has a decoder whose constants under the key 'shared' are the same for all sources. "
            f"Received: {type(model.decoder).__name__}."
        )
    return found[0]


def with_masks(inputs: dict[str, Tensor], shapes: dict[str, tuple[int | None, ...]]) -> dict[str, Tensor]:
    """The inputs of the encoder: there is one source, so all of its positions are real."""
    length = tf.shape(next(iter(inputs.values())))[1]
    return {**inputs, **{name: tf.ones([1, length], tf.bool) for name in shapes if name not in inputs}}


def numbered(name: str, tensors: list[Tensor]) -> dict[str, Tensor]:
    """The tensors of a signature by names: an identity each, since an output must not be an input as well."""
    return {f"{name}_{index}": tf.identity(tensor) for index, tensor in enumerate(tensors)}


def convert(functions: dict[str, Any], folder: str, quantize: str | None) -> bytes:
    """Concrete functions to the content of a `.tflite` file; `folder` is for temporary files."""
    module = tf.Module()
    module.functions = functions
    path = os.path.join(folder, "saved_model")
    tf.saved_model.save(module, path, signatures=functions)
    converter = tf.lite.TFLiteConverter.from_saved_model(path, signature_keys=list(functions))
    if quantize == "int8":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    try:
        return converter.convert()
    except Exception as error:  # The converter's own error has no public name.
        raise ValueError(f"LiteRT has no built-in operations for this model. The converter says: {error}") from error
