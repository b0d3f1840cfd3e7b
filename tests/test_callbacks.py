import doctest
import pathlib
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import kerasseq
from kerasseq.callbacks import AttentionImages, GenerationScores


@pytest.fixture
def model(trained_model):
    """A copy of `trained_model`, to be trained on."""
    model = kerasseq.Seq2Seq.from_config(trained_model.get_config())
    model.set_weights(trained_model.get_weights())
    model.compile(keras.optimizers.Adam(0.02), kerasseq.losses.MaskedCrossentropy())
    return model


def fit(model, preprocessor, pairs, callbacks, epochs=4):
    batches = preprocessor.dataset(pairs, batch_size=8)
    return model.fit(batches, epochs=epochs, verbose=0, shuffle=False, callbacks=callbacks).history


# === Scores ===


def test_scores_are_those_of_what_the_model_generates(model, preprocessor, number_pairs, tmp_path):
    """After each epoch: the weights saved there generate, later, texts of the score in the logs."""
    metrics = ["bleu", "chrf", "rouge", "word_error_rate", "exact_match"]
    scores = GenerationScores(preprocessor, number_pairs, metrics)
    saved = keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.weights.h5", save_weights_only=True)
    history = fit(model, preprocessor, number_pairs, [scores, saved], epochs=3)
    sources, targets = zip(*number_pairs, strict=True)
    generator = kerasseq.TextGenerator(model, preprocessor, sampler="greedy")
    for epoch in (0, 2):
        model.load_weights(tmp_path / f"{epoch + 1}.weights.h5")
        outputs = generator.generate(sources)
        assert history["val_bleu"][epoch] == kerasseq.evaluation.bleu(outputs, targets)["score"]
        assert history["val_chrf"][epoch] == kerasseq.evaluation.chrf(outputs, targets)["score"]
        assert history["val_rougeL"][epoch] == kerasseq.evaluation.rouge(outputs, targets)["rougeL"]
        assert history["val_cer"][epoch] == kerasseq.evaluation.word_error_rate(outputs, targets)["cer"]
        equal = [output == target for output, target in zip(outputs, targets, strict=True)]
        assert history["val_exact_match"][epoch] == round(100 * np.mean(equal), 2)
    assert history["val_chrf"][0] != history["val_chrf"][2]


def test_other_callbacks_watch_them(model, preprocessor, number_pairs, tmp_path):
    scores = GenerationScores(preprocessor, number_pairs)
    best = keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", monitor="val_chrf", mode="max", save_best_only=True)
    # It never improves by 1,000, so training stops after the second epoch without a gain.
    stop = keras.callbacks.EarlyStopping(monitor="val_bleu", mode="max", min_delta=1_000, patience=2)
    history = fit(model, preprocessor, number_pairs, [scores, best, stop], epochs=9)
    assert len(history["val_bleu"]) == 3
    loaded = kerasseq.TextGenerator(keras.models.load_model(tmp_path / "best.keras"), preprocessor, sampler="greedy")
    assert loaded.evaluate_text(number_pairs, resamples=0)["chrf"]["score"] == max(history["val_chrf"])


def test_averaged_weights_are_scored(preprocessor, number_pairs, model):
    """Behind SwapEMAWeights: averages with a momentum of 1 stay those of the first step, whatever else is learned."""
    optimizer = keras.optimizers.Adam(0.02, use_ema=True, ema_momentum=1.0)
    model.compile(optimizer, kerasseq.losses.MaskedCrossentropy())
    current = GenerationScores(preprocessor, number_pairs, "chrf")
    averaged = GenerationScores(preprocessor, number_pairs, "word_error_rate")
    swap = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
    history = fit(model, preprocessor, number_pairs, [current, swap, averaged])
    assert len(set(history["val_chrf"])) > 1 and len(set(history["val_cer"])) == 1


def test_frequency_and_samples(model, preprocessor, number_pairs, capsys):
    scores = GenerationScores(preprocessor, number_pairs, "bleu", frequency=2, samples=1)
    history = fit(model, preprocessor, number_pairs, [scores], epochs=4)
    assert len(history["val_bleu"]) == 3 and len(history["loss"]) == 4  # of the epochs 1, 2 and 4
    printed = capsys.readouterr().out
    source, target = number_pairs[0]
    assert printed.count(f"source: {source}\n  target: {target}\n  output: ") == 3


