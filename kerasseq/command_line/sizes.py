"""Sizes of models and trainings by the number of pairs, and the configuration that `kerasseq init` writes."""

import dataclasses
import json
import pathlib
from collections.abc import Sequence
from typing import Any

from kerasseq.datasets.splits import TextPairs
from kerasseq.preprocessing.vocabulary_size import suits_characters

LENGTH = 128  # tokens of a text
LONGEST = 512  # of characters
FEW = 1_000  # pairs
MEASURED = "measured on English-French sentences"
JUDGED = "chosen by judgement, not measured"


@dataclasses.dataclass(frozen=True)
class Size:
    """What suits data of up to so many pairs."""

    pairs: int
    vocabulary_size: int
    units: int
    dropout: float
    epochs: int
    learning_rate: float
    batch_size: int
    evidence: str


# benchmarks/sizes.py measures them.
SIZES = (
    Size(2_000, 4_000, units=128, dropout=0.4, epochs=60, learning_rate=3e-3, batch_size=32, evidence=MEASURED),
    Size(5_000, 4_000, units=128, dropout=0.4, epochs=40, learning_rate=3e-3, batch_size=32, evidence=MEASURED),
    Size(20_000, 8_000, units=192, dropout=0.3, epochs=24, learning_rate=2e-3, batch_size=64, evidence=MEASURED),
    Size(100_000, 8_000, units=256, dropout=0.3, epochs=12, learning_rate=2e-3, batch_size=64, evidence=JUDGED),
    Size(500_000, 8_000, units=384, dropout=0.1, epochs=8, learning_rate=1e-3, batch_size=128, evidence=JUDGED),
)


def size_for(pairs: int) -> Size:
    """The row of the table for a number of pairs: the nearest one by ratio."""
    return min(SIZES, key=lambda size: max(size.pairs / pairs, pairs / size.pairs))


@dataclasses.dataclass(frozen=True)
class Choice:
    """What a configuration for pairs begins with.

    Attributes:
        pairs: int, their number.
        size: the row of the table.
        tokens: the kinds of tokens of sources and targets.
        inferred: bool, whether token kinds were inferred from the data.
        vocabulary_size: int, or `None` for the default of the data.
        lengths: the most tokens of a source and of a target.
    """

    pairs: int
    size: Size
    tokens: tuple[str, str]
    inferred: bool
    vocabulary_size: int | None
    lengths: tuple[int, int]

    def described(self) -> str:
        """What was chosen, and why, for the user."""
        size = self.size
        reasons = {"characters": "few words recur, or most are numbers", "subwords": "their words recur"}
        sides = [
            f"{side}: {kind}" + (f" ({reasons[kind]})" if self.inferred else "")
            for side, kind in zip(("sources", "targets"), self.tokens, strict=True)
        ]
        vocabulary = "by the data" if self.vocabulary_size is None else f"at most {self.vocabulary_size:,} a side"
        few = " That is little: expect a model that repeats what it has seen." if self.pairs < FEW else ""
        return (
            f"Found {self.pairs:,} pairs.{few} Sizes are those for about {size.pairs:,} pairs: {size.units} units, at "
            f"most {size.epochs} epochs.\nTokens of {', of '.join(sides)}; vocabulary: {vocabulary}."
        )


def choose(pairs: TextPairs, tokens: str | None = None) -> Choice:
    """Sizes by the number of pairs, and tokens by the texts of each side unless their kind is given."""
    size, sides = size_for(len(pairs)), list(zip(*pairs, strict=True))
    kinds = [tokens or ("characters" if suits_characters(side) else "subwords") for side in sides]
    lengths = [length_limit(side, kind) for side, kind in zip(sides, kinds, strict=True)]
    # Of numbers and names, each subword would stand for a single text.
    recur = kinds == ["subwords", "subwords"] and not any(suits_characters(side) for side in sides)
    subwords = size.vocabulary_size if recur else None
    return Choice(len(pairs), size, (kinds[0], kinds[1]), tokens is None, subwords, (lengths[0], lengths[1]))


