"""Outputs of source words alone, and where each token of an output came from: in process, saved, served."""

import dataclasses
import itertools
import re

import keras_hub
import numpy as np
import pytest
import tensorflow as tf
from helpers import ask_served, assert_same_outputs, ids_of, randomized

from kerasseq import TextGenerator, models
from kerasseq.plotting import plot_attention
from kerasseq.preprocessing import TextPreprocessor
from kerasseq.preprocessing.ids import shift_right
from kerasseq.search import (
    BeamSampler,
    GreedySampler,
    LengthLimits,
    NoRepeatNGram,
    RandomSampler,
    SourceWords,
)

START, END = 2, 3
SOURCES = [
    "Greenfield/Belser designs the naïve logos of paper mills.",
    "In 2005 the mills of Élan sold 32,000 tons, 2.7% more.",
    "the user_name of B2B is x",
    "",
    "Qq 👍 ok",
]


@pytest.fixture(scope="module")
def joint():
    """One vocabulary, which cuts most words into pieces."""
    pairs = [(source, source) for source in SOURCES if source] * 10
    return TextPreprocessor.from_pairs(pairs, 340, joint=True, max_source_length=64, max_target_length=32)


@pytest.fixture(scope="module")
def separate():
    pairs = [(source, source.upper()) for source in SOURCES if source] * 10
    return TextPreprocessor.from_pairs(pairs, 340)


def adverse(model):
    """Random weights, which make the model say other words than those of the source, and END wherever it may."""
    randomized(model, 5)
    bias = model.decoder.logits.bias
    bias.assign(bias + 20.0 * np.eye(bias.shape[0])[END])
    return model


def pointer_generator(vocabulary_size):
    return models.PointerGeneratorSeq2Seq(vocabulary_size, cell="gru", attention="luong", units=12, embedding_dim=8)


@pytest.fixture(scope="module")
def generator(joint):
    """A pointer-generator whose own sampler is a beam search for words of the source."""
    sampler = BeamSampler(3, length_penalty=0.8, constraints=[LengthLimits(min_length=7), SourceWords()])
    return TextGenerator(adverse(pointer_generator(joint.source_vocabulary_size)), joint, sampler)


@pytest.fixture(scope="module")
def generations(generator):
    """Outputs of a free search."""
    return generator.generate(SOURCES, BeamSampler(3, constraints=[LengthLimits(min_length=7)]), details=True)


def log_probabilities(generator, sources, ids):
    """What the model gives the outputs, int lists, all at once."""
    encoder_inputs = generator.preprocessor.encode_source(sources)
    labels = tf.ragged.constant(ids, dtype=tf.int32).to_tensor()
    logits = generator.model({**encoder_inputs, "decoder_token_ids": shift_right(labels)}, training=False)
    chosen = tf.gather(tf.nn.log_softmax(logits), labels, batch_dims=2)
    return tf.reduce_sum(tf.where(labels > 0, chosen, 0.0), axis=1).numpy()


def check_scores(generator, generations, sources, length_penalty):
    """Scores are the model's: rules do not make what they leave add up to 1."""
    ids = [ids_of(generation, generator) for generation in generations]
    assert all(ids)
    penalties = ((5 + np.array([len(tokens) for tokens in ids])) / 6) ** length_penalty
    expected = log_probabilities(generator, sources, ids) / penalties
    np.testing.assert_allclose([generation.score for generation in generations], expected, atol=1e-3)


def foreign(source, text):
    """Words and numbers of a text that the source does not have."""
    words = set(re.findall(r"\w+", text.lower())) - set(re.findall(r"\w+", source.lower()))
    numbers = set(re.findall(r"\d+(?:[.,:/–-]\d+)*", text)) - set(re.findall(r"\d+(?:[.,:/–-]\d+)*", source))
    return words | numbers


def ended(generation):
    return generation.target_tokens[-1:] == ["</s>"]


# === Outputs of source words alone ===


def draw(constraints):
    return RandomSampler(keras_hub.samplers.RandomSampler(seed=1, temperature=1.5), constraints=constraints)


def wide(constraints):
    return BeamSampler(3, length_penalty=0.8, constraints=constraints)


def greedy(constraints):
    return GreedySampler(constraints=constraints)


# The search by hand of tests/search has each rule in both searches.
ONE_IS_SLOW = [pytest.param(greedy, marks=pytest.mark.slow), wide]


def test_the_model_would_say_other_words(generations):
    assert sum(bool(foreign(source, said.text)) for source, said in zip(SOURCES, generations, strict=True)) >= 3


