"""Images to texts by every road: a loop of `predict`, `generate`, saved, exported, and served by the C++ session."""

import keras
import numpy as np
import pytest
from helpers import ask_served, assert_same_outputs, check_greedy
from keras import layers

import kerasseq
from kerasseq import TextGenerator
from kerasseq.datasets import load_drawn_scenes

START, END = 2, 3
LENGTH, SIZE = 8, (20, 28)
PAIRS = load_drawn_scenes(60, image_size=24)[0]
IMAGES = [image for image, _ in PAIRS[:4]]
DAMAGED = IMAGES[1][:60]
RAW = [IMAGES[0], b"", IMAGES[1], DAMAGED, b"no image at all", IMAGES[2]]
PROBLEMS = ["", "not a JPEG or PNG image", "", "damaged", "not a JPEG or PNG image", ""]

MODELS = {
    "lstm": {},
    "gru, multi_head, tied": {
        "cell": "gru", "attention": "multi_head", "num_heads": 2, "bridge": "zero", "tie_embeddings": True,
        "num_layers": 2,
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def preprocessor():
    return kerasseq.preprocessing.ImagePreprocessor.from_pairs(PAIRS, vocabulary_size=300, image_size=SIZE)


@pytest.fixture(scope="module", params=["lstm", pytest.param("gru, multi_head, tied", marks=pytest.mark.slow)])
def generator(request, preprocessor):
    """A generator with random weights, large enough that its outputs differ from image to image."""
    images = keras.Input((*SIZE, 3))
    features = layers.Conv2D(6, 5, strides=4, padding="same", activation="relu")(images)
    backbone = keras.Model(images, layers.BatchNormalization()(features))  # 5 x 7 regions
    model = kerasseq.models.CaptioningSeq2Seq(
        preprocessor.target_vocabulary_size, backbone, normalization="tf", embedding_dim=8, units=12,
        **MODELS[request.param],
    )  # fmt: skip
    random = np.random.default_rng(5)
    for weight in model.weights:
        if "normalization" not in weight.path:
            weight.assign(random.normal(size=weight.shape, scale=0.7))
    return TextGenerator(model, preprocessor, sampler="beam", max_length=LENGTH)


@pytest.fixture(scope="module")
def exported(generator, tmp_path_factory):
    return generator.export(tmp_path_factory.mktemp("exported"), verify=False)


def greedy_by_predict(model, images):
    """Greedy ids, and their log-probability, of one image: the whole prefix through `predict` for every token."""
    ids, score = [], 0.0
    while len(ids) < LENGTH and END not in ids:
        decoder_token_ids = np.array([[START, *ids]], "int32")
        logits = model.predict_on_batch({"encoder_images": images, "decoder_token_ids": decoder_token_ids})[0, -1]
        ids.append(int(np.argmax(logits)))
        score += logits[ids[-1]] - np.log(np.sum(np.exp(logits.astype("float64"))))
    return ids, score


def test_generate_is_a_loop_of_predict(generator):
    generations = generator.generate(IMAGES, sampler="greedy", details=True)
    assert len({generation.text for generation in generations}) > 1
    for image, generation in zip(IMAGES, generations, strict=True):
        inputs = {"encoder_images": generator.preprocessor.encode_source([image])["encoder_images"].numpy()}
        check_greedy(generator, generation, inputs)
        assert generator.generate(image, sampler="greedy", details=True).text == generation.text
    check_greedy(generator, generation, inputs, generator.model.predict_on_batch)


def test_details(generator):
    generation = generator.generate(IMAGES[0], details=True)
    assert generation.source_tokens == [f"{row},{column}" for row in range(5) for column in range(7)]
    assert generation.attention.shape == (len(generation.target_tokens), 35)
    np.testing.assert_allclose(generation.attention.sum(axis=1), 1.0, atol=1e-5)
    assert generation.problem == ""
    with pytest.raises(ValueError, match="Received: 1 of 1 are damaged"):
        generator.generate(DAMAGED)


def test_saved_and_loaded(generator, tmp_path):
    generator.save(tmp_path / "captions.keras")
    loaded = TextGenerator.load(tmp_path / "captions.keras")
    assert loaded.sampler.get_config() == generator.sampler.get_config()
    # Without details here, with them there: one graph less to trace, and the same texts.
    expected = generator.generate(IMAGES, "greedy", details=True)
    assert loaded.generate(IMAGES, "greedy") == [generation.text for generation in expected]
    assert loaded.preprocessor.image_size == SIZE


@pytest.mark.exports
def test_loaded_from_the_export_and_trained_on(generator, exported):
    loaded = TextGenerator.load(exported)
    assert_same_outputs(loaded, generator, IMAGES)
    loaded.model.compile("sgd", kerasseq.losses.MaskedCrossentropy(), run_eagerly=True)
    before = loaded.model.get_weights()
    history = loaded.model.fit(loaded.preprocessor.dataset(PAIRS[:8], batch_size=8), shuffle=False, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    assert any(not np.array_equal(old, new) for old, new in zip(before, loaded.model.get_weights(), strict=True))


def test_a_size_that_is_not_the_models(generator):
    wrong = kerasseq.preprocessing.ImagePreprocessor(generator.preprocessor.target_tokenizer, image_size=16)
    with pytest.raises(ValueError, match=r"\(20, 28, 3\), the ImagePreprocessor returns it as \(16, 16, 3\)"):
        TextGenerator(generator.model, wrong)


@pytest.mark.exports
def test_served_as_in_process(generator, exported):
    """With rows that are no image, or damaged, which change nothing in the others."""
    requests = [("serving_default", RAW), ("greedy", RAW), ("attention", RAW)]
    requests += [("nbest", IMAGES[:1]), ("greedy", []), ("greedy", [b""])]
    answers = ask_served(exported, requests, "image_bytes")
    good = [row for row, problem in enumerate(PROBLEMS) if not problem]
    images = [RAW[row] for row in good]
    for answer, sampler in zip(answers, ["beam", "greedy", "beam"], strict=False):
        expected = generator.generate(images, sampler=sampler, details=True)
        assert answer["text"][good].tolist() == [generation.text for generation in expected]
        np.testing.assert_allclose(answer["score"][good], [generation.score for generation in expected], atol=1e-3)
        for received, problem in zip(answer["problem"], PROBLEMS, strict=True):
            assert received.startswith(problem) and bool(received) == bool(problem)
    details = answers[2]
    assert details["source_tokens"].tolist() == [expected[0].source_tokens] * len(RAW)
    for row, generation in zip(good, expected, strict=True):
        weights = details["attention"][row, : len(generation.target_tokens)]
        np.testing.assert_allclose(weights, generation.attention, atol=1e-4)
    assert answers[3]["text"][0].tolist() == [text for text, _ in expected[0].alternatives]
    assert answers[4]["text"].shape == answers[4]["problem"].shape == (0,)
    assert answers[5]["problem"].tolist() == ["not a JPEG or PNG image"]
    # The model sees mid gray in place of what is no image.
    gray = generator.model.encoder.input["encoder_images"].shape[1:]
    inputs = {"encoder_images": np.full((1, *gray), 127.5, "float32")}
    ids, score = greedy_by_predict(generator.model, inputs["encoder_images"])
    assert answers[5]["score"][0] == pytest.approx(score, abs=1e-3)
    assert answers[5]["text"][0] == generator.preprocessor.decode([ids]).numpy()[0].decode().replace("\ufffd", "")


def test_an_ensemble(generator):
    """Two models of one preprocessor, whose regions have the same labels."""
    other = kerasseq.Seq2Seq.from_config(generator.model.get_config())
    other.set_weights(generator.model.get_weights())
    together = TextGenerator(
        kerasseq.models.Ensemble([generator.model, other]), generator.preprocessor, "greedy", max_length=LENGTH
    )
    expected = generator.generate(IMAGES, "greedy", details=True)
    for generation, alone in zip(together.generate(IMAGES, details=True), expected, strict=True):
        assert generation.text == alone.text and generation.source_tokens == alone.source_tokens
        np.testing.assert_allclose(generation.attention, alone.attention, atol=1e-4)


def test_a_model_on_features_does_not_read_images(generator):
    model = kerasseq.models.CaptioningSeq2Seq(
        generator.preprocessor.target_vocabulary_size, None, feature_shape=(2, 3, 4), units=8, embedding_dim=8
    )
    with pytest.raises(ValueError, match="reads features of images, the preprocessor returns images. Put the backbone"):
        TextGenerator(model, generator.preprocessor)
