"""Configurations: what is accepted, and what errors say."""

import re

import pytest
import yaml

import kerasseq
from kerasseq.command_line.configuration import Configuration
from kerasseq.command_line.shell import UsageError
from kerasseq.command_line.sizes import SIZES, choose, configuration_text, size_for

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
    first = read(BASE, "preprocessor.tokens=[characters, words]", "checkpoint.monitor=val_token_accuracy")
    assert read(first.dump()).dump() == first.dump()
    for folder in ("1e5", "010", "2024_01_05", "12:30", "2024-01-05", "no", "true", "~", "runs/ä"):
        configuration = read(BASE.replace("runs/pairs", f"'{folder}'"))
        assert configuration.values["folder"] == folder
        assert read(configuration.dump()).dump() == configuration.dump()
        assert yaml.safe_load(configuration.dump())["folder"] == folder  # Other programs read it, too.


def test_numbers_are_those_of_yaml_1_2(read):
    for text in ("2024_01_05", "12:30", "1_000", "0x10", "2024-01-05"):
        assert read(BASE, f"folder={text}").values["folder"] == text
    assert read(BASE, "epochs=010").values["epochs"] == 10
    assert read(BASE, "optimizer.learning_rate=1e-3").values["optimizer"]["learning_rate"] == 0.001
    with pytest.raises(UsageError, match="'folder': expected a valid string. Received: 2024. Quote it: '2024'; with"):
        read(BASE, "folder=2024")
    assert read(BASE, "folder='2024'").values["folder"] == "2024"  # As the message says.