@pytest.mark.parametrize("make", [*ONE_IS_SLOW, draw])
def test_all_hypotheses_hold_words_of_the_source_alone(generator, make):
    sampler = make([LengthLimits(min_length=7), SourceWords()])
    generations = generator.generate(SOURCES, sampler, details=True)
    texts = set()
    for source, generation in zip(SOURCES, generations, strict=True):
        assert len(generation.alternatives) == (sampler.rows_per_sequence if source else 1)  # Blank ones have one.
        for text, score in generation.alternatives:
            assert not foreign(source, text) and score > -1e8
            texts.add(text)
        # An empty source allows END alone, which comes too early.
        assert len(generation.target_tokens) >= 7 and ended(generation) if source else generation.text == ""
    assert len(texts) > 5 or sampler.rows_per_sequence == 1
    real = [index for index, source in enumerate(SOURCES) if source]
    generations, sources = ([some[index] for index in real] for some in (generations, SOURCES))
    check_scores(generator, generations, sources, 0.8 if make is wide else 0)


def test_a_model_without_attention(joint):
    model = adverse(models.GRUSeq2Seq(*[joint.source_vocabulary_size] * 2, units=12, embedding_dim=8))
    sampler = greedy([LengthLimits(min_length=7), SourceWords()])
    generations = TextGenerator(model, joint, sampler).generate(SOURCES, details=True)
    for source, generation in zip(SOURCES, generations, strict=True):
        assert not foreign(source, generation.text)
        assert bool(generation.text) == bool(source)


# One set of rules with prefixes for three tests, because tracing its graph takes longer than they do.
RULES = [LengthLimits(min_length_ratio=0.4, max_length_ratio=0.5), NoRepeatNGram(3), SourceWords()]


@pytest.mark.parametrize("make", ONE_IS_SLOW)
def test_with_relative_lengths_and_without_repeated_trigrams(generator, make):
    """No trigram twice, but where a word that has begun must end."""
    generations = generator.generate(SOURCES, make(RULES), details=True, prefixes="")
    for source, generation in zip(SOURCES, generations, strict=True):
        tokens, length = generation.target_tokens, len(generation.source_tokens)
        if not source:
            assert (generation.text, tokens) == ("", [])
            continue
        assert ended(generation) and not foreign(source, generation.text)
        assert 0.4 * length <= len(tokens) <= max(0.5 * length, 1)
        trigrams = list(zip(tokens, tokens[1:], tokens[2:], strict=False))
        repeated = [trigram for index, trigram in enumerate(trigrams) if trigram in trigrams[:index]]
        assert not any(last.startswith("▁") for _, _, last in repeated) and len(repeated) <= len(trigrams) / 3


@pytest.mark.parametrize("make", ONE_IS_SLOW)
def test_a_prefix_that_leaves_no_room_for_its_word(generator, make):
    """It comes all the same, and END behind it."""
    generation = generator.generate("Greenfield", make(RULES), details=True, prefixes="Green")
    assert generation.text == "Green" and ended(generation) and generation.score > -1e8


@pytest.mark.parametrize("make", ONE_IS_SLOW)
def test_with_prefixes(generator, make):
    """Forced tokens come whatever the source, and count in the score; behind them the rule holds."""
    prefixes = ["Paris zzz", "In 2005", "", "Zebra", "Qq"]
    generations = generator.generate(SOURCES, make(RULES), details=True, prefixes=prefixes)
    real = [index for index, source in enumerate(SOURCES) if source]
    generations, sources = ([some[index] for index in real] for some in (generations, SOURCES))
    for source, index, generation in zip(sources, real, generations, strict=True):
        assert ended(generation) and generation.text.startswith(prefixes[index])
        assert foreign(source, generation.text) <= foreign(source, prefixes[index])
    check_scores(generator, generations, sources, 0.8 if make is wide else 0)


def test_outputs_end_in_time(generator):
    """However little is left, no word is cut: only such begin as end within the limit."""
    sampler = greedy([LengthLimits(min_length=10), SourceWords()])  # END comes last.
    generations = generator.generate(SOURCES, sampler, max_length=5, details=True)
    for source, generation in zip(SOURCES, generations, strict=True):
        assert not foreign(source, generation.text)
    assert sum(len(generation.target_tokens) == 5 for generation in generations) >= 2


