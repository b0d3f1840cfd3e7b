"""Sounds by every road: teacher forcing, step by step, padded, saved, served. Digits are tones."""

import os

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import ask_served, assert_same_outputs, check_greedy, randomized

import kerasseq
from kerasseq import TextGenerator
from kerasseq.models import SpeechSeq2Seq
from kerasseq.preprocessing import AudioPreprocessor, encode_wav

RATE = 8_000
NAMES = ("zero", "one", "two", "three")
LENGTH = 8


def tones(digits, random):
    """0.1 to 0.2 s of a tone for each digit, with short silences."""
    pieces = [np.zeros(random.integers(200, 800))]
    for digit in digits:
        time = np.arange(random.integers(800, 1_600)) / RATE
        pieces += [0.3 * np.sin(2 * np.pi * (300 + 400 * digit) * time), np.zeros(random.integers(200, 800))]
    return encode_wav(np.concatenate(pieces) + random.normal(scale=0.01, size=sum(map(len, pieces))), RATE)


def pairs_of(count, seed, most=4):
    random = np.random.default_rng(seed)
    strings = [random.integers(0, len(NAMES), random.integers(1, most + 1)) for _ in range(count)]
    return [(tones(digits, random), " ".join(NAMES[digit] for digit in digits)) for digits in strings]


PAIRS = pairs_of(40, 1, most=2)
SOUNDS = [sound for sound, _ in PAIRS[:3]]


@pytest.fixture(scope="module")
def preprocessor():
    return AudioPreprocessor.from_pairs(
        PAIRS, vocabulary_size=290, sample_rate=RATE, num_bins=20, max_seconds=1.5, max_target_length=LENGTH
    )


BUILDERS = {
    "convolutional": lambda size, **options: SpeechSeq2Seq(size, **options, num_layers=2),
    "pyramidal": lambda size, **options: SpeechSeq2Seq(
        size, **options, cell="gru", num_layers=3, subsampling="pyramidal", attention="luong", num_decoder_layers=2
    ),
}


@pytest.fixture(scope="module", params=["convolutional", pytest.param("pyramidal", marks=pytest.mark.slow)])
def generator(request, preprocessor):
    """With random weights, large enough that outputs differ from sound to sound."""
    model = BUILDERS[request.param](
        preprocessor.target_vocabulary_size, num_bins=20, units=10, embedding_dim=6, filters=4, spec_augment={}
    )
    randomized(model, 5, scale=0.6)
    return TextGenerator(model, preprocessor, sampler="greedy")


