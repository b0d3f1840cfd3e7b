"""Subject lines for emails (AESLC): a pointer-generator against the same model without copying, and against the lead.

The encoder's first layer learns the language of the training emails, as a language model; both models start from it and
are trained on the official split. The search is chosen on validation, and the test split is scored once, with ROUGE
(stemmed). Also measures on validation what it costs to cut the emails shorter than in training, or less. A run that was
interrupted resumes at the last finished epoch.

    python benchmarks/email_subjects.py
"""

import json
import os
import pathlib

import keras
import timing

import kerasseq
from kerasseq.search import BeamSampler, GreedySampler, NoRepeatNGram

SEED = 1
BATCH_SIZE = 32
EPOCHS = 5
PEAK_LEARNING_RATE = 1.5e-3
VOCABULARY_SIZE = 4_000
SOURCE_LENGTH = 128  # subwords of an email in training, END included
TARGET_LENGTH = 32
SIZES = {
    "cell": "gru", "units": 192, "embedding_dim": 128, "num_layers": 2, "attention": "location", "placement": "after",
    "tie_embeddings": True,
}  # fmt: skip
DROPOUT = 0.45
LANGUAGE_MODEL = {"epochs": 1, "batch_size": 16, "learning_rate": 2e-3, "dropout": 0.1}
PASSAGE_WORDS = 40  # of an email that the language model reads at a time, about
CUTS = (25, 50, 100, 200, 400, 800)
SAMPLERS = {
    "greedy": GreedySampler(),
    "beam 5, length_penalty=0.6": BeamSampler(5, 0.6, constraints=[NoRepeatNGram(3)]),
    "beam 5, length_penalty=1.0": BeamSampler(5, 1.0, constraints=[NoRepeatNGram(3)]),
    "beam 5, normalization='length'": BeamSampler(5, normalization="length", constraints=[NoRepeatNGram(3)]),
}


def build_pointer_generator(vocabulary_size, dropout=DROPOUT):
    model = kerasseq.models.PointerGeneratorSeq2Seq(vocabulary_size, dropout=dropout, **SIZES)
    # It begins by copying: what copies learns to look, what generates learns the training subjects by heart.
    model.decoder.pointer_generator.bias.assign([-2.0])
    return model, kerasseq.losses.MaskedCrossentropy()


def build_attention(vocabulary_size):
    model = kerasseq.models.AttentionSeq2Seq(vocabulary_size, vocabulary_size, dropout=DROPOUT, **SIZES)
    return model, kerasseq.losses.MaskedCrossentropy(label_smoothing=0.1)


BUILDERS = {"pointer-generator": build_pointer_generator, "attention": build_attention}


def adam(steps, peak):
    """Adam with warm-up and cosine decay."""
    warmup_steps = min(300, steps // 5)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, decay_steps=steps - warmup_steps, warmup_target=peak, warmup_steps=warmup_steps
    )
    return kerasseq.optimizers.Adam(schedule, global_clipnorm=1.0)


def vocabulary(work, train, size):
    """The preprocessor, made or loaded."""
    file = work / "joint.spm"
    if not file.exists():
        work.mkdir(parents=True, exist_ok=True)
        texts = [text for pair in train for text in pair]
        file.write_bytes(kerasseq.preprocessing.train_vocabulary(texts, size))
    return kerasseq.preprocessing.TextPreprocessor(
        file.read_bytes(), max_source_length=SOURCE_LENGTH, max_target_length=TARGET_LENGTH
    )


def passages(emails):
    """Lines of emails, put together until they have some forty words: what a language model reads at a time."""
    found = []
    for email in dict.fromkeys(emails):
        words = []
        for line in email.split("\n"):
            words += line.split()
            if len(words) >= PASSAGE_WORDS:
                found.append(" ".join(words))
                words = []
        if words:
            found.append(" ".join(words))
    return found


def train_language_model(work, preprocessor, train, validation, epochs):
    """An encoder that has read the training emails, or what an earlier call has fitted."""
    finished = work / "encoder.keras"
    if finished.exists():
        return keras.models.load_model(finished)
    keras.utils.set_random_seed(SEED)
    pretraining = kerasseq.pretraining
    model, _ = build_pointer_generator(preprocessor.source_vocabulary_size, LANGUAGE_MODEL["dropout"])
    language_model = pretraining.language_model(model, dropout=LANGUAGE_MODEL["dropout"])
    shuffle = kerasseq.preprocessing.EpochShuffle(SEED)
    train, validation = (
        pretraining.language_model_dataset(
            language_model, preprocessor, passages([body for body, _ in pairs]), LANGUAGE_MODEL["batch_size"], shuffled
        )
        for pairs, shuffled in ((train, shuffle), (validation, False))
    )
    language_model.compile(
        adam(epochs * len(train), LANGUAGE_MODEL["learning_rate"]), pretraining.language_model_loss(language_model)
    )
    language_model.fit(
        train,
        validation_data=validation,
        epochs=epochs,
        shuffle=False,  # The data set shuffles itself.
        verbose=2,
        callbacks=[shuffle, keras.callbacks.BackupAndRestore(work / "backup")],
    )
    model.encoder.save(work / "unfinished.keras")
    os.replace(work / "unfinished.keras", finished)
    return model.encoder


