"""Subject lines for emails (AESLC): a pointer-generator against the same model without copying, and against the lead.

Trains both models on the official split, chooses the search on validation, and scores the test split once, with ROUGE
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

SEED = 1
BATCH_SIZE = 32
EPOCHS = 7
PEAK_LEARNING_RATE = 1.5e-3
SOURCE_LENGTH = 200  # subwords of an email in training, END included
TARGET_LENGTH = 32
SIZES = {
    "cell": "gru", "units": 160, "embedding_dim": 128, "attention": "location", "placement": "after", "dropout": 0.5,
    "tie_embeddings": True,
}  # fmt: skip
CUTS = (25, 50, 100, 200, 400, 800)
SAMPLERS = {
    "greedy": kerasseq.samplers.GreedySampler(),
    "beam 5, length_penalty=0.6": kerasseq.samplers.BeamSampler(5, 0.6, no_repeat_ngram_size=3),
    "beam 5, length_penalty=1.0": kerasseq.samplers.BeamSampler(5, 1.0, no_repeat_ngram_size=3),
    "beam 5, normalization='length'": kerasseq.samplers.BeamSampler(5, normalization="length", no_repeat_ngram_size=3),
}


def build_pointer_generator(vocabulary_size):
    model = kerasseq.models.PointerGeneratorSeq2Seq(vocabulary_size, **SIZES)
    # It begins by copying: what copies learns to look, what generates learns the training subjects by heart.
    model.get_layer("decoder").get_layer("pointer_generator").bias.assign([-2.0])
    return model, kerasseq.losses.MaskedCrossentropy()


def build_attention(vocabulary_size):
    model = kerasseq.models.AttentionSeq2Seq(vocabulary_size, vocabulary_size, **SIZES)
    return model, kerasseq.losses.MaskedCrossentropy(label_smoothing=0.1)


BUILDERS = {"pointer-generator": build_pointer_generator, "attention": build_attention}


def train_model(build, work, train, validation, epochs, vocabulary_size):
    """Fits, or loads what an earlier call has fitted; returns a `TextGenerator`."""
    finished = work / "finished.keras"
    if finished.exists():
        return kerasseq.TextGenerator.load(finished)
    work.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(SEED)
    preprocessor = kerasseq.preprocessing.TextPreprocessor.from_pairs(
        train, vocabulary_size, joint=True, max_source_length=SOURCE_LENGTH, max_target_length=TARGET_LENGTH
    )
    shuffle = kerasseq.preprocessing.EpochShuffle(SEED)
    batches = preprocessor.dataset(train, BATCH_SIZE, shuffle=shuffle, too_long="truncate", pad_to_multiple=8)
    model, loss = build(preprocessor.source_vocabulary_size)
    steps = epochs * len(batches)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, decay_steps=steps - steps // 20, warmup_target=PEAK_LEARNING_RATE, warmup_steps=steps // 20
    )
    model.compile(keras.optimizers.Adam(schedule, global_clipnorm=1.0), loss)
    model.fit(
        batches,
        validation_data=preprocessor.dataset(sorted(validation, key=lambda pair: len(pair[0])), BATCH_SIZE),
        epochs=epochs,
        shuffle=False,  # The data set shuffles itself.
        verbose=2,
        callbacks=[shuffle, keras.callbacks.BackupAndRestore(work / "backup")],
    )
    generator = kerasseq.TextGenerator(model, preprocessor)
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
    epochs, vocabulary_size = (1, 1_000) if quick else (EPOCHS, 8_000)
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
    for model_name, build in BUILDERS.items():
        folder = work / model_name
        generator = train_model(build, folder, train, validation, epochs, vocabulary_size)
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
                cut_generator = kerasseq.TextGenerator(generator.model, generator.preprocessor)
                outputs = cut_generator.generate(validation_sources, SAMPLERS[best], batch_size=16)
                cuts[cut] = rouge(outputs, validation_targets)
            generator.preprocessor.max_source_length = SOURCE_LENGTH
        outputs = generator.generate(test_sources, SAMPLERS[best])
        on_test[model_name] = rouge(outputs, test_targets)
        with open(folder / "test.jsonl", "w", encoding="utf-8") as file:
            for source, target, output in zip(test_sources, test_targets, outputs, strict=True):
                print(json.dumps({"email": source, "subject": target, "output": output}), file=file)

    settings = {
        "seed": SEED, "epochs": epochs, "batch_size": BATCH_SIZE, "vocabulary_size": vocabulary_size, **SIZES,
        "source_length": SOURCE_LENGTH, "split": "official: 14,436 / 1,960 / 1,906",
        "signature": on_test[name].pop("signature"),
    }  # fmt: skip
    results = {"validation": on_validation, "validation_by_source_length": cuts, "test": on_test}
    header = ["test split", "ROUGE-1", "ROUGE-2", "ROUGE-L"]
    rows = [[name, *(scores[key] for key in ("rouge1", "rouge2", "rougeL"))] for name, scores in on_test.items()]
    timing.report(arguments, settings, results, header, rows)


if __name__ == "__main__":
    main()
