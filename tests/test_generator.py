"""`TextGenerator`: outputs against loops over the model, batches, samplers, graphs, and errors."""

import gc

import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf
from helpers import ids_of, teacher_forced

import kerasseq
from kerasseq import TextGenerator
from kerasseq.generation import real_tokens
from kerasseq.search import BeamSampler

START, END = 2, 3
SOURCES = ["one two three", "four", "four three two one", "two two", "three one two four", "three four"]


def encoder_token_ids(generator, source):
    return generator.preprocessor.encode_source([source])["encoder_token_ids"].numpy()


@pytest.fixture(scope="module")
def small(preprocessor):
    """A function of a builder's name that makes an untrained model of `preprocessor`."""

    def build(builder="AttentionSeq2Seq", **options):
        sizes = preprocessor.source_vocabulary_size, preprocessor.target_vocabulary_size
        return getattr(kerasseq.models, builder)(*sizes, **{"embedding_dim": 4, "units": 4, **options})

    return build


def test_the_trained_model_has_learnt_something(generator, number_pairs):
    """Otherwise the tests below would compare noise."""
    sources, targets = zip(*number_pairs, strict=True)
    right = [text == target for text, target in zip(generator.generate(sources), targets, strict=True)]
    assert np.mean(right) > 0.4


# === Outputs ===


def test_greedy_is_a_loop_over_the_model(generator, trained_model):
    for source in SOURCES[:2]:
        generation = generator.generate(source, "greedy", details=True)
        source_ids, ids = encoder_token_ids(generator, source), []
        while len(ids) < generator.max_length and END not in ids:
            inputs = {"encoder_token_ids": source_ids, "decoder_token_ids": np.array([[START, *ids]], "int32")}
            ids.append(int(np.argmax(trained_model(inputs)[0, -1])))
        assert ids_of(generation, generator) == ids
        assert generation.text == generator.preprocessor.decode([ids]).numpy()[0].decode().replace("\ufffd", "")
        expected = teacher_forced(generator, source, ids)[0].sum()
        assert generation.score == pytest.approx(expected, abs=1e-3)
        assert generation.alternatives == [(generation.text, generation.score)]


# The search by hand of tests/search has other penalties.
@pytest.mark.parametrize("length_penalty", [pytest.param(0.0, marks=pytest.mark.slow), 1.0])
def test_beam_score_is_the_log_probability_over_the_penalty(generator, trained_model, length_penalty):
    sampler = BeamSampler(3, length_penalty=length_penalty)  # With 1.0, the generator's own.
    greedy = generator.generate(SOURCES[:3], "greedy", details=True)
    for index, generation in enumerate(generator.generate(SOURCES[:3], sampler, details=True)):
        ids = ids_of(generation, generator)
        assert ids[-1] == END
        total = teacher_forced(generator, SOURCES[index], ids)[0].sum()
        assert generation.score == pytest.approx(total / ((5 + len(ids)) / 6) ** length_penalty, abs=1e-3)
        scores = [score for _, score in generation.alternatives]
        assert len(scores) == 3 and scores == sorted(scores, reverse=True)
        assert generation.alternatives[0] == (generation.text, generation.score)
        if not length_penalty:
            assert generation.score >= greedy[index].score - 1e-3


def test_details_are_trimmed(generator):
    generations = generator.generate(SOURCES, details=True)
    assert generator.generate(SOURCES) == [generation.text for generation in generations]
    for source, generation in zip(SOURCES, generations, strict=True):
        pieces = generator.preprocessor.tokenizers[0].id_to_string(encoder_token_ids(generator, source)[0]).numpy()
        assert generation.source_tokens == [piece.decode() for piece in pieces]
        assert generation.source_tokens[-1] == generation.target_tokens[-1] == "</s>"
        assert generation.attention.shape == (len(generation.target_tokens), len(generation.source_tokens))
        np.testing.assert_allclose(generation.attention.sum(axis=1), 1.0, atol=1e-5)
        assert generation.attention_heads is None and generation.generation_probability is None


def test_attention_is_that_of_stepwise_decoding(generator, trained_model):
    for generation, source in zip(generator.generate(SOURCES, details=True)[:2], SOURCES, strict=False):
        context = trained_model.encode({"encoder_token_ids": encoder_token_ids(generator, source)})
        state, constants = trained_model.start(context)
        rows, token = [], START
        for following in ids_of(generation, generator):
            outputs = trained_model.step(keras.ops.array([token], "int32"), state, constants)
            state, token = outputs["state"], following
            rows.append(outputs["attention"][0])
        np.testing.assert_allclose(generation.attention, np.stack(rows), atol=1e-5)


def test_a_model_without_attention(small, preprocessor):
    generation = TextGenerator(small("GRUSeq2Seq"), preprocessor, "greedy", max_length=5).generate("one", details=True)
    assert generation.attention is None
    assert generation.source_tokens[-1] == "</s>" and len(generation.target_tokens) <= 5