def test_generate_is_a_loop_over_the_model(generator, preprocessor):
    generations = generator.generate(SOUNDS, details=True)
    assert len({generation.text for generation in generations}) > 1
    for sound, generation in zip(SOUNDS, generations, strict=True):
        inputs = {name: tensor.numpy() for name, tensor in preprocessor.encode_source([sound]).items()}
        # The attention has a position for each four frames.
        outputs = check_greedy(generator, generation, inputs)
        np.testing.assert_allclose(generation.attention, outputs["attention"][0], atol=1e-4)
        frames = inputs["encoder_mask"].shape[1]
        assert generation.source_tokens == [f"{0.04 * position:.2f}" for position in range(-(-frames // 4))]
        assert generation.problem == ""


@pytest.fixture(scope="module")
def batch(generator, preprocessor):
    """The inputs of three pairs, and the logits."""
    inputs, _ = next(iter(preprocessor.dataset(PAIRS[:3], batch_size=3)))
    return inputs, generator.model(inputs)


@pytest.mark.parametrize("padding", [1, 2, 3, 4, pytest.param(7, marks=pytest.mark.slow), 30])
def test_padding_changes_nothing(generator, batch, padding):
    inputs, logits = batch
    padded = {
        **inputs,
        "encoder_frames": tf.pad(inputs["encoder_frames"], [[0, 0], [0, padding], [0, 0]], constant_values=9.0),
        "encoder_mask": tf.pad(inputs["encoder_mask"], [[0, 0], [0, padding]]),
    }
    np.testing.assert_allclose(generator.model(padded), logits, atol=1e-4)


def test_a_longer_sound_beside_it_changes_nothing(generator, preprocessor, batch):
    _, logits = batch
    for row, (sound, words) in enumerate(PAIRS[:3]):
        alone, _ = next(iter(preprocessor.dataset([(sound, words)], batch_size=1)))
        length = alone["decoder_token_ids"].shape[1]
        np.testing.assert_allclose(generator.model(alone)[0], logits[row, :length], atol=1e-3)


def test_saved_and_loaded(generator, batch, tmp_path):
    """The same frames of a sound, the same logits of frames, and the same text of tokens."""
    generator.save(tmp_path / "speech.keras")
    loaded = TextGenerator.load(tmp_path / "speech.keras")
    ours, theirs = (each.preprocessor.encode_source(SOUNDS[:1]) for each in (generator, loaded))
    np.testing.assert_array_equal(theirs["encoder_frames"], ours["encoder_frames"])
    inputs, logits = batch
    np.testing.assert_allclose(loaded.model(inputs), logits, atol=1e-5)
    texts = (each.preprocessor.decode(inputs["decoder_token_ids"]).numpy().tolist() for each in (generator, loaded))
    assert next(texts) == next(texts) != []
    assert loaded.sampler.get_config() == generator.sampler.get_config()


def test_frames_are_hidden_in_training_alone(generator, batch):
    inputs, _ = batch
    once, again = (generator.model.encode(inputs)["memory"] for _ in range(2))
    np.testing.assert_array_equal(once, again)
    assert not np.allclose(generator.model.encode(inputs, training=True)["memory"], once, atol=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"subsampling": "max"}, "subsampling must be one of 'convolutional', 'pyramidal'. Received: .*'max'"),
        ({"spec_augment": True}, "spec_augment must be a dict of arguments .* Received: spec_augment=True"),
        ({"ctc_loss": -1.0}, "ctc_loss must be a number of at least 0. Received: ctc_loss=-1.0"),
        ({"ctc_loss": None}, "ctc_loss must be a number of at least 0. Received: ctc_loss=None"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        SpeechSeq2Seq(30, **arguments)


def test_preprocessors_that_do_not_fit(generator, preprocessor):
    other = kerasseq.preprocessing.AudioPreprocessor(preprocessor.target_tokenizer, RATE, preprocessor.num_bins + 1)
    with pytest.raises(ValueError, match="encoder_frames.*Build both with the same num_bins"):
        TextGenerator(generator.model, other)
    images = kerasseq.preprocessing.ImagePreprocessor(preprocessor.target_tokenizer)
    with pytest.raises(
        ValueError, match="reads 'encoder_frames', the ImagePreprocessor returns 'encoder_images'. Pass"
    ):
        TextGenerator(generator.model, images)


# === Served ===

NOISE = encode_wav(np.random.default_rng(3).normal(scale=2.0, size=4_000), RATE)  # clipped
NASTY = {
    "good": SOUNDS[0], "empty": b"", "text": b"not a sound" * 50, "truncated": SOUNDS[1][:500], "clipped": NOISE,
    "silence": encode_wav(np.zeros(6_000), RATE), "too short": encode_wav([0.1], RATE),
    "too long": encode_wav(np.random.default_rng(4).normal(scale=0.1, size=100_000), RATE), "another": SOUNDS[2],
}  # fmt: skip


@pytest.fixture(scope="module")
def served(preprocessor, tmp_path_factory):
    """A generator, and the answers of a fresh process without kerasseq to NASTY by signature."""
    model = BUILDERS["convolutional"](preprocessor.target_vocabulary_size, num_bins=20, units=10, embedding_dim=6)
    randomized(model, 6, scale=0.6)
    generator = TextGenerator(model, preprocessor, sampler="beam")
    folder = generator.export(tmp_path_factory.mktemp("speech"), verify=False)
    assert os.path.getsize(os.path.join(folder, "assets.extra", "tf_serving_warmup_requests")) < 500_000
    signatures, sounds = ("serving_default", "greedy", "nbest", "attention"), list(NASTY.values())
    requests = [(signature, some) for some in (sounds, []) for signature in signatures]
    answers = ask_served(folder, requests, "audio_bytes")
    assert all(answer["text"].size == answer["problem"].size == 0 for answer in answers[4:])
    return folder, generator, dict(zip(signatures, answers, strict=False))


@pytest.mark.exports
@pytest.mark.parametrize("signature", ["serving_default", "greedy", "nbest", "attention"])
def test_served_as_in_process(served, signature):
    _, generator, answers = served
    good = [sound for name, sound in NASTY.items() if name not in ("empty", "text")]
    rows = [row for row, name in enumerate(NASTY) if name not in ("empty", "text")]
    sampler = "greedy" if signature == "greedy" else None
    answer = answers[signature]
    scores = answer["score"].reshape(len(NASTY), -1)
    for row, generation in zip(rows, generator.generate(good, sampler, details=True), strict=True):
        count = scores.shape[1]
        expected = [score for _, score in generation.alternatives[:count]]
        np.testing.assert_allclose(scores[row][: len(expected)], expected, rtol=1e-4, atol=1e-3)
        assert (scores[row][len(expected) :] < -1e8).all()  # Other tokens of the same text are one hypothesis.
        gaps = -np.diff([score for _, score in generation.alternatives])
        if len(gaps) == 0 or gaps[0] > 1e-3:
            assert np.ravel(answer["text"][row])[0] == generation.text
        assert answer["problem"][row] == generation.problem


@pytest.mark.exports
def test_problems_are_named(served):
    _, _, answers = served
    for answer in answers.values():
        problems = dict(zip(NASTY, answer["problem"], strict=True))
        assert {name for name, problem in problems.items() if problem.startswith("Not a WAV file")} == {"empty", "text"}
        assert problems["too long"] == "The sound lasts 12.5 s. Only the first 1.5 s are used."
        assert problems["too short"] == "The sound is shorter than 25 ms."
        assert not any(problems[name] for name in ("good", "another", "silence", "clipped", "truncated"))


@pytest.mark.exports
def test_loaded_and_fitted_on(served):
    folder, generator, _ = served
    loaded = TextGenerator.load(folder)
    assert_same_outputs(loaded, generator, SOUNDS)
    loaded.model.compile("sgd", kerasseq.losses.MaskedCrossentropy(), run_eagerly=True)
    history = loaded.model.fit(loaded.preprocessor.dataset(PAIRS, batch_size=20), verbose=0, shuffle=False)
    assert np.isfinite(history.history["loss"]).all()


@pytest.mark.exports
def test_input_is_named_for_sounds(served):
    signature = tf.saved_model.load(served[0]).signatures["serving_default"]
    assert signature.structured_input_signature[1] == {"audio_bytes": tf.TensorSpec([None], tf.string, "audio_bytes")}


# === Learning ===


@pytest.mark.slow
def test_tones_are_learned():
    """Tones of strings that were not in training: nearly all of them right, with either subsampling."""
    train, test = pairs_of(1_500, 7), pairs_of(100, 8)
    preprocessor = AudioPreprocessor.from_pairs(
        train, vocabulary_size=290, sample_rate=RATE, num_bins=20, max_seconds=2.0, max_target_length=LENGTH
    )
    for subsampling in ("convolutional", "pyramidal"):
        keras.utils.set_random_seed(1)
        model = SpeechSeq2Seq(
            preprocessor.target_vocabulary_size, num_bins=20, units=32, num_layers=3, embedding_dim=16, filters=8,
            subsampling=subsampling,
        )  # fmt: skip
        model.compile(keras.optimizers.Adam(0.003, clipnorm=1.0), kerasseq.losses.MaskedCrossentropy())
        # After about twenty epochs the attention finds where the tones are.
        model.fit(preprocessor.dataset(train, batch_size=16, shuffle=True), epochs=40, verbose=0, shuffle=False)
        sounds, words = zip(*test, strict=True)
        errors = kerasseq.evaluation.word_error_rate(TextGenerator(model, preprocessor).generate(sounds), words)
        assert errors["wer"] < 2.0, (subsampling, errors)
