"""The comparison with other toolkits, as far as it needs no other environment than this one."""

import argparse
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from keras import ops

ROOT = pathlib.Path(__file__).resolve().parent.parent
START, END = 2, 3
SOURCES = [[4, 5, 6, 7], [8, 9], [5]]


@pytest.fixture
def settings(load_benchmark):
    quick = load_benchmark("peers/comparison").QUICK
    return type(quick)(**{**vars(quick), "vocabulary_size": 12, "beam_width": 3, "max_length": 6})


def mean_log_probabilities(logits, sources, outputs, max_length):
    """Of outputs, END included unless they were cut off, by logits of a source and a target under teacher forcing."""
    means = []
    for source, output in zip(sources, outputs, strict=True):
        labels = [*output, END][:max_length]
        scores = ops.log_softmax(logits(np.array([[*source, END]]), np.array([[START, *labels[:-1]]])))[0]
        means.append(float(np.mean([scores[step, label] for step, label in enumerate(labels)])))
    return means


def random_weights(model):
    random = np.random.default_rng(1)
    model.set_weights([random.normal(size=weight.shape) for weight in model.get_weights()])


@pytest.mark.parametrize("search", ["greedy", "beam"])
def test_searches_of_keras_layers(load_benchmark, settings, search):
    system = load_benchmark("peers/system_keras")
    model, encoder, step = system.build(settings)
    random_weights(model)
    outputs, scores = getattr(system.Decoding(encoder, step, settings), search)(SOURCES)
    expected = mean_log_probabilities(
        lambda source, target: model([source, target]), SOURCES, outputs, settings.max_length
    )
    np.testing.assert_allclose(scores, expected, rtol=1e-4)


@pytest.mark.parametrize("search", ["greedy", "beam"])
def test_searches_of_kerasseq(load_benchmark, settings, search):
    system = load_benchmark("peers/system_kerasseq")
    model = system.build(settings, "lstm")
    random_weights(model)
    arguments = argparse.Namespace(what=search, settings=settings, stop=None, max_length_ratio=10.0)
    outputs, scores = system.make_decoder(model, system.make_sampler(arguments), settings)(SOURCES)

    def logits(source, target):
        return model({"encoder_token_ids": source, "decoder_token_ids": target})

    np.testing.assert_allclose(scores, mean_log_probabilities(logits, SOURCES, outputs, settings.max_length), rtol=1e-4)


def test_results_of_a_search(load_benchmark, settings):
    comparison = load_benchmark("peers/comparison")
    settings = type(settings)(**{**vars(settings), "batch_size": 2})
    arguments = argparse.Namespace(what="greedy", settings=settings)
    result = comparison.search_result(arguments, [[1], [1, 1, 1], [1, 1]], [[1] * 4, [1], [1] * 2], [0.25, 0.25])
    # The longest two sources make the first batch: outputs of 1 and 2 tokens.
    assert result == {
        "sentences": 3, "mean_length": pytest.approx(7 / 3), "seconds": 0.5, "steps": 3 + 5,
        "sentences_per_second": 6.0, "tokens_per_second": 14.0,
    }  # fmt: skip


def test_table(load_benchmark):
    run = load_benchmark("peers/run")
    rounds = [
        {
            "what": "train", "versions": {}, "parameters": 9, "tokens_per_second": speed, "peak_memory_mb": 1_200,
        }
        for speed in (1_000.0, 1_300.0, 1_100.0)
    ]  # fmt: skip
    results = run.summarize({("kerasseq", "lstm", ""): rounds, ("pytorch", "", ""): []})
    assert list(results) == ["kerasseq, LSTM"]
    assert results["kerasseq, LSTM"]["train"]["tokens_per_second"]["median"] == 1_100
    *_, row = run.markdown({"results": results}).split("\n")
    assert row.startswith("| kerasseq, LSTM | 1,100 (1,000-1,300) | 1,200 |")