def test_the_best_epoch_follows_from_the_metric(read):
    scores = "scores: {metrics: [chrf, rouge, word_error_rate]}\n"
    modes = {
        "loss": "min", "val_loss": "min", "val_wer": "min", "val_cer": "min", "token_accuracy": "max",
        "val_token_accuracy": "max", "val_chrf": "max", "val_rougeL": "max",
    }  # fmt: skip
    for monitor, mode in modes.items():
        for given in ("", f", mode: {mode}"):
            values = read(f"{BASE}{scores}checkpoint: {{monitor: {monitor}{given}}}\n").values
            assert values["checkpoint"]["mode"] == mode
    assert read(BASE).values["checkpoint"]["mode"] == "min"
    with pytest.raises(UsageError, match="line 11: mode must be 'max' for 'val_chrf', .* Received: 'min'."):
        read(f"{BASE}{scores}checkpoint: {{monitor: val_chrf, mode: min}}\n")
    with pytest.raises(UsageError, match="^--set checkpoint.mode=max: mode must be 'min' for 'val_loss'"):
        read(BASE, "checkpoint.mode=max")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BASE.replace("units", "unit"), "line 7: unknown key 'unit' in 'model'. Known: .*Did you mean 'units'?"),
        (BASE.replace("64", "many"), "line 7: 'model.units': expected a valid integer. Received: 'many'."),
        (BASE.replace("64", "6.5"), "line 7: 'model.units': expected a valid integer. Received: 6.5."),
        (BASE.replace("Attention", "Atention"), "line 6: builder must be one of .* Did you mean 'AttentionSeq2Seq'?"),
        (BASE.replace("AttentionSeq2Seq", '"LSTMSeq2Seq\'s"'), "line 6: builder must be one of .* mean 'LSTMSeq2Seq'?"),
        (BASE.replace("1e-3", "fast"), "line 9: 'optimizer.learning_rate': expected a valid number. Received: 'fast'."),
        (BASE.replace("1e-3", "-1"), "line 9: 'optimizer.learning_rate': expected greater than 0. Received: -1"),
        (BASE + "  clipnorm: -1\n", "line 10: 'optimizer.clipnorm': expected greater than 0. Received: -1"),
        (BASE + "schedule: {warmup_steps: -1}\n", "line 10: .schedule.warmup_steps.: expected .* or equal to 0"),
        (BASE + "  class_name: LossScaleOptimizer\n", "line 10: class_name must be one of .* 'LossScaleOptimizer'"),
        (BASE + "  class_name: MultiOptimizer\n", "line 10: class_name must be one of .* 'MultiOptimizer'"),
        (BASE + "scores: {metrics: [bleuu]}\n", "line 10: metrics must be a list of names.* Received: ..bleuu..."),
        (BASE + "checkpoint: {monitor: val_chrf}\n", "line 10: monitor must be one of loss, .*Received: 'val_chrf'."),
        (BASE.replace("epochs: 3\n", ""), "config.yaml: the key 'epochs' is missing."),
        (BASE.replace("epochs: 3", "epochs: 0"), "line 2: 'epochs': expected greater than or equal to 1. Received: 0"),
        (BASE.replace("train:", "trains:"), "line 3: the key 'data.train' is missing.(.|\n)*line 4: unknown key "
         "'trains' in 'data'. Known: .* Did you mean 'train'?"),
        (BASE.replace(": pairs.tsv", ": {path: a, colums: [a, b]}"), "line 4: unknown key 'colums' in 'data.train'. "
         ".*Did you mean 'columns'?"),
        (BASE + "earlystopping: 3\n", "line 10: unknown key 'earlystopping' at the top. .* mean 'early_stopping'?"),
        (BASE + "units: 32\n", "line 10: unknown key 'units' at the top. .* Did you mean 'model.units'?$"),
        (BASE + "pairs: 32\n", "line 10: unknown key 'pairs' at the top. .* Did you mean 'scores.pairs'?$"),
        (BASE + "epochs: 4\n", "line 10: expected each key once. Received: 'epochs', which also stands in line 2."),
        (BASE + "early_stopping: {patience: soon}\n", "line 10: 'early_stopping.patience': expected a valid integer."),
        (BASE + "preprocessor:\n  tokens: [words, 3]\n", "line 11: 'preprocessor.tokens': expected a valid string."),
        (BASE + "checkpoint: {mode: most}\n", "line 10: 'checkpoint.mode': expected 'min' or 'max'. Received: 'most'."),
        (BASE + "  - a\n :", "line 10: expected YAML. Received: "),
        (BASE + "seed: -1\n", "line 10: 'seed': expected greater than or equal to 0. Received: -1."),
        (BASE + "seed: 4294967296\n", "line 10: 'seed': expected less than 4294967296."),
        (BASE.replace("runs/pairs", "''"), "line 1: 'folder': expected .*at least 1 character. Received: ''."),
        (BASE + "# \x07\n", "config.yaml: expected YAML. Received: .*special characters are not allowed"),
        (BASE + "scores: &a\n  metrics: *a\n", "expected sections. Received: one that contains itself"),
        ("- a\n", "expected sections, such as 'data:' and 'model:'. Received: ..a.."),
        ("", "the key 'folder' is missing."),
    ],
)  # fmt: skip
def test_errors_name_the_line_and_the_nearest_key(read, text, message):
    with pytest.raises(UsageError) as error:
        read(text)
    assert re.search(message.replace("?", r"\?"), str(error.value)), error.value


def test_a_configuration_in_another_encoding(tmp_path):
    (tmp_path / "config.yaml").write_bytes("folder: läufe\n".encode("latin-1"))
    with pytest.raises(UsageError, match="config.yaml: expected UTF-8 text. Received: byte 0xe4."):
        Configuration(str(tmp_path / "config.yaml"))


def test_errors_of_overrides_name_the_option(read):
    with pytest.raises(UsageError, match="^--set model.dropuot=0.3: unknown key 'dropuot' .* mean 'dropout'"):
        read(BASE, "model.dropuot=0.3")
    with pytest.raises(UsageError, match="--set takes KEY=VALUE"):
        read(BASE, "model.dropout")


def test_overrides_below_a_path(read):
    for name in ("train", "validation"):
        data = read(BASE + "# end\n", "data.validation=v.tsv", f"data.{name}.encoding=latin-1").values["data"]
        paths = {"train": "pairs.tsv", "validation": "v.tsv"}
        assert {key: data[key]["path"] for key in paths} == paths
        assert {key: data[key]["encoding"] for key in paths} == dict.fromkeys(paths, "utf-8") | {name: "latin-1"}
    assert read(BASE, "early_stopping.patience=3").values["early_stopping"]["patience"] == 3
    with pytest.raises(UsageError, match="^--set epochs.most=3: 'epochs' must be a section, .* Received: 3."):
        read(BASE, "epochs.most=3")


