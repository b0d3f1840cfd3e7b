"""From raw sources to texts: a model, its preprocessor and a sampler in one compiled graph."""

import collections.abc
import functools
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kerasseq import export, search, zoo
from kerasseq.arguments import check_choice, check_positive_integer
from kerasseq.blank_sources import around_blanks
from kerasseq.compatibility import check_model, check_sampler
from kerasseq.evaluation.arguments import check_texts, sources_and_targets
from kerasseq.evaluation.scores import Metrics, check_scorable, score_texts
from kerasseq.forced_decoding import encode_prefixes, log_probabilities, target_lengths
from kerasseq.generation import DECODER_DETAILS, describe
from kerasseq.graphs import Graphs
from kerasseq.keras_files import load_file
from kerasseq.long_sources import LONG_SOURCES, decode_parts
from kerasseq.padding import check_padding, warn_about_padding
from kerasseq.preprocessing import Preprocessor
from kerasseq.preprocessing.ids import string_tensor
from kerasseq.preprocessing.pairs import LENGTH_OFFSET
from kerasseq.preprocessing.vocabulary import END_ID, START_ID
from kerasseq.processes import check_process
from kerasseq.progress import progress_bar
from kerasseq.search.request import IMPOSSIBLE
from kerasseq.seq2seq import Seq2Seq
from kerasseq.types import Pair, Tensor
from kerasseq.zoo.presets import write_preset

GRAPHS_KEPT = 8  # compiled for different samplers and lengths
FORMAT = 2  # of the configuration in .keras files


