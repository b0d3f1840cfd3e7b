"""Trains, evaluates and exports the English-French model.

    python saved_models/translation_en_fr/train.py

Resumes at the last finished epoch when it is called again. Writes `metrics.json` and the next version here.
"""

import argparse
import json
import pathlib
import sys

import keras

import kerasseq

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "recipes"))
import everyday  # noqa: E402
import reports  # noqa: E402
import tatoeba  # noqa: E402

SEED, BATCH_SIZE, TOLERANCE = tatoeba.SEED, tatoeba.BATCH_SIZE, tatoeba.TOLERANCE
# The last epochs see texts as they will be cut when served, and more of what is in no collection of sentences.
STAGES = {
    "first": {
        "epochs": 12, "learning_rate": 2e-3, "warmup_steps": 1_000, "subword_sampling": 0.5,
        "shares": everyday.SHARES,
    },
    "last": {
        "epochs": 6, "learning_rate": 1e-3, "warmup_steps": 500, "subword_sampling": None,
        "shares": everyday.LAST_SHARES,
    },
}  # fmt: skip
BEAM_WIDTH = 5
LENGTH_PENALTIES = (0.8, 1.0, 1.2, 1.4, 1.6)


def build(preprocessor):
    return kerasseq.models.AttentionSeq2Seq(
        source_vocabulary_size=preprocessor.source_vocabulary_size,
        target_vocabulary_size=preprocessor.target_vocabulary_size,
        cell="gru",
        units=320,
        embedding_dim=256,
        bidirectional=True,
        attention="multi_head",
        dropout=0.2,
        tie_embeddings=True,
    )


def foreign_sentences():
    """Training sentences in French, German and Spanish, each once."""
    languages = [kerasseq.datasets.load_anki(language)[0] for language in ("fra", "deu", "spa")]
    return list(dict.fromkeys(foreign for pairs in languages for _, foreign in pairs))


def train_model(work, train, validation):
    """Goes through the stages, but those that an earlier call has finished; returns a `TextGenerator`."""
    settings, known = json.dumps({"seed": SEED, "batch_size": BATCH_SIZE, "stages": STAGES}), work / "settings.json"
    if known.exists() and known.read_text(encoding="utf-8") != settings:
        raise SystemExit(f"{work} has a training by other settings. Remove it, or give another folder with --work.")
    known.write_text(settings, encoding="utf-8")
    keras.utils.set_random_seed(SEED)
    foreign = foreign_sentences()
    generator = None
    for name, stage in STAGES.items():
        folder = work / name
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / "finished.keras").exists():
            generator = kerasseq.TextGenerator.load(folder / "finished.keras")
            continue
        pairs = train + everyday.everyday(train, foreign, SEED, stage["shares"])
        if generator is None:
            preprocessor = kerasseq.preprocessing.TextPreprocessor.from_pairs(
                pairs, vocabulary_size=6_000, max_source_length=64, max_target_length=80
            )
            generator = kerasseq.TextGenerator(build(preprocessor), preprocessor, long_sources="sentences")
        tatoeba.fit(generator, folder, stage, pairs, validation)
    return generator


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("runs/translation_en_fr"))
    work = parser.parse_args().work
    work.mkdir(parents=True, exist_ok=True)

    train, validation, test = kerasseq.datasets.load_anki("fra")
    generator = train_model(work, train, validation)

    # === The length penalty is chosen on validation ===
    sources, first, _ = reports.first_references(validation)
    outputs, on_validation = {}, {}
    for length_penalty in LENGTH_PENALTIES:
        sampler = kerasseq.search.BeamSampler(BEAM_WIDTH, length_penalty)
        outputs[length_penalty] = generator.generate(sources, sampler)
        on_validation[length_penalty] = kerasseq.evaluation.bleu(outputs[length_penalty], first)["score"]
    best = max(on_validation.values())
    length_penalty = min(penalty for penalty, bleu in on_validation.items() if bleu >= best - TOLERANCE)
    generator.sampler = kerasseq.search.BeamSampler(BEAM_WIDTH, length_penalty)
    # What it does well and what it doesn't is read here, so that the test stays unseen.
    with open(work / "validation.tsv", "w", encoding="utf-8") as file:
        for row in zip(sources, first, outputs[length_penalty], strict=True):
            print(*row, sep="\t", file=file)
    typed = tatoeba.typed_otherwise(generator, list(zip(sources, first, strict=True)))
    generator.model.compile(metrics=[kerasseq.metrics.Perplexity()], loss=kerasseq.losses.MaskedCrossentropy())
    batches = generator.preprocessor.dataset(validation, BATCH_SIZE)
    perplexity = generator.model.evaluate(batches, return_dict=True)["perplexity"]

    # === Test, once ===
    sources, first, every = reports.first_references(test)
    beam = generator.generate(sources)
    greedy = generator.generate(sources, sampler="greedy")
    nearest = reports.nearest_training_targets(sources, train)
    training_targets = {target for _, target in train}
    minutes = sum(reports.minutes(work / name / "log.csv", stage["epochs"]) for name, stage in STAGES.items())
    metrics = {
        "command": "python saved_models/translation_en_fr/train.py",
        "data": "Tatoeba English-French pairs of manythings.org/anki, release of 2019-04-07",
        "split": "test: int(sha256(source), 16) % 100 < 5; distinct sources, first reference in file order",
        "seed": SEED,
        "parameters": generator.model.count_params(),
        "training_minutes": round(minutes, 1),  # of epochs that take as long as the median one
        "validation_perplexity": round(perplexity, 3),
        "validation_bleu_by_length_penalty": on_validation,
        **{f"validation_bleu_{name}": bleu for name, bleu in typed.items()},
        "test_sources": len(sources),
        "test_sources_in_training": len(set(sources) & {source for source, _ in train}),
        "test_references_among_training_targets": len([text for text in first if text in training_targets]),
        f"beam_{BEAM_WIDTH}": {"length_penalty": length_penalty, **reports.scores(beam, first, every)},
        "greedy": reports.scores(greedy, first, every),
        "copy_nearest_training_sentence": reports.scores(nearest, first, every),
        **reports.environment(),
    }  # fmt: skip
    (HERE / "metrics.json").write_text(json.dumps(metrics, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(metrics, indent=1, ensure_ascii=False))
    print("Exported to", generator.export(HERE))


if __name__ == "__main__":
    main()
