"""Trains, evaluates and exports the model that shortens English news sentences.

    python saved_models/summarization_en/train.py

The encoder first learns English from the training sentences and from Tatoeba's: its first layer as a language model,
its second one from what a parser says. From there a pointer-generator learns to compress varied training pairs, and for
comparison the same model without copying. Resumes at the last finished epoch when it is called again; `--model
attention` trains that one alone, for several processes at a time, once the reader is there. Writes `metrics.json` and
the next version here.
"""

import argparse
import csv
import json
import os
import pathlib
import platform
import random
import time

import augmentation
import keras
import numpy as np
import syntax
import tensorflow as tf

import kerasseq
from kerasseq.preprocessing.batching import bucketed_batches, pad
from kerasseq.search import BeamSampler, GreedySampler, LengthLimits, NoRepeatNGram, SourceWords

HERE = pathlib.Path(__file__).parent
SEED = 1
MODELS = ("pointer_generator", "attention")
VOCABULARY_SIZE = 4_000
SIZES = {
    "cell": "gru", "units": 192, "embedding_dim": 128, "num_layers": 2, "attention": "location", "placement": "after",
    "tie_embeddings": True,
}  # fmt: skip
ENCODER = {"epochs": 6, "batch_size": 48, "learning_rate": 3e-3, "dropout": 0.15}
TATOEBA_WORDS = 8  # of a sentence of Tatoeba, at least
EPOCHS = 14
BATCH_SIZE = 32
PEAK_LEARNING_RATE = 1.5e-3
DROPOUT = 0.35
SELECTION_LOSS = 2.0
CONSTRAINTS = [LengthLimits(max_length_ratio=1.0), NoRepeatNGram(3)]


def samplers(constraints):
    return {
        "greedy": GreedySampler(constraints),
        **{
            f"beam 5, length_penalty={number}": BeamSampler(5, number, "length", constraints)
            for number in (0.75, 1.0, 1.25)
        },
    }


SAMPLERS = samplers([*CONSTRAINTS, SourceWords()])
ANY_WORDS = samplers(CONSTRAINTS)


def adam(steps, peak):
    """Adam with warm-up and cosine decay."""
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, decay_steps=steps - 300, warmup_target=peak, warmup_steps=300
    )
    return keras.optimizers.Adam(schedule, global_clipnorm=1.0)


def fit_resumably(build, dataset, epochs, validation, folder):
    """Fits epoch by epoch, each on a data set of its own; returns the fitted model.

    Args:
        build: function of the number of steps that returns a compiled model.
        dataset: function of the number of an epoch that returns its batches.
        epochs: int.
        validation: data set.
        folder: path for the model after each epoch and a log; an earlier call's are gone on with.
    """
    folder.mkdir(parents=True, exist_ok=True)
    saved = {int(path.stem): path for path in folder.glob("*.keras") if path.stem.isdecimal()}
    first = max(saved, default=0)
    model = keras.models.load_model(saved[first]) if saved else build(epochs * len(dataset(0)))
    for epoch in range(first, epochs):
        begin = time.monotonic()
        history = model.fit(
            dataset(epoch), validation_data=validation, initial_epoch=epoch, epochs=epoch + 1, shuffle=False, verbose=2
        ).history
        with open(folder / "log.csv", "a", encoding="utf-8") as file:
            row = [epoch, *(f"{history[name][0]:.4f}" for name in ("loss", "val_loss")), time.monotonic() - begin]
            csv.writer(file).writerow(row)
        model.save(folder / "unfinished.keras")
        os.replace(folder / "unfinished.keras", folder / f"{epoch + 1}.keras")
        (folder / f"{epoch}.keras").unlink(missing_ok=True)
    return model


# === The encoder learns English ===


def tatoeba():
    """The longer English sentences of Tatoeba, in random order."""
    sentences = set()
    for language in ("fra", "spa", "deu", "cmn"):
        train, _, _ = kerasseq.datasets.load_anki(language)
        sentences |= {source for source, _ in train if len(source.split()) >= TATOEBA_WORDS}
    sentences = sorted(sentences)
    random.Random(SEED).shuffle(sentences)
    return sentences


