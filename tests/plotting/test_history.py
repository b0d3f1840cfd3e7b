import csv

import keras
import numpy as np
import pytest

from kerasseq.plotting import plot_history

HISTORY = {"loss": [3.0, 2.0, 1.0], "token_accuracy": [0.1, 0.5, 0.9], "val_loss": [3.5, 2.5, 2.0]}


def curves(figure):
    """{metric: {label: (x, y)}} of a figure."""
    return {
        axis.get_ylabel(): {
            line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in axis.get_lines()
        }
        for axis in figure.axes
    }


def test_curves_of_a_history():
    figure = plot_history(HISTORY, title="Dates")
    assert curves(figure) == {
        "loss": {"training": ([1, 2, 3], [3.0, 2.0, 1.0]), "validation": ([1, 2, 3], [3.5, 2.5, 2.0])},
        "token accuracy": {"training": ([1, 2, 3], [0.1, 0.5, 0.9])},
    }
    assert [axis.get_xlabel() for axis in figure.axes] == ["epoch", "epoch"]
    legends = [[text.get_text() for text in axis.get_legend().get_texts()] for axis in figure.axes]
    assert legends == [["training", "validation"], ["training"]]
    assert figure.get_suptitle() == "Dates"


@pytest.mark.parametrize("epochs", [1, 2, 12])
def test_ticks_are_whole_epochs(epochs):
    figure = plot_history({"loss": list(range(epochs))})
    figure.draw_without_rendering()
    low, high = figure.axes[0].get_xlim()
    ticks = [tick for tick in figure.axes[0].get_xticks() if low <= tick <= high]
    assert ticks and all(float(tick).is_integer() and tick >= 1 for tick in ticks)


def fit(epochs=3, initial_epoch=0, callbacks=(), validation_freq=1):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", metrics=["mae"], run_eagerly=True)
    x = np.ones((4, 1), "float32")
    return model.fit(
        x, x, validation_data=(x, x), epochs=epochs, initial_epoch=initial_epoch, verbose=0, callbacks=list(callbacks),
        validation_freq=validation_freq,
    )  # fmt: skip


def test_keras_history():
    history = fit(epochs=5, initial_epoch=2)
    drawn = curves(plot_history(history))
    assert list(drawn) == ["loss", "mae"]
    assert drawn["mae"]["validation"] == ([3, 4, 5], history.history["val_mae"])


def test_csv_log_gives_the_same_curves_as_the_history(tmp_path):
    history = fit(callbacks=[keras.callbacks.CSVLogger(tmp_path / "log.csv")])
    from_file = curves(plot_history(tmp_path / "log.csv"))
    assert curves(plot_history(str(tmp_path / "log.csv"))) == from_file
    for metric, expected in curves(plot_history(history)).items():
        for label, (epochs, values) in expected.items():
            assert from_file[metric][label][0] == epochs
            np.testing.assert_allclose(from_file[metric][label][1], values, rtol=1e-6)


def test_csv_log_with_validation_in_every_second_epoch(tmp_path):
    history = fit(epochs=4, callbacks=[keras.callbacks.CSVLogger(tmp_path / "log.csv")], validation_freq=2)
    with pytest.raises(ValueError, match=r"'val_loss': 2.*CSVLogger"):
        plot_history(history)
    epochs, values = curves(plot_history(tmp_path / "log.csv"))["loss"]["validation"]
    assert epochs == [2, 4]
    np.testing.assert_allclose(values, history.history["val_loss"], rtol=1e-6)


def test_csv_log_of_resumed_training_without_validation(tmp_path):
    rows = [[0, 3.0, "NA"], [1, 9.0, "NA"], [1, 2.0, "NA"], [2, 1.0, "NA"]]
    with open(tmp_path / "log.csv", "w", newline="") as file:
        csv.writer(file).writerows([["epoch", "loss", "val_loss"], *rows])
    assert curves(plot_history(tmp_path / "log.csv")) == {"loss": {"training": ([1, 2, 3], [3.0, 2.0, 1.0])}}


def test_csv_log_of_the_command_line(tmp_path):
    """`kerasseq train` counts from 1, where `CSVLogger` counts from 0."""
    (tmp_path / "log.csv").write_text("epoch,loss\n1,3.0\n2,2.0\n")
    assert curves(plot_history(tmp_path / "log.csv")) == {"loss": {"training": ([1, 2], [3.0, 2.0])}}


def test_csv_log_with_other_columns_appended(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("epoch,loss\n0,1.5\n1,0.001,1.2\n")
    with pytest.raises(ValueError, match="a cell for each column in its first line. Received: longer rows"):
        plot_history(path)


def test_diverged_training():
    nan = float("nan")
    drawn_curves = curves(plot_history({"loss": [2.0, nan, 1.0], "val_loss": [nan, nan, nan]}))
    assert drawn_curves == {"loss": {"training": ([1, 3], [2.0, 1.0]), "validation": ([], [])}}


@pytest.mark.parametrize("history", [{}, {"loss": []}, keras.callbacks.History()])
def test_empty_history(history):
    if not isinstance(history, dict):
        history.history, history.epoch = {}, []
    with pytest.raises(ValueError, match="has no epochs.*Call fit"):
        plot_history(history)


def test_file_errors(tmp_path):
    with pytest.raises(FileNotFoundError):
        plot_history(tmp_path / "none.csv")
    (tmp_path / "empty.csv").write_text("epoch,loss\n")
    with pytest.raises(ValueError, match="has no epochs"):
        plot_history(tmp_path / "empty.csv")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="column 'epoch'"):
        plot_history(tmp_path / "other.csv")


@pytest.mark.parametrize("history", [None, 3, [1.0, 2.0]])
def test_wrong_types(history):
    with pytest.raises(ValueError, match="must be what fit returns"):
        plot_history(history)
