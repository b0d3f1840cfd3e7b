"""Connected spoken digits: word error rates on the official test recordings, and on a speaker who was never heard.

Strings of 1 to 8 digits from the Free Spoken Digit Dataset. One model is trained on all six speakers and tested on the
recordings 0 to 4; another on five speakers, and tested on the 500 recordings of the sixth. The number of epochs and the
search were chosen on validation; each test is scored once.

    python benchmarks/spoken_digits.py
"""

import pathlib

import timing
from fitting import fit

import kerasseq
from kerasseq import layers

SEED = 1
BATCH_SIZE = 32
EPOCHS = 20
PEAK_LEARNING_RATE = 2e-3
HELD_OUT = "theo"
SAMPLERS = {"greedy": "greedy", "beam 5": "beam"}
SPEC_AUGMENT = {"frequency_width": 6, "time_share": 0.05}


def build(preprocessor):
    return kerasseq.models.SpeechSeq2Seq(
        preprocessor.target_vocabulary_size, num_bins=preprocessor.num_bins, units=128, num_layers=2, embedding_dim=64,
        dropout=0.2, spec_augment=SPEC_AUGMENT,
    )  # fmt: skip


def train_model(work, build, preprocessor, train, validation, epochs, batch_size, peak_learning_rate):
    """Fits, or loads what an earlier call has fitted: a `TextGenerator` and the minutes that it took."""

    def make_data(shuffle):
        augmentation = [layers.SpeedPerturbation(seed=SEED), layers.AdditiveNoise(seed=SEED)]
        batches = preprocessor.dataset(
            train, batch_size, shuffle=shuffle, pad_to_multiple=16, augmentation=augmentation, too_long="truncate"
        )
        return batches, preprocessor.dataset(validation, batch_size)

    model, minutes = fit(
        work, lambda: build(preprocessor), make_data, epochs, peak_learning_rate, SEED, [len(train), batch_size]
    )
    return kerasseq.TextGenerator(model, preprocessor), minutes


def errors(generator, pairs, sampler):
    sounds, words = zip(*pairs, strict=True)
    return kerasseq.evaluation.word_error_rate(generator.generate(sounds, sampler), words)


def main():
    arguments = timing.parse_arguments(__file__, __doc__)
    quick = arguments.quick
    work = pathlib.Path("runs/spoken_digits_quick" if quick else "runs/spoken_digits")
    results, rows = {}, []
    for held_out in (None,) if quick else (None, HELD_OUT):
        data = kerasseq.datasets.load_spoken_digits(held_out, num_train=100 if quick else 5_000)
        train, validation, test = (side[:20] if quick else side for side in data)
        preprocessor = kerasseq.preprocessing.AudioPreprocessor.from_pairs(
            train, vocabulary_size=300, sample_rate=8_000, max_seconds=12, max_target_length=16
        )
        name = "all speakers" if held_out is None else f"without {held_out}"
        folder, epochs = work / name.replace(" ", "_"), 1 if quick else EPOCHS
        generator, minutes = train_model(
            folder, build, preprocessor, train, validation, epochs, BATCH_SIZE, PEAK_LEARNING_RATE
        )
        on_validation = {name: errors(generator, validation, sampler) for name, sampler in SAMPLERS.items()}
        search = min(SAMPLERS, key=lambda name: on_validation[name]["wer"])
        on_test = errors(generator, test, SAMPLERS[search])
        results[name] = {
            "minutes": minutes, "parameters": generator.model.count_params(), "validation": on_validation,
            "search": search, "test": on_test,
        }  # fmt: skip
        rows.append([name, minutes, on_validation[search]["wer"], search, on_test["wer"]])
    settings = {"seed": SEED, "epochs": EPOCHS, "batch_size": BATCH_SIZE, "strings": 5_000}
    timing.report(arguments, settings, results, ["", "minutes", "validation WER", "search", "test WER"], rows)


if __name__ == "__main__":
    main()
