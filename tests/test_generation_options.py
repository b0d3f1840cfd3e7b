"""Options of `generate`: prefixes, constraints, scorers; heads, pyramids, and batches that change nothing."""

import pathlib

import keras_hub
import numpy as np
import pytest
from helpers import ids_of, teacher_forced

import kerasseq
from kerasseq import TextGenerator
from kerasseq.search import BeamSampler, Coverage, GreedySampler, LengthLimits, NoRepeatNGram, SuppressTokens

START, END = 2, 3
SOURCES = ["one two three", "four", "four three two one", "two two", "three one two four", "three four"]
RELEASED = pathlib.Path(__file__).resolve().parent.parent / "saved_models" / "translation_en_fr"


# === Prefixes ===


@pytest.mark.parametrize("sampler", [pytest.param("greedy", marks=pytest.mark.slow), None])
def test_outputs_begin_with_their_prefixes(generator, sampler):
    prefixes = ["zwei", "", "eins zwei", "drei", "", "eins"]
    free = generator.generate(SOURCES, sampler, details=True)
    forced = generator.generate(SOURCES, sampler, details=True, prefixes=prefixes, batch_size=4)
    tokenizer = generator.preprocessor.target_tokenizer
    for source, prefix, one, other in zip(SOURCES, prefixes, free, forced, strict=True):
        if not prefix:
            assert (one.text, pytest.approx(one.score, abs=1e-3)) == (other.text, other.score)
            continue
        assert other.text.startswith(prefix)
        prefix_ids = tokenizer.tokenize([prefix]).to_list()[0]
        ids = ids_of(other, generator)
        assert ids[: len(prefix_ids)] == prefix_ids
        # Forced tokens have the probability that the model gives them.
        total = teacher_forced(generator, source, ids)[0].sum()
        penalty = 1.0 if sampler == "greedy" else (5 + len(ids)) / 6
        assert other.score == pytest.approx(total / penalty, abs=1e-3)


def test_one_prefix_for_all_and_for_one(generator):
    def generate(sources, prefixes=None):
        # With details, because other tests have traced that graph.
        generations = generator.generate(sources, prefixes=prefixes, details=True)
        return generations.text if isinstance(sources, str) else [generation.text for generation in generations]

    assert all(text.startswith("vier") for text in generate(SOURCES, "vier"))
    assert generate("one", "vier").startswith("vier")
    assert generate("one", ["vier"]) == generate("one", "vier")
    assert generate(SOURCES, "") == generate(SOURCES)
    assert generate([], "vier") == []


@pytest.mark.parametrize(
    ("prefixes", "message"),
    [
        (["eins"], "a string for each source, or a single string. Received: 1 for 2 sources"),
        (5, "a string for each source, or a single string. Received: 5"),
        (["eins", None], "must be strings, '' for none. Received at index 1: None"),
        ("eins zwei drei vier", r"The longest of the prefixes has \d+ tokens, .* max_length=3, END included"),
    ],
)
def test_bad_prefixes(generator, prefixes, message):
    with pytest.raises(ValueError, match=message):
        generator.generate(["one", "two"], prefixes=prefixes, max_length=3)


# === Constraints and scorers ===

BEAM = BeamSampler(
    3, length_penalty=0.8, constraints=[LengthLimits(max_length_ratio=0.5), NoRepeatNGram(1)], scorers=[Coverage(0.3)]
)


@pytest.fixture(scope="module")
def greedy(generator):
    """A sampler that may not say what the model would say first."""
    best = ids_of(generator.generate("four", details=True), generator)[0]
    limits = LengthLimits(min_length=8, min_length_ratio=1.5)
    return GreedySampler([limits, SuppressTokens([best]), NoRepeatNGram(2)])


def test_constraints_hold(generator, greedy):
    (best,) = greedy.constraints[1].suppressed_ids
    for generation in generator.generate(SOURCES, greedy, details=True):
        assert len(generation.target_tokens) >= max(8, 1.5 * len(generation.source_tokens))
        assert best not in ids_of(generation, generator)
    for generation in generator.generate(SOURCES, BEAM, details=True):
        length, most = len(generation.target_tokens), max(1, 0.5 * len(generation.source_tokens))
        assert len(set(generation.target_tokens)) == length <= most