@keras.saving.register_keras_serializable(package="kerasseq")
class TextGenerator(keras.Model):
    """Generates texts from raw sources with an encoder-decoder model.

    Args:
        model: a `kerasseq.Seq2Seq`, as `kerasseq.models` builds it.
        preprocessor: the `kerasseq.preprocessing.Preprocessor` of the training data, such as `TextPreprocessor`.
        sampler: `"greedy"`, `"beam"`, a `kerasseq.search` object, or a `keras_hub.samplers` object for random sampling.
        max_length: int, the most tokens of an output, END included, or of each part's output where a long source is
            split. Default: the preprocessor's `max_target_length`. Another limit is relative to the source, the
            `length_ratio` of a `TextPreprocessor`, unless `LengthLimits` of the sampler sets one.
        long_sources: how to treat sources that are longer than the model reads. `"split"`: a preprocessor that can, as
            `TextPreprocessor`, splits them into sentences, and the outputs are joined by spaces; the score is the sum
            of the parts' scores. `"sentences"`: the same for all sources of several sentences, long or not, which suits
            a model trained on single sentences. Both decode each line of a text on its own, and keep the line breaks:
            join the lines of hard-wrapped texts first. `"cut"`: tokens beyond the limit are ignored, and a line break
            is a space, which suits documents whose beginning matters most.
        name: str.

    Raises:
        ValueError: if the model does not fit the preprocessor or the sampler, or `long_sources` is unknown.
        RuntimeError: on another backend than TensorFlow.

    Example:

    ```python
    translator = kerasseq.TextGenerator(model, preprocessor, sampler="beam")
    translator.generate(["How are you?"])
    translator.save("fra.keras")
    translator.export("saved_models/translation_en_fr")
    ```
    """

    def __init__(
        self,
        model: Seq2Seq,
        preprocessor: Preprocessor,
        sampler: Any = "beam",
        max_length: int | None = None,
        long_sources: str = "split",
        name: str = "text_generator",
    ):
        check_process()
        super().__init__(name=name)
        if keras.config.backend() != "tensorflow":
            raise RuntimeError(
                "TextGenerator runs on the TensorFlow backend of Keras. Received: the backend "
                f"{keras.config.backend()!r}. Save the model with model.save('model.keras'), and load it in a process "
                "with KERAS_BACKEND=tensorflow."
            )
        check_model(model, preprocessor)
        if preprocessor.has_vocabularies:
            warn_about_padding(model, preprocessor)
        if max_length is not None:
            check_positive_integer("max_length", max_length)
        check_choice("long_sources", long_sources, LONG_SOURCES)
        self.model = model
        self.preprocessor = preprocessor
        self.sampler = search.get(sampler)
        check_sampler(self.sampler, model, preprocessor)
        self.max_length = max_length or preprocessor.max_target_length
        self.long_sources = long_sources
        self.built = True
        self._graphs = Graphs()

    def call(self, inputs, training=False):
        """Teacher-forced logits of the model."""
        return self.model(inputs, training=training)

    # === Generation ===

    def generate(
        self,
        sources: Any,
        sampler: Any = None,
        max_length: int | None = None,
        batch_size: int = 64,
        details: bool = False,
        prefixes: str | Sequence[str] | None = None,
        scores: bool = False,
    ) -> Any:
        """Generates a text for every source.

        Sources of similar length are batched; results are in the order of the sources. One compiled graph encodes,
        decodes and detokenizes a batch.

        Args:
            sources: list of raw sources, for text: list of str; or a single one.
            sampler: as in the constructor. Default: the generator's own.
            max_length: int, the most tokens of an output. Default: the generator's own.
            batch_size: int, sources decoded together; where long ones are split, at least 64 parts.
            details: bool, whether to return `Generation` objects with scores, n-best lists and attention. They describe
                one pass over a source, so nothing is split: long sources are cut, and of several sentences some may be
                missing.
            prefixes: list of str, the beginning of each output, or a single str for all of them; "" for none. A prefix
                is tokenized by itself, so it should end where a word ends.
            scores: bool, whether to return each text with its score, the sum over the parts of a source that is split.

        Returns:
            list of str, of (text, score) tuples of str and float with `scores=True`, or of `Generation` with
            `details=True`; for a single source its only element. Texts that are
            empty or white space have the output "" with score 0, of which the model is not asked.

        Raises:
            ValueError: if the preprocessor refuses a source, a number is not positive, a prefix leaves no room within
                `max_length`, or the sampler does not fit the model.
        """
        check_process()
        if details and scores:
            raise ValueError("details=True has the scores: leave out scores=True.")
        single = isinstance(sources, (str, bytes))
        if not isinstance(sources, collections.abc.Iterable):
            raise ValueError(
                "sources must be a list of raw sources, or a single one: texts, or the contents of files, as "
                f"pathlib.Path.read_bytes returns them. Received: {sources!r}."
            )
        sources = [sources] if single else list(sources)
        max_length = self.max_length if max_length is None else max_length
        check_positive_integer("max_length", max_length)
        check_positive_integer("batch_size", batch_size)
        sampler = self.sampler if sampler is None else search.get(sampler)
        check_sampler(sampler, self.model, self.preprocessor)
        inputs = [self.preprocessor.raw_batch(sources, self.splits and not details)]
        if prefixes is not None:
            inputs.append(encode_prefixes(self.preprocessor, prefixes, len(sources), max_length))
        run = self.compiled_decode(sampler, max_length, details, prefixed=prefixes is not None)
        order = np.argsort([-len(source) for source in sources], kind="stable")
        results: list[Any] = [None] * len(sources)
        for row, outputs in in_batches(run, inputs, order, batch_size, "generate", "source"):
            text = outputs["text"][0].decode("utf-8")
            results[row] = describe(outputs) if details else (text, float(outputs["score"][0])) if scores else text
        return results[0] if single else results

    def evaluate_text(
        self,
        pairs: Sequence[Pair],
        metrics: Metrics = ("bleu", "chrf"),
        sampler: Any = None,
        max_length: int | None = None,
        batch_size: int = 64,
        resamples: int = 1_000,
        language: str | None = None,
    ) -> dict[str, Any]:
        """Generates from the sources of pairs, and scores the outputs against the targets.

        Args:
            pairs: list of (raw source, target), the target a str, or a list of str where there are several references.
            metrics: list of names, or dict from names to settings, see `kerasseq.evaluation.score_texts`.
            sampler, max_length, batch_size: as in `generate`.
            resamples: int, of the pairs, for 95 % confidence intervals; 0 for none.
            language: str, code of the targets' language, such as `"zh"`, see `kerasseq.evaluation.score_texts`.

        Returns:
            dict by the names of the metrics: of `"bleu"` and `"chrf"` each a dict of `score`, `signature` and
            `intervals`, such as `translator.evaluate_text(test)["bleu"]["intervals"]["score"]`.

        Raises:
            ValueError: as `generate` and `score_texts`, before anything is generated, and if there are no pairs.
        """
        sources, targets = sources_and_targets(pairs)
        settings = check_scorable(targets, metrics, resamples, language)
        outputs = self.generate(sources, sampler=sampler, max_length=max_length, batch_size=batch_size)
        return score_texts(outputs, targets, settings, resamples)

    def score(self, pairs: Sequence[Pair], batch_size: int = 64, per_token: bool = False) -> list[Any]:
        """The log-probability of given targets: forced decoding, without a search and its constraints.

        The score of an output of greedy search, or of beam search without a length penalty, is its log-probability.
        Divided by the number of tokens, END included, it ranks targets of different lengths; its negative exponential
        is then the perplexity. Long sources are cut.

        Args:
            pairs: list of (raw source, target str).
            batch_size: int, pairs scored together.
            per_token: bool, whether to return the log-probability of each token of a target, END included.

        Returns:
            list of float, in nats, in the order of the pairs; with `per_token=True` of float32 arrays `(tokens,)`.

        Raises:
            ValueError: if the preprocessor refuses a source, a target is not str or has more than `max_target_length`
                tokens, or there are no pairs.
        """
        check_process()
        sources, targets = sources_and_targets(pairs)
        check_texts("targets", targets, ", one for each source")
        check_positive_integer("batch_size", batch_size)
        raw = self.preprocessor.raw_batch(sources)
        lengths = target_lengths(self.preprocessor, targets)
        target = tf.TensorSpec([None], tf.string, name="target")
        run = self._graph(("score",), self.log_probabilities, [self.preprocessor.source_signature, target])
        results: list[Any] = [None] * len(sources)
        order = np.argsort(-lengths, kind="stable")
        for row, outputs in in_batches(run, [raw, string_tensor(targets)], order, batch_size, "score", "pair"):
            values = outputs["log_probabilities"][: lengths[row]]
            results[row] = values if per_token else float(values.sum())
        return results

    def compiled_decode(
        self, sampler: search.Sampler, max_length: int, details: bool = False, prefixed: bool = False
    ) -> Any:
        """`decode`, or `decode_with_details`, as a compiled function of a batch of raw sources, and of prefix ids."""
        configuration = repr(keras.saving.serialize_keras_object(sampler))
        classes = tuple(map(type, [sampler, *sampler.constraints, *sampler.scorers]))
        key = (
            classes, configuration, sampler.random_state, max_length, self.long_sources, details, prefixed,
            self.preprocessor.length_ratio,
        )  # fmt: skip
        decode: Any = self.decode
        if details:
            decode = functools.partial(self.decode_with_details, with_words=True)
        prefix_ids = [tf.TensorSpec([None, None], tf.int32, name="prefix_ids")] if prefixed else []
        return self._graph(
            key,
            lambda raw, *ids: decode(raw, sampler, max_length, *ids),
            [self.preprocessor.source_signature, *prefix_ids],
        )

    def _graph(self, key: tuple, function: Any, signature: list[tf.TensorSpec]) -> Any:
        """A function as a graph, traced once for each key."""
        # A graph holds on to the tokenizers it was traced with.
        key = (*key, self.model, *self.preprocessor.tokenizers)
        return self._graphs.get(key, function, signature, GRAPHS_KEPT)

    # === In the graph ===

    @property
    def splits(self) -> bool:
        """Whether long sources, or those of several sentences, are split."""
        return self.long_sources != "cut" and self.preprocessor.splits_sources

    def decode(
        self,
        raw: Tensor,
        sampler: search.Sampler,
        max_length: int,
        prefix_ids: Tensor | None = None,
        num_hypotheses: int = 1,
    ) -> dict[str, Tensor]:
        """Raw sources to texts, to be called in a `tf.function`.

        Args:
            raw: tensor of raw sources, as the preprocessor's `source_signature` says.
            sampler, max_length: a `kerasseq.search` object, and the most tokens of an output, or of each part's output.
            prefix_ids: int32 `(batch, prefix)`, the first tokens of an output, 0 behind them. Default: none.
            num_hypotheses: int, at most the sampler's `rows_per_sequence`.

        Returns:
            dict of `text`, string, and `score`, float32, `(batch, num_hypotheses)`, the best first, each text once; and
            the preprocessor's remarks on the sources, `(batch,)`: where long texts are cut, `ignored_tokens`, int32,
            the number of tokens that were not read; for sounds and images `problem`, string, empty if there is none.
            The hypotheses of a source in parts join those of the same rank. A blank source has one, which is empty,
            with score 0; the scores of the other ranks are impossible.
        """

        def decode_rows(encoder_inputs, prefix_ids):
            _, outputs = self._search(encoder_inputs, sampler, max_length, num_hypotheses, prefix_ids)
            return self._hypotheses(outputs)

        if not self.splits:

            def decode_cut(raw, prefix_ids):
                return decode_rows(self.preprocessor.encode_source(raw), prefix_ids)

            outputs = around_blanks(decode_cut, self.preprocessor.blank(raw), raw, prefix_ids)
            return {**outputs, **self.preprocessor.remarks(raw)}
        every_sentence = self.long_sources == "sentences"
        return decode_parts(decode_rows, raw, self.preprocessor, every_sentence, num_hypotheses, prefix_ids)

    def decode_with_details(
        self,
        raw: Tensor,
        sampler: search.Sampler,
        max_length: int,
        prefix_ids: Tensor | None = None,
        with_words: bool = False,
    ) -> dict[str, Tensor]:
        """As `decode` where long sources are cut, with all hypotheses, and tokens and attention of the best one.

        Returns:
            dict of `text`, string, and `score`, float32, `(batch, hypotheses)`, the best first; `source_tokens`, string
            `(batch, source)`, and `target_tokens`, string `(batch, target)`, both with empty strings for padding; as
            far as the model has them, `attention`, float32 `(batch, target, source)`, `attention_heads`, `(batch,
            heads, target, source)`, and `generation_probability`, `(batch, target)`; with attention and `with_words`,
            `source_words` and `target_words`, int32, the numbers of the words of these tokens, -1 for none; and the
            preprocessor's remarks, as in `decode`. Of a blank source all are as for padding, with score 0.
        """

        def decode_rows(raw, prefix_ids):
            return self._decode_with_details(raw, sampler, max_length, prefix_ids, with_words)

        outputs = around_blanks(decode_rows, self.preprocessor.blank(raw), raw, prefix_ids)
        return {**outputs, **self.preprocessor.remarks(raw)}

    def _decode_with_details(self, raw, sampler, max_length, prefix_ids, with_words):
        encoder_inputs = self.preprocessor.encode_source(raw)
        context, outputs = self._search(encoder_inputs, sampler, max_length, None, prefix_ids)
        best = outputs["token_ids"][:, 0]
        positions = tf.range(1, tf.shape(best)[1] + 1)
        # Decoders need at least one step.
        best = best[:, : tf.maximum(tf.reduce_max(tf.where(best != 0, positions, 0)), 1)]  # (batch, target)
        details = {
            **self._hypotheses(outputs),
            "source_tokens": self.preprocessor.source_tokens(context, self.model.encoder.stride),
            "target_tokens": self.preprocessor.target_tokens(best),
        }
        # Teacher forcing on the finished hypothesis computes its attention, whatever the search.
        if self.model.decoder.has_attention:
            start = tf.fill([tf.shape(best)[0], 1], START_ID)
            outputs = self.model.decoder(tf.concat([start, best], axis=1)[:, :-1], context, training=False)
            details |= {name: outputs[name] for name in DECODER_DETAILS if name in outputs}
            if with_words:
                details["target_words"] = self.preprocessor.target_words(best)
                source_words = self.preprocessor.source_words(context, self.model.encoder.stride)
                if source_words is not None:
                    details["source_words"] = source_words
        return details

    def log_probabilities(self, raw: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Log-probabilities of given targets, to be called in a `tf.function`.

        Args:
            raw: tensor of raw sources, as the preprocessor's `source_signature` says.
            targets: string `(batch,)`. Those that are too long are truncated.

        Returns:
            dict of `log_probabilities`, float32 `(batch, target)`, of the tokens and END, 0 for padding; `tokens`,
            int32 `(batch,)`, their number; and the preprocessor's remarks about the sources.
        """
        return log_probabilities(self.model, self.preprocessor, raw, targets)

    def _search(self, encoder_inputs, sampler, max_length, num_hypotheses, prefix_ids):
        """The context of the decoder, and the result of the search."""
        context = self.model.encode(encoder_inputs)
        constraints = [] if prefix_ids is None else [search.Prefix()]
        constraints += self._default_limits(sampler)
        compares_words = any(constraint.joint_vocabulary for constraint in sampler.constraints)
        request = search.Request(
            batch_size=tf.shape(context["memory_mask"])[0],
            max_length=max_length,
            start_id=START_ID,
            end_id=END_ID,
            max_source_length=self.preprocessor.max_source_length,
            word_pieces=self.preprocessor.word_pieces() if compares_words else None,
            constraints=tuple(constraints),
            prefix_ids=prefix_ids,
        )
        return context, search.decode(self.model, context, sampler, request, num_hypotheses)

    def _default_limits(self, sampler):
        """The limit relative to the source, unless the sampler sets one: a list, empty or of one constraint.

        It leaves room for the sampler's minimum, since nobody has asked for it.
        """
        ratio, offset = self.preprocessor.length_ratio, LENGTH_OFFSET
        own = [constraint for constraint in sampler.constraints if isinstance(constraint, search.LengthLimits)]
        if ratio is None or any(limits.max_length_ratio is not None for limits in own):
            return []
        for limits in own:
            ratio, offset = max(ratio, limits.min_length_ratio), max(offset, limits.min_length)
        return [search.LengthLimits(max_length_ratio=ratio, max_length_offset=offset)]

    def _hypotheses(self, outputs):
        """The texts of a search and their scores, `(batch, hypotheses)`.

        Other tokens may spell the same text. It keeps the best score; the last ranks are filled as where a search finds
        fewer hypotheses.
        """
        texts, scores = self._texts(outputs["token_ids"]), outputs["scores"]
        if scores.shape[1] == 1:
            return {"text": texts, "score": scores}
        count = tf.shape(texts)[1]
        same = texts[:, :, tf.newaxis] == texts[:, tf.newaxis]
        repeated = tf.reduce_any(same & (tf.range(count) < tf.range(count)[:, tf.newaxis]), axis=2)
        texts, scores = tf.where(repeated, "", texts), tf.where(repeated, IMPOSSIBLE, scores)
        order = tf.argsort(tf.cast(repeated, tf.int32), axis=1, stable=True)
        return {"text": tf.gather(texts, order, batch_dims=1), "score": tf.gather(scores, order, batch_dims=1)}

    def _texts(self, token_ids):
        """Texts `(batch, hypotheses)` of ids `(batch, hypotheses, length)`, with invalid UTF-8 removed."""
        shape = tf.shape(token_ids)
        texts = self.preprocessor.decode(tf.reshape(token_ids, [-1, shape[2]]))
        texts = tf.strings.regex_replace(texts, "\ufffd", "")
        return tf.reshape(texts, shape[:2])

    # === Saving ===

    def get_config(self):
        parts = {"model": self.model, "preprocessor": self.preprocessor, "sampler": self.sampler}
        configs = {name: keras.saving.serialize_keras_object(part) for name, part in parts.items()}
        if self.preprocessor.has_vocabularies:
            configs["model"]["config"]["vocabulary_digest"] = self.preprocessor.vocabulary_digest
        return {
            "format": FORMAT,
            "name": self.name,
            **configs,
            "max_length": self.max_length,
            "long_sources": self.long_sources,
        }

    @classmethod
    def from_config(cls, config):
        if config.get("format") != FORMAT:
            raise ValueError(
                f"Expected a file of format {FORMAT}, as this release of kerasseq writes. Received: format "
                f"{config.get('format', 1)}. kerasseq 0.2 reads format 1; a higher format needs a later release."
            )
        arguments = {name: value for name, value in config.items() if name != "format"}
        for name in ("model", "preprocessor", "sampler"):
            arguments[name] = keras.saving.deserialize_keras_object(config[name])
        return cls(**arguments)

    def save(self, filepath: str | os.PathLike, **options: Any) -> None:
        """Saves the model, its preprocessor and its sampler to a `.keras` file, which `load` reads."""
        path = os.path.expanduser(os.fspath(filepath))
        if not path.endswith(".keras"):
            raise ValueError(
                "A TextGenerator is saved to a .keras file; export writes folders for TensorFlow Serving. Received: "
                f"filepath={path!r}. Pass {os.path.splitext(path)[0] + '.keras'!r}."
            )
        if os.path.isdir(path):
            raise ValueError(f"A TextGenerator is saved to a file. Received: {path!r}, which is a folder.")
        super().save(path, **options)

    def save_to_preset(self, folder: str | os.PathLike) -> None:
        """Saves the generator to a folder that can be published, and that `from_preset` reads from there.

        The folder gets `model.keras`, without the state of the optimizer; `preset.json` with its digest and size; and,
        unless it has one, a `README.md` with the questions that a model card answers. See docs/guides/publishing.md.

        Args:
            folder: path of a folder, made if need be. An earlier preset there is replaced.

        Raises:
            ValueError: if the path is that of a file, of the folder of a training, or of an exported model.
        """
        folder = pathlib.Path(folder).expanduser()
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"A preset is saved to a folder. Received: {str(folder)!r}, which is a file.")
        check_process()
        write_preset(folder, self._without_optimizer().save)

    def _without_optimizer(self) -> "TextGenerator":
        """Itself, or a copy whose model is not compiled."""
        if not self.model.compiled:
            return self
        model = type(self.model).from_config(self.model.get_config())
        model.set_weights(self.model.get_weights())
        return TextGenerator(model, self.preprocessor, self.sampler, self.max_length, self.long_sources, self.name)

    def export(
        self,
        model_folder: str | os.PathLike,
        version: int | None = None,
        verify: bool = True,
        score: bool = False,
    ) -> str:
        """Writes a SavedModel for TensorFlow Serving and returns its folder, see `kerasseq.export.export`.

        Refuses a model whose output for a source depends on padding, and so on longer sources in its batch.
        """
        check_process()
        check_padding(self.model, self.preprocessor)
        return export.export(self, model_folder, version, verify, score)

    def export_litert(self, folder: str | os.PathLike, quantize: str | None = None) -> str:
        """Writes a model for phones and small boards and returns its folder, see `kerasseq.export.export_litert`."""
        check_process()
        check_padding(self.model, self.preprocessor)
        return export.export_litert(self, folder, quantize)

    @staticmethod
    def from_preset(preset: str | os.PathLike) -> "TextGenerator":
        """Loads a released model by its name, a published one by its address, or one on this machine.

        Args:
            preset: a name of `kerasseq.zoo.list()`, such as `"translation_en_fr"`, or `"translation_en_fr/2"` for a
                version; a `.keras` file or a folder, also the run folder of `kerasseq train`; or an address,
                `"https://..."` or `"hf://owner/name"`. See `kerasseq.zoo.fetch` for where names are looked for, and
                what is kept.

        Returns:
            a `TextGenerator`; its `model` can be trained further and saved or exported again.

        Raises:
            ValueError: if there is no such model, or its files are not those that were published.
            ConnectionError: if a download is needed and fails.

        Example:

        ```python
        translator = kerasseq.TextGenerator.from_preset("translation_en_fr")
        translator.generate("How are you?")
        ```
        """
        check_process()
        return TextGenerator.load(zoo.fetch(preset))

    @staticmethod
    def load(path: str | os.PathLike) -> "TextGenerator":
        """Loads a generator that `save` or `export` wrote.

        Args:
            path: a `.keras` file, a version folder written by `export`, or a model's folder, whose highest version is
                loaded.

        Returns:
            a `TextGenerator`; its `model` can be trained further and saved or exported again.

        Raises:
            ValueError: if there is no such file, it is damaged, or it is not a `TextGenerator`.
        """
        check_process()
        path = os.path.expanduser(os.fspath(path))
        if os.path.isdir(path):
            generator = TextGenerator(**export.load_parts(path))
            generator.model.vocabulary_digest = generator.preprocessor.vocabulary_digest
            return generator
        if not os.path.exists(path):
            raise ValueError(
                "Expected a .keras file written by TextGenerator.save, or a folder written by TextGenerator.export. "
                f"Received: {path}, which does not exist. Check the path; relative ones start at {os.getcwd()}."
            )
        generator = load_file(path)
        if not isinstance(generator, TextGenerator):
            raise ValueError(
                f"Expected a TextGenerator in {path}. Received: a {type(generator).__name__}. Load a plain model with "
                "keras.models.load_model(path) and give it to TextGenerator with its preprocessor."
            )
        return generator


def in_batches(
    run: Any, inputs: Sequence[Tensor], order: np.ndarray, batch_size: int, task: str, unit: str
) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """Runs a graph on rows of tensors in batches, and shows the progress; yields each row and its outputs.

    Args:
        run: function of tensors like `inputs` that returns a dict of tensors `(batch, ...)`.
        inputs: list of tensors `(rows, ...)`.
        order: int array `(rows,)`, in which the rows are taken.
        batch_size: int, rows at once.
        task, unit: str, the names of what is done and of what is counted.
    """
    with progress_bar(task, unit, total=len(order)) as progress:
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            outputs = run(*(tf.gather(tensor, rows) for tensor in inputs))
            outputs = {name: value.numpy() for name, value in outputs.items()}
            for position, row in enumerate(rows):
                yield row, {name: value[position] for name, value in outputs.items()}
            progress.update(len(rows))
