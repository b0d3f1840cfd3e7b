"""Training curves, from the result of `fit` or from a log file of `keras.callbacks.CSVLogger`."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    import keras
    from matplotlib.figure import Figure

CurveValues: TypeAlias = Mapping[str, Sequence[float]]

CURVES = (("", "training", "o-", "C0"), ("val_", "validation", "s--", "C1"))  # prefix, label, style, colour


def plot_history(
    history: keras.callbacks.History | CurveValues | str | os.PathLike[str], title: str | None = None
) -> Figure:
    """Plots training and validation curves, with one panel per metric.

    Args:
        history: `keras.callbacks.History`, as `fit` returns; its `.history`, a dict of lists of float; or the path of a
            file written by `keras.callbacks.CSVLogger`, which counts epochs from 0, or the `log.csv` of `kerasseq
            train`, which counts them from 1.
        title: str, title of the figure. Defaults to `None`: no title.

    Returns:
        a `matplotlib.figure.Figure`. Epochs count from 1, as in the progress bar of Keras.

    Raises:
        ValueError: if the history has no epochs, or its metrics have different numbers of epochs.

    Example:

    >>> from kerasseq.plotting import plot_history
    >>> figure = plot_history({"loss": [2.0, 1.0], "val_loss": [2.1, 1.4], "token_accuracy": [0.4, 0.7]})
    >>> [axis.get_ylabel() for axis in figure.axes]
    ['loss', 'token accuracy']
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
                known = ~np.isnan(values)  # The line skips epochs without validation.
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


def read_history(history: Any) -> tuple[np.ndarray, CurveValues]:
    """Epochs, counted from 1, and curves by metric, from any `history` that `plot_history` accepts."""
    curves: CurveValues
    epochs: Sequence[int]
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
        raise ValueError(f"The history has no epochs. Received: {history!r}. Call fit with epochs=1 or more first.")
    lengths = {name: len(values) for name, values in curves.items()}
    if set(lengths.values()) != {len(epochs)}:
        raise ValueError(
            f"Every metric must have one value per epoch, {len(epochs)} in total. Received: {lengths}. With "
            "validation_freq, log with keras.callbacks.CSVLogger, which records the epochs, and pass its file's path."
        )
    return np.asarray(epochs), curves


def read_csv_log(path: str | os.PathLike[str]) -> tuple[list[int], dict[str, list[float]]]:
    """Epochs and curves from a file written by `keras.callbacks.CSVLogger`."""
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if rows and "epoch" not in rows[0]:
        raise ValueError(
            f"{path} must be a file written by keras.callbacks.CSVLogger, with a column 'epoch'. "
            f"Received: columns {list(rows[0])}."
        )
    if any(None in row for row in rows):
        raise ValueError(
            f"{path} must have a cell for each column in its first line. Received: longer rows, as when a run with "
            "other callbacks or metrics is appended. Log each run to a file of its own."
        )
    # Resumed training may log an epoch twice. The last row counts.
    rows_by_epoch = dict(sorted({int(row["epoch"]): row for row in rows}.items()))
    first = min(rows_by_epoch, default=0)
    epochs = [epoch + (first != 1) for epoch in rows_by_epoch]  # `kerasseq train` counts from 1.
    names = [name for name in rows[0] if name != "epoch"] if rows else []
    curves = {name: [number(row[name]) for row in rows_by_epoch.values()] for name in names}
    # Without validation data, CSVLogger writes "NA" in the "val_" columns.
    return epochs, {name: values for name, values in curves.items() if not all(map(math.isnan, values))}


def number(cell: str | None) -> float:
    """Converts a cell to float. Cells that are not numbers, such as `"NA"`, become NaN."""
    try:
        return float(cell)  # type: ignore[arg-type]  # Cells missing at the end of a row are None.
    except (TypeError, ValueError):
        return math.nan
