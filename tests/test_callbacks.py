import contextlib
import io
import pathlib
import sys
import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from matplotlib.figure import Figure

import kerasseq
from kerasseq.callbacks import AttentionImages, GenerationScores

EPOCHS = 4


def copy_of(trained_model, optimizer):
    """A copy of `trained_model`, to be trained on: eagerly, because a graph takes longer than these few steps."""
    model = kerasseq.Seq2Seq.from_config(trained_model.get_config())
    model.set_weights(trained_model.get_weights())
    model.compile(optimizer, kerasseq.losses.MaskedCrossentropy(), run_eagerly=True)
    return model


@pytest.fixture(scope="module")
def run(trained_model, preprocessor, number_pairs, tmp_path_factory):
    """One training with all callbacks: its folder, history, what it printed and plotted, and a generator."""
    folder, printed, plotted = tmp_path_factory.mktemp("run"), io.StringIO(), []

    def plot(source, generation):
        plotted.append((source, generation.text))
        return Figure((1, 1))

    # Averages with a momentum of 1 stay the weights of the first step, whatever else is learned.
    model = copy_of(trained_model, keras.optimizers.Adam(0.02, use_ema=True, ema_momentum=1.0))
    callbacks = [
        GenerationScores(preprocessor, number_pairs, ["bleu", "chrf", "rouge", "exact_match"]),
        AttentionImages(folder, preprocessor, [number_pairs[20][0], number_pairs[5][0]], frequency=2),
        AttentionImages(folder / "other", preprocessor, ["one"], plot=plot, frequency=9),
        keras.callbacks.ModelCheckpoint(folder / "{epoch}.weights.h5", save_weights_only=True),
        keras.callbacks.ModelCheckpoint(folder / "best.keras", monitor="val_chrf", mode="max", save_best_only=True),
        # The score never improves by 1,000, so training stops after the third epoch without a gain.
        keras.callbacks.EarlyStopping(monitor="val_bleu", mode="max", min_delta=1_000, patience=EPOCHS - 1),
        keras.callbacks.SwapEMAWeights(swap_on_epoch=True),
        keras.callbacks.ModelCheckpoint(folder / "averages.weights.h5", save_weights_only=True),
        GenerationScores(preprocessor, number_pairs, "word_error_rate", frequency=2, samples=1),
    ]
    batches = preprocessor.dataset(number_pairs, batch_size=32)
    with contextlib.redirect_stdout(printed):
        history = model.fit(batches, epochs=9, verbose=0, shuffle=False, callbacks=callbacks).history
    generator = kerasseq.TextGenerator(model, preprocessor, sampler="greedy")
    return types.SimpleNamespace(
        folder=folder, history=history, printed=printed.getvalue(), plotted=plotted, generator=generator
    )


# === Scores ===


def test_scores_are_those_of_what_the_model_generates(run, number_pairs):
    """After each epoch: the weights saved there generate, later, texts of the score in the logs."""
    sources, targets = zip(*number_pairs, strict=True)
    for epoch in (0, EPOCHS - 1):
        run.generator.model.load_weights(run.folder / f"{epoch + 1}.weights.h5")
        outputs = run.generator.generate(sources)
        assert run.history["val_bleu"][epoch] == kerasseq.evaluation.bleu(outputs, targets)["score"]
        assert run.history["val_chrf"][epoch] == kerasseq.evaluation.chrf(outputs, targets)["score"]
        assert run.history["val_rougeL"][epoch] == kerasseq.evaluation.rouge(outputs, targets)["rougeL"]
        equal = [output == target for output, target in zip(outputs, targets, strict=True)]
        assert run.history["val_exact_match"][epoch] == round(100 * np.mean(equal), 2)
    assert run.history["val_chrf"][0] != run.history["val_chrf"][-1]


def test_other_callbacks_watch_them(run, number_pairs):
    assert len(run.history["val_bleu"]) == len(run.history["loss"]) == EPOCHS
    run.generator.model.set_weights(keras.models.load_model(run.folder / "best.keras").get_weights())
    best = run.generator.evaluate_text(number_pairs, ["chrf"], resamples=0)["chrf"]["score"]
    assert best == max(run.history["val_chrf"])


def test_averaged_weights_are_scored(run, number_pairs):
    """Behind SwapEMAWeights, which has put the averages into the model."""
    sources, targets = zip(*number_pairs, strict=True)
    run.generator.model.load_weights(run.folder / "averages.weights.h5")
    errors = kerasseq.evaluation.word_error_rate(run.generator.generate(sources), targets)
    assert set(run.history["val_cer"]) == {errors["cer"]}
    assert len(set(run.history["val_chrf"])) > 1


def test_frequency_and_samples(run, number_pairs):
    assert len(run.history["val_cer"]) == 3  # of the epochs 1, 2 and 4
    source, target = number_pairs[0]
    assert run.printed.count(f"source: {source}\n  target: {target}\n  output: ") == 3


@pytest.mark.filterwarnings("ignore:Exception ignored in.*log.csv:pytest.PytestUnraisableExceptionWarning")
def test_logs_of_a_resumed_run_have_the_same_columns(preprocessor, number_pairs, tmp_path):
    model = kerasseq.models.GRUSeq2Seq(
        preprocessor.source_vocabulary_size, preprocessor.target_vocabulary_size, units=4, embedding_dim=4
    )
    model.compile("sgd", kerasseq.losses.MaskedCrossentropy(), run_eagerly=True)
    batches = preprocessor.dataset(number_pairs[:4], 4)
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
        ({"metrics": ["blue"]}, "metrics must be .* among 'bleu', 'chrf', .* Received: \\['blue'\\]"),
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


def test_pictures_of_attention(run, number_pairs, tmp_path):
    found = events(run.folder / "generation")
    assert set(found) == {
        (f"{name}/{index}", step) for name in ("attention", "output") for index in (0, 1) for step in (0, 1, 3)
    }
    run.generator.model.load_weights(run.folder / f"{EPOCHS}.weights.h5")
    last = run.generator.generate([number_pairs[20][0], number_pairs[5][0]], details=True)
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


def test_another_plot(run):
    assert [source for source, _ in run.plotted] == ["one"]


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
