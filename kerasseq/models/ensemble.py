"""Several models that decode as one."""

import collections.abc

import keras
from keras import layers

from kerasseq.encoders import source_vocabulary_size, steps_per_position
from kerasseq.joining import connect, select_inputs
from kerasseq.layers import MeanProbability

PARTS = ("encoder", "bridge", "decoder")


def Ensemble(models, name="ensemble"):
    """Joins models of one vocabulary: each token's probability is the mean over the members.

    The result is an encoder-decoder model like any other: it is generated with, saved and exported in the same ways,
    and shares its weights with its members. `attention` is the mean of their weights where all have them, for memories
    of one length, and so is `generation_probability`. Losses that members add in training are not part of it.

    Args:
        models: list of at least two encoder-decoder models with the same encoder inputs, source and target vocabulary.
            They may differ in all else.
        name: str.

    Returns:
        a functional `keras.Model` from the members' inputs to log-probabilities `(batch, target, target_vocabulary)`,
        float32, with the sub-models `"encoder"`, `"bridge"` and `"decoder"`.

    Raises:
        ValueError: if there are fewer than two models, or they do not fit together.

    Example:

    >>> import keras, kerasseq
    >>> models = [kerasseq.models.GRUSeq2Seq(100, 120, embedding_dim=16, units=units) for units in (24, 32)]
    >>> ensemble = kerasseq.models.Ensemble(models)
    >>> ids = keras.ops.ones((2, 7), dtype="int32")
    >>> keras.ops.shape(ensemble({"encoder_token_ids": ids, "decoder_token_ids": ids[:, :5]}))
    (2, 5, 120)

    Source: Sutskever et al. 2014, section 3.6, for ensembles of translation models.
    """
    models = check_members(models)
    encoders, bridges, decoders = ([model.get_layer(part) for model in models] for part in PARTS)

    # === Encoder: what each one gives, under its name with the member's number ===
    inputs = new_inputs(encoders[0].input)
    outputs, states = {}, []
    for index, encoder in enumerate(encoders):
        for key, tensor in renamed(encoder, index)(select_inputs(encoder, inputs)).items():
            if key == "states":
                states += tensor
            else:
                outputs[f"{key}_{index}"] = tensor
    # What samplers measure the length of the source by.
    mask = {"memory_mask": outputs["memory_mask_0"]} if "memory_mask_0" in outputs else {}
    encoder = keras.Model(inputs, {**outputs, **mask, "states": states}, name="encoder")

    # === Bridge ===
    inputs, outputs, states = {"states": []}, {}, []
    for index, (encoder_part, bridge) in enumerate(zip(encoders, bridges, strict=True)):
        available = member_inputs(bridge, index, set(encoder_part.input), inputs)
        for key, tensor in renamed(bridge, index)(available).items():
            if key == "states":
                states += tensor
            else:
                outputs[f"{key}_{index}"] = tensor
    bridge = keras.Model(inputs, {**outputs, "states": states}, name="bridge")

    # === Decoder ===
    inputs, results = {"states": []}, []
    for index, (encoder_part, decoder) in enumerate(zip(encoders, decoders, strict=True)):
        shared = {*encoder_part.input, "decoder_token_ids"}
        results.append(renamed(decoder, index)(member_inputs(decoder, index, shared, inputs)))
    outputs = {
        "logits": MeanProbability(name="mean_probability")([result["logits"] for result in results]),
        "states": [state for result in results for state in result["states"]],
    }
    means = ["generation_probability"]
    if len({*map(steps_per_position, encoders)}) == 1:
        means.append("attention")
    for key in means:
        if all(key in result for result in results):
            mean = layers.Average(dtype="float32", name=f"mean_{key}")
            outputs[key] = mean([result[key] for result in results])
    decoder = keras.Model(inputs, outputs, name="decoder")
    return connect(encoder, bridge, decoder, name)


def new_inputs(tensors):
    """Inputs like the given ones, a nest of symbolic tensors."""
    return {key: keras.Input(tensor.shape[1:], dtype=tensor.dtype, name=key) for key, tensor in tensors.items()}


def renamed(part, index):
    """The same sub-model under a name of its own, as a model that holds several of them needs."""
    return keras.Model(part.input, part.output, name=f"{part.name}_{index}")


def member_inputs(part, index, shared, inputs):
    """What a member's part takes, made from the inputs of the ensemble's part, to which missing ones are added.

    Args:
        part: the member's bridge or decoder.
        index: int, number of the member.
        shared: set of names that all members share; the others get the member's number.
        inputs: dict of symbolic inputs, `states` a list of those of all members; extended.

    Returns:
        dict of symbolic tensors by the names that `part` declares.
    """
    taken = {}
    for key, tensor in part.input.items():
        if key == "states":
            first = len(inputs["states"])
            taken[key] = [
                keras.Input(state.shape[1:], dtype=state.dtype, name=f"state_{first + number}")
                for number, state in enumerate(tensor)
            ]
            inputs["states"] += taken[key]
        else:
            name = key if key in shared else f"{key}_{index}"
            if name not in inputs:
                inputs[name] = keras.Input(tensor.shape[1:], dtype=tensor.dtype, name=name)
            taken[key] = inputs[name]
    return taken


def check_members(models):
    """The models as a list; raises a `ValueError` unless they have the three parts, and fit together."""
    if isinstance(models, keras.Model) or not isinstance(models, collections.abc.Iterable):
        raise ValueError(f"An ensemble takes a list of models. Received: {models!r}.")
    models = list(models)
    if len(models) < 2:
        raise ValueError(f"An ensemble needs at least two models. Received: {len(models)}.")
    for index, model in enumerate(models):
        if not isinstance(model, keras.Model) or isinstance(getattr(model, "model", None), keras.Model):
            raise ValueError(
                "The members of an ensemble are encoder-decoder models, those of TextGenerators their `model`. "
                f"Received at index {index}: a {type(model).__name__}."
            )
    weights = [id(weight) for model in models for weight in model.weights]
    if len(set(weights)) < len(weights):
        raise ValueError(
            "The members of an ensemble have no weights in common, for Keras could not load it again. Received: models "
            "that share some. Copy one with keras.models.clone_model and set_weights."
        )
    for index, model in enumerate(models):
        missing = [part for part in PARTS if part not in [layer.name for layer in model.layers]]
        if missing:
            raise ValueError(
                f"The members of an ensemble are encoder-decoder models, as kerasseq.models builds them. Received at "
                f"index {index}: {model!r}, without {missing}."
            )
    described = [
        {
            "encoder inputs": sorted(model.get_layer("encoder").input),
            "target vocabulary": model.get_layer("decoder").output["logits"].shape[-1],
            "source vocabulary": source_vocabulary_size(model.get_layer("encoder")),
        }
        for model in models
    ]
    for index, description in enumerate(described):
        if description != described[0]:
            raise ValueError(
                "The members of an ensemble need the same encoder inputs and vocabularies. Received: "
                f"{described[0]} at index 0, {description} at index {index}. Train them with one preprocessor."
            )
    return models