def test_where_the_model_copies_whole_words_nothing_changes():
    """Each word is one token, and only tokens of the source are likely."""
    words = ("paper", "mills", "logos", "tons")
    sources = [" ".join(order) for order in itertools.permutations(words)] * 3
    preprocessor = TextPreprocessor.from_pairs([(s, s) for s in sources], 285, joint=True, max_target_length=12)
    assert all(preprocessor.tokenizers[0].tokenize(word).shape == 1 for word in words)
    model = adverse(pointer_generator(preprocessor.source_vocabulary_size))
    # Generated is only END, a third of the time, so all else is copied.
    logits, copying = model.decoder.logits, model.decoder.pointer_generator
    logits.kernel.assign(np.zeros(logits.kernel.shape))
    copying.set_weights([np.zeros(copying.kernel.shape), np.array([-0.7])])
    generator = TextGenerator(model, preprocessor)
    free, ruled = (
        generator.generate(sources[:8], wide([LengthLimits(min_length=4), *words_alone]), details=True)
        for words_alone in ([], [SourceWords()])
    )
    for one, other in zip(free, ruled, strict=True):
        assert ended(one) and other.target_tokens == one.target_tokens
        assert [text for text, _ in other.alternatives] == [text for text, _ in one.alternatives]
        scores = ([score for _, score in generation.alternatives] for generation in (one, other))
        np.testing.assert_allclose(*scores, atol=1e-4)
    assert len({generation.text for generation in free}) > 1


# === What does not fit ===


def test_two_vocabularies_are_refused(separate):
    sizes = (separate.source_vocabulary_size, separate.target_vocabulary_size)
    model = models.GRUSeq2Seq(*sizes, units=4, embedding_dim=4)
    sampler = greedy([SourceWords()])
    message = "SourceWords .* need one vocabulary. Received: a TextPreprocessor without. .*joint=True"
    with pytest.raises(ValueError, match=message):
        TextGenerator(model, separate, sampler)
    with pytest.raises(ValueError, match=message):
        TextGenerator(model, separate).generate("the mills", sampler)


@pytest.mark.parametrize("sampler", ["beam", BeamSampler(constraints=[SourceWords()])])
def test_a_model_that_copies_needs_one_vocabulary(separate, sampler):
    model = models.PointerGeneratorSeq2Seq(separate.source_vocabulary_size, units=4, embedding_dim=4)
    message = "copies token ids .* need one vocabulary. Received: a preprocessor with two. .*joint=True"
    with pytest.raises(ValueError, match=message):
        TextGenerator(model, separate, sampler)


# === Where each token came from ===


def test_generation_probability_is_that_of_stepwise_decoding(generator, generations):
    model = generator.model
    for source, generation in zip(SOURCES[:2], generations, strict=False):
        state, constants = model.start(model.encode(generator.preprocessor.encode_source([source])))
        attention, probabilities, token = [], [], START
        for following in ids_of(generation, generator):
            outputs = model.step(tf.constant([token]), state, constants)
            state, token = outputs["state"], following
            attention.append(outputs["attention"][0])
            probabilities.append(outputs["generation_probability"][0])
        assert generation.generation_probability.shape == (len(generation.target_tokens),)
        np.testing.assert_allclose(generation.generation_probability, probabilities, atol=1e-5)
        np.testing.assert_allclose(generation.attention, attention, atol=1e-5)
    together = np.concatenate([generation.generation_probability for generation in generations])
    assert together.min() > 0 and together.max() < 1 and np.ptp(together) > 0.1


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        (
            "generation_probability",
            "index 1 has no generation probability: its model does not copy. .*PointerGenerator",
        ),
        ("attention", "index 1 has no attention"),
    ],
)
def test_plots_of_models_that_do_not_copy_are_refused(generations, missing, message):
    with pytest.raises(ValueError, match=message):
        plot_attention([generations[0], dataclasses.replace(generations[1], **{missing: None})], copies=True)


