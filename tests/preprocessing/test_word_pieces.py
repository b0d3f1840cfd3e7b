import numpy as np

from kerasseq.preprocessing.word_pieces import word_pieces

PIECES = {
    "<pad>": "",
    "<unk>": "",
    "<s>": "",
    "</s>": "",
    "<0x28>": "",  # "("
    "<0x2C>": "point ends_point",
    "<0x37>": "starts_word ends_word starts_digit",
    "<0x41>": "starts_word ends_word",
    "<0xC3>": "starts_word ends_word",  # Part of a letter, or of anything else.
    "▁": "spaced starts_word ends_word",
    "▁The": "spaced starts_word ends_word",
    "▁the": "spaced starts_word ends_word",
    "THE": "starts_word ends_word",
    "the": "starts_word ends_word",
    "é": "starts_word ends_word",
    "É": "starts_word ends_word",
    "_": "starts_word ends_word",
    "-": "point ends_point",
    "▁-": "spaced point ends_point",
    ":": "point ends_point",
    "–": "point ends_point",
    "−": "point ends_point",
    "⁄": "point ends_point",
    "·5": "ends_word starts_point",
    "+": "",
    "/2": "ends_word starts_point",
    "▁(7": "spaced ends_word",
    "7)": "starts_word starts_digit",
    ".": "point ends_point",
    "▁,": "spaced point ends_point",
    "...": "ends_point",
    ",000": "ends_word starts_point",
    "2.": "starts_word starts_digit ends_point",
    "▁2.7": "spaced starts_word ends_word starts_digit",
    "👍": "",
    "\u093f": "starts_word ends_word",  # A vowel sign of Devanagari.
    "x\u0301": "starts_word ends_word",
}


def test_word_pieces_by_hand():
    described = word_pieces([piece.encode() for piece in PIECES])
    names = {name for flags in PIECES.values() for name in flags.split()}
    assert set(described) == {"folded", *names}
    for index, (piece, flags) in enumerate(PIECES.items()):
        assert {name for name in names if described[name][index]} == set(flags.split()), piece
    assert all(values.shape == (len(PIECES),) for values in described.values())
    assert {values.dtype for name, values in described.items() if name != "folded"} == {np.dtype(bool)}


def test_pieces_that_differ_in_case_are_one():
    described = word_pieces([piece.encode() for piece in PIECES])
    pieces = list(PIECES)
    others = {"▁the": "▁The", "the": "THE", "É": "é"}
    assert described["folded"].dtype == np.int32
    assert [pieces[index] for index in described["folded"]] == [others.get(piece, piece) for piece in pieces]
