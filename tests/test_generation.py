import gc
import json
import re
import subprocess
import sys

import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf

import kerasseq
from kerasseq import TextGenerator, samplers
from kerasseq.joining import select_inputs

START, END = 2, 3
SOURCES = ["one two three", "four", "four three two one", "two two", "three one two four", "three four"]


@pytest.fixture(scope="module")
def greedy(trained_model, preprocessor):
    return TextGenerator(trained_model, preprocessor, sampler="greedy")


def encoder_token_ids(generator, source):
    return generator.preprocessor.encode_source([source])["encoder_token_ids"].numpy()


def hypothesis_ids(generation, generator):
    """Target ids of the best hypothesis, looked up piece by piece."""
    tokenizer = generator.preprocessor.tokenizers[-1]
    return [int(tokenizer.string_to_id(token)) for token in generation.target_tokens]


def log_probabilities(model, source_ids, target_ids):
    """Teacher-forced log-probabilities of each target token."""
    logits = model.predict_on_batch(
        {"encoder_token_ids": source_ids, "decoder_token_ids": np.array([[START, *target_ids[:-1]]], "int32")}
    )[0].astype("float64")
    logits -= np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    return logits[np.arange(len(target_ids)), target_ids]


def test_the_trained_model_has_learnt_something(generator, number_pairs):
    """Else the tests below would compare noise."""
    sources, targets = zip(*number_pairs, strict=True)
    right = [text == target for text, target in zip(generator.generate(sources), targets, strict=True)]
    assert np.mean(right) > 0.4


# === What comes out ===


def test_greedy_is_a_loop_over_predict(greedy, trained_model):
    for source in SOURCES[:3]:
        ids = []
        while len(ids) < greedy.max_length and END not in ids:
            inputs = {
                "encoder_token_ids": encoder_token_ids(greedy, source),
                "decoder_token_ids": np.array([[START, *ids]], "int32"),
            }
            ids.append(int(np.argmax(trained_model.predict_on_batch(inputs)[0, -1])))
        generation = greedy.generate(source, details=True)
        assert hypothesis_ids(generation, greedy) == ids
        assert (
            generation.text
            == greedy.preprocessor.decode([ids]).numpy()[0].decode().replace("\ufffd", "")
            == greedy.generate(source)
        )
        expected = log_probabilities(trained_model, encoder_token_ids(greedy, source), ids).sum()
        assert generation.score == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
def test_beam_score_is_the_log_probability_over_the_penalty(generator, trained_model, length_penalty):
    sampler = samplers.BeamSampler(beam_width=4, length_penalty=length_penalty)
    for generation, source in zip(generator.generate(SOURCES, sampler, details=True), SOURCES, strict=True):
        ids = hypothesis_ids(generation, generator)
        assert ids[-1] == END
        total = log_probabilities(trained_model, encoder_token_ids(generator, source), ids).sum()
        assert generation.score == pytest.approx(total / ((5 + len(ids)) / 6) ** length_penalty, abs=1e-3)


def test_beam_is_no_worse_than_greedy(generator):
    greedy = generator.generate(SOURCES, "greedy", details=True)
    beam = generator.generate(SOURCES, samplers.BeamSampler(5, length_penalty=0.0), details=True)
    assert all(wide.score >= narrow.score - 1e-3 for wide, narrow in zip(beam, greedy, strict=True))


def test_alternatives(generator):
    for generation in generator.generate(SOURCES, samplers.BeamSampler(4), details=True):
        scores = [score for _, score in generation.alternatives]
        assert len(scores) == 4 and scores == sorted(scores, reverse=True)
        assert generation.alternatives[0] == (generation.text, generation.score)
    assert len(generator.generate("one", "greedy", details=True).alternatives) == 1


def test_details_are_trimmed(generator):
    for source, generation in zip(SOURCES, generator.generate(SOURCES, details=True), strict=True):
        pieces = generator.preprocessor.tokenizers[0].id_to_string(encoder_token_ids(generator, source)[0]).numpy()
        assert generation.source_tokens == [piece.decode() for piece in pieces]
        assert generation.source_tokens[-1] == generation.target_tokens[-1] == "</s>"
        assert generation.attention.shape == (len(generation.target_tokens), len(generation.source_tokens))
        np.testing.assert_allclose(generation.attention.sum(axis=1), 1.0, atol=1e-5)


def test_attention_is_that_of_stepwise_decoding(generator, trained_model):
    encoder, bridge, decoder = (trained_model.get_layer(name) for name in ("encoder", "bridge", "decoder"))
    for generation, source in zip(generator.generate(SOURCES[:3], details=True), SOURCES, strict=False):
        context = {"encoder_token_ids": keras.ops.array(encoder_token_ids(generator, source))}
        context |= encoder(select_inputs(encoder, context))
        context |= bridge(select_inputs(bridge, context))
        rows, token = [], START
        for following in hypothesis_ids(generation, generator):
            context["decoder_token_ids"] = keras.ops.array([[token]], "int32")
            outputs = decoder(select_inputs(decoder, context))
            context["states"], token = outputs["states"], following
            rows.append(outputs["attention"][0, 0])
        np.testing.assert_allclose(generation.attention, np.stack(rows), atol=1e-5)