def parsed(work, texts):
    """What a parser says of the texts, by text; stops the script where it was not asked yet."""
    parses = work / "parses.json"
    content = json.loads(parses.read_text(encoding="utf-8")) if parses.exists() else {"parses": {}}
    known = content["parses"]
    missing = len(set(texts) - set(known))
    if missing:
        (work / "texts.json").write_text(json.dumps(texts), encoding="utf-8")
        raise SystemExit(
            f"{parses} lacks {missing} of {len(texts)} sentences. Parse them first, in an environment with spaCy (see "
            "syntax.py), and call this script again:\n"
            f"    python {syntax.__file__} {work / 'texts.json'} {parses}"
        )
    (work / "parser.txt").write_text(content["parser"], encoding="utf-8")
    return {text: known[text] for text in texts}


def build(preprocessor, copy=True, dropout=DROPOUT):
    """A pointer-generator, or the same model without copying."""
    size = preprocessor.source_vocabulary_size
    if not copy:
        return kerasseq.models.AttentionSeq2Seq(size, size, dropout=dropout, **SIZES)
    model = kerasseq.models.PointerGeneratorSeq2Seq(
        size, dropout=dropout, content_selection_loss=SELECTION_LOSS, **SIZES
    )
    # Nearly all tokens are copied, so it begins there.
    model.decoder.pointer_generator.bias.assign([-3.0])
    return model


def reader(preprocessor, sizes):
    """A model that learns English: language models over the first layer of an encoder, labels over the second."""
    model = build(preprocessor, dropout=ENCODER["dropout"])
    language_model = kerasseq.pretraining.language_model(model, dropout=ENCODER["dropout"])
    memory = model.encoder.output["memory"]
    labels = {
        kind: keras.layers.Dense(size, dtype="float32", name=f"{kind}_labels")(memory) for kind, size in sizes.items()
    }
    return keras.Model(language_model.input, {**language_model.output, **labels})


def reading(sentences, max_length):
    """Examples for a reader: token ids with END, and the labels of every output."""
    examples = []
    for token_ids, labels in sentences:
        token_ids = np.append(token_ids, kerasseq.preprocessing.vocabulary.END_ID).astype("int32")
        if len(token_ids) <= max_length:
            labels = {kind: np.append(values, 0) for kind, values in labels.items()}
            labels["next"], labels["previous"] = np.append(token_ids[1:], 0), np.append(0, token_ids[:-1])
            examples.append((token_ids, labels))
    return examples


