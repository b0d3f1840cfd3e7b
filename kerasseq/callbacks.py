"""Callbacks that generate and score texts during training."""

import importlib.util
import io
import os
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from kerasseq.arguments import check_positive_integer
from kerasseq.evaluation.arguments import sources_and_targets
from kerasseq.evaluation.scores import METRICS, Metrics, check_scorable, score_texts
from kerasseq.generation import Generation
from kerasseq.generator import TextGenerator
from kerasseq.preprocessing import Preprocessor
from kerasseq.progress import say
from kerasseq.types import Pair

__all__ = ["AttentionImages", "GenerationScores", "GeneratorCheckpoint"]


class GeneratingCallback(keras.callbacks.Callback):
    """Generates after the first epoch of a `fit` and after every `frequency`-th; subclasses define `on_generation`."""

    def __init__(self, preprocessor: Preprocessor, sampler: Any, max_length: int | None, frequency: int):
        super().__init__()
        check_positive_integer("frequency", frequency)
        self.preprocessor = preprocessor
        self.sampler = sampler
        self.max_length = max_length
        self.frequency = frequency

    def set_model(self, model):
        super().set_model(model)
        model = model.model if isinstance(model, TextGenerator) else model
        self.generator = TextGenerator(model, self.preprocessor, sampler=self.sampler, max_length=self.max_length)

    def on_train_begin(self, logs=None):
        self._first = True

    def on_epoch_end(self, epoch, logs=None):
        if self._first or (epoch + 1) % self.frequency == 0:
            self._first = False
            self.on_generation(epoch, logs)

    def on_generation(self, epoch: int, logs: dict[str, float]) -> None:
        """Generates with `self.generator`, which has the weights of the model in training."""
        raise NotImplementedError


