"""Parts of the recipe of `saved_models/summarization_en` that could go wrong in silence."""

import pathlib

import numpy as np
import pytest
from helpers import load_script

from kerasseq.preprocessing import TextPreprocessor, train_vocabulary

RECIPE = pathlib.Path(__file__).resolve().parent.parent / "saved_models" / "summarization_en"
TEXT = "The naïve ½ café-owner 👍 sang, we hear, on and on and on and on until Zoë’s guests left."
WORDS = "The naïve ½ café - owner 👍 sang , we hear , on and on and on and on until Zoë ’s guests left .".split()
HEADS = [5, 5, 5, 5, 5, 7, 7, 7, 7, 10, 7, 7, 7, 12, 12, 14, 14, 16, 16, 22, 21, 20, 22, 7, 7]


@pytest.fixture(scope="module")
def syntax():
    return load_script(RECIPE / "syntax.py")


@pytest.fixture(scope="module", params=[330, 400])
def tokenizer(request):
    """Vocabularies that cut words to pieces, the rare characters into bytes."""
    text = TEXT.replace("👍", "").replace("Zoë", "Joe")
    return TextPreprocessor(train_vocabulary([text] * 20, request.param, normalization="nmt_nfkc")).tokenizers[0]


def parse_by_hand():
    """Each word in its place, with a label of its own."""
    place, parsed = 0, []
    for number, (word, head) in enumerate(zip(WORDS, HEADS, strict=True)):
        place = TEXT.index(word, place)
        parsed.append([place, len(word), f"TAG{number:02}", f"dep{number:02}", head])
        place += len(word)
    return parsed


def test_labels_stand_at_the_pieces_of_their_words(syntax, tokenizer):
    """The pieces with a word's label spell that word, normalised as the tokenizer does."""
    labeller = syntax.Syntax({TEXT: parse_by_hand()}, tokenizer.to_bytes())
    ((token_ids, labels),) = labeller.encode([TEXT])
    assert len(token_ids) > len(WORDS) and set(labels) == set(syntax.KINDS) == set(labeller.sizes)
    for number, word in enumerate(WORDS):
        pieces = token_ids[labels["tag"] == labeller.tags[f"TAG{number:02}"]]
        spelled = tokenizer.detokenize(pieces).numpy().decode().replace(" ", "")
        assert spelled == {"½": "1⁄2"}.get(word, word)
    np.testing.assert_array_equal(labels["tag"], labels["dependency"])
    others = tokenizer.id_to_string(token_ids[labels["tag"] == 0]).numpy()
    assert {piece.decode() for piece in others} <= {"\u2581"}  # Marks of spaces that stand alone.


def test_heads_are_distances_in_words(syntax, tokenizer):
    labeller = syntax.Syntax({TEXT: parse_by_hand()}, tokenizer.to_bytes())
    ((_, labels),) = labeller.encode([TEXT])
    middle = syntax.FARTHEST + 1
    for number, head in enumerate(HEADS):
        (found,) = set(labels["head"][labels["tag"] == labeller.tags[f"TAG{number:02}"]])
        assert found == middle + max(-syntax.FARTHEST, min(syntax.FARTHEST, head - number))
    assert labels["head"].min() >= 0 and labels["head"].max() < labeller.sizes["head"]
    assert 1 in labels["head"] and HEADS[23] - 23 < -syntax.FARTHEST  # One that is farther than the farthest.


def test_a_text_without_words(syntax, tokenizer):
    labeller = syntax.Syntax({TEXT: parse_by_hand(), "": []}, tokenizer.to_bytes())
    ((token_ids, labels),) = labeller.encode([""])
    assert len(token_ids) == len(labels["tag"]) == 0


def test_repeated_spaces_are_no_word(syntax, tokenizer):
    parses = {"on  until": [[0, 2, "A", "a", 0], [3, 1, "_SP", "s", 0], [4, 5, "B", "b", 0]]}
    labeller = syntax.Syntax(parses, tokenizer.to_bytes())
    ((_, labels),) = labeller.encode(["on  until"])
    assert set(labels["tag"][labels["tag"] > 0]) == {labeller.tags["A"], labeller.tags["B"]}
