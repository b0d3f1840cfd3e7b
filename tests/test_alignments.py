"""Word alignments from attention."""

import keras
import numpy as np
import pytest

import kerasseq
from kerasseq.generation import Generation
from kerasseq.preprocessing import CharacterTokenizer, TextPreprocessor, WordTokenizer


def by_loops(generation):
    """The definition, word by word."""
    pairs = []
    for target_word in range(max(generation.target_words) + 1):
        rows = [row for row, word in enumerate(generation.target_words) if word == target_word]
        attended = {}
        for column, word in enumerate(generation.source_words):
            if word >= 0:
                attended[word] = attended.get(word, 0) + sum(generation.attention[row, column] for row in rows)
        pairs.append((max(attended, key=attended.get), target_word))
    return pairs


def test_words_are_those_that_white_space_separates(generator):
    sources = ["one two three four", "four", "three one"]
    for source, generation in zip(sources, generator.generate(sources, details=True), strict=True):
        for words, tokens, text in (
            (generation.source_words, generation.source_tokens, source),
            (generation.target_words, generation.target_tokens, generation.text),
        ):
            assert len(words) == len(tokens) and words[-1] == -1
            spelled = [""] * (max(words) + 1)
            for word, token in zip(words[:-1], tokens[:-1], strict=True):
                spelled[word] += token
            assert [word.removeprefix("\u2581") for word in spelled] == text.split()
        assert generation.alignment() == by_loops(generation)


def test_one_word_of_several_tokens():
    """Sums over the tokens of a source word, means over those of a target word."""
    generation = Generation(
        "c", 0.0, [], ["▁a", "▁b", "b", "</s>"], ["▁c", "c", "▁d", "</s>"],
        np.array([[0.5, 0.3, 0.2, 0.0], [0.3, 0.3, 0.4, 0.0], [0.6, 0.2, 0.2, 0.0], [0.1, 0.1, 0.1, 0.7]]),
        source_words=np.array([0, 1, 1, -1]), target_words=np.array([0, 0, 1, -1]),
    )  # fmt: skip
    assert generation.alignment() == by_loops(generation) == [(1, 0), (0, 1)]


@pytest.mark.parametrize(
    ("source_vocabulary", "expected"),
    [
        (CharacterTokenizer("ab "), [0, 0, 0, 1, -1]),
        (WordTokenizer(["ab", "b"]), [0, 1, -1]),
    ],
)
def test_numbers_of_words(source_vocabulary, expected):
    preprocessor = TextPreprocessor(source_vocabulary, WordTokenizer(["x", "y"]))
    context = preprocessor.encode_source(["ab b", ""])
    words = preprocessor.source_words(context).numpy().tolist()
    assert words == [expected, [-1] * len(expected)]
    assert preprocessor.target_words(np.array([[4, 1, 5, 3, 0]], "int32")).numpy().tolist() == [[0, -1, 1, -1, -1]]


def test_positions_of_what_has_no_words():
    """Regions of images have numbers of their own."""
    generation = Generation(
        "x y", 0.0, [], ["0,0", "0,1"], ["x", "y"], np.array([[0.4, 0.6], [0.9, 0.1]]),
        target_words=np.array([0, 1]),
    )  # fmt: skip
    assert generation.alignment() == [(1, 0), (0, 1)]


def test_without_words_or_attention(preprocessor):
    empty = Generation("", 0.0, [], ["</s>"], ["</s>"], np.ones((1, 1)))
    empty.source_words = empty.target_words = np.array([-1])
    assert empty.alignment() == []
    keras.utils.set_random_seed(1)
    model = kerasseq.models.VanillaSeq2Seq(
        preprocessor.source_vocabulary_size, preprocessor.target_vocabulary_size, units=4, embedding_dim=4
    )
    generation = kerasseq.TextGenerator(model, preprocessor, "greedy", max_length=4).generate("one", details=True)
    assert generation.attention is None
    with pytest.raises(ValueError, match="An alignment requires attention"):
        generation.alignment()
