"""Finds out whether the output for a source depends on padding, or on the other sources in its batch."""

import warnings

import keras
import numpy as np
import tensorflow as tf

from kerasseq.decoders import EnsembleDecoder
from kerasseq.encoders import Encoder, EnsembleEncoder
from kerasseq.preprocessing import Preprocessor
from kerasseq.preprocessing.vocabulary import NUM_SPECIAL_TOKENS, START_ID
from kerasseq.seq2seq import Seq2Seq
from kerasseq.types import Context

SHARES = (0.06, 0.2)  # lengths of the two sources, as shares of the longest
STEPS = 4  # of the decoder
TOLERANCES = {"float16": 2e-2, "bfloat16": 1e-1}  # relative to the largest number; for others 1e-3


def check_padding(model: Seq2Seq, preprocessor: Preprocessor) -> None:
    """Raises a `ValueError` that names the part of a model whose results depend on padding or on other sources."""
    if fault := padding_fault(model, preprocessor):
        raise ValueError(fault)


def warn_about_padding(model: Seq2Seq, preprocessor: Preprocessor) -> None:
    """Warns where `check_padding` raises, for models with custom parts."""
    encoders = model.encoder.encoders if isinstance(model.encoder, EnsembleEncoder) else [model.encoder]
    decoders = model.decoder.decoders if isinstance(model.decoder, EnsembleDecoder) else [model.decoder]
    types = {type(part) for part in (*encoders, *decoders)}
    if any(kind is Encoder or not kind.__module__.startswith("kerasseq.") for kind in types):
        if fault := padding_fault(model, preprocessor):
            warnings.warn(fault, stacklevel=3)  # the caller of TextGenerator


def padding_fault(model: Seq2Seq, preprocessor: Preprocessor) -> str | None:
    """Says which part depends on padding or on other sources, and what to do; `None` if none does.

    Encodes a random source alone and beside a longer one, and decodes a few random tokens for both.
    """
    part = dependent_part(model, preprocessor)
    if part is None:
        return None
    return (
        "The output for a source must not depend on padding, or on the other sources in its batch. Received: a model "
        f"in which {part} does. Mask padded positions, for example with kerasseq.layers.PaddingMask, before an "
        "operation that reads several positions, and let none read several rows."
    )


def dependent_part(model: Seq2Seq, preprocessor: Preprocessor) -> str | None:
    """Names the part that depends on padding or on other sources; `None` if none does."""
    if all(None not in shape for shape in preprocessor.encoder_inputs.values()):
        return None  # Sources of one size, such as images, are not padded.
    short, long = (preprocessor.example_sources(1, share)[0] for share in SHARES)
    padded, alone = (preprocessor.encode_source(tf.constant(sources)) for sources in ([short, long], [short]))
    # The shorter source may be the beginning of the longer one. Backwards, this differs from it at every position.
    padded = {name: tf.concat([value[:1], value[1:, ::-1]], axis=0) for name, value in padded.items()}
    if all(padded[name].shape[1:] == alone[name].shape[1:] for name in alone):  # There is no room for a longer source.
        padded = {name: tf.pad(value, [[0, 0], [0, 2], *[[0, 0]] * (value.ndim - 2)]) for name, value in padded.items()}
    tolerance = TOLERANCES.get(keras.backend.standardize_dtype(model.encoder.compute_dtype), 1e-3)
    contexts = model.encode(padded), model.encode(alone)
    encoders = model.encoder.encoders if isinstance(model.encoder, EnsembleEncoder) else [model.encoder]
    for index, encoder in enumerate(encoders):
        members = [context["members"][index] if len(encoders) > 1 else context for context in contexts]
        for name in ("memory_mask", "memory", "states"):
            ours, theirs = (real_part(member, name) for member in members)
            if differs(ours, theirs, tolerance):
                operation = first_operation(encoder, name, padded, alone, tolerance)
                kind = "layer" if isinstance(operation, keras.layers.Layer) else "operation"
                where = f"from its {kind} {operation.name!r} ({type(operation).__name__}) on"
                return f"{name!r} of the encoder, {where},"
    token_ids = np.random.default_rng(1).integers(NUM_SPECIAL_TOKENS, model.decoder.vocabulary_size, (1, STEPS))
    token_ids[0, 0] = START_ID
    ours, theirs = (
        model.decoder(tf.constant(np.repeat(token_ids, rows, axis=0), tf.int32), context)["logits"][:1]
        for rows, context in zip((2, 1), contexts, strict=True)
    )
    if differs(ours, theirs, tolerance):
        return "the decoder"
    padded_steps, steps = (step_by_step(model, token_ids, context) for context in contexts)
    return "the decoder, step by step," if differs(padded_steps, steps, tolerance) else None


def step_by_step(model: Seq2Seq, token_ids: np.ndarray, context: Context) -> list[np.ndarray]:
    """The logits of each step of the first row."""
    state, constants = model.start(context)
    rows, logits = keras.tree.flatten(context)[0].shape[0], []
    for token_id in token_ids[0]:
        outputs = model.step(tf.fill([rows], tf.constant(token_id, tf.int32)), state, constants)
        state = outputs["state"]
        logits.append(keras.ops.convert_to_numpy(outputs["logits"])[0])
    return logits


def real_part(context: Context, name: str) -> Context:
    """The results of the first row, of a memory those at its real positions."""
    first = keras.tree.map_structure(lambda tensor: keras.ops.convert_to_numpy(tensor)[0], context[name])
    if name == "states":
        return first
    mask = keras.ops.convert_to_numpy(context["memory_mask"])[0]
    return first[mask]


def differs(ours, theirs, tolerance):
    """Whether two nests of arrays differ by more than rounding."""
    for one, other in zip(keras.tree.flatten(ours), keras.tree.flatten(theirs), strict=True):
        one, other = (np.asarray(keras.ops.convert_to_numpy(array), "float64") for array in (one, other))
        if not np.isfinite(other).all():
            continue  # Weights that are not finite are no fault of padding.
        if one.shape != other.shape or not np.allclose(
            one, other, rtol=0, atol=tolerance * np.abs(other).max(initial=0)
        ):
            return True
    return False


def first_operation(encoder: Encoder, name: str, padded: Context, alone: Context, tolerance: float) -> keras.Operation:
    """The first operation on the way to an output whose results at the positions of the short source differ.

    The last one, if none differ there: a mask may differ at padded positions alone.
    """
    operations, results = [], []

    def record(operation, *args, **kwargs):
        result = operation(*args, **kwargs)
        operations.append(operation)
        results.append([tensor for tensor in keras.tree.flatten(result) if isinstance(tensor, keras.KerasTensor)])
        return result

    graph = keras.Model(encoder.input, encoder.output[name])
    # Calls the operations again, not copies of them: layers, functions of keras.ops and inner models, in their order.
    graph = keras.models.clone_model(graph, clone_function=lambda operation: operation, call_function=record)
    model = keras.Model(graph.input, {"results": results})
    outputs = [model({key: batch[key] for key in encoder.input})["results"] for batch in (padded, alone)]
    for operation, *pair in zip(operations, *outputs, strict=True):
        ours, theirs = ([np.atleast_1d(keras.ops.convert_to_numpy(tensor))[:1] for tensor in result] for result in pair)
        cropped = [one[tuple(map(slice, other.shape))] for one, other in zip(ours, theirs, strict=True)]
        if differs(cropped, theirs, tolerance):
            return operation
    return operations[-1]