def reading_batches(examples, batch_size, epoch):
    """A data set of examples in batches of like length, in the order of an epoch."""
    names = list(examples[0][1])

    def batches():
        lengths = np.array([[len(token_ids)] for token_ids, _ in examples])
        for batch in bucketed_batches(lengths, batch_size, (SEED, epoch)):
            labels = {name: pad([examples[index][1][name] for index in batch], 8) for name in names}
            yield {"encoder_token_ids": pad([examples[index][0] for index in batch], 8)}, labels

    ids = tf.TensorSpec([None, None], tf.int32)
    dataset = tf.data.Dataset.from_generator(
        batches, output_signature=({"encoder_token_ids": ids}, dict.fromkeys(names, ids))
    )
    options = tf.data.Options()
    options.autotune.enabled = False  # As in `TextPreprocessor.dataset`.
    number_of_batches = -(-len(examples) // batch_size)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(number_of_batches)).prefetch(2)
    return dataset.with_options(options)


def train_reader(work, preprocessor, train, validation):
    """Fits the reader, or loads what an earlier call has fitted."""
    news, held_out, others = [source for source, _ in train], [source for source, _ in validation], tatoeba()
    parses = parsed(work, [*news, *held_out, *others])
    labeller = syntax.Syntax(parses, preprocessor.tokenizers[0].to_bytes())
    news, held_out, others = (
        reading(labeller.encode(texts), preprocessor.max_source_length) for texts in (news, held_out, others)
    )
    half = len(others) // 2

    def dataset(epoch):
        """The news twice, and one half of Tatoeba's sentences or the other."""
        return reading_batches(
            [*news, *news, *(others[half:] if epoch % 2 else others[:half])], ENCODER["batch_size"], epoch
        )

    def compiled(steps):
        model = reader(preprocessor, labeller.sizes)
        losses = {name: kerasseq.losses.MaskedCrossentropy() for name in model.output}
        accuracies = {kind: [kerasseq.metrics.TokenAccuracy()] for kind in labeller.sizes}
        model.compile(adam(steps, ENCODER["learning_rate"]), losses, weighted_metrics=accuracies)
        return model

    keras.utils.set_random_seed(SEED)
    return fit_resumably(compiled, dataset, ENCODER["epochs"], reading_batches(held_out, 64, 0), work / "reader")


# === The model learns to compress ===


def train_model(kind, work, preprocessor, train, validation):
    """Fits a model, or loads what an earlier call has fitted."""
    finished = work / f"{kind}.keras"
    if finished.exists():
        return keras.models.load_model(finished)

    def start(steps):
        pretrained = train_reader(work, preprocessor, train, validation)
        keras.utils.set_random_seed(SEED)
        model = build(preprocessor, copy=kind == "pointer_generator")
        for name in ("embedding", "forward_0", "backward_0", "forward_1", "backward_1"):
            model.encoder.get_layer(name).set_weights(pretrained.get_layer(name).get_weights())
        model.decoder.embedding.set_weights(pretrained.get_layer("embedding").get_weights())
        perplexity = kerasseq.metrics.Perplexity()
        model.compile(
            adam(steps, PEAK_LEARNING_RATE), kerasseq.losses.MaskedCrossentropy(), weighted_metrics=[perplexity]
        )
        return model

    varied = augmentation.Augmentation(train, SEED)
    shuffle = kerasseq.preprocessing.EpochShuffle(SEED)

    def dataset(epoch):
        shuffle.epoch = epoch
        return preprocessor.dataset(varied.epoch(epoch), BATCH_SIZE, shuffle=shuffle)

    model = fit_resumably(
        start,
        dataset,
        EPOCHS,
        preprocessor.dataset(sorted(validation, key=lambda pair: len(pair[1])), 64),
        work / kind,
    )
    model.save(work / kind / "unfinished.keras")
    os.replace(work / kind / "unfinished.keras", finished)
    return model


def check_settings(work):
    """Stops the script where the folder holds a run with other settings."""
    settings = {
        "seed": SEED, "vocabulary_size": VOCABULARY_SIZE, **SIZES, "encoder": ENCODER, "tatoeba_words": TATOEBA_WORDS,
        "epochs": EPOCHS, "batch_size": BATCH_SIZE, "learning_rate": PEAK_LEARNING_RATE, "dropout": DROPOUT,
        "selection_loss": SELECTION_LOSS,
    }  # fmt: skip
    file = work / "settings.json"
    if not file.exists():
        if any(work.glob("*.keras")):
            raise SystemExit(f"{work} holds models of a run whose settings are not known. Choose another --work.")
        file.write_text(json.dumps(settings), encoding="utf-8")
    elif (others := json.loads(file.read_text(encoding="utf-8"))) != settings:
        raise SystemExit(f"{work} holds a run with other settings: {others}. Choose another --work.")


def vocabulary(work, train):
    """The preprocessor, made or loaded."""
    file = work / "joint.spm"
    if not file.exists():
        texts = [text for pair in train for text in pair]
        unfinished = work / "unfinished.spm"
        unfinished.write_bytes(kerasseq.preprocessing.train_vocabulary(texts, VOCABULARY_SIZE, "nmt_nfkc"))
        os.replace(unfinished, file)
    return kerasseq.preprocessing.TextPreprocessor(file.read_bytes(), max_source_length=128, max_target_length=64)


# === Evaluation ===


def scores(predictions, pairs):
    sources, targets = zip(*pairs, strict=True)
    evaluation = kerasseq.evaluation
    new = evaluation.new_words(predictions, sources)
    return {
        "token_f1": evaluation.token_f1(predictions, targets)["score"],
        "token_f1_whitespace": evaluation.token_f1(predictions, targets, tokens="whitespace")["score"],
        "rouge": evaluation.rouge(predictions, targets),
        "compression_rate": evaluation.compression_rate(predictions, sources),
        "exact": round(float(np.mean([a == b for a, b in zip(predictions, targets, strict=True)])), 4),
        "outputs_with_new_words": new["outputs"],
    }


def first_words(sentence, number=12):
    """The first words and punctuation marks of a sentence, and a full stop."""
    return " ".join([*augmentation.TOKEN.findall(sentence)[:number], "."])


def search_settings(generator, validation):
    """Scores on validation by sampler, and the name of the sampler with the best token F1."""
    sources = [source for source, _ in validation]
    found = {name: scores(generator.generate(sources, sampler), validation) for name, sampler in SAMPLERS.items()}
    return found, max(found, key=lambda name: found[name]["token_f1"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("runs/summarization_en"))
    parser.add_argument("--model", choices=MODELS, help="train this one alone, and stop")
    arguments = parser.parse_args()
    work = arguments.work
    work.mkdir(parents=True, exist_ok=True)
    check_settings(work)
    train, validation, test = kerasseq.datasets.load_sentence_compression()
    preprocessor = vocabulary(work, train)
    if arguments.model is not None:
        train_model(arguments.model, work, preprocessor, train, validation)
        return
    generator, plain = (
        kerasseq.TextGenerator(train_model(kind, work, preprocessor, train, validation), preprocessor)
        for kind in MODELS
    )

    # === The search is chosen on validation, for each model ===
    on_validation, chosen = search_settings(generator, validation)
    plain_on_validation, plain_chosen = search_settings(plain, validation)
    generator.sampler = SAMPLERS[chosen]

    # === Test, once ===
    sources = [source for source, _ in test]
    outputs = generator.generate(sources)
    metrics = {
        "command": "python saved_models/summarization_en/train.py",
        "data": "Google sentence compression, the public 10,000 pairs; to learn English, Tatoeba sentences and spaCy's "
        "parses of both",
        "split": "test: the first 1,000 pairs; validation: the next 1,000; training: 8,000",
        "seed": SEED,
        "parameters": generator.model.count_params(),
        "training_minutes": training_minutes(work),
        "validation": {"pointer-generator": on_validation, "plain attention": plain_on_validation},
        "chosen_on_validation": {"pointer-generator": chosen, "plain attention": plain_chosen},
        "test": {
            "pointer-generator": scores(outputs, test),
            "pointer-generator, greedy": scores(generator.generate(sources, SAMPLERS["greedy"]), test),
            "pointer-generator, any words": scores(generator.generate(sources, ANY_WORDS[chosen]), test),
            "plain attention": scores(plain.generate(sources, ANY_WORDS[plain_chosen]), test),
            "plain attention, source words only": scores(plain.generate(sources, SAMPLERS[plain_chosen]), test),
            "copy everything": scores(sources, test),
            "first 12 tokens and a full stop": scores([first_words(source) for source in sources], test),
            "first 12 words": scores([" ".join(source.split()[:12]) for source in sources], test),
        },
        "versions": {
            "python": platform.python_version(), "tensorflow": tf.__version__, "keras": keras.__version__,
            "kerasseq": kerasseq.__version__,
            "parser": (work / "parser.txt").read_text(encoding="utf-8"),
        },
    }  # fmt: skip
    (HERE / "metrics.json").write_text(json.dumps(metrics, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    with open(work / "test.tsv", "w", encoding="utf-8") as file:
        for (source, target), output in zip(test, outputs, strict=True):
            print(source, target, output, sep="\t", file=file)
    print(json.dumps(metrics, indent=1, ensure_ascii=False))
    print("Exported to", generator.export(HERE))


def training_minutes(work):
    """Minutes of all epochs of the reader and the pointer-generator, by their logs."""
    seconds = 0.0
    for log in (work / "reader" / "log.csv", work / "pointer_generator" / "log.csv"):
        with open(log, encoding="utf-8") as file:
            # An epoch that was interrupted after it was logged is logged again.
            seconds += sum(float(last) for last in {row[0]: row[-1] for row in csv.reader(file)}.values())
    return round(seconds / 60, 1)


if __name__ == "__main__":
    main()