def test_bytes_that_form_no_character_are_left_out(generator):
    """The only tokens allowed are the first byte of four, and one word."""
    tokenizer = generator.preprocessor.target_tokenizer
    allowed = [END, *(int(tokenizer.string_to_id(token)) for token in ("<0xF0>", "▁eins"))]
    suppressed = [token for token in range(generator.model.decoder.vocabulary_size) if token not in allowed]
    sampler = GreedySampler([LengthLimits(min_length=3), NoRepeatNGram(1), SuppressTokens(suppressed)])
    generation = generator.generate("four", sampler, max_length=3, details=True)
    assert generation.target_tokens.count("<0xF0>") == 1
    assert generation.text.strip() == "eins"


def test_more_candidates_than_tokens(generator):
    with pytest.raises(ValueError, match=r"k must be at most the \d+ tokens.*Received: a TopKSampler with k=1000"):
        generator.generate("one", sampler=keras_hub.samplers.TopKSampler(k=1_000))


def test_coverage(generator):
    """Scores are `log p / lp + beta sum_i log min(sum_j a_ij, 1)`, with the attention of teacher forcing."""
    for source, generation in zip(SOURCES, generator.generate(SOURCES, BEAM, details=True), strict=True):
        ids = ids_of(generation, generator)
        log_probabilities, attention = teacher_forced(generator, source, ids)
        penalty = ((5 + len(ids)) / 6) ** 0.8
        coverage = 0.3 * np.log(np.clip(attention.sum(axis=0), 1e-6, 1.0)).sum()
        assert generation.score == pytest.approx(log_probabilities.sum() / penalty + coverage, abs=1e-3)


def test_coverage_without_attention(preprocessor):
    model = kerasseq.models.GRUSeq2Seq(
        preprocessor.source_vocabulary_size, preprocessor.target_vocabulary_size, embedding_dim=4, units=4
    )
    message = "Coverage sums attention weights, and this model has none. Leave it out, or choose a model"
    with pytest.raises(ValueError, match=message):
        TextGenerator(model, preprocessor, BeamSampler(scorers=[Coverage(0.1)]))
    with pytest.raises(ValueError, match=message):
        TextGenerator(model, preprocessor).generate("one", BeamSampler(scorers=[Coverage(0.1)]))


# === Heads and pyramids ===


def test_attention_heads(preprocessor):
    model = kerasseq.models.AttentionSeq2Seq(
        preprocessor.source_vocabulary_size, preprocessor.target_vocabulary_size, embedding_dim=8, units=12,
        attention="multi_head", num_heads=3,
    )  # fmt: skip
    generator = TextGenerator(model, preprocessor, "greedy", max_length=6)
    for generation in generator.generate(SOURCES, details=True):
        shape = (len(generation.target_tokens), len(generation.source_tokens))
        assert generation.attention_heads.shape == (3, *shape) and generation.attention.shape == shape
        np.testing.assert_allclose(generation.attention_heads.mean(axis=0), generation.attention, atol=1e-6)
        np.testing.assert_allclose(generation.attention_heads.sum(axis=-1), 1, atol=1e-5)


def test_attention_of_a_pyramid_is_over_groups_of_tokens(preprocessor):
    """Each position of the memory stands for four tokens here, and is labelled with them, in a batch as alone."""
    encoder = kerasseq.encoders.RecurrentEncoder(
        preprocessor.source_vocabulary_size, 6, 4, cell="gru", num_layers=3, pyramidal=True
    )
    decoder = kerasseq.decoders.RecurrentDecoder(
        preprocessor.target_vocabulary_size, 6, 8, cell="gru", attention="luong"
    )
    generator = TextGenerator(kerasseq.Seq2Seq(encoder, decoder), preprocessor, "greedy", max_length=4)
    together = generator.generate(SOURCES, details=True)
    for source, generation in zip(SOURCES, together, strict=True):
        tokens = preprocessor.source_tokens(preprocessor.encode_source([source])).numpy()[0]
        tokens = [token.decode() for token in tokens]
        assert generation.source_tokens == ["".join(tokens[i : i + 4]) for i in range(0, len(tokens), 4)]
        assert generation.attention.shape == (len(generation.target_tokens), len(generation.source_tokens))
        np.testing.assert_allclose(generation.attention.sum(axis=1), 1, atol=1e-5)
        alone = generator.generate(source, details=True)
        assert alone.source_tokens == generation.source_tokens and alone.attention.shape == generation.attention.shape


# === Batches ===


def disagreements(generator, sources, sampler=None):
    """Decodes in batches, in another order, and one by one; returns the number of near ties that fell otherwise."""
    together = generator.generate(sources, sampler, details=True)
    order = np.random.default_rng(0).permutation(len(sources))
    shuffled = generator.generate([sources[i] for i in order], sampler, details=True, batch_size=7)
    unshuffled = [shuffled[list(order).index(i)] for i in range(len(sources))]
    alone = generator.generate(sources, sampler, details=True, batch_size=1)
    ties = 0
    for expected, *others in zip(together, unshuffled, alone, strict=True):
        for other in others:
            assert other.score == pytest.approx(expected.score, abs=1e-3)
            if other.text != expected.text:
                assert expected.score - expected.alternatives[1][1] < 1e-3
                ties += 1
    return ties


