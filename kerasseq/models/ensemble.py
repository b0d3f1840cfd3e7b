"""Ensembles of models."""

from collections.abc import Iterable

from kerasseq.decoders import EnsembleDecoder
from kerasseq.encoders import EnsembleEncoder
from kerasseq.seq2seq import Seq2Seq


def Ensemble(models: Iterable[Seq2Seq], name: str = "ensemble") -> Seq2Seq:
    """Joins models of one vocabulary: each token's probability is the mean over the members.

    An ensemble shares its weights with its members, and is trained, saved and exported like any other model. Its
    `attention` is the mean over the members if all have attention weights for memories of one length; so is
    `generation_probability` if all copy. Auxiliary losses of the members are not part of it.

    Args:
        models: list of at least two encoder-decoder models with the same encoder inputs, source and target vocabulary.
            They may differ in everything else.
        name: str.

    Returns:
        a `kerasseq.Seq2Seq` from the members' inputs to log-probabilities `(batch, target, target_vocabulary)`,
        float32.

    Raises:
        ValueError: if there are fewer than two models, or they do not fit together or share weights.

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
    encoders, decoders = [model.encoder for model in models], [model.decoder for model in models]
    strides = {encoder.stride for encoder in encoders}
    decoder = EnsembleDecoder(decoders, average_attention=len(strides) == 1)
    ensemble = Seq2Seq(EnsembleEncoder(encoders), decoder, name=name)
    ensemble.vocabulary_digest = next(filter(None, (model.vocabulary_digest for model in models)), None)
    return ensemble


def check_members(models: Iterable[Seq2Seq]) -> list[Seq2Seq]:
    """Returns the models as a list, or raises a `ValueError` unless they fit together."""
    if not isinstance(models, Iterable):
        raise ValueError(f"An ensemble takes a list of models. Received: {models!r}.")
    models = list(models)
    if len(models) < 2:
        raise ValueError(f"An ensemble needs at least two models. Received: {len(models)}.")
    for index, model in enumerate(models):
        if not isinstance(model, Seq2Seq):
            raise ValueError(
                "The members of an ensemble must be kerasseq.Seq2Seq models; of a TextGenerator pass its `model`. "
                f"Received at index {index}: a {type(model).__name__}."
            )
    weights = [id(weight) for model in models for weight in model.weights]
    if len(set(weights)) < len(weights):
        raise ValueError(
            "The members of an ensemble must not share weights, because Keras could not load it again. Copy one with "
            "kerasseq.Seq2Seq.from_config(model.get_config()) and set_weights."
        )
    described = [
        {
            "encoder inputs": sorted(model.encoder.input),
            "target vocabulary": model.decoder.vocabulary_size,
            "source vocabulary": model.encoder.vocabulary_size,
        }
        for model in models
    ]
    for index, description in enumerate(described):
        if description != described[0]:
            raise ValueError(
                "The members of an ensemble need the same encoder inputs and vocabularies. Received: "
                f"{described[0]} at index 0, {description} at index {index}. Train them with one preprocessor."
            )
    if len({model.vocabulary_digest for model in models} - {None}) > 1:
        raise ValueError(
            "The members of an ensemble must have been trained with one vocabulary. Received: models of several of the "
            "same size. Train them with one preprocessor."
        )
    return models