@pytest.fixture(scope="module")
def without_attention(preprocessor):
    keras.utils.set_random_seed(2)
    model = kerasseq.models.GRUSeq2Seq(
        preprocessor.source_vocabulary_size, preprocessor.target_vocabulary_size, embedding_dim=8, units=8
    )
    return TextGenerator(model, preprocessor, sampler="greedy", max_length=5)


def test_a_model_without_attention(without_attention):
    generation = without_attention.generate("one two", details=True)
    assert generation.attention is None
    assert generation.source_tokens[-1] == "</s>" and len(generation.target_tokens) <= 5


def test_untrained_model_that_emits_padding(preprocessor):
    """Padding ids within a hypothesis are kept in their places, so attention and tokens stay aligned."""
    model = kerasseq.models.AttentionSeq2Seq(
        preprocessor.source_vocabulary_size, preprocessor.target_vocabulary_size, embedding_dim=4, units=4
    )
    logits = model.get_layer("decoder").get_layer("logits")
    logits.kernel.assign(np.zeros(logits.kernel.shape))

    def always(token):
        logits.bias.assign(np.eye(preprocessor.target_vocabulary_size)[token] * 20)
        return TextGenerator(model, preprocessor, "greedy", max_length=3).generate(["one", "two"], details=True)

    for generation in always(0):
        assert generation.text == "" and generation.target_tokens == [] and generation.attention.shape[0] == 0
    for generation in always(END):
        assert generation.text == "" and generation.target_tokens == ["</s>"] and generation.attention.shape[0] == 1
    assert kerasseq.details.real_tokens([b"a", b"", b"b", b"", b""]) == ["a", "", "b"]


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
        if alone.score - alone.alternatives[1][1] > 1e-3:  # Not a near tie.
            assert generation.text == alone.text


@pytest.mark.parametrize("source", ["", " ", "👍", "\0", "مرحبا", b"\xff\xfe", "\ud800", "one " * 500])
def test_any_source(generator, source):
    assert isinstance(generator.generate(source), str)
    assert (
        len(generator.generate([source, "one"], details=True)[0].source_tokens)
        <= generator.preprocessor.max_source_length
    )


def test_max_length(generator):
    whole = generator.generate("four three two one", "greedy", details=True)
    cut = generator.generate("four three two one", "greedy", max_length=3, details=True)
    assert len(whole.target_tokens) > 3
    assert cut.target_tokens == whole.target_tokens[:3]
    np.testing.assert_allclose(cut.attention, whole.attention[:3], atol=1e-5)


def test_samplers_of_keras_hub(generator):
    def sample(seed):
        return generator.generate(SOURCES, keras_hub.samplers.RandomSampler(temperature=2.0, seed=seed))

    assert sample(1) == sample(1) != sample(2)
    top_1 = generator.generate(SOURCES, keras_hub.samplers.TopKSampler(k=1))
    assert top_1 == generator.generate(SOURCES, "greedy")


def test_teacher_forced_call(generator, trained_model):
    inputs = {"encoder_token_ids": np.array([[5, 3]]), "decoder_token_ids": np.array([[2, 7]])}
    np.testing.assert_array_equal(generator(inputs), trained_model(inputs))


# === Saving ===

FRESH_PROCESS = """
import json, sys
import kerasseq
generator = kerasseq.TextGenerator.load(sys.argv[1])
results = generator.generate(json.loads(sys.argv[2]), details=True)
optimizer = generator.model.optimizer
print("RESULT" + json.dumps({
    "texts": [result.text for result in results],
    "scores": [result.score for result in results],
    "max_length": generator.max_length,
    "sampler": generator.sampler.get_config(),
    "iterations": int(optimizer.iterations),
    "slots": [float(abs(variable.numpy()).sum()) for variable in optimizer.variables],
}))
"""