def test_batches_change_nothing(generator, number_pairs, greedy):
    sources = [source for source, _ in number_pairs]
    assert disagreements(generator, sources, greedy) <= 1
    assert disagreements(generator, sources, BEAM) <= 1


@pytest.mark.slow
def test_batches_change_nothing_for_the_released_model():
    pairs = kerasseq.datasets.load_dates()[2][:120]
    translator = TextGenerator.load(RELEASED)
    sentences = [f"{source}, she said, is the day on which we leave." for source, _ in pairs]
    assert disagreements(translator, sentences) <= 3


def test_prefixes_of_unknown_characters():
    tokenizer = kerasseq.preprocessing.CharacterTokenizer("abc ")
    model = kerasseq.models.VanillaSeq2Seq(8, 8, embedding_dim=4, units=4)
    generator = kerasseq.TextGenerator(
        model, kerasseq.preprocessing.TextPreprocessor(tokenizer), "greedy", max_length=3
    )
    with pytest.raises(
        ValueError, match="must consist of tokens of the target vocabulary.*at index 1: 'aQ', with char"
    ):
        generator.generate(["a", "b"], prefixes=["a", "aQ"])


# === Limits relative to the source ===


@pytest.fixture(scope="module")
def endless():
    """A generator whose model never ends, and sources of 2 and 5 tokens, END included."""
    pairs = [("a b c d", "x"), ("a", "x y z")] * 20
    preprocessor = kerasseq.preprocessing.TextPreprocessor.from_pairs(pairs, tokens="words")
    sizes = preprocessor.source_vocabulary_size, preprocessor.target_vocabulary_size
    model = kerasseq.models.AttentionSeq2Seq(*sizes, embedding_dim=4, units=8)
    # Neither END nor PAD, START and UNKNOWN, which are no part of a text.
    model.decoder.logits.bias.assign(np.where(np.arange(sizes[1]) <= END, -1e9, 0.0))
    return TextGenerator(model, preprocessor, "greedy", max_length=30), ["a", "a b c d"]


def lengths(generator, sources, *arguments):
    return [len(generation.target_tokens) for generation in generator.generate(sources, *arguments, details=True)]


def test_outputs_are_limited_relative_to_their_sources(endless, monkeypatch, tmp_path):
    generator, sources = endless
    preprocessor = generator.preprocessor
    assert preprocessor.length_ratio == 1.0
    assert lengths(generator, sources) == [12, 15]  # 1.0 * 2 + 10, 1.0 * 5 + 10
    assert lengths(generator, sources, BeamSampler(2)) == [12, 15]
    assert lengths(generator, sources, GreedySampler([LengthLimits(max_length_ratio=2.0)])) == [4, 10]
    assert lengths(generator, sources, None, 13) == [12, 13]
    limits = LengthLimits(max_length_ratio=2.0, max_length_offset=3)
    assert lengths(generator, sources, GreedySampler([limits])) == [7, 13]
    # What else limits lengths leaves the ratio.
    assert lengths(generator, sources, GreedySampler([LengthLimits(min_length=2)])) == [12, 15]
    # A minimum lifts the limit, which nobody has asked for.
    assert lengths(generator, sources, GreedySampler([LengthLimits(min_length=14)])) == [16, 19]
    assert lengths(generator, sources, GreedySampler([LengthLimits(min_length_ratio=3.0)])) == [16, 25]
    monkeypatch.setattr(preprocessor, "length_ratio", 2.0)
    assert lengths(generator, sources) == [14, 20]
    generator.save(tmp_path / "endless.keras")
    assert lengths(TextGenerator.load(tmp_path / "endless.keras"), sources) == [14, 20]
    monkeypatch.setattr(preprocessor, "length_ratio", None)
    assert lengths(generator, sources) == [30, 30]


def test_offsets_need_a_ratio():
    with pytest.raises(ValueError, match="max_length_offset is added to max_length_ratio"):
        LengthLimits(max_length_offset=3)
    with pytest.raises(ValueError, match="max_length_offset must be a number of at least 0"):
        LengthLimits(max_length_ratio=1.0, max_length_offset=-1)
    assert LengthLimits.from_config(LengthLimits(1, 0.0, 2.0, 3).get_config()).max_length_offset == 3
