"""Whether a model, a preprocessor and a sampler go together."""

import keras

from kerasseq.encoders import source_vocabulary_size


def check_sampler(sampler, model, preprocessor):
    """Raises a `ValueError` for a coverage penalty without attention, or words of the source in another vocabulary."""
    # A preprocessor that is being loaded has no vocabularies yet, and so no `joint`.
    joint = hasattr(preprocessor, "word_pieces") and getattr(preprocessor, "joint", True)
    if sampler.source_words_only and not joint:
        raise ValueError(
            "source_words_only compares the tokens of source and target, so both need one vocabulary. Received: a "
            f"{type(preprocessor).__name__} without. Train one with TextPreprocessor.from_pairs(pairs, joint=True)."
        )
    if getattr(sampler, "coverage_penalty", 0.0) and "attention" not in model.get_layer("decoder").output:
        raise ValueError(
            "A coverage penalty sums up attention, and this model has none. Received: "
            f"coverage_penalty={sampler.coverage_penalty}. Choose 0, or a model with attention, such as "
            "kerasseq.models.AttentionSeq2Seq."
        )


def check_model(model, preprocessor):
    """Raises a `ValueError` unless the model has the three parts and the preprocessor's vocabularies."""
    if not isinstance(model, keras.Model):
        raise ValueError(
            "TextGenerator takes a model and then its preprocessor: TextGenerator(model, preprocessor). "
            f"Received as the model: a {type(model).__name__}."
        )
    names = [layer.name for layer in model.layers]
    missing = [name for name in ("encoder", "bridge", "decoder") if name not in names]
    if missing:
        raise ValueError(
            f"model must have sub-models named 'encoder', 'bridge' and 'decoder', as kerasseq.models builds them. "
            f"Missing: {missing}. Received: layers {names}."
        )
    copies = any(name.startswith("source_token_ids") for name in model.get_layer("decoder").input)
    if copies and not getattr(preprocessor, "joint", True):
        raise ValueError(
            "The model copies token ids from the source to the target, so both need one vocabulary. Received: a "
            "preprocessor with two. Train one with TextPreprocessor.from_pairs(pairs, joint=True)."
        )
    sizes = {"target": model.get_layer("decoder").output["logits"].shape[-1]}
    if source_size := source_vocabulary_size(model.get_layer("encoder")):
        sizes["source"] = source_size
    for side, size in sizes.items():
        expected = getattr(preprocessor, f"{side}_vocabulary_size", size)
        if size != expected:
            raise ValueError(
                f"The model's {side} vocabulary has {size} tokens, the preprocessor's has {expected}. Build the model "
                f"with {side}_vocabulary_size=preprocessor.{side}_vocabulary_size, or take the preprocessor that the "
                "model was trained with."
            )
    if given := getattr(preprocessor, "encoder_inputs", None):
        check_encoder_inputs(model.get_layer("encoder"), given, preprocessor)


def check_encoder_inputs(encoder, given, preprocessor):
    """Raises a `ValueError` unless the encoder reads what a preprocessor gives, a dict of shapes without the batch."""
    for name, tensor in encoder.input.items():
        if name == "encoder_features":
            raise ValueError(
                "The model reads features of images, the preprocessor gives images. Put the backbone in front of the "
                "model: kerasseq.models.with_backbone(model, extractor)."
            )
        if name not in given:
            raise ValueError(
                f"The encoder reads {name!r}, the {type(preprocessor).__name__} gives {', '.join(map(repr, given))}. "
                "Take the preprocessor that the model was trained with."
            )
        expected, received = tuple(tensor.shape[1:]), tuple(given[name])
        sizes = zip(expected, received, strict=True) if len(expected) == len(received) else [(0, 1)]
        if any(None not in pair and pair[0] != pair[1] for pair in sizes):
            raise ValueError(
                f"The encoder reads {name!r} of the shape {expected}, the {type(preprocessor).__name__} gives it as "
                f"{received}. Build both with the same num_bins, or the same image_size."
            )