class GenerationScores(GeneratingCallback):
    """Scores the outputs of a model for validation sources after each epoch.

    The logs get `val_bleu`, `val_chrf` and so on, so callbacks after this one can monitor them, and `fit` shows them
    and keeps them in its history.

    ```python
    scores = kerasseq.callbacks.GenerationScores(preprocessor, validation[::16], samples=3)
    best = kerasseq.callbacks.GeneratorCheckpoint(
        "best.keras", preprocessor, monitor="val_bleu", mode="max", save_best_only=True
    )
    model.fit(batches, epochs=10, callbacks=[scores, best], shuffle=False)
    translator = kerasseq.TextGenerator.load("best.keras")
    ```

    With an optimizer that averages weights (`use_ema=True`), put `keras.callbacks.SwapEMAWeights(swap_on_epoch=True)`
    before it: then the averages are scored. Put `BackupAndRestore` before both, because a resumed run continues from
    the trained weights, not from their averages. Load the best model from the file of the checkpoint: where
    `EarlyStopping` ends `fit`, the model in memory has its trained weights again.

    Args:
        preprocessor: that of the training data.
        pairs: list of (raw source, target), the target a str, or a list of str where there are several references. A
            few hundred suffice: all are decoded in each of these epochs. Where a file is sorted, as by length, take
            every sixteenth rather than the first ones.
        metrics: list of names, or dict from names to settings, see `kerasseq.evaluation.score_texts`.
        sampler: as of `kerasseq.TextGenerator`; `"greedy"` is fastest.
        max_length: int, the most tokens of an output. Default: the preprocessor's `max_target_length`.
        batch_size: int, sources decoded together.
        frequency: int. The first epoch of a `fit`, from which `CSVLogger` takes its columns, and every `frequency`-th
            are scored. The others have no such logs.
        samples: int, number of pairs whose source, target and output are printed, always the same ones.
        language: str, code of the targets' language, such as `"zh"`, see `kerasseq.evaluation.score_texts`.

    Raises:
        ValueError: if a number is not positive, there are no pairs, the preprocessor refuses a source, or a metric is
            unknown.

    Example:

    >>> import keras, kerasseq
    >>> pairs = [("one two", "eins zwei"), ("three", "drei")]
    >>> preprocessor = kerasseq.preprocessing.TextPreprocessor.from_pairs(pairs, vocabulary_size=270)
    >>> sizes = preprocessor.source_vocabulary_size, preprocessor.target_vocabulary_size
    >>> model = kerasseq.models.GRUSeq2Seq(*sizes, embedding_dim=8, units=8)
    >>> model.compile("adam", kerasseq.losses.MaskedCrossentropy())
    >>> scores = kerasseq.callbacks.GenerationScores(preprocessor, pairs, metrics=["chrf"])
    >>> history = model.fit(preprocessor.dataset(pairs, 2), callbacks=[scores], verbose=0, shuffle=False)
    >>> sorted(history.history)
    ['loss', 'val_chrf']
    """

    def __init__(
        self,
        preprocessor: Preprocessor,
        pairs: Sequence[Pair],
        metrics: Metrics = ("bleu", "chrf"),
        sampler: Any = "greedy",
        max_length: int | None = None,
        batch_size: int = 64,
        frequency: int = 1,
        samples: int = 0,
        language: str | None = None,
    ):
        super().__init__(preprocessor, sampler, max_length, frequency)
        check_positive_integer("batch_size", batch_size)
        if isinstance(samples, bool) or not isinstance(samples, int) or samples < 0:
            raise ValueError(f"samples must be an integer of at least 0. Received: samples={samples!r}.")
        self.sources, self.targets = sources_and_targets(pairs)
        # Invalid sources and targets are reported before training, not after an epoch.
        preprocessor.raw_batch(self.sources)
        self.metrics = check_scorable(self.targets, metrics, language=language)
        self.batch_size = batch_size
        self.samples = samples

    def on_generation(self, epoch, logs):
        outputs = self.generator.generate(self.sources, batch_size=self.batch_size)
        for name, scores in score_texts(outputs, self.targets, self.metrics).items():
            for key, logged in METRICS[name].logged.items():
                logs[f"val_{logged}"] = scores[key]
        for source, target, output in list(zip(self.sources, self.targets, outputs, strict=True))[: self.samples]:
            shown = source if isinstance(source, str) else f"<{type(source).__name__}>"
            say(f"\n  source: {shown}\n  target: {target}\n  output: {output}")


class GeneratorCheckpoint(keras.callbacks.ModelCheckpoint):
    """Saves a `kerasseq.TextGenerator`, the model with its vocabularies, where `ModelCheckpoint` saves the model alone.

    ```python
    best = kerasseq.callbacks.GeneratorCheckpoint("best.keras", preprocessor, monitor="val_loss", save_best_only=True)
    model.fit(batches, validation_data=validation_batches, epochs=10, callbacks=[best], shuffle=False)
    translator = kerasseq.TextGenerator.load("best.keras")
    ```

    Args:
        filepath: path of a `.keras` file; it may contain `{epoch}` and names of logs.
        preprocessor: that of the training data.
        sampler, max_length, long_sources: as of `kerasseq.TextGenerator`.
        options: those of `keras.callbacks.ModelCheckpoint`, such as `monitor`, `mode` and `save_best_only`.

    Raises:
        ValueError: if the file's name does not end in `.keras`, the options ask for weights alone, and as
            `kerasseq.TextGenerator`, before the training.
    """

    def __init__(
        self,
        filepath: str | os.PathLike,
        preprocessor: Preprocessor,
        sampler: Any = "beam",
        max_length: int | None = None,
        long_sources: str = "split",
        **options: Any,
    ):
        path = os.path.expanduser(os.fspath(filepath))
        if not path.endswith(".keras") or options.get("save_weights_only"):
            raise ValueError(
                "GeneratorCheckpoint saves whole generators to a .keras file. Received: "
                f"filepath={path!r}, {options}. Use keras.callbacks.ModelCheckpoint for weights alone."
            )
        super().__init__(path, **options)
        self.preprocessor = preprocessor
        self.options = {"sampler": sampler, "max_length": max_length, "long_sources": long_sources}

    def set_model(self, model):
        model = model.model if isinstance(model, TextGenerator) else model
        super().set_model(TextGenerator(model, self.preprocessor, **self.options))


