"""`kerasseq evaluate`."""

import json
import re

import pytest

from kerasseq import TextGenerator
from kerasseq.datasets import read_pairs
from kerasseq.evaluation import paired_bootstrap, score_texts

PAIRS = [("one", "eins und eins"), ("two", "zwei und zwei"), ("one", "eins und noch eins"), ("three", "drei Katzen da")]
OUTPUTS = ["eins und eins", "zwei und drei", "eins und eins", "drei Hunde da"]
OTHERS = ["sieben Hunde", "zwei und drei", "sieben Hunde", "acht"]


@pytest.fixture
def files(tmp_path):
    paths = {name: tmp_path / name for name in ("pairs.tsv", "outputs.txt", "others.jsonl")}
    paths["pairs.tsv"].write_text("".join(f"{source}\t{target}\n" for source, target in PAIRS))
    paths["outputs.txt"].write_text("".join(f"{text}\n" for text in OUTPUTS))
    paths["others.jsonl"].write_text("".join(json.dumps({"text": text}) + "\n" for text in OTHERS))
    return paths


def test_files_of_outputs(kerasseq_command, files):
    """A source that stands in two pairs counts once, with both references."""
    arguments = ["evaluate", files["outputs.txt"], files["pairs.tsv"], "--metrics", "chrf,exact_match"]
    stdout, stderr = kerasseq_command(*arguments, "--resamples", 100)
    rows, references = [0, 1, 3], [[PAIRS[0][1], PAIRS[2][1]], [PAIRS[1][1]], [PAIRS[3][1]]]
    scores = score_texts([OUTPUTS[row] for row in rows], references, ["chrf", "exact_match"], 100)
    expected = [(name, scores[name]["score"], *scores[name]["intervals"]["score"]) for name in scores]
    assert stdout == "".join("{} {} [{}, {}]\n".format(*line) for line in expected)
    assert [line.split()[0] for line in stdout.splitlines()] == ["chrf", "exact_match"]
    assert "chrf: nrefs:var|bs:100|" in stderr
    stdout, _ = kerasseq_command(*arguments, "--single-reference", "--json", "--resamples", 0)
    assert json.loads(stdout)["system"] == score_texts(
        OUTPUTS, [target for _, target in PAIRS], ["chrf", "exact_match"]
    )


def test_two_systems(kerasseq_command, files):
    arguments = ["evaluate", files["outputs.txt"], files["pairs.tsv"], "--baseline", files["others.jsonl"]]
    arguments += ["--metrics", "chrf", "--metrics", "word_error_rate", "--single-reference", "--resamples", 100]
    stdout, _ = kerasseq_command(*arguments, "--json")
    found, references = json.loads(stdout), [target for _, target in PAIRS]
    assert found["baseline"] == score_texts(OTHERS, references, ["chrf", "word_error_rate"], 100)
    assert found["paired_bootstrap"] == paired_bootstrap(OUTPUTS, OTHERS, references, "chrf", 100)
    stdout, _ = kerasseq_command(*arguments)
    compared = found["paired_bootstrap"]["chrf"]
    line = next(line for line in stdout.splitlines() if line.startswith("chrf "))
    end = f"] baseline {compared['baseline']} difference {compared['difference']} p {compared['p_value']}"
    assert line.startswith(f"chrf {compared['score']} [") and line.endswith(end)
    wer = next(line for line in stdout.splitlines() if line.startswith("wer "))
    assert wer.endswith(f"] baseline {found['baseline']['word_error_rate']['wer']}")  # It has no test.


def test_the_metrics_of_a_run(kerasseq_command, trained):
    """`init` has chosen them by the targets."""
    stdout, _ = kerasseq_command("evaluate", trained["folder"], trained["folder"] / "test.jsonl", "--resamples", 0)
    assert [line.split()[0] for line in stdout.splitlines()] == ["exact_match", "chrf"]


def test_a_model(kerasseq_command, trained):
    test = trained["folder"] / "test.jsonl"
    stdout, stderr = kerasseq_command(
        "evaluate", trained["folder"], test, "--metrics", "chrf", "--sampler", "greedy", "--json", "--quiet"
    )
    generator = TextGenerator.load(trained["folder"] / "best.keras")
    expected = generator.evaluate_text(read_pairs(test), "chrf", sampler="greedy")
    assert json.loads(stdout)["system"] == expected and stderr == ""


def test_baselines_are_checked_before_a_model_decodes(kerasseq_command, trained, tmp_path, monkeypatch):
    def generate(*arguments, **options):
        raise AssertionError("The model decodes.")

    monkeypatch.setattr(TextGenerator, "generate", generate)
    test = trained["folder"] / "test.jsonl"
    short, numbers = tmp_path / "short.txt", tmp_path / "numbers.jsonl"
    short.write_text("one line\n")
    numbers.write_text('{"text": 3}\n' * len(read_pairs(test)))
    for baseline, code, message in (
        (tmp_path / "none.txt", 1, "no released model of this name"),
        (short, 1, f"{short}: expected an output for each of "),
        (numbers, 2, f"{numbers}, line 1: expected an object with a text, .* Received: '{{\"text\": 3}}'."),
    ):
        _, stderr = kerasseq_command("evaluate", trained["folder"], test, "--baseline", baseline, code=code)
        assert re.search(message, stderr) and stderr.count("\n") == 1


def test_mistakes(kerasseq_command, files, tmp_path):
    short = tmp_path / "short.txt"
    short.write_text("a\nb\n")
    latin = tmp_path / "latin.txt"
    latin.write_bytes("eins\nzwölf\ndrei\nvier\n".encode("latin-1"))
    both = [files["outputs.txt"], files["pairs.tsv"]]
    for arguments, code, message in (
        ([short, files["pairs.tsv"]], 1, "expected an output for each of 4 pairs. Received: 2 lines"),
        ([latin, files["pairs.tsv"]], 1, f"{latin}, line 2: expected UTF-8 text. Received: byte 0xf6."),
        ([files["outputs.txt"], tmp_path / "none.tsv"], 1, "No such file"),
        ([tmp_path / "none", files["pairs.tsv"]], 1, "no released model of this name"),
        ([*both, "--metrics", "bleu,blue"], 2, "--metrics must be one of bleu, chrf, .* Received: 'blue'."),
        ([*both, "--resamples", -3], 2, "--resamples must be 0, or at least 40. Received: -3."),
        ([*both, "--language", "english"], 2, "language"),
        ([*both, "--sampler", "foo"], 2, "--sampler must be one of greedy, beam. Received: 'foo'."),
        ([*both, "--columns", "0"], 2, "--columns must be two names"),
        ([*both, "--encoding", "utf-9"], 2, "--encoding must be one that Python knows"),
    ):
        stdout, stderr = kerasseq_command("evaluate", *arguments, code=code)
        assert re.search(message, stderr) and "Traceback" not in stderr and stdout == ""
        assert stderr.startswith("Error: ") and stderr.count("\n") == 1
