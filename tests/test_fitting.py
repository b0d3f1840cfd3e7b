"""Benchmarks' models are fitted once, whether or not something interrupts them."""

import functools

import keras
import numpy as np
import pytest

import kerasseq

PAIRS = [("a b", "c d"), ("b", "c"), ("c", "d"), ("a", "b")]
EPOCHS = 3


class Interruption(keras.callbacks.Callback):
    """In the second epoch, after its backup, before it is logged."""

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt


@pytest.fixture
def run(load_benchmark):
    """A function of a folder that fits a tiny model there."""
    fitting = load_benchmark("fitting")
    preprocessor = kerasseq.preprocessing.TextPreprocessor.from_pairs(PAIRS, vocabulary_size=270)

    def build():
        sizes = preprocessor.source_vocabulary_size, preprocessor.target_vocabulary_size
        model = kerasseq.models.GRUSeq2Seq(*sizes, units=8, embedding_dim=8, dropout=0.3)
        # Eagerly, because a graph takes longer than these few steps.
        model.compile = functools.partial(model.compile, run_eagerly=True)
        return model

    def make_data(shuffle):
        return preprocessor.dataset(PAIRS, 2, shuffle=shuffle), preprocessor.dataset(PAIRS[:2], 2)

    def run(folder, make_data=make_data, data_settings="two", callbacks=()):
        return fitting.fit(
            folder, build, make_data, EPOCHS, 0.01, 1, data_settings, ema_momentum=0.9, callbacks=callbacks
        )

    return run


def no_data(shuffle):
    raise AssertionError("There is nothing to be fitted.")


# Keras's CSVLogger leaves its file open.
@pytest.mark.filterwarnings("ignore:Exception ignored in.*epochs.csv:pytest.PytestUnraisableExceptionWarning")
def test_interrupted_and_loaded_models_are_those_of_one_run(run, tmp_path):
    whole, _ = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "interrupted", callbacks=[Interruption()])
    resumed, minutes = run(tmp_path / "interrupted")
    loaded, same_minutes = run(tmp_path / "interrupted", make_data=no_data)
    for expected, *others in zip(whole.get_weights(), resumed.get_weights(), loaded.get_weights(), strict=True):
        for other in others:
            np.testing.assert_allclose(other, expected, atol=1e-5)
    assert minutes == same_minutes
    # Other data are fitted anew.
    with pytest.raises(AssertionError, match="nothing to be fitted"):
        run(tmp_path / "whole", make_data=no_data, data_settings="three")
    (log,) = (tmp_path / "interrupted").rglob("epochs.csv")
    assert [line.split(",")[0] for line in log.read_text().splitlines()] == ["epoch", "0", "2"]


def test_minutes_are_those_of_median_epochs(load_benchmark, tmp_path):
    """Of five epochs of which one was lost, and another took an hour."""
    log = tmp_path / "epochs.csv"
    log.write_text("epoch,seconds\n0,60\n1,66\n3,3600\n4,54\n")
    assert load_benchmark("fitting").minutes(log, 5) == pytest.approx(5 * 63 / 60, abs=0.05)
