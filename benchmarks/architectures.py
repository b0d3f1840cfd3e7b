"""Recurrent networks and Transformers in the same minutes: Multi30k, English to German.

All have the same data, vocabulary, loss and schedule, and as many epochs as take about as long as eight of the GRU, on
one core. BLEU is over the tokens of the authors' lowercased and tokenised files. Nothing is chosen by the test, which
is scored once a model. One seed.

    python benchmarks/architectures.py
    python benchmarks/architectures.py --models "SSRU"     # these alone, which are printed only
"""

import functools
import pathlib
import statistics
import time

import timing
from fitting import fit

import kerasseq
from kerasseq import models

SEED = 1
BATCH_SIZE = 64
VOCABULARY_SIZE = 6_000
LABEL_SMOOTHING = 0.1
BEAM = kerasseq.search.BeamSampler(5, length_penalty=1.0)

recurrent = functools.partial(
    models.AttentionSeq2Seq, attention="multi_head", units=256, embedding_dim=256, dropout=0.2, tie_embeddings=True
)
transformer = functools.partial(
    models.TransformerSeq2Seq, units=256, num_layers=2, feedforward_dim=512, dropout=0.2, tie_embeddings=True
)
# The builder, the number of epochs, and the peak of the learning rate.
MODELS = {
    "GRU": (functools.partial(recurrent, cell="gru"), 8, 2e-3),
    "SSRU": (functools.partial(recurrent, cell="ssru"), 10, 2e-3),
    "Transformer encoder, SSRU decoder": (functools.partial(transformer, cell="ssru"), 6, 1e-3),
    "Transformer": (transformer, 6, 1e-3),
}


def train_model(name, work, preprocessor, train, validation, quick):
    """Fits a model, or loads what an earlier call has fitted: a `TextGenerator`, epochs and minutes."""
    build, epochs, peak_learning_rate = MODELS[name]
    epochs = 1 if quick else epochs
    sizes = preprocessor.source_vocabulary_size, preprocessor.target_vocabulary_size

    def make_data(shuffle):
        batches = preprocessor.dataset(train, BATCH_SIZE, shuffle=shuffle)
        return batches, preprocessor.dataset(validation, BATCH_SIZE)

    model, minutes = fit(
        work, lambda: build(*sizes), make_data, epochs, peak_learning_rate, SEED, [sizes, BATCH_SIZE],
        label_smoothing=LABEL_SMOOTHING,
    )  # fmt: skip
    return kerasseq.TextGenerator(model, preprocessor, max_length=80), epochs, minutes


def translate(generator, sources, sampler):
    """The outputs, and the sentences a second in batches of 64."""
    generator.generate(sources[:64], sampler)  # Traced before the clock runs.
    begin = time.perf_counter()
    outputs = generator.generate(sources, sampler)
    return outputs, round(len(sources) / (time.perf_counter() - begin), 1)


def milliseconds_for_one(generator, sources):
    """The median milliseconds of greedy search for a batch of one."""
    generator.generate(sources[:1], "greedy")
    seconds = []
    for source in sources:
        begin = time.perf_counter()
        generator.generate([source], "greedy")
        seconds.append(time.perf_counter() - begin)
    return round(1e3 * statistics.median(seconds), 1)


def unfinished(generator, sources):
    """The number of greedy outputs that reach the limit of tokens. A batch takes as long as its longest output."""
    generations = generator.generate(sources, "greedy", details=True)
    return sum(generation.target_tokens[-1:] != ["</s>"] for generation in generations)


def bleu(outputs, references):
    return kerasseq.evaluation.bleu(outputs, references, tokenize="none", resamples=1_000)


def main():
    names = {"nargs": "+", "choices": list(MODELS), "default": list(MODELS), "help": "these alone"}
    arguments = timing.parse_arguments(__file__, __doc__, models=names)
    if arguments.models != list(MODELS) and arguments.output == timing.RESULTS / "architectures.json":
        arguments.output = None  # Results of all models are not replaced by those of some.
    quick = arguments.quick
    work = pathlib.Path("runs/architectures_quick" if quick else "runs/architectures")
    train, validation, test, preprocessor = timing.load_tokenized(quick, VOCABULARY_SIZE)
    settings = {
        "seed": SEED, "batch_size": BATCH_SIZE, "vocabulary_size": VOCABULARY_SIZE, "label_smoothing": LABEL_SMOOTHING,
        "peak_learning_rates": {name: rate for name, (_, _, rate) in MODELS.items()},
    }  # fmt: skip
    header = [
        "", "M parameters", "epochs", "minutes", "validation, beam 5", "test, greedy", "test, beam 5",
        "sentences/s, greedy", "sentences/s, beam 5", "ms for one", "unfinished, greedy",
    ]  # fmt: skip
    sources, references = zip(*test, strict=True)
    results, rows = {}, []
    for name in arguments.models:
        generator, epochs, minutes = train_model(name, work, preprocessor, train, validation, quick)
        outputs, _ = translate(generator, [source for source, _ in validation], BEAM)
        validation_bleu = bleu(outputs, [target for _, target in validation])
        greedy, greedy_speed = translate(generator, sources, "greedy")
        beam, beam_speed = translate(generator, sources, BEAM)
        results[name] = {
            "parameters": generator.model.count_params(), "epochs": epochs, "minutes": minutes,
            "validation": validation_bleu, "test_greedy": bleu(greedy, references), "test_beam": bleu(beam, references),
            "sentences_a_second_greedy": greedy_speed, "sentences_a_second_beam": beam_speed,
            "milliseconds_for_one": milliseconds_for_one(generator, sources[:100]),
            "unfinished_greedy": unfinished(generator, sources),
        }  # fmt: skip
        result = results[name]
        rows.append([
            name, result["parameters"] / 1e6, epochs, minutes, *(
                result[key]["score"] for key in ("validation", "test_greedy", "test_beam")
            ), greedy_speed, beam_speed, result["milliseconds_for_one"], result["unfinished_greedy"],
        ])  # fmt: skip
        timing.report(arguments, settings, results, header, rows)  # After each model: a run may be cut off.


if __name__ == "__main__":
    main()
