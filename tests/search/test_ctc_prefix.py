"""CTC prefix probabilities beside the enumeration of all alignments, and joint searches beside that of all outputs."""

import itertools

import keras
import numpy as np
import pytest
from helpers import ask_served, randomized
from keras import ops

import kerasseq
from kerasseq import search
from kerasseq.search import BeamSampler, CTCPrefix, Request

END, VOCABULARY, POSITIONS = 3, 6, 5
LENGTHS = (5, 3, 1)  # real positions
TOKENS = (2, 4, 5)  # that outputs may have, beside END
MAX_LENGTH = 4


@pytest.fixture(scope="module")
def log_probabilities():
    """Of rows, positions and tokens; at the positions of padding, too, which must not count."""
    values = np.random.default_rng(1).normal(scale=1.5, size=(len(LENGTHS), POSITIONS, VOCABULARY))
    return (values - np.log(np.exp(values).sum(axis=-1, keepdims=True))).astype("float32")


def request_of(log_probabilities, rows=(0, 1, 2)):
    mask = np.arange(POSITIONS) < np.array(LENGTHS)[list(rows), None]
    return Request(
        batch_size=len(mask), max_length=MAX_LENGTH, end_id=END, source_mask=ops.convert_to_tensor(mask),
        ctc_log_probabilities=ops.convert_to_tensor(log_probabilities[list(rows)]),
    )  # fmt: skip


def outputs_of(log_probabilities, row):
    """The probability of each output: the sum over the alignments that collapse to it."""
    probabilities = np.exp(log_probabilities[row, : LENGTHS[row]].astype("float64"))
    found = {}
    for alignment in itertools.product(range(VOCABULARY), repeat=LENGTHS[row]):
        output = tuple(token for token, _ in itertools.groupby(alignment) if token != 0)
        found[output] = found.get(output, 0.0) + np.prod(probabilities[np.arange(len(alignment)), alignment])
    assert sum(found.values()) == pytest.approx(1.0)
    return found


def log(probability):
    return np.log(probability) if probability else -np.inf


@pytest.mark.parametrize("row", range(len(LENGTHS)))
def test_prefixes_by_enumeration(log_probabilities, row):
    outputs = outputs_of(log_probabilities, row)
    scorer = CTCPrefix(weight=1.0)
    candidates = ops.convert_to_tensor([[*TOKENS, END]])
    start, constants = scorer.start(request_of(log_probabilities, [row]))
    for prefix in itertools.chain.from_iterable(itertools.product(TOKENS, repeat=length) for length in range(4)):
        state, total = start, 0.0
        for token in prefix:
            total += float(scorer.rescore(ops.zeros((1, 1)), ops.convert_to_tensor([[token]]), state, constants)[0, 0])
            state = scorer.extend(ops.convert_to_tensor([token]), state, constants)
        begins = {c: sum(p for o, p in outputs.items() if o[: len(prefix) + 1] == (*prefix, c)) for c in TOKENS}
        if not sum(p for output, p in outputs.items() if output[: len(prefix)] == prefix):
            assert total < -1e8  # More tokens than positions.
            continue
        gained = ops.convert_to_numpy(scorer.rescore(ops.zeros((1, 4)), candidates, state, constants))[0]
        expected = [*(log(begins[token]) for token in TOKENS), log(outputs.get(prefix, 0.0))]
        np.testing.assert_allclose(np.maximum(total + gained, -1e8), np.maximum(expected, -1e8), atol=1e-4)


@pytest.fixture(scope="module")
def table():
    """Log-probabilities of the decoder by the token before."""
    logits = np.random.default_rng(2).normal(scale=1.5, size=(VOCABULARY, VOCABULARY)).astype("float32")
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def run(sampler, request, table):
    def step(token_ids, state):
        return {"logits": ops.take(ops.convert_to_tensor(table), token_ids, axis=0), "state": state}

    found = sampler(step, {}, request)
    return {name: ops.convert_to_numpy(value) for name, value in found.items()}


@pytest.mark.parametrize("weight", [0.3, 1.0])
def test_wide_beams_find_what_brute_force_finds(log_probabilities, table, weight):
    """Among the outputs that end within the limit, with constraints."""
    sampler = BeamSampler(
        150, length_penalty=0.0, scorers=[CTCPrefix(weight)], constraints=[search.SuppressTokens([0, 1])]
    )
    found = run(sampler, request_of(log_probabilities), table)
    for row in range(len(LENGTHS)):
        ctc, scores = outputs_of(log_probabilities, row), {}
        for output in itertools.chain.from_iterable(itertools.product(TOKENS, repeat=n) for n in range(MAX_LENGTH)):
            path = [2, *output, END]  # START first.
            decoder = sum(table[before, token] for before, token in itertools.pairwise(path))
            scores[output] = (1 - weight) * decoder + weight * log(ctc.get(output, 0.0))
        best = sorted(scores.items(), key=lambda item: -item[1])[:8]
        best = [(output, score) for output, score in best if np.isfinite(score)]
        assert best
        for rank, (output, score) in enumerate(best):
            ids = found["token_ids"][row, rank]
            assert tuple(ids[ids > 0]) == (*output, END)
            assert found["scores"][row, rank] == pytest.approx(score, abs=1e-4)


