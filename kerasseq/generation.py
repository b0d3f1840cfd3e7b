"""From raw sources to texts: a model, its preprocessor and a sampler in one compiled graph."""

import collections.abc
import functools
import os

import keras
import numpy as np
import tensorflow as tf

from kerasseq import samplers
from kerasseq.arguments import check_positive_integer
from kerasseq.details import DECODER_DETAILS, describe
from kerasseq.encoders import steps_per_position
from kerasseq.evaluation.arguments import sources_and_targets
from kerasseq.evaluation.texts import check_scorable, score_texts
from kerasseq.joining import select_inputs
from kerasseq.matching import check_model, check_sampler
from kerasseq.preprocessing.vocabulary import END_ID, START_ID
from kerasseq.samplers.sampler import IMPOSSIBLE

GRAPHS_KEPT = 8  # compiled for different samplers and lengths
LONG_SOURCES = ("split", "cut", "sentences")
# Rows that go through the model together, where long sources make more of them than there are sources.
PARTS_AT_ONCE = 64


@keras.saving.register_keras_serializable(package="kerasseq")
class TextGenerator(keras.Model):
    """Generates texts from raw sources with an encoder-decoder model.

    Any functional model with the sub-models `"encoder"`, `"bridge"` and `"decoder"` will do; see `kerasseq.models`.

    Args:
        model: functional `keras.Model`.
        preprocessor: turns raw sources into encoder inputs, and ids into texts; such as
            `kerasseq.preprocessing.TextPreprocessor`.
        sampler: `"greedy"`, `"beam"`, a `kerasseq.samplers` object, or a `keras_hub.samplers` object for random
            sampling.
        max_length: int, the most tokens of an output, END included, or of each part's output where a long source is
            split. Default: the preprocessor's `max_target_length`.
        long_sources: what becomes of sources that are longer than the model reads. `"split"`: where the preprocessor
            can do it, as `TextPreprocessor` can, they are split into sentences that go through apart, and the outputs
            are joined by spaces; the score is the sum of theirs. `"sentences"`: the same for all sources of several
            sentences, long or not, which suits a model that has learned single sentences. `"cut"`: what is beyond the
            limit is ignored, which suits documents whose beginning says it all.
        name: str.

    Raises:
        ValueError: if the model lacks a sub-model, its vocabularies are not the preprocessor's, or `long_sources` is
            unknown.
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
        self, model, preprocessor, sampler="beam", max_length=None, long_sources="split", name="text_generator"
    ):
        super().__init__(name=name)
        if keras.config.backend() != "tensorflow":
            raise RuntimeError(
                "TextGenerator runs on Keras's TensorFlow backend. Received: the backend "
                f"{keras.config.backend()!r}. Save the model with model.save('model.keras'), and load it in a process "
                "with KERAS_BACKEND=tensorflow."
            )
        check_model(model, preprocessor)
        if max_length is not None:
            check_positive_integer("max_length", max_length)
        if long_sources not in LONG_SOURCES:
            raise ValueError(
                f"long_sources must be one of {', '.join(map(repr, LONG_SOURCES))}. Received: "
                f"long_sources={long_sources!r}."
            )
        self.model = model
        self.preprocessor = preprocessor
        self.sampler = samplers.get(sampler)
        check_sampler(self.sampler, model, preprocessor)
        self.max_length = max_length or preprocessor.max_target_length
        self.long_sources = long_sources
        self.built = True
        self._compiled = {}

    def call(self, inputs, training=False):
        """Teacher-forced logits of the model."""
        return self.model(inputs, training=training)

    # === Generation ===

    def generate(self, sources, sampler=None, max_length=None, batch_size=64, details=False, prefixes=None):
        """Generates a text for every source.

        Sources go through in batches of like length; the results come in the order of the sources. One compiled graph
        encodes, decodes and detokenises a batch.

        Args:
            sources: list of raw sources, for text: list of str; or a single one.
            sampler: as in the constructor. Default: the generator's own.
            max_length: int, the most tokens of an output. Default: the generator's own.
            batch_size: int, sources decoded together; where long ones are split, up to 64 parts all the same.
            details: bool, whether to return `Generation` objects with scores, n-best lists and attention. They are
                those of one pass over a source, so long sources are cut.
            prefixes: list of str, what the output of each source must begin with, or a single str for all of them; ""
                leaves an output free. A prefix is tokenized by itself, so it should end where a word ends.

        Returns:
            list of str, or of `Generation` with `details=True`; for a single source not a list but its one element.

        Raises:
            ValueError: if a source is not what the preprocessor takes, a number is not positive, a prefix leaves no
                room within `max_length`, or the sampler's coverage penalty meets a model without attention.
        """
        if isinstance(sources, (str, bytes)):
            return self.generate(
                [sources],
                sampler=sampler,
                max_length=max_length,
                batch_size=batch_size,
                details=details,
                prefixes=prefixes,
            )[0]
        import tqdm  # Deferred: only long work shows progress.

        if not isinstance(sources, collections.abc.Iterable):
            raise ValueError(
                "sources must be a list of raw sources, or a single one: texts, or the contents of files, as by "
                f"pathlib.Path.read_bytes. Received: {sources!r}."
            )
        sources = list(sources)
        max_length = self.max_length if max_length is None else max_length
        check_positive_integer("max_length", max_length)
        check_positive_integer("batch_size", batch_size)
        sampler = self.sampler if sampler is None else samplers.get(sampler)
        check_sampler(sampler, self.model, self.preprocessor)
        split = self.splits and not details
        inputs = [self.preprocessor.raw_batch(sources, split) if split else self.preprocessor.raw_batch(sources)]
        if prefixes is not None:
            inputs.append(self._prefix_ids(prefixes, len(sources), max_length))
        run = self.compiled_decode(sampler, max_length, details, prefixed=prefixes is not None)
        order = np.argsort([-len(source) for source in sources], kind="stable")
        results = [None] * len(sources)
        with tqdm.tqdm(total=len(sources), desc="generate", unit="source", delay=2) as progress:
            for start in range(0, len(order), batch_size):
                rows = order[start : start + batch_size]
                outputs = run(*(tf.gather(tensor, rows) for tensor in inputs))
                outputs = keras.tree.map_structure(lambda tensor: tensor.numpy(), outputs)
                for position, row in enumerate(rows):
                    result = {name: value[position] for name, value in outputs.items()}
                    results[row] = describe(result) if details else result["text"][0].decode("utf-8")
                progress.update(len(rows))
        return results

    def evaluate_text(
        self, pairs, metrics=("bleu", "chrf"), sampler=None, max_length=None, batch_size=64, resamples=1_000
    ):
        """Generates from the sources of pairs, and scores the outputs against the targets.

        Args:
            pairs: list of (raw source, target), the target a str, or a list of str where there are several references.
            metrics: list of names, see `kerasseq.evaluation.score_texts`.
            sampler, max_length, batch_size: as in `generate`.
            resamples: int, of the pairs, for 95 % confidence intervals; 0 for none.

        Returns:
            dict by the names of the metrics: of `"bleu"` and `"chrf"` each a dict of `score`, `signature` and
            `intervals`.

        Raises:
            ValueError: as `generate` and `score_texts`, before anything is generated, and if there are no pairs.

        Example:

        ```python
        translator.evaluate_text(test)["bleu"]["intervals"]["score"]
        ```
        """
        sources, targets = sources_and_targets(pairs)
        metrics = check_scorable(targets, metrics, resamples)
        outputs = self.generate(sources, sampler=sampler, max_length=max_length, batch_size=batch_size)
        return score_texts(outputs, targets, metrics, resamples)

    def _prefix_ids(self, prefixes, count, max_length):
        """Token ids `(count, prefix)` of forced starts, checked."""
        if isinstance(prefixes, (str, bytes)):
            prefixes = [prefixes] * count
        if not isinstance(prefixes, collections.abc.Sequence) or len(prefixes) != count:
            number = f"{len(prefixes)} for {count} sources" if hasattr(prefixes, "__len__") else repr(prefixes)
            raise ValueError(
                f"prefixes must be a list with a string for each source, or a single string. Received: {number}."
            )
        for index, prefix in enumerate(prefixes):
            if not isinstance(prefix, (str, bytes)):
                raise ValueError(f"prefixes must be strings, '' for none. Received at index {index}: {prefix!r}.")
        if not hasattr(self.preprocessor, "encode_prefix"):
            raise ValueError(
                "prefixes need a preprocessor with a method encode_prefix, as TextPreprocessor has. Received: a "
                f"{type(self.preprocessor).__name__}."
            )
        prefix_ids = self.preprocessor.encode_prefix(prefixes)
        if prefix_ids.shape[1] >= max_length:
            raise ValueError(
                f"The longest of the prefixes has {prefix_ids.shape[1]} tokens, which leaves no room within "
                f"max_length={max_length}, END included. Shorten it, or raise max_length."
            )
        return prefix_ids

    def compiled_decode(self, sampler, max_length, details=False, prefixed=False):
        """`decode`, or `decode_with_details`, as a compiled function of a batch of raw sources, and of prefix ids."""
        # A random sampler has a state of its own, so no other one of the same configuration stands in for it.
        random = getattr(sampler, "sampler", None)
        configuration = repr(keras.saving.serialize_keras_object(sampler))
        # A graph holds on to the tokenizers it was made with.
        tokenizers = tuple(self.preprocessor.tokenizers)
        key = (
            type(sampler), configuration, random, self.model, tokenizers, max_length, self.long_sources, details,
            prefixed,
        )  # fmt: skip
        if key not in self._compiled:
            if len(self._compiled) >= GRAPHS_KEPT:
                self._compiled.pop(next(iter(self._compiled)))
            decode = self.decode_with_details if details else self.decode
            function = tf.function(lambda raw, *prefix_ids: decode(raw, sampler, max_length, *prefix_ids))
            signature = [self.preprocessor.source_signature]
            if prefixed:
                signature.append(tf.TensorSpec([None, None], tf.int32, name="prefix_ids"))
            self._compiled[key] = function.get_concrete_function(*signature)
        return self._compiled[key]

    # === In the graph ===

    @property
    def splits(self):
        """Whether sources go through in parts where they are too long, or have several sentences."""
        return self.long_sources != "cut" and hasattr(self.preprocessor, "encode_parts")

    def decode(self, raw, sampler, max_length, prefix_ids=None, hypotheses=1):
        """Raw sources to texts, to be called in a `tf.function`.

        Args:
            raw: tensor of raw sources, as the preprocessor's `source_signature` says.
            sampler: a `kerasseq.samplers` object.
            max_length: int, the most tokens of an output, or of each part's output.
            prefix_ids: int32 `(batch, prefix)`, tokens that an output must begin with, 0 behind them. Default: none.
            hypotheses: int, how many of the best hypotheses, at most the sampler's `rows_per_sequence`.

        Returns:
            dict of `text`, string, and `score`, float32, `(batch, hypotheses)`, the best first; and what the
            preprocessor remarks of the sources, `(batch,)`: where long texts are cut, `ignored_tokens`, int32, how many
            tokens were not read; for sounds and images `problem`, string, empty if there is none. Hypotheses of a
            source in parts join those of the same rank.
        """
        if not self.splits:
            outputs = self._decode_rows(
                self.preprocessor.encode_source(raw), sampler, max_length, hypotheses, prefix_ids
            )
            return {**outputs, **self._remarks(raw)}
        encoder_inputs, owners = self.preprocessor.encode_parts(raw, self.long_sources == "sentences")
        inputs = {"encoder_inputs": encoder_inputs}
        if prefix_ids is not None:  # A prefix begins the first part's output.
            first = tf.concat([[-1], owners[:-1]], axis=0)[: tf.shape(owners)[0]] != owners
            inputs["prefix_ids"] = tf.where(first[:, tf.newaxis], tf.gather(prefix_ids, owners), 0)
        batch_size, parts = tf.shape(raw)[0], tf.shape(owners)[0]
        group = tf.maximum(batch_size, PARTS_AT_ONCE)
        groups = tf.maximum(-(-parts // group), 1)

        def body(index, texts, scores):
            rows = keras.tree.map_structure(lambda tensor: tensor[index * group : (index + 1) * group], inputs)
            outputs = self._decode_rows(rows["encoder_inputs"], sampler, max_length, hypotheses, rows.get("prefix_ids"))
            return index + 1, texts.write(index, outputs["text"]), scores.write(index, outputs["score"])

        def array(dtype):
            return tf.TensorArray(dtype, groups, infer_shape=False, element_shape=[None, hypotheses])

        _, texts, scores = tf.while_loop(
            lambda index, *_: index < groups, body, (0, array(tf.string), array(tf.float32)), parallel_iterations=1
        )
        texts, scores = texts.concat(), scores.concat()
        # A part with fewer hypotheses, where others have more, lends its best one to the further ranks.
        number = tf.gather(tf.math.unsorted_segment_sum(tf.ones_like(owners), owners, batch_size), owners)
        lacks = (scores < IMPOSSIBLE / 2) & (number > 1)[:, tf.newaxis]
        texts, scores = tf.where(lacks, texts[:, :1], texts), tf.where(lacks, scores[:, :1], scores)
        texts = self.preprocessor.join_parts(texts, owners, batch_size)
        return {"text": texts, "score": tf.math.unsorted_segment_sum(scores, owners, batch_size)}

    def _decode_rows(self, encoder_inputs, sampler, max_length, hypotheses, prefix_ids):
        """Texts and scores `(rows, hypotheses)` of encoder inputs."""
        _, outputs = self._search(encoder_inputs, sampler, max_length, hypotheses, prefix_ids)
        return {"text": self._texts(outputs["token_ids"]), "score": outputs["scores"]}

    def _remarks(self, raw):
        """What the preprocessor has to say of raw sources: a dict of tensors `(batch,)`."""
        return self.preprocessor.remarks(raw) if hasattr(self.preprocessor, "remarks") else {}

    def decode_with_details(self, raw, sampler, max_length, prefix_ids=None):
        """As `decode` where long sources are cut, with all hypotheses, and tokens and attention of the best one.

        Returns:
            dict of `text`, string, and `score`, float32, `(batch, hypotheses)`, the best first; `source_tokens`, string
            `(batch, source)`, and `target_tokens`, string `(batch, target)`, both with empty strings for padding; and
            `attention`, float32 `(batch, target, source)`, `attention_heads`, `(batch, heads, target, source)`, and
            `generation_probability`, `(batch, target)`, as far as the model has them; and
            what the preprocessor remarks, as in `decode`.
        """
        encoder_inputs = self.preprocessor.encode_source(raw)
        context, outputs = self._search(encoder_inputs, sampler, max_length, sampler.rows_per_sequence, prefix_ids)
        best = outputs["token_ids"][:, 0]
        positions = tf.range(1, tf.shape(best)[1] + 1)
        # At least one step, for a decoder cannot run over none.
        best = best[:, : tf.maximum(tf.reduce_max(tf.where(best != 0, positions, 0)), 1)]  # (batch, target)
        details = {
            "text": self._texts(outputs["token_ids"]),
            "score": outputs["scores"],
            "source_tokens": self.preprocessor.source_tokens(
                context, steps_per_position(self.model.get_layer("encoder"))
            ),
            "target_tokens": self.preprocessor.target_tokens(best),
            **self._remarks(raw),
        }
        # Teacher forcing of the finished hypothesis gives its attention, whatever the search did.
        decoder = self.model.get_layer("decoder")
        if "attention" in decoder.output:
            start = tf.fill([tf.shape(best)[0], 1], START_ID)
            decoder_token_ids = tf.concat([start, best], axis=1)[:, :-1]
            context = {**context, "decoder_token_ids": decoder_token_ids}
            outputs = decoder(select_inputs(decoder, context), training=False)
            details |= {name: outputs[name] for name in DECODER_DETAILS if name in outputs}
        return details

    def _search(self, encoder_inputs, sampler, max_length, hypotheses, prefix_ids):
        """All that the decoder may want of the encoder's inputs, and what the sampler found."""
        encoder, bridge, decoder = (self.model.get_layer(name) for name in ("encoder", "bridge", "decoder"))
        context = {**encoder_inputs, **encoder(select_inputs(encoder, encoder_inputs), training=False)}
        context = {**context, **bridge(select_inputs(bridge, context), training=False)}

        batch_size = tf.shape(next(iter(encoder_inputs.values())))[0]
        declared = {name: context[name] for name in decoder.input if name != "decoder_token_ids"}
        repeated = keras.tree.map_structure(lambda tensor: tf.repeat(tensor, sampler.rows_per_sequence, 0), declared)

        def step(token_ids, states):
            outputs = decoder({**repeated, "states": states, "decoder_token_ids": token_ids}, training=False)
            attention = {"attention": outputs["attention"][:, 0]} if "attention" in outputs else {}
            return {"logits": outputs["logits"][:, 0], "states": outputs["states"], **attention}

        # Under mixed precision the decoder may return states of another type than the bridge starts with.
        states = [
            tf.cast(state, after.dtype)
            for state, after in zip(repeated["states"], decoder.output["states"], strict=True)
        ]
        if sampler.source_words_only:
            source_ids = tf.repeat(encoder_inputs["encoder_token_ids"], sampler.rows_per_sequence, 0)
            limit = self.preprocessor.max_source_length
            words = samplers.SourceWords(
                source_ids, self.preprocessor.word_pieces(), END_ID, limit, sampler.suppressed_ids
            )
            step, states = with_source_words(step, states, words)
        outputs = sampler(
            step,
            states,
            batch_size,
            START_ID,
            END_ID,
            max_length,
            hypotheses=hypotheses,
            source_mask=context.get("memory_mask"),
            prefix_ids=prefix_ids,
        )
        return context, outputs

    def _texts(self, token_ids):
        """Texts `(batch, hypotheses)` of ids `(batch, hypotheses, length)`, without bytes that make no character."""
        shape = tf.shape(token_ids)
        texts = self.preprocessor.decode(tf.reshape(token_ids, [-1, shape[2]]))
        texts = tf.strings.regex_replace(texts, "\ufffd", "")
        return tf.reshape(texts, shape[:2])

    # === Saving ===

    def get_config(self):
        return {
            "name": self.name,
            "model": keras.saving.serialize_keras_object(self.model),
            "preprocessor": keras.saving.serialize_keras_object(self.preprocessor),
            "sampler": keras.saving.serialize_keras_object(self.sampler),
            "max_length": self.max_length,
            "long_sources": self.long_sources,
        }

    @classmethod
    def from_config(cls, config):
        names = ("model", "preprocessor", "sampler")
        parts = {name: keras.saving.deserialize_keras_object(config[name]) for name in names}
        # What was saved by earlier versions cut long sources.
        return cls(**{"long_sources": "cut", **config, **parts})

    def export(self, model_folder, version=None):
        """Writes a SavedModel that TensorFlow Serving loads: raw sources in, texts out.

        See `kerasseq.export.export`.

        Args:
            model_folder: path of the model's folder; versions are numbered folders in it.
            version: int. Default: the next free one.

        Returns:
            path of the version's folder.
        """
        from kerasseq.export import export  # export.py stands above this module.

        return export(self, model_folder, version)

    @staticmethod
    def load(path):
        """Loads what `save` or `export` wrote.

        Args:
            path: a `.keras` file, a version folder written by `export`, or a model's folder, whose highest version is
                taken.

        Returns:
            a `TextGenerator`; its `model` can be trained on and saved or exported again.

        Raises:
            ValueError: if there is no such file, or it is not a `TextGenerator`.
        """
        path = os.fspath(path)
        if os.path.isdir(path):
            from kerasseq.exported import load_exported  # As above.

            return load_exported(path)
        if not os.path.exists(path):
            raise ValueError(
                "Expected a .keras file written by TextGenerator.save, or a folder written by TextGenerator.export. "
                f"Received: {path}, which does not exist. Check the path; relative ones start at {os.getcwd()}."
            )
        generator = keras.models.load_model(path)
        if not isinstance(generator, TextGenerator):
            raise ValueError(
                f"Expected a TextGenerator in {path}. Received: a {type(generator).__name__}. Load a plain model with "
                "keras.models.load_model(path) and give it to TextGenerator with its preprocessor."
            )
        return generator


def with_source_words(step, states, words):
    """A step that also follows a hypothesis through its source, and says which tokens it allows; and its states."""

    def following_step(token_ids, states):
        outputs = step(token_ids, states["decoder"])
        # Before the first step nothing is to be followed yet.
        following = tf.where(token_ids == START_ID, words.start(), words.follow(token_ids, states["words"]))
        states = {"decoder": outputs["states"], "words": following}
        return {**outputs, "states": states, "allowed": functools.partial(words.allowed, following)}

    return following_step, {"decoder": states, "words": words.start()}
