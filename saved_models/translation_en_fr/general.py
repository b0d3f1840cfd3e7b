"""Trains translators of general English on all corpora, in parts of a pass, each of which is kept.

    python saved_models/translation_en_fr/general.py texts                         # once: the texts, in parts
    python saved_models/translation_en_fr/general.py train --architecture gru --minutes 60
    python saved_models/translation_en_fr/general.py train --architecture gru      # goes on

The learning rate stays at its peak after the warm-up, so that a training can be continued for as long as there is
time, and falls to zero in the parts of `--last`. (Hu et al. 2024, MiniCPM, section 4.2: warm-up, stable, decay.)
"""

import argparse
import csv
import functools
import json
import lzma
import os
import pathlib
import time

import keras
import mixture

import kerasseq
from kerasseq import decoders, encoders
from kerasseq.preprocessing.pairs import measured_length_ratio

SEED = 1
PARTS = 32  # of a pass over the texts; the weights are kept after each
VOCABULARY_SIZE = 8_000
MAX_LENGTH = 96
BATCH_TOKENS = 1_536  # small: in so few hours, more steps are worth more than larger ones
WARMUP_STEPS = 1_000
SCORED = 200  # sentences of FLORES dev, after each part


# === Architectures ===


def recurrent(vocabulary_size, encoder_layers=1, units=384, embedding_dim=320, dropout=0.1):
    options = {"cell": "gru", "dropout": dropout}
    encoder = encoders.RecurrentEncoder(
        vocabulary_size, embedding_dim, units, bidirectional=True, num_layers=encoder_layers,
        residual=encoder_layers > 1, **options,
    )  # fmt: skip
    decoder = decoders.RecurrentDecoder(
        vocabulary_size, embedding_dim, units, attention="multi_head", num_heads=4, tie_embeddings=True, **options
    )
    return kerasseq.Seq2Seq(encoder, decoder, name="translator")


def transformer(vocabulary_size, units=320, num_layers=4, num_decoder_layers=1, feedforward_dim=1_280, dropout=0.1):
    return kerasseq.models.TransformerSeq2Seq(
        vocabulary_size, vocabulary_size, units, num_layers, num_decoder_layers, 4, feedforward_dim, dropout,
        cell="ssru", tie_embeddings=True, name="translator",
    )  # fmt: skip


# The builder, the peak of the learning rate.
ARCHITECTURES = {
    "gru": (recurrent, 1.5e-3),
    "gru_deep": (functools.partial(recurrent, encoder_layers=2), 1.5e-3),
    "transformer_ssru": (transformer, 1e-3),
}


# === Texts ===


def write_texts(work):
    """Writes the texts in `PARTS` files, the vocabulary, and the numbers of pairs by origin."""
    pairs, counts = mixture.training_pairs(SEED)
    print(json.dumps(counts), flush=True)
    folder = work / "texts"
    folder.mkdir(parents=True, exist_ok=True)
    for part in range(PARTS):
        with lzma.open(folder / f"{part}.tsv.xz", "wt", encoding="utf-8", preset=1) as file:
            for english, french in pairs[part::PARTS]:
                file.write(f"{english}\t{french}\n")
    sample = pairs[:300_000]
    vocabulary = kerasseq.preprocessing.train_vocabulary(
        [text for pair in sample for text in pair], vocabulary_size=VOCABULARY_SIZE
    )
    (folder / "subwords.model").write_bytes(vocabulary)
    (folder / "counts.json").write_text(json.dumps(counts, indent=1) + "\n", encoding="utf-8")


def read_part(work, part):
    with lzma.open(work / "texts" / f"{part % PARTS}.tsv.xz", "rt", encoding="utf-8", newline="\n") as file:
        return [tuple(line.rstrip("\n").split("\t")) for line in file]


def read_preprocessor(work):
    vocabulary = (work / "texts" / "subwords.model").read_bytes()
    preprocessor = kerasseq.preprocessing.TextPreprocessor(
        vocabulary, max_source_length=MAX_LENGTH, max_target_length=MAX_LENGTH
    )
    sides = zip(*read_part(work, 0)[:20_000], strict=True)
    lengths = [list(map(len, preprocessor.tokenize_all(side, "source"))) for side in sides]
    preprocessor.length_ratio = measured_length_ratio(*lengths)
    return preprocessor


# === Training ===


