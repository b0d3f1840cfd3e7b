"""Joint decoding of attention and CTC: word error rates of a small recognizer of digit strings by the weight of CTC.

The recognizer of tutorial 7, with a CTC loss, fewer strings and fewer epochs, so that its attention still makes
mistakes. On validation strings, greedy and with a beam of 5, for several weights; a weight of 0 is the search without.
One seed.

    python benchmarks/joint_decoding.py
"""

import time

import keras
import timing

import kerasseq
from kerasseq.search import BeamSampler, CTCPrefix

SEED = 1
WEIGHTS = (0.0, 0.1, 0.3, 0.5, 0.7)
BEAMS = (1, 5)


def train_recognizer(train, quick):
    preprocessor = kerasseq.preprocessing.AudioPreprocessor.from_pairs(train, vocabulary_size=300, sample_rate=8_000)
    model = kerasseq.models.SpeechSeq2Seq(
        preprocessor.target_vocabulary_size, units=64, num_layers=2, embedding_dim=32, dropout=0.2, spec_augment={},
        ctc_loss=0.5,
    )  # fmt: skip
    loss = kerasseq.losses.MaskedCrossentropy(label_smoothing=0.1)
    short = [(sound, words) for sound, words in train if len(words.split()) <= 2]
    for pairs, batch_size, epochs in [(short, 16, 1 if quick else 25), (train, 32, 1 if quick else 8)]:
        model.compile(kerasseq.optimizers.Adam(0.002, clipnorm=1.0), loss)
        batches = preprocessor.dataset(pairs, batch_size, shuffle=True, seed=SEED)
        model.fit(batches, epochs=epochs, shuffle=False, verbose=2)  # The data set shuffles.
    return kerasseq.TextGenerator(model, preprocessor)


def main():
    arguments = timing.parse_arguments(__file__, __doc__)
    keras.utils.set_random_seed(SEED)
    train, validation, _ = kerasseq.datasets.load_spoken_digits(num_train=200 if arguments.quick else 2_000)
    validation = validation[: 20 if arguments.quick else 300]
    recognizer = train_recognizer(train, arguments.quick)
    sounds, texts = zip(*validation, strict=True)
    results, rows = {}, []
    for beam_width in BEAMS:
        for weight in WEIGHTS:
            sampler = BeamSampler(beam_width, scorers=[CTCPrefix(weight)] if weight else [])
            recognizer.generate(sounds[:64], sampler)  # traces
            begin = time.perf_counter()
            outputs = recognizer.generate(sounds, sampler)
            seconds = time.perf_counter() - begin
            scores = kerasseq.evaluation.word_error_rate(outputs, texts)
            results[f"beam {beam_width}, weight {weight}"] = {
                **scores,
                "sounds_a_second": round(len(sounds) / seconds, 1),
            }
            kinds = (scores[name] for name in ("wer", "substitutions", "deletions", "insertions"))
            rows.append([f"beam {beam_width}, weight {weight}", *kinds, len(sounds) / seconds])
    settings = {"seed": SEED, "strings": len(train), "validation": len(validation), "words": scores["words"]}
    header = ["", "WER, %", "substitutions", "deletions", "insertions", "sounds/s"]
    timing.report(arguments, settings, results, header, rows)


if __name__ == "__main__":
    main()
