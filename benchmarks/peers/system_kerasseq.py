"""kerasseq: encoder and decoder of the sizes of all systems, its own batches, `fit`, and search in one graph.

python benchmarks/peers/system_kerasseq.py weights
python benchmarks/peers/system_kerasseq.py beam
"""

import pathlib
import sys

import comparison
import keras
import numpy as np
import tensorflow as tf
from on_keras import measure, start

import kerasseq
from kerasseq.preprocessing.batching import pad
from kerasseq.preprocessing.pairs import LENGTH_OFFSET, measured_length_ratio

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent))
from architectures import MODELS  # noqa: E402
from fitting import fit  # noqa: E402

CELLS = ("lstm", "gru", "ssru")
# What learns by a recipe of kerasseq: the builder, the number of epochs, the peak of the learning rate.
RECIPES = {
    "gru": MODELS["GRU"],
    "ssru": MODELS["SSRU"],
    "transformer": (MODELS["Transformer"][0], 12, MODELS["Transformer"][2]),
}


def build(settings, cell):
    """The model, with its attention after the recurrence."""
    vocabulary_size, embedding_dim = settings.vocabulary_size, settings.embedding_dim
    options = {"cell": cell, "dropout": settings.dropout}
    encoder = kerasseq.encoders.RecurrentEncoder(
        vocabulary_size, embedding_dim, settings.encoder_units, bidirectional=True, **options
    )
    decoder = kerasseq.decoders.RecurrentDecoder(
        vocabulary_size, embedding_dim, settings.decoder_units, attention="luong", placement="after", **options
    )
    return kerasseq.Seq2Seq(encoder, decoder)


def make_preprocessor(arguments, **limits):
    vocabulary = (arguments.folder / "data" / "subwords.model").read_bytes()
    return kerasseq.preprocessing.TextPreprocessor(vocabulary, **limits)


def read_pairs(arguments, split):
    sides = (comparison.read_lines(arguments, f"{split}.{language}") for language in comparison.LANGUAGES)
    return list(zip(*sides, strict=True))


def make_batches(arguments):
    """Length buckets of the training pairs, shuffled, endless."""
    pairs = read_pairs(arguments, "train")
    return make_preprocessor(arguments).dataset(pairs, arguments.settings.batch_size, shuffle=True).repeat()


def train(model, arguments, steps, callbacks=()):
    settings = arguments.settings
    model.compile(
        kerasseq.optimizers.Adam(settings.learning_rate, clipnorm=settings.gradient_norm),
        kerasseq.losses.MaskedCrossentropy(settings.label_smoothing),
    )
    return model.fit(
        make_batches(arguments), steps_per_epoch=steps, shuffle=False, verbose=0, callbacks=list(callbacks)
    )


class EpochWeights(keras.callbacks.Callback):
    """Ends the epochs of a `comparison.LearningClock`, and keeps the weights of each."""

    def __init__(self, folder, clock):
        super().__init__()
        self.folder, self.clock = folder, clock

    def on_epoch_end(self, epoch, logs=None):
        self.clock.end_epoch()
        self.clock.uncounted(self.model.save_weights)(self.folder / f"{epoch + 1}.weights.h5")


