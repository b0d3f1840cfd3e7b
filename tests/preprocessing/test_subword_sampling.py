import collections
import io
import itertools
import subprocess
import sys

import numpy as np
import pytest
import sentencepiece
import tensorflow as tf

from kerasseq.preprocessing import EpochShuffle, TextPreprocessor
from kerasseq.preprocessing.subword_sampling import SubwordSampler
from kerasseq.preprocessing.vocabulary import train_vocabulary

END = 3
TEXTS = ["banana bandana", "an ananas and a banana", "band and ban"]


@pytest.fixture(scope="module")
def vocabulary():
    return train_vocabulary(TEXTS * 20, 285)


def all_segmentations(processor, text):
    """Every way to write a text in pieces, and its log-probability under the unigram model."""
    pieces = {processor.id_to_piece(index): index for index in range(260, processor.get_piece_size())}
    text = "▁" + text.replace(" ", "▁")
    ways = {0: [((), 0.0)]}
    for end in range(1, len(text) + 1):
        ways[end] = [
            ((*ids, pieces[text[start:end]]), score + processor.get_score(pieces[text[start:end]]))
            for start in range(end)
            if text[start:end] in pieces
            for ids, score in ways[start]
        ]
    return dict(ways[len(text)])


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_probabilities_are_those_of_the_unigram_model(vocabulary, alpha):
    """Against all segmentations, counted by hand: p(x)^alpha over the sum of these."""
    scores = all_segmentations(sentencepiece.SentencePieceProcessor(model_proto=vocabulary), "banana")
    assert len(scores) > 5
    weights = {ids: np.exp(alpha * score) for ids, score in scores.items()}
    number = 20_000
    drawn = SubwordSampler(vocabulary, alpha).sample(["banana"] * number, seed=1)
    counts = collections.Counter(tuple(ids.tolist()) for ids in drawn)
    assert set(counts) <= set(scores)
    for ids, weight in weights.items():
        expected = weight / sum(weights.values())
        deviation = np.sqrt(expected * (1 - expected) / number)
        assert counts[ids] / number == pytest.approx(expected, abs=4.5 * deviation + 1e-4)


def test_the_most_probable_one_is_that_of_sentencepiece(vocabulary):
    """What is not in the vocabulary is written in bytes, and white space is normalized, as there."""
    processor = sentencepiece.SentencePieceProcessor(model_proto=vocabulary)
    texts = [*TEXTS, "", "  two   spaces ", "naïve café 好 😀", "\u2581", "ＡＢＣ banana", "x\ud800y"]
    drawn = SubwordSampler(vocabulary, 200.0).sample(texts, seed=1)
    for text, ids in zip(texts, drawn, strict=True):
        assert ids.tolist() == processor.encode(text.replace("\ud800", "\ufffd"))