def test_learning_is_timed_until_epochs_end(load_benchmark, monkeypatch, tmp_path):
    """Three steps an epoch; what is uncounted is left out, and a finished training is not repeated."""
    comparison = load_benchmark("peers/comparison")
    now = [100.0]
    monkeypatch.setattr(comparison.time, "process_time", lambda: now[0])
    settings = type(comparison.QUICK)(**{**vars(comparison.QUICK), "batch_size": 2})
    arguments = argparse.Namespace(settings=settings, folder=tmp_path)
    data = tmp_path / "data"
    data.mkdir()
    (data / "train.en").write_text("a\nb\nc\nd\ne\n", encoding="utf-8")
    (data / "validation.de").write_text("a b c d e\nf g h i j\n", encoding="utf-8")
    trained = []

    def spend(seconds):
        now[0] += seconds

    def train(folder, clock):
        trained.append(folder)
        spend(30)  # before the first step
        for step in range(1, 7):
            spend(10)
            clock.step()
            if step == 3:
                clock.uncounted(spend)(1_000)

    def translate(folder, epoch):
        return ["a b c d e", "f g h i j"] if epoch == 2 else ["a b c d e", "x"]

    for _ in range(2):
        result = comparison.measure_learning(arguments, "system", "recipe", train, translate)
    assert trained == [tmp_path / "learning" / "system"]
    comparison.measure_learning(arguments, "system", "another recipe", train, translate)
    assert len(trained) == 2
    assert result["minutes"] == [1.0, 1.5]
    assert result["bleu"][0] < result["bleu"][1] == 100.0

    learning = load_benchmark("peers/learning")
    assert learning.minutes_until(result, 90.0) == 1.5 and learning.minutes_until(result, 101.0) is None
    result = {**result, "bleu": [37.0, 37.5], "parameters": 9_600_000}
    *_, row = learning.markdown({"joeynmt": result}).split("\n")
    assert row == "| JoeyNMT, LSTM | 9.6 | 1 | not reached | 37.5 | 2 |"


@pytest.mark.slow
def test_one_command_learns(require_mirror, tmp_path):
    require_mirror("multi30k/train.lc.norm.tok.en")
    output = tmp_path / "learning.json"
    learning = ROOT / "benchmarks" / "peers" / "learning.py"
    command = [sys.executable, learning, "--quick", "--learners", "kerasseq_ssru", "--output", output]
    path = os.pathsep.join(filter(None, [str(ROOT), *sys.path]))
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": path, "KERASSEQ_PEERS_DIR": str(tmp_path)})
    result = json.loads(output.read_text(encoding="utf-8"))["results"]["kerasseq_ssru"]
    assert 0 < result["minutes"][0] < result["minutes"][1]
    assert all(0 <= bleu <= 100 for bleu in result["bleu"])
    assert output.with_suffix(".png").stat().st_size > 5_000


@pytest.mark.notebooks
def test_one_command_measures_kerasseq(require_mirror, tmp_path):
    require_mirror("multi30k/train.lc.norm.tok.en")
    output = tmp_path / "peers.json"
    run = ROOT / "benchmarks" / "peers" / "run.py"
    command = [sys.executable, run, "--quick", "--systems", "kerasseq", "--what", "beam", "--output", output]
    path = os.pathsep.join(filter(None, [str(ROOT), *sys.path]))
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": path, "KERASSEQ_PEERS_DIR": str(tmp_path)})
    result = json.loads(output.read_text(encoding="utf-8"))["results"]["kerasseq, LSTM"]["beam"]
    assert result["sentences"]["median"] == 100
    assert result["tokens_per_second"]["median"] > 0 and 0 <= result["bleu"]["median"] <= 100
    texts = (tmp_path / "quick" / "outputs" / "kerasseq_lstm_beam.de").read_text(encoding="utf-8")
    assert len(texts.split("\n")) == 101
