"""AN4: word error rates on 130 test utterances by ten speakers, after 40 minutes of speech; what each idea is worth.

All models have the same sizes, seed and epochs. Everything is chosen on validation; of the model that is best there,
the test is scored once.

    python benchmarks/an4.py
"""

import functools
import pathlib

import timing
from spoken_digits import SEED, errors, train_model

import kerasseq

BATCH_SIZE = 16
EPOCHS = 120
PEAK_LEARNING_RATE = 2e-3
SPEC_AUGMENT = {"frequency_masks": 2, "frequency_width": 8, "time_masks": 2, "time_share": 0.08}
SAMPLERS = {"greedy": "greedy", "beam 5": "beam", "beam 10": kerasseq.search.BeamSampler(10, 1.0)}
VARIANTS = {
    "attention, CTC loss": {"ctc_loss": 1.0},
    "attention": {},
}


def build(preprocessor, **options):
    return kerasseq.models.SpeechSeq2Seq(
        preprocessor.target_vocabulary_size, num_bins=preprocessor.num_bins, units=128, num_layers=3, embedding_dim=64,
        dropout=0.3, spec_augment=SPEC_AUGMENT, **options,
    )  # fmt: skip


def main():
    arguments = timing.parse_arguments(__file__, __doc__)
    quick = arguments.quick
    work = pathlib.Path("runs/an4_quick" if quick else "runs/an4")
    data = kerasseq.datasets.load_an4()
    train, validation, test = (side[:20] for side in data) if quick else data
    preprocessor = kerasseq.preprocessing.AudioPreprocessor.from_pairs(
        train, vocabulary_size=400, sample_rate=16_000, max_seconds=8, max_target_length=64
    )
    results, rows, generators = {}, [], {}
    for name, options in VARIANTS.items():
        generator, minutes = train_model(
            work / name.replace(", ", "_").replace(" ", "_"), functools.partial(build, **options), preprocessor, train,
            validation, 1 if quick else EPOCHS, BATCH_SIZE, PEAK_LEARNING_RATE,
        )  # fmt: skip
        scores = {search: errors(generator, validation, sampler) for search, sampler in SAMPLERS.items()}
        results[name] = {"minutes": minutes, "parameters": generator.model.count_params(), "validation": scores}
        generators[name] = generator
        rows.append([name, minutes, *(scores[search]["wer"] for search in SAMPLERS)])
    best, search = min(
        ((name, search) for name in VARIANTS for search in SAMPLERS),
        key=lambda choice: results[choice[0]]["validation"][choice[1]]["wer"],
    )
    results["test"] = {"model": best, "search": search, **errors(generators[best], test, SAMPLERS[search])}
    rows.append(["test", "", *(results["test"]["wer"] if name == search else "" for name in SAMPLERS)])
    settings = {"seed": SEED, "epochs": EPOCHS, "batch_size": BATCH_SIZE, "utterances": len(train)}
    timing.report(arguments, settings, results, ["", "minutes", *SAMPLERS], rows)


if __name__ == "__main__":
    main()
