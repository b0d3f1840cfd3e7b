"""What each idea is worth: Multi30k, English to German, one rung after the other.

Every rung keeps what the one below it has, and changes one thing. The data are the authors' lowercased and tokenised
files, and so are the references: BLEU is over their tokens, as papers on these data report it. Ten epochs
take 10 to 25 minutes a rung, on one core. Nothing is chosen by the test, which is scored once a rung. There
is one seed; `p` says how likely the difference to the rung below is by the chance of the test sentences alone.

    python benchmarks/translation_ladder.py
    python benchmarks/translation_ladder.py --rungs "LSTM" "GRU"    # these alone, which are printed only
"""

import functools
import pathlib
import time

import keras
import timing
from fitting import fit
from significance import p_value

import kerasseq
from kerasseq import models

SEED = 1
BATCH_SIZE = 64
VOCABULARY_SIZE = 6_000
SIZES = {"units": 256, "embedding_dim": 256}
EPOCHS = 10
PEAK_LEARNING_RATE = 2e-3
BEAM = kerasseq.search.BeamSampler(5, length_penalty=1.0)

# What a rung changes of the one below: its builder, the options of that, of the data set and of `fit`, or the search.
LADDER = {
    "vanilla RNN": {"builder": models.VanillaSeq2Seq},
    "LSTM": {"builder": models.LSTMSeq2Seq},
    "GRU": {"builder": models.GRUSeq2Seq},
    "+ attention": {"builder": functools.partial(models.AttentionSeq2Seq, cell="gru", attention="luong")},
    "+ beam search": {"sampler": BEAM},
    "+ four heads": {"options": {"attention": "multi_head"}},
    "+ dropout": {"options": {"dropout": 0.2}},
    "+ label smoothing": {"fitting": {"label_smoothing": 0.1}},
    "+ tied embeddings": {"options": {"tie_embeddings": True}},
    "+ subword sampling": {"data": {"subword_sampling": 0.4}},
    "+ moving average of weights": {"fitting": {"ema_momentum": 0.998}},
}


def rungs():
    """{name: what the rung is made of}, each with all that is below it."""
    settings = {
        "options": {"bidirectional": True},
        "data": {},
        "fitting": {"label_smoothing": 0.0},
        "sampler": "greedy",
    }
    found = {}
    for name, changes in LADDER.items():
        merged = {
            key: {**settings[key], **value} if isinstance(value, dict) else value for key, value in changes.items()
        }
        settings = {**settings, **merged}
        found[name] = settings
    return found


def climb(rung, work, preprocessor, train, validation, quick):
    """Fits a rung's model, and measures it on validation: a `TextGenerator` and a row of results."""

    def make_data(shuffle):
        batches = preprocessor.dataset(train, BATCH_SIZE, shuffle=shuffle, **rung["data"])
        return batches, preprocessor.dataset(validation, BATCH_SIZE)

    def build():
        return rung["builder"](
            preprocessor.source_vocabulary_size, preprocessor.target_vocabulary_size, **SIZES, **rung["options"]
        )

    epochs = 1 if quick else EPOCHS
    data_settings = [preprocessor.source_vocabulary_size, BATCH_SIZE, rung["data"]]
    model, minutes = fit(work, build, make_data, epochs, PEAK_LEARNING_RATE, SEED, data_settings, **rung["fitting"])
    generator = kerasseq.TextGenerator(model, preprocessor, sampler=rung["sampler"], max_length=80)
    tokens = epochs * sum(int(keras.ops.sum(labels != 0)) for _, labels in preprocessor.dataset(train, BATCH_SIZE))
    row = {"parameters": model.count_params(), "minutes": minutes, "tokens_a_second": round(tokens / minutes / 60)}
    return generator, {**row, "validation": scores(generator, validation)[1]}


def scores(generator, pairs):
    """The outputs, and their BLEU and chrF over the tokens of the data, and sentences a second."""
    sources, references = zip(*pairs, strict=True)
    generator.generate(sources[:64])  # Traced before the clock runs.
    begin = time.perf_counter()
    outputs = generator.generate(sources)
    seconds = time.perf_counter() - begin
    return outputs, {
        "bleu": kerasseq.evaluation.bleu(outputs, references, tokenize="none", resamples=1_000),
        "chrf": kerasseq.evaluation.chrf(outputs, references),
        "sentences_a_second": round(len(pairs) / seconds, 1),
    }


def main():
    names = {"nargs": "+", "choices": list(LADDER), "default": list(LADDER), "help": "these alone"}
    arguments = timing.parse_arguments(__file__, __doc__, rungs=names)
    if arguments.rungs != list(LADDER) and arguments.output == timing.RESULTS / "translation_ladder.json":
        arguments.output = None  # Results of all rungs are not replaced by those of some.
    quick = arguments.quick
    work = pathlib.Path("runs/translation_ladder_quick" if quick else "runs/translation_ladder")
    train, validation, test, preprocessor = timing.load_tokenized(quick, VOCABULARY_SIZE)
    settings = {
        "seed": SEED, "batch_size": BATCH_SIZE, "vocabulary_size": VOCABULARY_SIZE, "epochs": EPOCHS, **SIZES,
        "test_sources_in_training": len({source for source, _ in test} & {source for source, _ in train}),
    }  # fmt: skip
    header = [
        "",
        "M parameters",
        "minutes",
        "tokens/s",
        "sentences/s",
        "validation BLEU",
        "test BLEU",
        "p",
        "test chrF",
    ]
    results, rows, below = {}, [], None
    for name in arguments.rungs:
        generator, result = climb(rungs()[name], work, preprocessor, train, validation, quick)
        outputs, result["test"] = scores(generator, test)
        if below is not None:
            result["test"]["p"] = p_value(outputs, below, [target for _, target in test])
        results[name], below = result, outputs
        rows.append([
            name, result["parameters"] / 1e6, result["minutes"], result["tokens_a_second"],
            result["test"]["sentences_a_second"], result["validation"]["bleu"]["score"],
            result["test"]["bleu"]["score"], result["test"].get("p", ""), result["test"]["chrf"]["score"],
        ])  # fmt: skip
        timing.report(arguments, settings, results, header, rows)  # After each rung: a run may be cut off.


if __name__ == "__main__":
    main()