def test_untrained_model_that_emits_padding(small, preprocessor):
    """Padding within a hypothesis is kept in its place, so attention and tokens stay aligned."""
    model = small()
    generator = TextGenerator(model, preprocessor, "greedy", max_length=3)
    logits = model.decoder.logits
    logits.kernel.assign(np.zeros(logits.kernel.shape))
    for token, tokens in ((0, []), (END, ["</s>"])):
        logits.bias.assign(np.eye(preprocessor.target_vocabulary_size)[token] * 20)
        for generation in generator.generate(["one", "two"], details=True):
            assert generation.text == "" and generation.target_tokens == tokens
            assert generation.attention.shape[0] == len(tokens)
    assert real_tokens([b"a", b"", b"b", b"", b""]) == ["a", "", "b"]


# === Sources and batches ===


def test_single_and_many(generator):
    assert isinstance(generator.generate("one two"), str)
    assert generator.generate(["one two"]) == [generator.generate("one two")] == generator.generate(("one two",))
    assert generator.generate(b"one two") == generator.generate("one two")
    assert isinstance(generator.generate("one", details=True), kerasseq.Generation)
    assert generator.generate([]) == [] == generator.generate([], details=True)
    assert generator.generate(source for source in SOURCES) == generator.generate(SOURCES)


@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_order_and_batches(generator, batch_size):
    sources = [*SOURCES, "", *SOURCES[::-1], "two " * 5]
    together = generator.generate(sources, batch_size=batch_size, details=True)
    for source, generation in zip(sources, together, strict=True):
        alone = generator.generate(source, details=True)
        assert generation.source_tokens == alone.source_tokens
        assert generation.score == pytest.approx(alone.score, abs=1e-3)
        np.testing.assert_allclose(
            [score for _, score in generation.alternatives], [score for _, score in alone.alternatives], atol=1e-3
        )
        near_tie = len(alone.alternatives) > 1 and alone.score - alone.alternatives[1][1] <= 1e-3
        assert near_tie or generation.text == alone.text


@pytest.mark.parametrize("source", ["", " ", "👍", "\0", "مرحبا", b"\xff\xfe", "\ud800", "one " * 500])
def test_any_source(generator, source):
    assert isinstance(generator.generate(source), str)
    tokens = generator.generate([source, "one"], details=True)[0].source_tokens
    assert len(tokens) <= generator.preprocessor.max_source_length


def test_max_length(generator):
    whole = generator.generate("four three two one", "greedy", details=True)
    cut = generator.generate("four three two one", "greedy", max_length=3, details=True)
    assert len(whole.target_tokens) > 3
    assert cut.target_tokens == whole.target_tokens[:3]
    np.testing.assert_allclose(cut.attention, whole.attention[:3], atol=1e-5)


def test_teacher_forced_call(generator, trained_model):
    inputs = {"encoder_token_ids": np.array([[5, 3]]), "decoder_token_ids": np.array([[2, 7]])}
    np.testing.assert_array_equal(generator(inputs), trained_model(inputs))


# === Compiled graphs ===


def test_samplers_of_keras_hub(small, preprocessor):
    """A seed determines the outputs, and a sampler that is used again goes on with its random numbers."""
    generator = TextGenerator(small("GRUSeq2Seq"), preprocessor, max_length=4, long_sources="cut")
    samplers = [keras_hub.samplers.RandomSampler(temperature=2.0, seed=1) for _ in range(2)]
    first, second = (generator.generate(SOURCES, samplers[0]) for _ in range(2))
    assert first != second
    # Graphs of equal configurations are not shared: each has the state of its own sampler.
    assert [generator.generate(SOURCES, samplers[1]) for _ in range(2)] == [first, second]


def test_graphs_of_equal_samplers_are_compiled_once(small, preprocessor, monkeypatch):
    generator, traced = TextGenerator(small("GRUSeq2Seq"), preprocessor, max_length=4), []

    def decode(raw, *arguments):
        traced.append(arguments[:2])
        return {"text": raw[:, tf.newaxis]}

    monkeypatch.setattr(generator, "decode", decode)
    monkeypatch.setattr("kerasseq.generator.GRAPHS_KEPT", 2)
    for beam_width in (2, 3, 2, 4, 2, 2):  # The third one drops the graph of 3, which was used before that of 2.
        assert generator.generate("one", BeamSampler(beam_width)) == "one"
    assert [sampler.beam_width for sampler, _ in traced] == [2, 3, 4]
    generator.generate("one", BeamSampler(2), max_length=5)
    generator.generate("one", BeamSampler(3))
    assert [(sampler.beam_width, length) for sampler, length in traced[3:]] == [(2, 5), (3, 4)]


def test_survives_a_new_seed_and_a_cleared_session(small, preprocessor):
    """TF Text's tokenizers do not, nor do graphs made with them."""
    generator = TextGenerator(small("GRUSeq2Seq"), preprocessor, "greedy", max_length=3, long_sources="cut")
    before = generator.generate(SOURCES)
    for trouble in (lambda: keras.utils.set_random_seed(3), keras.utils.clear_session):
        trouble()
        assert generator.generate(SOURCES) == before


