"""Pre-training as a language model: what is predicted, what is learned, and where it ends up."""

import keras
import numpy as np
import pytest

import kerasseq
from kerasseq import pretraining
from kerasseq.seq2seq import weights_by_name

TEXTS = ["the cat sat", "a dog ran away", "the dog sat"] * 4


@pytest.fixture(scope="module")
def preprocessor():
    return kerasseq.preprocessing.TextPreprocessor.from_pairs(
        [(text, text) for text in TEXTS], vocabulary_size=280, joint=True
    )


def build(preprocessor, **options):
    return kerasseq.models.PointerGeneratorSeq2Seq(
        preprocessor.source_vocabulary_size, cell="gru", units=12, embedding_dim=8, **options
    )


def test_labels_are_the_neighbours(preprocessor):
    model = pretraining.language_model(build(preprocessor))
    for inputs, labels in pretraining.language_model_dataset(model, preprocessor, TEXTS[:3], batch_size=3):
        for row, token_ids in enumerate(inputs["encoder_token_ids"].numpy()):
            real = token_ids[token_ids > 0].tolist()
            padding = [0] * (len(token_ids) - len(real))
            assert labels["next"].numpy()[row].tolist() == [*real[1:], 0, *padding]
            assert labels["previous"].numpy()[row].tolist() == [0, *real[:-1], *padding]


def test_a_direction_sees_nothing_of_what_it_predicts(preprocessor):
    model = pretraining.language_model(build(preprocessor))
    random = np.random.default_rng(1)
    token_ids = random.integers(4, preprocessor.source_vocabulary_size, (1, 6)).astype("int32")
    changed = token_ids.copy()
    changed[0, 3] = 4 if token_ids[0, 3] != 4 else 5
    before, after = (model({"encoder_token_ids": ids}) for ids in (token_ids, changed))
    same = {name: np.all(np.isclose(before[name], after[name], atol=1e-6), axis=-1)[0].tolist() for name in before}
    assert same == {"next": [True] * 3 + [False] * 3, "previous": [False] * 4 + [True] * 2}


@pytest.mark.parametrize(("bidirectional", "outputs"), [(True, {"next", "previous"}), (False, {"next"})])
def test_fit_trains_the_encoder_s_first_layer_alone(preprocessor, bidirectional, outputs):
    model = build(preprocessor, num_layers=2, bidirectional=bidirectional)
    before = {name: weight.numpy() for name, weight in weights_by_name(model).items()}
    language_model = pretraining.language_model(model, dropout=0.1)
    assert set(language_model.output) == outputs
    language_model.compile(
        keras.optimizers.Adam(0.01), pretraining.language_model_loss(language_model), run_eagerly=True
    )
    dataset = pretraining.language_model_dataset(language_model, preprocessor, TEXTS, batch_size=12)
    history = language_model.fit(dataset, epochs=3, shuffle=False, verbose=0).history["loss"]
    assert history[-1] < history[0]
    changed = {name for name, weight in weights_by_name(model).items() if not np.array_equal(before[name], weight)}
    first = ["embedding", "forward_0"] + ["backward_0"] * bidirectional
    assert changed == {name for name in before if name.startswith(tuple(f"encoder/{layer}/" for layer in first))}


def test_it_takes_an_encoder_and_survives_saving(preprocessor, tmp_path):
    model = build(preprocessor)
    language_model = pretraining.language_model(model.encoder)
    inputs = {"encoder_token_ids": np.array([[5, 6, 7, 3]], dtype="int32")}
    language_model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for name, logits in language_model(inputs).items():
        np.testing.assert_allclose(loaded(inputs)[name], logits, atol=1e-6)


def test_errors(preprocessor):
    model = build(preprocessor)
    captioner = kerasseq.models.CaptioningSeq2Seq(9, None, feature_shape=(1, 1, 2), units=4, embedding_dim=3)
    for no_text in (model.decoder, captioner):
        with pytest.raises(ValueError, match="takes a kerasseq.Seq2Seq with a RecurrentEncoder of token ids"):
            pretraining.language_model(no_text)
    with pytest.raises(ValueError, match="texts must be a list of strings. Received: a single string"):
        pretraining.language_model_dataset(pretraining.language_model(model), preprocessor, "a cat", batch_size=1)
    with pytest.raises(ValueError, match=r"dropout must be in \[0, 1\)"):
        pretraining.language_model(model, dropout=1.0)
