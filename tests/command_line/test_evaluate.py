"""`kerasseq evaluate`."""

import json

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
    cells = [line.split("\t") for line in stdout.splitlines()]
    assert [line[0] for line in cells] == ["chrf", "exact_match"]
    for name, score, low, high in cells:
        assert float(score) == scores[name]["score"]
        assert [float(low), float(high)] == scores[name]["intervals"]["score"]
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
    assert f"\tdifference {compared['difference']}\tp {compared['p_value']}\n" in stdout and "wer\t" in stdout


def test_a_model(kerasseq_command, trained):
    test = trained["folder"] / "test.jsonl"
    stdout, stderr = kerasseq_command(
        "evaluate", trained["folder"], test, "--metrics", "chrf", "--sampler", "greedy", "--json", "--quiet"
    )
    generator = TextGenerator.load(trained["folder"] / "best.keras")
    expected = generator.evaluate_text(read_pairs(test), "chrf", sampler="greedy")
    assert json.loads(stdout)["system"] == expected and stderr == ""


def test_mistakes(kerasseq_command, files, tmp_path):
    short = tmp_path / "short.txt"
    short.write_text("a\nb\n")
    for arguments, message in (
        ([short, files["pairs.tsv"]], "expected an output for each of 4 pairs. Received: 2 lines"),
        ([files["outputs.txt"], files["pairs.tsv"], "--metrics", "blue"], "metrics must be a list of names"),
        ([files["outputs.txt"], tmp_path / "none.tsv"], "No such file"),
        ([tmp_path / "none", files["pairs.tsv"]], "no released model of this name"),
    ):
        stdout, stderr = kerasseq_command("evaluate", *arguments, code=1)
        assert message in stderr and "Traceback" not in stderr and stdout == ""
