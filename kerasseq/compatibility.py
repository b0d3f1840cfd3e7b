"""Compatibility checks of a model, a preprocessor and a sampler."""

from kerasseq.encoders import Encoder
from kerasseq.preprocessing import Preprocessor
from kerasseq.search import RandomSampler, Sampler
from kerasseq.seq2seq import Seq2Seq, check_digest


def check_sampler(sampler: Sampler, model: Seq2Seq, preprocessor: Preprocessor) -> None:
    """Raises a `ValueError` for what the model or the preprocessor does not support."""
    for constraint in sampler.constraints:
        # A preprocessor that is being loaded has no vocabularies yet.
        if constraint.joint_vocabulary and preprocessor.has_vocabularies and not preprocessor.joint:
            raise ValueError(
                f"{type(constraint).__name__} compares the tokens of source and target, so both need one vocabulary. "
                f"Received: a {type(preprocessor).__name__} without. Train one with TextPreprocessor.from_pairs(pairs, "
                "joint=True)."
            )
    if isinstance(sampler, RandomSampler) and sampler.num_candidates > model.decoder.vocabulary_size:
        raise ValueError(
            f"k must be at most the {model.decoder.vocabulary_size} tokens of the target vocabulary. Received: a "
            f"{type(sampler.sampler).__name__} with k={sampler.num_candidates}."
        )
    for scorer in sampler.scorers:
        if scorer.needs_attention and not model.decoder.has_attention:
            raise ValueError(
                f"{type(scorer).__name__} sums attention weights, and this model has none. Leave it out, or choose a "
                "model with attention, such as kerasseq.models.AttentionSeq2Seq."
            )
        if scorer.needs_ctc and not model.has_ctc:
            raise ValueError(
                f"{type(scorer).__name__} needs the probabilities of a CTCLoss, and this model has none. Leave it out, "
                "or train a model with one, such as kerasseq.models.SpeechSeq2Seq(..., ctc_loss=0.5)."
            )


def check_model(model: Seq2Seq, preprocessor: Preprocessor) -> None:
    """Raises a `ValueError` unless the model reads what the preprocessor returns, with the same vocabularies."""
    if not isinstance(model, Seq2Seq):
        raise ValueError(
            "TextGenerator takes a kerasseq.Seq2Seq, as kerasseq.models builds it, and then its preprocessor: "
            f"TextGenerator(model, preprocessor). Received as the model: a {type(model).__name__}."
        )
    if not isinstance(preprocessor, Preprocessor):
        raise ValueError(
            "TextGenerator takes a preprocessor of kerasseq.preprocessing, such as TextPreprocessor. Received: a "
            f"{type(preprocessor).__name__}."
        )
    if preprocessor.has_vocabularies:
        check_vocabularies(model, preprocessor)
        check_digest(model, preprocessor.vocabulary_digest)
    check_encoder_inputs(model.encoder, preprocessor)
    limit, length = model.encoder.max_source_length, preprocessor.max_source_length
    if limit is not None and length is not None and length > limit:
        raise ValueError(
            f"max_source_length must be at most {limit}, the most source tokens that the encoder reads, END included. "
            f"Received: a preprocessor with max_source_length={length}. Build the preprocessor with "
            f"max_source_length={limit} or less."
        )


def check_vocabularies(model: Seq2Seq, preprocessor: Preprocessor) -> None:
    """Raises a `ValueError` unless the vocabularies of the model and the preprocessor have the same sizes."""
    if model.decoder.copies and not preprocessor.joint:
        raise ValueError(
            "The model copies token ids from the source to the target, so both need one vocabulary. Received: a "
            "preprocessor with two. Train one with TextPreprocessor.from_pairs(pairs, joint=True)."
        )
    sizes = {
        "target": (model.decoder.vocabulary_size, preprocessor.target_vocabulary_size),
        "source": (model.encoder.vocabulary_size, preprocessor.source_vocabulary_size),
    }
    for side, (size, expected) in sizes.items():
        if None not in (size, expected) and size != expected:
            raise ValueError(
                f"The model's {side} vocabulary has {size} tokens, the preprocessor's has {expected}. Build the model "
                f"with {side}_vocabulary_size=preprocessor.{side}_vocabulary_size, or pass the preprocessor that the "
                "model was trained with."
            )


def check_encoder_inputs(encoder: Encoder, preprocessor: Preprocessor) -> None:
    """Raises a `ValueError` unless the encoder reads the tensors that the preprocessor returns."""
    returned = preprocessor.encoder_inputs
    for name, tensor in encoder.input.items():
        if name == "encoder_features":
            raise ValueError(
                "The model reads features of images, the preprocessor returns images. Put the backbone in front of the "
                "model: kerasseq.models.with_backbone(model, extractor)."
            )
        if name not in returned:
            raise ValueError(
                f"The encoder reads {name!r}, the {type(preprocessor).__name__} returns "
                f"{', '.join(map(repr, returned))}. Pass the preprocessor that the model was trained with."
            )
        expected, received = tuple(tensor.shape[1:]), tuple(returned[name])
        sizes = zip(expected, received, strict=True) if len(expected) == len(received) else [(0, 1)]
        if any(None not in pair and pair[0] != pair[1] for pair in sizes):
            raise ValueError(
                f"The encoder reads {name!r} of the shape {expected}, the {type(preprocessor).__name__} returns it as "
                f"{received}. Build both with the same num_bins, or the same image_size."
            )
