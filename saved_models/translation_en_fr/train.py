"""Trains, evaluates and exports the English-French model.

    python saved_models/translation_en_fr/train.py

Resumes at the last finished epoch when it is called again. Writes `metrics.json` and the next version here.
"""

import argparse
import pathlib
import sys

import kerasseq

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "recipes"))
import everyday  # noqa: E402
import reports  # noqa: E402
import tatoeba  # noqa: E402

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
VOCABULARY_SIZE = 6_000
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
    reports.check_settings(work, {"seed": tatoeba.SEED, "batch_size": tatoeba.BATCH_SIZE, "stages": STAGES})
    foreign = foreign_sentences()

    def pairs_of(stage):
        return train + everyday.everyday(train, foreign, tatoeba.SEED, stage["shares"])

    return tatoeba.through_stages(work, STAGES, pairs_of, build, VOCABULARY_SIZE, validation)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("runs/translation_en_fr"))
    work = parser.parse_args().work
    work.mkdir(parents=True, exist_ok=True)

    splits = kerasseq.datasets.load_anki("fra")
    generator = train_model(work, *splits[:2])
    metrics = {
        "command": "python saved_models/translation_en_fr/train.py",
        "data": "Tatoeba English-French pairs of manythings.org/anki, release of 2019-04-07",
        **tatoeba.measure(generator, work, splits, STAGES, LENGTH_PENALTIES),
    }
    tatoeba.finish(generator, HERE, metrics)


if __name__ == "__main__":
    main()
