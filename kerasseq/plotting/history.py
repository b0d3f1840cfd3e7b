"""Learning curves, from what `fit` returns or from the file of a `keras.callbacks.CSVLogger`."""

import csv
import math
import os

import numpy as np

CURVES = (("", "training", "o-", "C0"), ("val_", "validation", "s--", "C1"))  # prefix, label, style, colour


def plot_history(history, title=None):
    """Learning curves: one panel a metric, with training and validation.

    Args:
        history: what `fit` returns, a `keras.callbacks.History`; or its `.history`, a dict of lists of float; or the
            path of a file written by `keras.callbacks.CSVLogger`.
        title: str, above the whole figure. Default: none.

    Returns:
        a `matplotlib.figure.Figure`. Epochs count from 1, as in Keras's progress bar.

    Raises:
        ValueError: if the history holds no epoch, or its metrics have different numbers of epochs.

    Example:

    >>> from kerasseq.plotting import plot_history
    >>> figure = plot_history({"loss": [2.0, 1.0], "val_loss": [2.1, 1.4], "token_accuracy": [0.4, 0.7]})
    >>> [axis.get_ylabel() for axis in figure.axes]
    ['loss', 'token accuracy']

    ```python
    figure.savefig("learning_curves.png", dpi=150)
    ```
    """
    from matplotlib.figure import Figure  # Deferred: importing kerasseq stays cheap.
    from matplotlib.ticker import MaxNLocator

    epochs, curves = read_history(history)
    metrics = list(dict.fromkeys(name.removeprefix("val_") for name in curves))
    columns = min(len(metrics), 3)
    rows = math.ceil(len(metrics) / columns)
    figure = Figure(figsize=(4.4 * columns, 3.2 * rows + 0.3 * bool(title)), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, metric in zip(axes, metrics, strict=False):
        for prefix, label, style, color in CURVES:
            name = prefix + metric
            if name in curves:
                values = np.asarray(curves[name], dtype=float)
                known = ~np.isnan(values)  # Without validation in an epoch, the line runs on to the next one.
                axis.plot(epochs[known], values[known], style, color=color, label=label, markersize=4)
        axis.set_xlabel("epoch")
        axis.set_ylabel(metric.replace("_", " "), parse_math=False)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axis.grid(alpha=0.3)
        axis.legend()
    for axis in axes[len(metrics) :]:
        axis.remove()
    if title:
        figure.suptitle(title, parse_math=False)
    return figure


def read_history(history):
    """Epochs, an int array that starts at 1, and curves, a dict of lists of float, of what `plot_history` takes."""
    if isinstance(history, (str, os.PathLike)):
        epochs, curves = read_csv_log(history)
    elif isinstance(history, dict):
        curves = history
        epochs = range(1, 1 + max((len(values) for values in curves.values()), default=0))
    elif hasattr(history, "history") and hasattr(history, "epoch"):
        curves = history.history
        epochs = [epoch + 1 for epoch in history.epoch]
    else:
        raise ValueError(
            "history must be what fit returns, its .history dictionary, or the path of a file written by "
            f"keras.callbacks.CSVLogger. Received: {history!r}."
        )
    if not len(epochs) or not curves:
        raise ValueError(
            f"The history holds no epoch: nothing to draw. Received: {history!r}. Call fit with epochs=1 or more first."
        )
    lengths = {name: len(values) for name, values in curves.items()}
    if set(lengths.values()) != {len(epochs)}:
        raise ValueError(
            f"Every metric must have one value for each of the {len(epochs)} epochs. Received: {lengths}. With "
            "validation_freq, log with keras.callbacks.CSVLogger, which notes the epochs, and pass the file's path."
        )
    return np.asarray(epochs), curves


def read_csv_log(path):
    """Epochs and curves of a file written by `keras.callbacks.CSVLogger`."""
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if rows and "epoch" not in rows[0]:
        raise ValueError(
            f"{path} must be a file written by keras.callbacks.CSVLogger, with a column 'epoch'. "
            f"Received: columns {list(rows[0])}."
        )
    # Training that was resumed may have logged an epoch twice: the later row holds.
    rows = sorted({int(row["epoch"]): row for row in rows}.items())
    epochs = [epoch + 1 for epoch, _ in rows]
    names = [name for name in rows[0][1] if name != "epoch"] if rows else []
    curves = {name: [number(row[name]) for _, row in rows] for name in names}
    # The logger adds "val_" columns of "NA" where there was no validation.
    return epochs, {name: values for name, values in curves.items() if not all(map(math.isnan, values))}


def number(cell):
    """A cell of the log as a float; what is no number, such as `"NA"`, as NaN."""
    try:
        return float(cell)
    except (TypeError, ValueError):
        return math.nan