@pytest.mark.filterwarnings("ignore:Exception ignored in.*log.csv:pytest.PytestUnraisableExceptionWarning")
def test_logs_of_a_resumed_run_have_the_same_columns(model, preprocessor, number_pairs, tmp_path):
    batches = preprocessor.dataset(number_pairs, 16)
    for first, last in ((0, 2), (2, 6)):
        scores = GenerationScores(preprocessor, number_pairs, (name for name in ["chrf"]), frequency=3)
        logger = keras.callbacks.CSVLogger(tmp_path / "log.csv", append=True)
        model.fit(batches, initial_epoch=first, epochs=last, callbacks=[scores, logger], shuffle=False, verbose=0)
    lines = [line.split(",") for line in (tmp_path / "log.csv").read_text().splitlines()]
    column = lines[0].index("val_chrf")
    assert {len(line) for line in lines} == {len(lines[0])}
    # Of the first epochs, of that after it went on, and of every third one.
    assert [line[column] not in ("", "NA") for line in lines[1:]] == [True, False, True, False, False, True]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"metrics": ["blue"]}, "metrics must be among 'bleu', 'chrf', .* Received: \\['blue'\\]"),
        ({"pairs": []}, "pairs must be a list of .* at least one"),
        ({"pairs": [("one", "eins", "uno")]}, "Received at index 0"),
        ({"pairs": [("one", 1)]}, "references must be strings"),
        ({"pairs": [("one", "eins"), (2, "zwei")]}, "Sources must be strings. Received at index 1"),
        ({"frequency": 0}, "frequency must be a positive integer"),
        ({"batch_size": 0}, "batch_size must be a positive integer"),
        ({"samples": -1}, "samples must be an integer of at least 0"),
    ],
)
def test_errors_before_anything_is_trained(preprocessor, number_pairs, arguments, message):
    with pytest.raises(ValueError, match=message):
        GenerationScores(**{"preprocessor": preprocessor, "pairs": number_pairs, **arguments})


# === Pictures ===


def events(folder):
    """{(tag, step): tensor} of what is written for TensorBoard."""
    found = {}
    for file in sorted(pathlib.Path(folder).rglob("events*")):
        for record in tf.data.TFRecordDataset(str(file)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            found |= {(value.tag, event.step): tf.make_ndarray(value.tensor) for value in event.summary.value}
    return found


def test_pictures_of_attention(model, preprocessor, number_pairs, tmp_path):
    sources = [number_pairs[20][0], number_pairs[5][0]]
    images = AttentionImages(tmp_path, preprocessor, sources, frequency=2)
    fit(model, preprocessor, number_pairs, [images], epochs=4)
    found = events(tmp_path / "generation")
    assert set(found) == {
        (f"{name}/{index}", step) for name in ("attention", "output") for index in (0, 1) for step in (0, 1, 3)
    }
    last = kerasseq.TextGenerator(model, preprocessor, sampler="greedy").generate(sources, details=True)
    for index, generation in enumerate(last):
        assert found[f"output/{index}", 3].item().decode() == generation.text
        width, height, png = found[f"attention/{index}", 3].tolist()
        pixels = tf.io.decode_png(png)
        assert pixels.shape == (int(height), int(width), 3)
        # The same figure, drawn again.
        figure = kerasseq.plotting.plot_attention(generation)
        figure.savefig(tmp_path / "again.png", dpi=100)
        again = tf.io.decode_png(tf.io.read_file(str(tmp_path / "again.png")), channels=3)
        np.testing.assert_array_equal(pixels, again)


def test_another_plot(model, preprocessor, number_pairs, tmp_path):
    from matplotlib.figure import Figure

    seen = []

    def plot(source, generation):
        seen.append((source, generation.text))
        return Figure((1, 1))

    fit(model, preprocessor, number_pairs, [AttentionImages(tmp_path, preprocessor, ["one"], plot=plot)], epochs=1)
    assert [source for source, _ in seen] == ["one"]


def test_pictures_need_attention_sources_and_tensorboard(preprocessor, tmp_path, monkeypatch):
    images = AttentionImages(tmp_path, preprocessor, ["one"])
    plain = kerasseq.models.GRUSeq2Seq(
        preprocessor.source_vocabulary_size, preprocessor.target_vocabulary_size, units=8, embedding_dim=8
    )
    with pytest.raises(ValueError, match="Received: a model without attention"):
        images.set_model(plain)
    for sources in ([], "one"):
        with pytest.raises(ValueError, match="sources must be a list of raw sources, at least one"):
            AttentionImages(tmp_path, preprocessor, sources)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install tensorboard"):
        AttentionImages(tmp_path, preprocessor, ["one"])


def test_examples():
    results = doctest.testmod(sys.modules[GenerationScores.__module__])
    assert results.failed == 0 and results.attempted >= 7