def test_batches_and_single_rows_agree(log_probabilities, table):
    sampler = BeamSampler(3, scorers=[CTCPrefix(0.4, candidates=1)])
    together = run(sampler, request_of(log_probabilities), table)
    for row in range(len(LENGTHS)):
        alone = run(sampler, request_of(log_probabilities, [row]), table)
        np.testing.assert_array_equal(alone["token_ids"][0], together["token_ids"][row])
        np.testing.assert_allclose(alone["scores"][0], together["scores"][row], atol=1e-5)


def test_weight_zero_is_the_search_without(log_probabilities, table):
    request = request_of(log_probabilities)
    plain = run(BeamSampler(3), request, table)
    found = run(BeamSampler(3, scorers=[CTCPrefix(0.0)]), request, table)
    np.testing.assert_array_equal(found["token_ids"], plain["token_ids"])
    np.testing.assert_allclose(found["scores"], plain["scores"], atol=1e-6)
    joint = run(BeamSampler(3, scorers=[CTCPrefix(0.6)]), request, table)
    assert (joint["token_ids"] != plain["token_ids"]).any()


def test_arguments(log_probabilities):
    for weight in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="weight"):
            CTCPrefix(weight)
    with pytest.raises(ValueError, match="candidates"):
        CTCPrefix(candidates=0)
    with pytest.raises(ValueError, match="needs the ctc_log_probabilities of the request"):
        CTCPrefix().start(request_of(log_probabilities)._replace(ctc_log_probabilities=None))
    sampler = BeamSampler(scorers=[CTCPrefix(0.4, 7)])
    (loaded,) = BeamSampler.from_config(sampler.get_config()).scorers
    assert type(loaded) is CTCPrefix and loaded.get_config() == {"weight": 0.4, "candidates": 7}


# === In recognizers ===


@pytest.fixture(scope="module")
def recognizer():
    """With random weights, large enough that outputs differ from sound to sound."""
    random = np.random.default_rng(1)
    sounds = [kerasseq.preprocessing.encode_wav(random.normal(scale=0.1, size=n), 8_000) for n in (2_000, 900, 6_000)]
    preprocessor = kerasseq.preprocessing.AudioPreprocessor.from_pairs(
        [(sound, "one two") for sound in sounds], vocabulary_size=267, sample_rate=8_000, num_bins=20,
        max_target_length=6,
    )  # fmt: skip
    model = kerasseq.models.SpeechSeq2Seq(
        preprocessor.target_vocabulary_size, num_bins=20, units=10, embedding_dim=6, filters=4, ctc_loss=0.5
    )
    randomized(model, 6)
    sampler = BeamSampler(2, scorers=[CTCPrefix(0.5)])
    return kerasseq.TextGenerator(model, preprocessor, sampler), sounds


def test_recognizers(recognizer, tmp_path):
    generator, sounds = recognizer
    together = generator.generate(sounds, scores=True)
    plain = generator.generate(sounds, sampler=BeamSampler(2))
    assert [text for text, _ in together] != plain
    for sound, (text, score) in zip(sounds, together, strict=True):
        alone = generator.generate(sound, details=True)
        assert alone.text == text and alone.score == pytest.approx(score, abs=1e-4)
    generator.save(tmp_path / "recognizer.keras")
    loaded = kerasseq.TextGenerator.load(tmp_path / "recognizer.keras")
    assert loaded.generate(sounds) == [text for text, _ in together]


def test_models_without_ctc(recognizer):
    generator, _ = recognizer
    model = kerasseq.models.SpeechSeq2Seq(
        generator.preprocessor.target_vocabulary_size, num_bins=20, units=10, embedding_dim=6, filters=4
    )
    with pytest.raises(ValueError, match="needs the probabilities of a CTCLoss, and this model has none"):
        kerasseq.TextGenerator(model, generator.preprocessor, BeamSampler(scorers=[CTCPrefix()]))
    with pytest.raises(ValueError, match="need a model with a CTCLoss"):
        model.ctc_log_probabilities({"memory": keras.ops.zeros((1, 2, 20))})


@pytest.mark.exports
def test_served(recognizer, tmp_path):
    generator, sounds = recognizer
    folder = generator.export(tmp_path / "recognizer")
    (answer,) = ask_served(folder, [("serving_default", sounds)], "audio_bytes")
    assert answer["text"].tolist() == generator.generate(sounds)