@pytest.fixture(scope="module")
def saved(generator, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "numbers.keras"
    generator.save(path)
    return path


def test_a_fresh_process_gives_the_same(generator, trained_model, saved):
    command = [sys.executable, "-c", FRESH_PROCESS, str(saved), json.dumps(SOURCES)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    result = json.loads(re.search("RESULT(.*)", output)[1])
    expected = generator.generate(SOURCES, details=True)
    assert result["texts"] == [generation.text for generation in expected]
    np.testing.assert_allclose(result["scores"], [generation.score for generation in expected], atol=1e-3)
    assert result["max_length"] == generator.max_length and result["sampler"] == generator.sampler.get_config()
    optimizer = trained_model.optimizer
    assert result["iterations"] == int(optimizer.iterations) > 0
    np.testing.assert_allclose(result["slots"], [np.abs(slot.numpy()).sum() for slot in optimizer.variables], rtol=1e-4)


@pytest.mark.parametrize("load", [TextGenerator.load, keras.models.load_model])
def test_load(generator, trained_model, saved, load):
    loaded = load(saved)
    assert isinstance(loaded, TextGenerator) and loaded.generate(SOURCES) == generator.generate(SOURCES)
    for ours, theirs in zip(loaded.model.weights, trained_model.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for ours, theirs in zip(loaded.model.optimizer.variables, trained_model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_continued_fit_after_load(without_attention, preprocessor, number_pairs, tmp_path):
    """Saved, loaded and trained on, a model is where it is without the detour."""
    model = keras.models.clone_model(without_attention.model)
    model.compile(keras.optimizers.Adam(0.01), kerasseq.losses.MaskedCrossentropy())
    dataset = preprocessor.dataset(number_pairs, batch_size=16)
    model.fit(dataset, verbose=0, shuffle=False)
    TextGenerator(model, preprocessor).save(tmp_path / "half.keras")
    loaded = TextGenerator.load(tmp_path / "half.keras")
    ours = loaded.model.fit(dataset, verbose=0, shuffle=False).history["loss"]
    theirs = model.fit(dataset, verbose=0, shuffle=False).history["loss"]
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)
    assert int(loaded.model.optimizer.iterations) == int(model.optimizer.iterations) == 4
    for one, other in zip(loaded.model.weights, model.weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
    # What was trained on is what generates.
    before = TextGenerator.load(tmp_path / "half.keras").generate("one two", details=True).score
    assert loaded.generate("one two", details=True).score != before


def test_load_of_a_plain_model(trained_model, tmp_path):
    trained_model.save(tmp_path / "model.keras")
    with pytest.raises(
        ValueError, match="Expected a TextGenerator in .*Received: a Functional.*give it to TextGenerator"
    ):
        TextGenerator.load(tmp_path / "model.keras")


@pytest.mark.parametrize("name", ["missing.keras", "missing", "missing/1"])
def test_load_of_a_missing_path(tmp_path, name):
    with pytest.raises(
        ValueError, match="written by TextGenerator.save.*Received: .*missing.*does not exist. Check the path"
    ):
        TextGenerator.load(tmp_path / name)


# === Errors ===


@pytest.mark.parametrize("side", ["source", "target"])
def test_vocabulary_of_another_preprocessor(preprocessor, side):
    sizes = {
        f"{name}_vocabulary_size": getattr(preprocessor, f"{name}_vocabulary_size") for name in ("source", "target")
    }
    size = sizes[f"{side}_vocabulary_size"]
    sizes[f"{side}_vocabulary_size"] = size + 1
    model = kerasseq.models.GRUSeq2Seq(**sizes, embedding_dim=4, units=4)
    message = f"model's {side} vocabulary has {size + 1} tokens, the preprocessor's has {size}.*{side}_vocabulary_size="
    with pytest.raises(ValueError, match=message):
        TextGenerator(model, preprocessor)


def test_model_without_sub_models(preprocessor):
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(2, name="decoder")(inputs))
    with pytest.raises(ValueError, match=r"Missing: \['encoder', 'bridge'\]"):
        TextGenerator(model, preprocessor)


def test_bad_sampler(generator, trained_model, preprocessor):
    with pytest.raises(ValueError, match="sampler must be one of .*Received: sampler='beams'"):
        TextGenerator(trained_model, preprocessor, sampler="beams")
    with pytest.raises(ValueError, match="sampler must be one of .*Received: sampler='beams'"):
        generator.generate("one", sampler="beams")
    with pytest.raises(ValueError, match="use kerasseq.samplers.BeamSampler"):
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


@pytest.mark.parametrize("trouble", [lambda: keras.utils.set_random_seed(3), keras.utils.clear_session])
def test_survives_a_new_seed_and_a_cleared_session(generator, trouble):
    """TF Text's tokenizers do not, nor do graphs made with them."""
    before = generator.generate(SOURCES)
    trouble()
    assert generator.generate(SOURCES) == before


def test_an_empty_sampler_name_is_no_default(generator):
    with pytest.raises(ValueError, match="sampler must be one of 'greedy', 'beam'.*Received: sampler=''"):
        generator.generate(SOURCES, sampler="")


@pytest.mark.slow
def test_ordinary_use_does_not_retrace(generator, capfd):
    """TensorFlow warns where one function is traced again and again."""
    for max_length in range(2, 10):
        generator.generate(SOURCES, max_length=max_length)
        generator.generate(SOURCES, max_length=max_length, details=True)
    assert "retracing" not in capfd.readouterr().err


def test_graphs_are_freed_with_their_generator(preprocessor):
    """What a process that makes generators again and again holds on to does not grow."""
    kind = type(tf.function(lambda: tf.zeros(())).get_concrete_function().graph)

    def alive_after_use():
        model = kerasseq.models.AttentionSeq2Seq(
            preprocessor.source_vocabulary_size, preprocessor.target_vocabulary_size, units=8, embedding_dim=8
        )
        kerasseq.TextGenerator(model, preprocessor, max_length=4).generate(["one"])
        del model
        gc.collect()
        return sum(isinstance(thing, kind) for thing in gc.get_objects())

    first = alive_after_use()
    assert alive_after_use() == first