def test_plot_of_the_origins(generations):
    generations = [generation for generation in generations if ended(generation)][:2]
    figure = plot_attention(generations, copies=True)
    panels = [axis for axis in figure.axes if axis.images]
    for axis, generation in zip(panels, generations, strict=True):
        shown = np.asarray(axis.images[0].get_array())
        p_gen = generation.generation_probability
        assert shown.shape == (len(generation.target_tokens), len(generation.source_tokens) + 1)
        np.testing.assert_allclose(shown.sum(axis=1), 1, atol=1e-5)
        np.testing.assert_array_equal(shown[:, -1], p_gen)
        for step, row in enumerate(shown):
            np.testing.assert_allclose(row[:-1], (1 - p_gen[step]) * generation.attention[step], atol=1e-6)
        sources, targets = (
            [label.get_text() for label in ticks] for ticks in (axis.get_xticklabels(), axis.get_yticklabels())
        )
        assert sources[-2:] == ["END", "vocabulary"] and len(sources) == shown.shape[1]
        assert targets[-1] == "END" and len(targets) == len(shown)
    assert [axis.get_ylabel() for axis in figure.axes if axis not in panels] == ["probability of the origin"]
    # Without `copies` it is the attention alone.
    axis = plot_attention(generations[0]).axes[0]
    np.testing.assert_array_equal(axis.images[0].get_array(), generations[0].attention)
    assert axis.get_xticklabels()[-1].get_text() == "END"


def test_heads_or_copies(generations):
    with pytest.raises(ValueError, match="heads or copies. Received: heads=True, copies=True. Choose one"):
        plot_attention(generations[0], heads=True, copies=True)


# === Saved and served ===


def test_saved_and_loaded(generator, tmp_path):
    generator.save(tmp_path / "copying.keras")
    loaded = TextGenerator.load(tmp_path / "copying.keras")
    assert loaded.sampler.get_config() == generator.sampler.get_config()
    assert any(isinstance(constraint, SourceWords) for constraint in loaded.sampler.constraints)
    assert loaded.preprocessor.joint
    expected = generator.generate(SOURCES, details=True)
    for one, other in zip(expected, loaded.generate(SOURCES, details=True), strict=True):
        assert other.text == one.text and other.score == pytest.approx(one.score, abs=1e-4)
        np.testing.assert_allclose(other.generation_probability, one.generation_probability, atol=1e-5)


@pytest.fixture(scope="module")
def exported(generator, tmp_path_factory):
    return generator.export(tmp_path_factory.mktemp("models") / "copying", verify=False)


@pytest.mark.exports
def test_loaded_from_the_export(generator, exported):
    loaded = TextGenerator.load(exported)
    assert loaded.sampler.get_config() == generator.sampler.get_config()
    assert_same_outputs(loaded, generator, SOURCES)


@pytest.mark.exports
def test_the_attention_signature_has_the_generation_probability(exported):
    signatures = tf.saved_model.load(exported).signatures
    outputs = signatures["attention"].structured_outputs
    details = {"source_tokens", "target_tokens", "attention", "generation_probability", "ignored_tokens"}
    assert set(outputs) == {"text", "score", *details}
    probability = outputs["generation_probability"]
    assert (probability.dtype, probability.shape.as_list()) == (tf.float32, [None, None])
    for name in ("serving_default", "greedy"):
        assert set(signatures[name].structured_outputs) == {"text", "score"}


@pytest.mark.exports
def test_a_model_server_gives_the_same(generator, exported):
    """In a process that runs TensorFlow's C++ loader and none of our code."""
    sources = [source.encode() for source in SOURCES]
    names = ("serving_default", "attention", "greedy")
    plain, detailed, greedy = ask_served(exported, [(name, sources) for name in names])
    expected = generator.generate(SOURCES, details=True)
    for answer in (plain, detailed):
        assert answer["text"].tolist() == [generation.text for generation in expected]
        np.testing.assert_allclose(answer["score"], [generation.score for generation in expected], atol=1e-3)
    texts = greedy["text"].tolist()
    assert texts == generator.generate(SOURCES, GreedySampler([LengthLimits(min_length=7), SourceWords()]))
    assert texts != generator.generate(SOURCES, "greedy")  # which does not keep the generator's rules
    probabilities = detailed["generation_probability"]
    assert probabilities.dtype == "float32"
    for row, generation in zip(probabilities, expected, strict=True):
        tokens = len(generation.target_tokens)
        np.testing.assert_allclose(row[:tokens], generation.generation_probability, atol=1e-4)


def test_protected_tokens_are_words():
    """They are joined neither with words nor with each other, so numbers that are put back stay what they are."""
    source = "see <NUM1> or <NUM2>"
    preprocessor = TextPreprocessor.from_pairs(
        [(source, source), ("see or", "or see")] * 20, 300, joint=True, protected_tokens=["<NUM1>", "<NUM2>"]
    )
    words = set()
    for seed in range(4):
        model = randomized(pointer_generator(preprocessor.source_vocabulary_size), seed)
        generator = TextGenerator(model, preprocessor, GreedySampler([SourceWords()]), max_length=12)
        words |= set(generator.generate(source).split())
    assert words and words <= set(source.split())