def train_model(build, work, preprocessor, encoder, train, validation, epochs):
    """Fits, or loads what an earlier call has fitted; returns a `TextGenerator`."""
    finished = work / "finished.keras"
    if finished.exists():
        return kerasseq.TextGenerator.load(finished)
    work.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(SEED)
    shuffle = kerasseq.preprocessing.EpochShuffle(SEED)
    batches = preprocessor.dataset(train, BATCH_SIZE, shuffle=shuffle, too_long="truncate", pad_to_multiple=8)
    model, loss = build(preprocessor.source_vocabulary_size)
    for name in ("embedding", "forward_0", "backward_0"):
        model.encoder.get_layer(name).set_weights(encoder.get_layer(name).get_weights())
    model.decoder.embedding.set_weights(encoder.get_layer("embedding").get_weights())
    model.compile(adam(epochs * len(batches), PEAK_LEARNING_RATE), loss)
    model.fit(
        batches,
        validation_data=preprocessor.dataset(sorted(validation, key=lambda pair: len(pair[0])), BATCH_SIZE),
        epochs=epochs,
        shuffle=False,
        verbose=2,
        callbacks=[shuffle, keras.callbacks.BackupAndRestore(work / "backup")],
    )
    generator = kerasseq.TextGenerator(model, preprocessor, long_sources="cut")
    generator.save(work / "unfinished.keras")
    os.replace(work / "unfinished.keras", finished)
    return generator


def lead(sources, words):
    """The first words of each source."""
    return [" ".join(source.split()[:words]) for source in sources]


def rouge(predictions, references):
    return kerasseq.evaluation.rouge(predictions, references)


def main_score(scores):
    return scores["rouge1"] + scores["rouge2"] + scores["rougeL"]


def main():
    arguments = timing.parse_arguments(__file__, __doc__)
    quick = arguments.quick
    work = pathlib.Path("runs/email_subjects_quick" if quick else "runs/email_subjects")
    epochs, reading_epochs, vocabulary_size = (
        (1, 1, 1_000) if quick else (EPOCHS, LANGUAGE_MODEL["epochs"], VOCABULARY_SIZE)
    )
    train, validation, test = kerasseq.datasets.load_aeslc()
    if quick:
        train, validation, test = train[:200], validation[:20], test[:20]
    validation_sources, validation_targets = zip(*validation, strict=True)
    test_sources, test_targets = zip(*test, strict=True)
    on_validation, on_test = {}, {}

    # === Lead: as many words as score best on validation ===
    leads = {words: rouge(lead(validation_sources, words), validation_targets) for words in range(3, 16)}
    words = max(leads, key=lambda count: main_score(leads[count]))
    name = f"first {words} words"
    on_validation[name], on_test[name] = leads[words], rouge(lead(test_sources, words), test_targets)
    lines = [source.split("\n")[0] for source in test_sources]
    on_test["first line"] = rouge(lines, test_targets)

    # === Models: the search is chosen on validation ===
    preprocessor = vocabulary(work, train, vocabulary_size)
    encoder = train_language_model(work, preprocessor, train, validation, reading_epochs)
    for model_name, build in BUILDERS.items():
        folder = work / model_name
        generator = train_model(build, folder, preprocessor, encoder, train, validation, epochs)
        scores = {
            name: rouge(generator.generate(validation_sources, sampler), validation_targets)
            for name, sampler in SAMPLERS.items()
        }
        best = max(scores, key=lambda name: main_score(scores[name]))
        on_validation[model_name] = {**scores, "chosen": best}
        if model_name == "pointer-generator":
            cuts = {}
            for cut in CUTS:
                generator.preprocessor.max_source_length = cut
                cut_generator = kerasseq.TextGenerator(generator.model, generator.preprocessor, long_sources="cut")
                outputs = cut_generator.generate(validation_sources, SAMPLERS[best], batch_size=16)
                cuts[cut] = rouge(outputs, validation_targets)
            generator.preprocessor.max_source_length = SOURCE_LENGTH
        outputs = generator.generate(test_sources, SAMPLERS[best])
        on_test[model_name] = rouge(outputs, test_targets)
        with open(folder / "test.jsonl", "w", encoding="utf-8") as file:
            for source, target, output in zip(test_sources, test_targets, outputs, strict=True):
                print(json.dumps({"email": source, "subject": target, "output": output}), file=file)

    settings = {
        "seed": SEED, "epochs": epochs, "batch_size": BATCH_SIZE, "vocabulary_size": vocabulary_size,
        "dropout": DROPOUT, **SIZES, "language_model": {**LANGUAGE_MODEL, "epochs": reading_epochs},
        "source_length": SOURCE_LENGTH, "split": "official: 14,436 / 1,960 / 1,906",
        "signature": on_test[name].pop("signature"),
    }  # fmt: skip
    results = {"validation": on_validation, "validation_by_source_length": cuts, "test": on_test}
    header = ["test split", "ROUGE-1", "ROUGE-2", "ROUGE-L"]
    rows = [[name, *(scores[key] for key in ("rouge1", "rouge2", "rougeL"))] for name, scores in on_test.items()]
    timing.report(arguments, settings, results, header, rows)


if __name__ == "__main__":
    main()