def test_errors_of_the_library_name_the_line(read):
    configuration = read(BASE)
    with pytest.raises(UsageError, match="line 7: units must be a positive integer. Received: units=0"):
        with configuration.reporting("model"):
            raise ValueError("units must be a positive integer. Received: units=0.")
    with pytest.raises(UsageError, match="line 10: Only one of `clipnorm`, "):
        with read(BASE + "  clipnorm: 1.0\n").reporting("optimizer"):
            raise ValueError("Only one of `clipnorm`, `clipvalue` can be set.")
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
    text = configuration_text(choose(pairs, tokens), file, {**file, "path": "validation.csv"}, None)
    values = read(text).values
    assert values["data"]["train"]["path"] == "a: b.csv" and values["data"]["train"]["columns"] == ["en", "de"]
    assert values["folder"] == "runs/a: b" and values["checkpoint"]["mode"] == "max"
    assert values["data"]["validation"] == {**values["data"]["train"], "path": "validation.csv"}
    assert values["model"]["units"] == size_for(4_000).units and values["preprocessor"]["tokens"] == tokens
    assert f"for about 5,000 pairs, {size_for(4_000).evidence}." in text
    # Each section says which function's arguments it has.
    for name, function in (("data", kerasseq.datasets.read_pairs), ("scores", kerasseq.callbacks.GenerationScores)):
        assert name in yaml.safe_load(text) and function.__qualname__ in text


def in_words(number):
    """English number words, to 9,999."""
    ones = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    ones = f"{ones}seventeen eighteen nineteen".split()
    tens = "twenty thirty forty fifty sixty seventy eighty ninety".split()
    for size, name in ((1_000, "thousand"), (100, "hundred")):
        if number >= size:
            rest = f" {in_words(number % size)}" if number % size else ""
            return f"{in_words(number // size)} {name}{rest}"
    if number < 20:
        return ones[number]
    return tens[number // 10 - 2] + (f"-{ones[number % 10]}" if number % 10 else "")


def test_number_words():
    assert [in_words(number) for number in (0, 13, 90, 1_999)] == [
        "zero", "thirteen", "ninety", "one thousand nine hundred ninety-nine",
    ]  # fmt: skip


def test_tokens_suit_the_texts(read):
    """Characters for numbers and dates, where subwords would stand for single texts; subwords for words that recur."""
    dates = [pair for split in kerasseq.datasets.load_dates(3_000) for pair in split]
    numbers = [(str(number), in_words(number)) for number in range(0, 9_999, 3)]
    sentences = [(f"the cat sees dog {n % 7} here", f"die Katze sieht Hund {n % 7} hier") for n in range(2_000)]
    for pairs, source, target in (
        (dates, "characters", "characters"),
        (numbers, "characters", "subwords"),
        ([pair[::-1] for pair in numbers], "subwords", "characters"),
        (sentences, "subwords", "subwords"),
    ):
        choice = choose(pairs)
        assert choice.tokens == (source, target)
        values = read(configuration_text(choice, {"path": "a.tsv"}, None, None)).values
        preprocessor = kerasseq.preprocessing.TextPreprocessor.from_pairs(pairs, **values["preprocessor"])
        kinds = {"characters": "CharacterTokenizer", "subwords": "SubwordTokenizer"}
        found = [type(tokenizer).__name__ for tokenizer in preprocessor.tokenizers]
        assert found == [kinds[source], kinds[target]]
        assert values["scores"]["metrics"] == (["exact_match"] if target == "characters" else ["bleu"]) + ["chrf"]
        assert f"sources: {source} (" in choice.described() and f"targets: {target} (" in choice.described()


def test_no_text_of_characters_is_too_long():
    pairs = [("x" * 200, "y" * 20)]
    assert choose(pairs, "characters").lengths == (256, 128)
    assert choose(pairs, "subwords").lengths == choose(pairs, "words").lengths == (128, 128)
    assert choose([("x" * 127, "y" * 10_000)], "characters").lengths == (128, 512)