def length_limit(texts: Sequence[str], tokens: str) -> int:
    """The most tokens of a text: of characters as many as the longest one has, in steps of 64."""
    if tokens != "characters":
        return LENGTH
    longest = max(map(len, texts)) + 1  # and END
    return min(max(LENGTH, -(-longest // 64) * 64), LONGEST)


def yaml_of(value: Any) -> str:
    """A value in one line of YAML: JSON is."""
    return json.dumps(value, ensure_ascii=False)


def file_text(file: dict[str, Any]) -> str:
    """The lines of a section that describes a file."""
    return "\n".join(f"    {name}: {yaml_of(value)}" for name, value in file.items())


def configuration_text(
    choice: Choice, file: dict[str, Any], validation: dict[str, Any] | None, folder: str | None
) -> str:
    """A commented configuration for pairs, with sizes chosen by their number.

    Args:
        choice: what was chosen for the pairs of the file.
        file: dict, the arguments of `read_pairs`, without those that have their default.
        validation: dict, the same for a file of validation pairs, if there is one.
        folder: str, path of the run folder. Default: `runs/` and the name of the file.
    """
    size = choice.size
    folder = folder or f"runs/{pathlib.Path(file['path']).name.partition('.')[0]}"
    source, target = choice.tokens
    tokens = source if source == target else f"[{source}, {target}]"
    # BLEU counts words, of which numbers and names have one or two.
    metrics = "[exact_match, chrf]" if target == "characters" else "[bleu, chrf]"
    held_out = f"  validation:\n{file_text(validation)}" if validation else "  # validation: validation.tsv"
    return f"""\
# A training with `kerasseq train`, for {choice.pairs:,} pairs. Keys are the arguments of the functions that are named
# beside their section; all others of these functions can be added.
# Sizes are those for about {size.pairs:,} pairs, {size.evidence}.

folder: {yaml_of(folder)}  # gets the configuration as used, logs, curves and the best model
seed: 1
epochs: {size.epochs}  # at most

data:
  train:  # kerasseq.datasets.read_pairs
{file_text(file)}
  # Without a file of validation pairs, about 5 % of the sources are kept for validation and 5 % for the test.
{held_out}
  drop_near_duplicates: true  # of validation and test, from the training pairs

preprocessor:  # kerasseq.preprocessing.TextPreprocessor.from_pairs
  tokens: {tokens}  # subwords, characters or words; [characters, words] for sources and targets
  vocabulary_size: {yaml_of(choice.vocabulary_size)}  # of each side, at most; null: by the data
  joint: false  # true: one vocabulary for both sides
  max_source_length: {choice.lengths[0]}  # tokens; longer pairs are left out of the training
  max_target_length: {choice.lengths[1]}

model:
  builder: AttentionSeq2Seq  # of kerasseq.models; also GRUSeq2Seq, TransformerSeq2Seq, PointerGeneratorSeq2Seq, ...
  cell: gru
  attention: luong
  units: {size.units}
  embedding_dim: {size.units}
  dropout: {size.dropout}
  tie_embeddings: true

dataset:  # preprocessor.dataset
  batch_size: {size.batch_size}
  # subword_sampling: 0.3  # other subwords in every epoch

loss:
  class_name: MaskedCrossentropy  # of kerasseq.losses
  label_smoothing: 0.1

optimizer:
  class_name: Adam  # kerasseq.optimizers.Adam; any other of keras.optimizers
  learning_rate: {size.learning_rate}  # the highest one
  clipnorm: 1.0

schedule:
  class_name: CosineDecay  # of keras.optimizers.schedules; over all steps
  warmup_steps: 0.05  # below 1: a share of all steps
  alpha: 0.02

scores:  # kerasseq.callbacks.GenerationScores
  metrics: {metrics}
  pairs: 300  # of validation, decoded after each epoch
  samples: 2  # shown after each epoch

checkpoint:  # kerasseq.callbacks.GeneratorCheckpoint
  monitor: val_chrf  # which epoch is the best; chrF also tells weak models apart
  sampler: beam  # of the saved model; its settings are beam_width and length_penalty
  last: 0  # how many last epochs to keep as well, for `kerasseq average`

early_stopping:
  patience: 8  # epochs without a better one

tensorboard: true
"""