def learn(arguments):
    """Learns by a recipe of kerasseq: its minutes and BLEU, see `comparison.measure_learning`; and the parameters."""
    build_model, epochs, peak_learning_rate = RECIPES[arguments.variant]
    preprocessor = make_preprocessor(arguments, max_source_length=80, max_target_length=80)
    train_pairs, validation_pairs = (read_pairs(arguments, split) for split in ("train", "validation"))
    sizes = preprocessor.source_vocabulary_size, preprocessor.target_vocabulary_size
    batch_size = arguments.settings.batch_size

    def make_data(shuffle):
        batches = preprocessor.dataset(train_pairs, batch_size, shuffle=shuffle)
        return batches, preprocessor.dataset(validation_pairs, batch_size)

    def train_epochs(folder, clock):
        fit(
            folder / "fit", lambda: build_model(*sizes), make_data,
            arguments.settings.epochs if arguments.quick else epochs, peak_learning_rate, seed=1, data_settings=None,
            label_smoothing=arguments.settings.label_smoothing, callbacks=[EpochWeights(folder, clock)],
        )  # fmt: skip

    model = build_model(*sizes)
    generator = kerasseq.TextGenerator(model, preprocessor, max_length=80)
    sampler = kerasseq.search.BeamSampler(arguments.settings.beam_width, length_penalty=1.0)

    def translate_validation(folder, epoch):
        model.load_weights(folder / f"{epoch}.weights.h5")
        return generator.generate([source for source, _ in validation_pairs], sampler)

    name = f"kerasseq_{arguments.variant}"
    recipe = [model.get_config(), epochs, peak_learning_rate, versions()]
    return comparison.measure_learning(
        arguments, name, recipe, train_epochs, translate_validation
    ), model.count_params()


def versions():
    return {"kerasseq": kerasseq.__version__, "keras": keras.__version__, "tensorflow": tf.__version__}


def make_sampler(arguments):
    """The search of all systems, or that of the options, with the limit of `TextGenerator`: relative to the source."""
    limits = {"max_length_ratio": arguments.max_length_ratio}
    if arguments.max_length_ratio is None:
        sides = (comparison.read_ids(arguments, "train", language) for language in comparison.LANGUAGES)
        lengths = ([len(ids) + 1 for ids in side] for side in sides)  # END included
        limits = {"max_length_ratio": measured_length_ratio(*lengths), "max_length_offset": LENGTH_OFFSET}
    constraints = [kerasseq.search.LengthLimits(**limits)]
    if arguments.what != "beam":
        return kerasseq.search.GreedySampler(constraints)
    options = {} if arguments.stop is None else {"stop": arguments.stop}
    # Hypotheses are compared by the mean log-probability of their tokens.
    return kerasseq.search.BeamSampler(
        arguments.settings.beam_width, length_penalty=1.0, normalization="length", constraints=constraints, **options
    )


def make_decoder(model, sampler, settings):
    """A function of sources, lists of ids, that returns outputs and their mean log-probabilities."""

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int32)])
    def search(encoder_token_ids):
        context = model.encode({"encoder_token_ids": encoder_token_ids})
        request = kerasseq.search.Request(
            batch_size=tf.shape(encoder_token_ids)[0],
            max_length=settings.max_length,
            start_id=comparison.START_ID,
            end_id=comparison.END_ID,
        )
        outputs = kerasseq.search.decode(model, context, sampler, request, num_hypotheses=1)
        return outputs["token_ids"][:, 0], outputs["scores"][:, 0]

    def decode(sources):
        token_ids, scores = search(pad([[*source, comparison.END_ID] for source in sources]))
        token_ids, scores = token_ids.numpy(), scores.numpy()
        if isinstance(sampler, kerasseq.search.GreedySampler):
            scores = scores / np.count_nonzero(token_ids, axis=1)
        return [comparison.until_end(row[row != 0].tolist()) for row in token_ids], scores

    return decode


def main():
    arguments = comparison.parse_arguments(
        __doc__,
        (*CELLS, "transformer"),
        stop={"help": "when beam search stops, see kerasseq.search.BeamSampler. Default: the library's"},
        max_length_ratio={
            "type": float,
            "help": "the most tokens of an output, relative to the source. Default: as TextGenerator",
        },
    )
    settings = arguments.settings
    start()
    if arguments.what == "learn":
        result, parameters = learn(arguments)
        comparison.print_result("kerasseq", arguments, versions(), parameters, result)
        return
    model = build(settings, arguments.variant)

    def make_decode():
        return make_decoder(model, make_sampler(arguments), settings)

    weights = f"kerasseq_{arguments.variant}.weights.h5"
    result, outputs = measure(arguments, model, weights, train, make_batches, make_decode)
    comparison.print_result("kerasseq", arguments, versions(), model.count_params(), result, outputs)


if __name__ == "__main__":
    main()