class AttentionImages(GeneratingCallback):
    """Writes attention plots and outputs for TensorBoard after each epoch.

    ```python
    images = kerasseq.callbacks.AttentionImages("logs", preprocessor, [source for source, _ in validation[::2000]])
    model.fit(batches, epochs=10, callbacks=[images, keras.callbacks.TensorBoard("logs")], shuffle=False)
    ```

    `tensorboard --logdir logs` shows them under Images and Text.

    Args:
        log_dir: path. The folder `generation` in it gets the summaries.
        preprocessor: that of the training data.
        sources: list of raw sources, a few.
        sampler, max_length: as in `GenerationScores`.
        plot: function of a source and its `Generation` that returns a matplotlib figure. Default:
            `kerasseq.plotting.plot_attention` of the generation. For images use
            `kerasseq.plotting.plot_image_attention`.
        frequency: int. The first epoch of a `fit` and every `frequency`-th are plotted.

    Raises:
        ImportError: if the package tensorboard is not installed.
        ValueError: if a number is not positive, there are no sources, or the model has no attention.
    """

    def __init__(
        self,
        log_dir: str | os.PathLike,
        preprocessor: Preprocessor,
        sources: Sequence[Any],
        sampler: Any = "greedy",
        max_length: int | None = None,
        plot: Callable[[Any, Generation], Any] | None = None,
        frequency: int = 1,
    ):
        super().__init__(preprocessor, sampler, max_length, frequency)
        if importlib.util.find_spec("tensorboard") is None:
            raise ImportError(
                "AttentionImages needs the package tensorboard, which TensorFlow's summaries use. Received: none "
                "installed. Run: pip install tensorboard"
            )
        received, sources = sources, [] if sources is None or isinstance(sources, (str, bytes)) else list(sources)
        if not sources:
            raise ValueError(f"sources must be a list of raw sources, at least one. Received: {received!r}.")
        self.log_dir = os.path.join(os.path.expanduser(os.fspath(log_dir)), "generation")
        self.sources = sources
        self.plot = plot or plot_generation

    def set_model(self, model):
        super().set_model(model)
        if not self.generator.model.decoder.has_attention:
            raise ValueError(
                "AttentionImages plots attention weights. Received: a model without attention. Leave the callback "
                "out, or choose a model with attention, such as kerasseq.models.AttentionSeq2Seq."
            )

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        self._writer = tf.summary.create_file_writer(self.log_dir)

    def on_generation(self, epoch, logs):
        generations = self.generator.generate(self.sources, details=True)
        images = []
        for source, generation in zip(self.sources, generations, strict=True):
            png = io.BytesIO()
            self.plot(source, generation).savefig(png, format="png", dpi=100)
            images.append(tf.io.decode_png(png.getvalue(), channels=3))
        try:
            with self._writer.as_default(step=epoch):
                for index, (image, generation) in enumerate(zip(images, generations, strict=True)):
                    tf.summary.image(f"attention/{index}", image[tf.newaxis])
                    tf.summary.text(f"output/{index}", generation.text)
            self._writer.flush()
        except (OSError, tf.errors.OpError) as error:
            warnings.warn(f"Images of epoch {epoch + 1} were not written to {self.log_dir}: {error}", stacklevel=2)

    def on_train_end(self, logs=None):
        self._writer.close()


def plot_generation(source: Any, generation: Generation) -> Any:
    from kerasseq.plotting import plot_attention  # Deferred: it brings matplotlib.

    return plot_attention(generation)