@pytest.mark.notebooks
def test_seeds_repeat_in_every_process(vocabulary):
    def draw(seed):
        return [ids.tolist() for ids in SubwordSampler(vocabulary, 0.1).sample(TEXTS, seed)]

    assert draw(1) == draw(1) != draw(2)
    code = (
        "import kerasseq.preprocessing.subword_sampling as s; from kerasseq.preprocessing import train_vocabulary; "
        f"texts = {TEXTS!r}; vocabulary = train_vocabulary(texts * 20, 285); "
        "print([ids.tolist() for ids in s.SubwordSampler(vocabulary, 0.1).sample(texts, 1)])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == str(draw(1))


@pytest.fixture(scope="module")
def preprocessor():
    pairs = [(text, text[::-1]) for text in TEXTS] * 10
    return TextPreprocessor.from_pairs(pairs, vocabulary_size=285, max_source_length=30, max_target_length=30)


PAIRS = [(f"{a} {b}", f"{b} {a}") for a, b in itertools.product(["banana", "band", "ananas", "and"], repeat=2)]


def epochs(preprocessor, shuffle, number, **options):
    """For each pass the pairs of texts, and the pairs of ids."""
    dataset = preprocessor.dataset(PAIRS, batch_size=4, shuffle=shuffle, **options)
    passes = []
    for epoch in range(number):
        if isinstance(shuffle, EpochShuffle):
            shuffle.epoch = epoch
        texts, all_ids = [], []
        for inputs, labels in dataset.as_numpy_iterator():
            np.testing.assert_array_equal(inputs["decoder_token_ids"][:, 1:], labels[:, :-1] * (labels[:, 1:] != 0))
            sources = [[token for token in row if token > END] for row in inputs["encoder_token_ids"].tolist()]
            sources = preprocessor.source_tokenizer.detokenize(tf.ragged.constant(sources, tf.int32))
            targets = preprocessor.decode(labels)
            texts += [(s.decode(), t.decode()) for s, t in zip(sources.numpy(), targets.numpy(), strict=True)]
            all_ids += [row.tolist() for row in labels]
        passes.append((texts, all_ids))
    return passes


def test_passes_have_the_same_texts_in_other_pieces(preprocessor):
    (first, first_ids), (second, second_ids) = epochs(preprocessor, True, 2, subword_sampling=0.01)
    assert sorted(first) == sorted(second) == sorted(PAIRS)
    ids = [dict(zip(texts, rows, strict=True)) for texts, rows in ((first, first_ids), (second, second_ids))]
    assert sum(ids[0][pair] != ids[1][pair] for pair in PAIRS) > len(PAIRS) / 2


def test_resumed_runs_draw_the_same(preprocessor):
    whole = epochs(preprocessor, EpochShuffle(1), 3, subword_sampling=0.2)
    assert epochs(preprocessor, EpochShuffle(1), 3, subword_sampling=0.2) == whole
    assert epochs(preprocessor, EpochShuffle(1), 3, subword_sampling=0.2, seed=1) != whole


def test_copies_share_their_target(preprocessor):
    sources = set()
    for inputs, labels in preprocessor.dataset(PAIRS, 4, subword_sampling=0.01, copies=2):
        assert np.array_equal(labels[::2], labels[1::2])
        first, second = inputs["encoder_token_ids"][::2].numpy(), inputs["encoder_token_ids"][1::2].numpy()
        sources |= {bool((one != other).any()) for one, other in zip(first, second, strict=True)}
    assert True in sources  # Cut in two ways.


def test_passes_without_a_shuffle_differ_too(preprocessor):
    (first, first_ids), (second, second_ids) = epochs(preprocessor, False, 2, subword_sampling=0.01)
    assert first == second == PAIRS and first_ids != second_ids


def test_segmentations_that_are_too_long_are_not_taken(preprocessor):
    """What just fits in its most probable pieces stays whole: the model must not learn to stop in the middle."""
    usual = preprocessor.dataset(PAIRS, len(PAIRS))
    (inputs, labels), *_ = usual
    limits = {"max_source_length": inputs["encoder_token_ids"].shape[1], "max_target_length": labels.shape[1]}
    exact = TextPreprocessor(*preprocessor.tokenizers, **limits)
    for too_long in ("drop", "truncate", "error"):
        (texts, ids), *_ = epochs(exact, False, 1, subword_sampling=0.01, too_long=too_long)
        assert texts == PAIRS
        assert max(map(len, ids)) == limits["max_target_length"]


def test_sides_are_cut_independently():
    texts = [text for pair in PAIRS for text in pair]
    joint = TextPreprocessor(train_vocabulary(texts, vocabulary_size=330))
    (inputs, labels), *_ = joint.dataset([(text, text) for text in texts], len(texts), subword_sampling=0.01)
    sources, targets = inputs["encoder_token_ids"].numpy(), labels.numpy()
    different = [
        source[source > 0].tolist() != row[row > 0].tolist() for source, row in zip(sources, targets, strict=True)
    ]
    assert sum(different) > len(texts) / 2


def test_other_vocabularies_are_refused(tmp_path):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["one two", "three"]), model_writer=model, vocab_size=20, model_type="bpe"
    )
    with pytest.raises(ValueError, match="requires a unigram vocabulary.*Received: BPE"):
        SubwordSampler(model.getvalue(), 0.5)


@pytest.mark.parametrize("value", [0, -1.0, "0.1", True])
def test_errors(preprocessor, value):
    with pytest.raises(ValueError, match="subword_sampling must be"):
        preprocessor.dataset(PAIRS, 4, subword_sampling=value)
