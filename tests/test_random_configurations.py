"""Models of random configurations: built, fitted for a step, saved, loaded, generated with and exported.

Whatever the configuration, all roads give the same texts and scores.
"""

import os
import tempfile

import hypothesis
import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import ids_of, log_probabilities, randomized
from hypothesis import strategies

import kerasseq
from kerasseq import TextGenerator, models
from kerasseq.decoders.placements import PLACEMENTS
from kerasseq.layers.attention import SCORES
from kerasseq.layers.cells import CELLS
from kerasseq.search import BeamSampler, Coverage, LengthLimits, NoRepeatNGram, SuppressTokens

SOURCES = ["one two three", "four", "", "two two one four three", "three one"]
LENGTH = 8
NEAR_TIE = 1e-3

SETTINGS = hypothesis.settings(deadline=None, derandomize=True)

attention_options = {
    "attention": strategies.sampled_from(sorted(SCORES)),
    "placement": strategies.sampled_from([None, *PLACEMENTS]),
    "cell": strategies.sampled_from(sorted(CELLS)),
    "bidirectional": strategies.booleans(),
    "bridge": strategies.sampled_from([None, "zero", "dense"]),
    "residual": strategies.booleans(),
    "num_heads": strategies.sampled_from([1, 2, 4]),
}
builders = strategies.one_of(
    strategies.fixed_dictionaries(
        {
            "builder": strategies.sampled_from(["VanillaSeq2Seq", "LSTMSeq2Seq", "GRUSeq2Seq"]),
            "bidirectional": strategies.booleans(),
        }
    ),
    strategies.fixed_dictionaries({"builder": strategies.just("AttentionSeq2Seq"), **attention_options}),
    strategies.fixed_dictionaries(
        {
            "builder": strategies.just("PointerGeneratorSeq2Seq"),
            "coverage_loss": strategies.sampled_from([0.0, 1.0]),
            **attention_options,
        }
    ),
)
sizes = strategies.fixed_dictionaries(
    {
        "units": strategies.sampled_from([4, 8, 12]),
        "embedding_dim": strategies.integers(1, 12),
        "num_layers": strategies.integers(1, 3),
        "tie_embeddings": strategies.booleans(),
        "dropout": strategies.sampled_from([0.0, 0.3]),
    }
)
samplers = strategies.fixed_dictionaries(
    {
        "beam_width": strategies.integers(1, 5),
        "length_penalty": strategies.sampled_from([0.0, 0.6, 1.0]),
        "normalization": strategies.sampled_from(["gnmt", "length"]),
        "scorers": strategies.sampled_from([(), (Coverage(0.2),)]),
        "constraints": strategies.lists(
            strategies.sampled_from(
                [
                    LengthLimits(min_length=3),
                    LengthLimits(max_length_ratio=1.5),
                    NoRepeatNGram(2),
                    SuppressTokens([0, 1, 2]),
                ]
            ),
            unique_by=type,
        ),
    }
)
configurations = strategies.tuples(builders, sizes, samplers, strategies.integers(0, 1_000))


def build(preprocessor, builder, size, seed):
    builder = dict(builder)
    make = getattr(models, builder.pop("builder"))
    if builder.get("attention") == "dot":
        builder["bidirectional"] = False
    vocabularies = [tokenizer.vocabulary_size for tokenizer in preprocessor.tokenizers]
    model = make(*vocabularies, **builder, **size)
    return randomized(model, seed)


def agree(generations, texts, scores):
    """Scores to 1e-3, and texts unless the two best hypotheses are a nearer tie than that."""
    np.testing.assert_allclose(scores, [generation.score for generation in generations], atol=1e-3)
    for generation, text in zip(generations, texts, strict=True):
        others = [score for _, score in generation.alternatives[1:]]
        assert text == generation.text or (others and generation.score - others[0] < NEAR_TIE)


def check(preprocessors, number_pairs, configuration):
    builder, size, options, seed = configuration
    preprocessor = preprocessors[builder["builder"] == "PointerGeneratorSeq2Seq"]
    if "attention" not in builder:
        options = {**options, "scorers": ()}
    model = build(preprocessor, builder, size, seed)
    model.compile(keras.optimizers.Adam(1e-3), kerasseq.losses.MaskedCrossentropy())
    history = model.fit(preprocessor.dataset(number_pairs[:8], batch_size=8), verbose=0, shuffle=False)
    assert np.isfinite(history.history["loss"]).all()

    sampler = BeamSampler(**options)
    generator = TextGenerator(model, preprocessor, sampler=sampler, max_length=LENGTH)
    generations = generator.generate(SOURCES, details=True)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.keras")
        generator.save(path)
        exported = generator.export(os.path.join(folder, "exported"), verify=False)
        for loaded in (TextGenerator.load(path), TextGenerator.load(exported)):
            again = loaded.generate(SOURCES, details=True)
            agree(generations, [other.text for other in again], [other.score for other in again])
        served = tf.saved_model.load(exported).signatures["serving_default"](text=tf.constant(SOURCES))
        agree(generations, [text.decode() for text in served["text"].numpy()], served["score"].numpy())

    # === One at a time and in another order; the scores are those of teacher forcing ===
    alone = [generator.generate([source], details=True)[0] for source in reversed(SOURCES)][::-1]
    agree(generations, [other.text for other in alone], [other.score for other in alone])
    if not options["scorers"]:
        greedy = generator.generate(SOURCES, sampler="greedy", details=True)
        for source, generation in zip(SOURCES, greedy, strict=True):
            ids = ids_of(generation, generator)
            inputs = {
                "encoder_token_ids": preprocessor.encode_source([source])["encoder_token_ids"].numpy(),
                "decoder_token_ids": np.array([[2, *ids[:-1]]], "int32"),
            }
            if ids:
                expected = log_probabilities(model.predict_on_batch(inputs)[0], ids).sum()
                assert generation.score == pytest.approx(expected, abs=1e-3)


@pytest.fixture(scope="session")
def preprocessors(preprocessor, joint_preprocessor):
    """With a vocabulary for each side, and with one for both."""
    return preprocessor, joint_preprocessor


@pytest.mark.exports
@hypothesis.settings(parent=SETTINGS, max_examples=1)
@hypothesis.given(configuration=configurations)
def test_random_configurations(preprocessors, number_pairs, configuration):
    check(preprocessors, number_pairs, configuration)


@pytest.mark.slow
@hypothesis.settings(parent=SETTINGS, max_examples=25)
@hypothesis.given(configuration=configurations)
def test_many_random_configurations(preprocessors, number_pairs, configuration):
    check(preprocessors, number_pairs, configuration)