@keras.saving.register_keras_serializable(package="general")
class WarmupStableDecay(keras.optimizers.schedules.LearningRateSchedule):
    """Rises over the warm-up, stays, and falls to zero over the last steps, if they are known."""

    def __init__(self, peak, warmup_steps, decay_from=None, decay_steps=1):
        super().__init__()
        self.peak, self.warmup_steps = peak, warmup_steps
        self.decay_from, self.decay_steps = decay_from, decay_steps

    def __call__(self, step):
        step = keras.ops.cast(step, "float32")
        rate = self.peak * keras.ops.minimum(1.0, (step + 1) / self.warmup_steps)
        if self.decay_from is None:
            return rate
        left = 1.0 - (step - self.decay_from) / self.decay_steps
        return rate * keras.ops.clip(left, 0.01, 1.0)

    def get_config(self):
        return {
            "peak": self.peak, "warmup_steps": self.warmup_steps, "decay_from": self.decay_from,
            "decay_steps": self.decay_steps,
        }  # fmt: skip


def newest(folder):
    """The number of parts that are trained, and the path of the model after them, or `None`."""
    parts = sorted(int(path.stem) for path in folder.glob("[0-9]*.keras"))
    return (parts[-1], folder / f"{parts[-1]}.keras") if parts else (0, None)


def train(arguments):
    work = arguments.work
    folder = work / arguments.architecture
    folder.mkdir(parents=True, exist_ok=True)
    build, peak = ARCHITECTURES[arguments.architecture]
    preprocessor = read_preprocessor(work)
    trained, path = newest(folder)
    keras.utils.set_random_seed(SEED)
    loss = kerasseq.losses.MaskedCrossentropy(label_smoothing=0.1)
    if path is None:
        model = build(preprocessor.target_vocabulary_size)
        model.compile(kerasseq.optimizers.Adam(WarmupStableDecay(peak, WARMUP_STEPS), global_clipnorm=1.0), loss)
    else:
        model = keras.models.load_model(path)
    generator = kerasseq.TextGenerator(model, preprocessor, long_sources="sentences")
    flores = mixture.read_flores("dev")
    scored = flores[:SCORED]
    validation = preprocessor.dataset(flores, 64)
    begin, last_part = time.process_time(), trained + (arguments.last or 10**6)
    while trained < last_part:
        shuffle = kerasseq.preprocessing.EpochShuffle(SEED)
        batches = preprocessor.dataset(read_part(work, trained), batch_tokens=BATCH_TOKENS, shuffle=shuffle)
        if arguments.last and trained == last_part - arguments.last and model.optimizer.iterations > 0:
            steps = int(model.optimizer.iterations)
            model.optimizer.learning_rate = WarmupStableDecay(peak, WARMUP_STEPS, steps, arguments.last * len(batches))
            model.compile(model.optimizer, loss)
        logs = model.fit(
            batches, validation_data=validation, initial_epoch=trained, epochs=trained + 1, shuffle=False, verbose=2,
            callbacks=[shuffle],
        ).history  # fmt: skip
        trained += 1
        keep(model, folder, trained)
        outputs = generator.generate([english for english, _ in scored], "greedy")
        score = kerasseq.evaluation.bleu(outputs, [french for _, french in scored], resamples=0)["score"]
        minutes = (time.process_time() - begin) / 60
        append(folder / "log.csv", {
            "part": trained, "steps": int(model.optimizer.iterations), "cpu_minutes": round(minutes, 1),
            **{name: round(float(values[-1]), 4) for name, values in logs.items()}, "flores_dev_200": round(score, 2),
        })  # fmt: skip
        print(f"part {trained}: {minutes:.1f} minutes, BLEU {score:.2f}; {outputs[1]}", flush=True)
        if arguments.minutes and minutes >= arguments.minutes:
            break
    return generator


def keep(model, folder, part):
    """Saves the model with its optimizer, and removes the one before."""
    model.save(folder / "unfinished.keras")
    os.replace(folder / "unfinished.keras", folder / f"{part}.keras")
    for path in folder.glob("[0-9]*.keras"):
        if int(path.stem) < part - 1:
            path.unlink()


def append(path, row):
    new = not path.exists()
    with open(path, "a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        if new:
            writer.writeheader()
        writer.writerow(row)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["texts", "train", "score"])
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("runs/general_en_fr"))
    parser.add_argument("--architecture", choices=list(ARCHITECTURES), default="gru")
    parser.add_argument("--minutes", type=float, help="of processor time, at least, until it stops")
    parser.add_argument("--last", type=int, help="as many parts, over which the learning rate falls to zero")
    arguments = parser.parse_args()
    if arguments.what == "texts":
        write_texts(arguments.work)
    elif arguments.what == "train":
        train(arguments)
    else:
        preprocessor = read_preprocessor(arguments.work)
        part, path = newest(arguments.work / arguments.architecture)
        generator = kerasseq.TextGenerator(keras.models.load_model(path), preprocessor, long_sources="sentences")
        sources, references = zip(*mixture.read_flores("dev"), strict=True)
        for sampler in ("greedy", "beam"):
            outputs = generator.generate(list(sources), sampler)
            print(part, sampler, kerasseq.evaluation.bleu(outputs, list(references)), flush=True)


if __name__ == "__main__":
    main()
