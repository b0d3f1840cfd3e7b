"""Configurations: what is accepted, and what errors say."""

import re

import pytest
import yaml

import kerasseq
from kerasseq.command_line.configuration import Configuration
from kerasseq.command_line.shell import UsageError
from kerasseq.command_line.sizes import SIZES, configuration_text, size_for

BASE = """\
folder: runs/pairs
epochs: 3
data:
  train: pairs.tsv
model:
  builder: AttentionSeq2Seq
  units: 64
optimizer:
  learning_rate: 1e-3
"""


@pytest.fixture
def read(tmp_path):
    def read(text, *overrides):
        path = tmp_path / "config.yaml"
        path.write_text(text, encoding="utf-8")
        return Configuration(str(path), overrides)

    return read


def test_defaults_are_those_of_the_functions(read):
    values = read(BASE).values
    assert values["data"]["train"] == {
        "path": "pairs.tsv", "target_path": None, "columns": None, "kind": None, "quotes": None, "encoding": "utf-8",
        "empty": "error",
    }  # fmt: skip
    assert values["model"]["units"] == 64 and values["model"]["cell"] == "lstm"
    assert values["optimizer"]["learning_rate"] == 0.001 and values["optimizer"]["class_name"] == "Adam"
    assert values["dataset"]["batch_size"] == 64 and values["schedule"] is None


def test_sections_take_all_arguments_of_their_functions(read):
    values = read(
        BASE.replace("train: pairs.tsv", "train: {path: a.csv, columns: [en, no], quotes: true}")
        + "preprocessor: {tokens: [characters, words], protected_tokens: [<a>]}\n"
        + "schedule: {class_name: ExponentialDecay, decay_rate: 0.5, decay_steps: 10}\n"
        + "scores: {metrics: {bleu: {tokenize: char}}, language: no}\n"
    ).values
    assert values["data"]["train"]["columns"] == ["en", "no"]  # Not a boolean.
    assert values["preprocessor"]["tokens"] == ("characters", "words")
    assert values["schedule"]["decay_steps"] == 10 and values["schedule"]["initial_learning_rate"] is None
    assert values["scores"]["language"] == "no" and values["scores"]["metrics"] == {"bleu": {"tokenize": "char"}}
    transformer = read(BASE.replace("AttentionSeq2Seq", "TransformerSeq2Seq") + "  # end\n", "model.num_heads=8").values
    assert transformer["model"]["num_heads"] == 8 and "cell" in transformer["model"]


def test_the_configuration_as_used_reads_as_the_same(read):
    first = read(BASE, "preprocessor.tokens=[characters, words]", "checkpoint.mode=max")
    assert read(first.dump()).dump() == first.dump()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BASE.replace("units", "unit"), "line 7: unknown key 'unit' in 'model'. Known: .*Did you mean 'units'?"),
        (BASE.replace("64", "many"), "line 7: 'model.units': expected a valid integer. Received: 'many'."),
        (BASE.replace("64", "6.5"), "line 7: 'model.units': expected a valid integer. Received: 6.5."),
        (BASE.replace("Attention", "Atention"), "line 6: builder must be one of .* Did you mean 'AttentionSeq2Seq'?"),
        (BASE.replace("epochs: 3\n", ""), "config.yaml: the key 'epochs' is missing."),
        (BASE.replace("epochs: 3", "epochs: 0"), "line 2: 'epochs': expected greater than or equal to 1. Received: 0"),
        (BASE.replace("train:", "trains:"), "line 3: the key 'data.train' is missing.(.|\n)*line 4: unknown key "
         "'trains' in 'data'. Known: .* Did you mean 'train'?"),
        (BASE.replace(": pairs.tsv", ": {path: a, colums: [a, b]}"), "line 4: unknown key 'colums' in 'data.train'. "
         ".*Did you mean 'columns'?"),
        (BASE + "earlystopping: 3\n", "line 10: unknown key 'earlystopping' at the top. .* mean 'early_stopping'?"),
        (BASE + "epochs: 4\n", "line 10: expected each key once. Received: 'epochs', which also stands in line 2."),
        (BASE + "early_stopping: {patience: soon}\n", "line 10: 'early_stopping.patience': expected a valid integer."),
        (BASE + "preprocessor:\n  tokens: [words, 3]\n", "line 11: 'preprocessor.tokens': expected a valid string."),
        (BASE + "checkpoint: {mode: most}\n", "line 10: 'checkpoint.mode': expected 'min' or 'max'. Received: 'most'."),
        (BASE + "  - a\n :", "line 10: expected YAML. Received: "),
        ("- a\n", "expected sections, such as 'data:' and 'model:'. Received: ..a.."),
        ("", "the key 'folder' is missing."),
    ],
)  # fmt: skip
def test_errors_name_the_line_and_the_nearest_key(read, text, message):
    with pytest.raises(UsageError) as error:
        read(text)
    assert re.search(message.replace("?", r"\?"), str(error.value)), error.value


def test_errors_of_overrides_name_the_option(read):
    with pytest.raises(UsageError, match="^--set model.dropuot=0.3: unknown key 'dropuot' .* mean 'dropout'"):
        read(BASE, "model.dropuot=0.3")
    with pytest.raises(UsageError, match="--set takes KEY=VALUE"):
        read(BASE, "model.dropout")


def test_errors_of_the_library_name_the_line(read):
    configuration = read(BASE)
    with pytest.raises(UsageError, match="line 7: units must be a positive integer. Received: units=0"):
        with configuration.reporting("model"):
            raise ValueError("units must be a positive integer. Received: units=0.")
    with pytest.raises(UsageError, match="line 5: Sizes do not fit"):
        with configuration.reporting("model"):
            raise ValueError("Sizes do not fit.")


def test_table_of_sizes():
    assert [size.pairs for size in SIZES] == [2_000, 5_000, 20_000, 100_000, 500_000]
    assert size_for(10).pairs == 2_000 and size_for(6_000).pairs == 5_000 and size_for(10**7).pairs == 500_000
    for name in ("vocabulary_size", "units"):
        values = [getattr(size, name) for size in SIZES]
        assert values == sorted(values)


@pytest.mark.parametrize("tokens", ["subwords", "characters"])
def test_written_configurations_are_valid(read, tokens):
    pairs = [(f"the number {n} of the list", f"die Zahl {n} der Liste") for n in range(4_000)]
    file = {"path": "a: b.csv", "columns": ["en", "de"]}
    text = configuration_text(pairs, file, "validation.tsv", None, tokens)
    values = read(text).values
    assert values["data"]["train"]["path"] == "a: b.csv" and values["data"]["train"]["columns"] == ["en", "de"]
    assert values["folder"] == "runs/a: b" and values["data"]["validation"]["path"] == "validation.tsv"
    assert values["model"]["units"] == size_for(4_000).units and values["preprocessor"]["tokens"] == tokens
    assert "not been measured" in text
    # Each section says which function's arguments it has.
    for name, function in (("data", kerasseq.datasets.read_pairs), ("scores", kerasseq.callbacks.GenerationScores)):
        assert name in yaml.safe_load(text) and function.__qualname__ in text