@pytest.mark.slow
def test_ordinary_use_does_not_retrace(generator, capfd):
    """TensorFlow warns where one function is traced again and again."""
    for max_length in range(2, 10):
        generator.generate(SOURCES, max_length=max_length)
        generator.generate(SOURCES, max_length=max_length, details=True)
    assert "retracing" not in capfd.readouterr().err


def test_graphs_are_freed_with_their_generator(small, preprocessor):
    """The memory of a process that makes generators again and again does not grow."""
    kind = type(tf.function(lambda: tf.zeros(())).get_concrete_function().graph)

    def alive_after_use():
        TextGenerator(small("GRUSeq2Seq"), preprocessor, "greedy", max_length=4, long_sources="cut").generate(["one"])
        gc.collect()
        return sum(isinstance(thing, kind) for thing in gc.get_objects())

    first = alive_after_use()
    assert alive_after_use() == first


# === Errors ===


@pytest.mark.parametrize("side", ["source", "target"])
def test_vocabulary_of_another_preprocessor(small, preprocessor, side):
    sizes = {
        f"{name}_vocabulary_size": getattr(preprocessor, f"{name}_vocabulary_size") for name in ("source", "target")
    }
    size = sizes[f"{side}_vocabulary_size"]
    sizes[f"{side}_vocabulary_size"] = size + 1
    model = kerasseq.models.GRUSeq2Seq(**sizes, embedding_dim=4, units=4)
    message = f"model's {side} vocabulary has {size + 1} tokens, the preprocessor's has {size}.*{side}_vocabulary_size="
    with pytest.raises(ValueError, match=message):
        TextGenerator(model, preprocessor)


def test_models_and_preprocessors_of_other_kinds(trained_model, preprocessor):
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(2, name="decoder")(inputs))
    with pytest.raises(ValueError, match="takes a kerasseq.Seq2Seq.*Received as the model: a Functional"):
        TextGenerator(model, preprocessor)
    with pytest.raises(ValueError, match="takes a preprocessor of kerasseq.preprocessing.*Received: a Seq2Seq"):
        TextGenerator(trained_model, trained_model)


def test_another_backend(trained_model, preprocessor, monkeypatch):
    monkeypatch.setattr("keras.config.backend", lambda: "jax")
    with pytest.raises(RuntimeError, match="runs on the TensorFlow backend.*Received: the backend 'jax'. Save"):
        TextGenerator(trained_model, preprocessor)


@pytest.mark.parametrize("sampler", ["beams", "", 5])
def test_bad_sampler(generator, trained_model, preprocessor, sampler):
    message = f"sampler must be one of 'greedy', 'beam'.*Received: sampler={sampler!r}"
    with pytest.raises(ValueError, match=message):
        TextGenerator(trained_model, preprocessor, sampler=sampler)
    with pytest.raises(ValueError, match=message):
        generator.generate("one", sampler=sampler)


def test_samplers_of_keras_hub_that_keep_several_sequences(trained_model, preprocessor):
    with pytest.raises(ValueError, match="use kerasseq.search.BeamSampler"):
        TextGenerator(trained_model, preprocessor, sampler=keras_hub.samplers.BeamSampler())


@pytest.mark.parametrize("bad", [0, -1, 2.5, "3"])
def test_bad_numbers(generator, trained_model, preprocessor, bad):
    with pytest.raises(ValueError, match="max_length must be a positive integer. Received: max_length="):
        TextGenerator(trained_model, preprocessor, max_length=bad)
    with pytest.raises(ValueError, match="max_length must be a positive integer. Received: max_length="):
        generator.generate("one", max_length=bad)
    with pytest.raises(ValueError, match="batch_size must be a positive integer. Received: batch_size="):
        generator.generate("one", batch_size=bad)


def test_sources_that_are_no_texts(generator):
    with pytest.raises(ValueError, match="Sources must be strings. Received at index 1: None"):
        generator.generate(["one", None])
    with pytest.raises(ValueError, match="sources must be a list of raw sources, or a single one.*Received: 5"):
        generator.generate(5)


def test_a_text_is_listed_once(generator, monkeypatch):
    """Other tokens may spell it. The best score is kept, and the last ranks are as where a search finds fewer."""
    ids = generator.preprocessor.encode_target(["eins zwei", "drei", "eins zwei", "drei", "vier"])[1]
    outputs = {"token_ids": ids[tf.newaxis], "scores": tf.constant([[-1.0, -2.0, -3.0, -4.0, -5.0]])}
    monkeypatch.setattr(generator, "_search", lambda *arguments: (None, outputs))
    result = generator.decode(tf.constant(["one"]), generator.sampler, 9, num_hypotheses=5)
    assert result["text"].numpy().tolist() == [[b"eins zwei", b"drei", b"vier", b"", b""]]
    np.testing.assert_allclose(result["score"], [[-1, -2, -5, -1e9, -1e9]])
