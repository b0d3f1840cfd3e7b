"""Byte pair encoding: the subwords of GPT-2, RoBERTa and BART."""

import itertools
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from kerasseq.preprocessing.tokenizers.listed import ListedTokenizer
from kerasseq.preprocessing.vocabulary import NUM_SPECIAL_TOKENS, UNKNOWN_ID
from kerasseq.types import Tensor

# White space of Unicode. RE2's own `\s` is that of ASCII.
SPACE = r"\s\x0b\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}"
# RE2 has no look-ahead, by which GPT-2 leaves the last space of several to the next word: a noncharacter marks the cut.
CUT = "\ufdd0"
WORD = rf"'s|'t|'re|'ve|'m|'ll|'d| ?\p{{L}}+| ?\p{{N}}+| ?[^{SPACE}\p{{L}}\p{{N}}{CUT}]+|[{SPACE}]+"
REPLACEMENT = "\ufffd"


class BytePairTokenizer(ListedTokenizer):
    """Words as bytes, the most frequent pairs of which are merged.

    Args:
        tokens: list of str in GPT-2's alphabet of bytes, where `"Ġ"` is a space; the token at index i has the id i + 4.
        merges: list of str, pairs of tokens with a space between them, in the order in which they are merged.
        add_prefix_space: bool, whether a space is put before texts, so that their first word has the same tokens as
            later ones.

    Example:

    >>> import kerasseq
    >>> tokens = ["o", "n", "e", "Ġ", "on", "one", "Ġone"]
    >>> tokenizer = BytePairTokenizer(tokens, ["o n", "on e", "Ġ one"])
    >>> ids = tokenizer.tokenize(["one one no"])
    >>> ids.to_list(), tokenizer.detokenize(ids).numpy().tolist()
    ([[9, 10, 7, 5, 4]], [b'one one no'])

    Source: Sennrich et al. 2016; Radford et al. 2019, section 2.2 (over bytes).
    """

    suffix = "bpe"

    def __init__(self, tokens: Sequence[str], merges: Sequence[str], add_prefix_space: bool = False) -> None:
        tokens, merges = list(tokens), list(merges)
        super().__init__({"tokens": tokens, "merges": merges, "add_prefix_space": add_prefix_space}, name="byte_pair")
        self.add_prefix_space = add_prefix_space

        # === Symbols: the tokens, and bytes and merged pairs that are no tokens ===
        alphabet = byte_alphabet()
        symbols = {token: index for index, token in enumerate(tokens)}
        for symbol in (*alphabet, *(part for merge in merges for part in (*merge.split(" "), merge.replace(" ", "")))):
            symbols.setdefault(symbol, len(symbols))
        self._byte_symbols = tf.constant([symbols[character] for character in alphabet], tf.int64)
        own = np.arange(len(symbols))
        self._symbol_ids = tf.constant(np.where(own < len(tokens), own + NUM_SPECIAL_TOKENS, UNKNOWN_ID), tf.int32)

        # === Merges: sorted, to be found by bisection. A constant needs no initialization, as a table would ===
        self._num_symbols = len(symbols)
        ranked: dict[int, tuple[int, int]] = {}
        for rank, merge in enumerate(merges):
            left, right = merge.split(" ")
            ranked.setdefault(symbols[left] * len(symbols) + symbols[right], (rank, symbols[left + right]))
        ranked = ranked or {-1: (0, 0)}
        pairs = sorted(ranked)
        self._pairs = tf.constant(pairs, tf.int64)
        # Positions are added: the smallest sum is the first pair of the lowest rank.
        self._ranks = tf.constant([ranked[pair][0] << 32 for pair in pairs], tf.int64)
        self._merged = tf.constant([ranked[pair][1] for pair in pairs], tf.int64)

        # === Texts of the tokens ===
        values = {character: bytes([byte]) for byte, character in enumerate(alphabet)}
        texts = [b"".join(values.get(character, character.encode()) for character in token) for token in tokens]
        texts = [b"", REPLACEMENT.encode(), b"", b"", *texts]
        self._texts = tf.constant(texts)
        # Bytes from 0x80 to 0xBF continue a character.
        self._begins_character = tf.constant([not (text and 0x80 <= text[0] < 0xC0) for text in texts])

    def tokenize(self, texts: Tensor) -> tf.RaggedTensor:
        words = self._words(texts)
        # Each distinct word is merged once.
        distinct, index = tf.unique(words.flat_values)
        return words.with_flat_values(tf.gather(self._merge(distinct), index)).merge_dims(1, 2)

    def _words(self, texts: Tensor) -> tf.RaggedTensor:
        """Splits texts as GPT-2 does: words and numbers with the space before them, marks, further white space."""
        import tensorflow_text  # Deferred: importing kerasseq stays cheap.

        texts = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="replace")
        texts = tf.strings.regex_replace(texts, CUT, REPLACEMENT)
        if self.add_prefix_space:
            texts = tf.strings.join([" ", texts])
        texts = tf.strings.regex_replace(texts, rf"([{SPACE}]+)([{SPACE}][^{SPACE}])", rf"\1{CUT}\2")
        return tensorflow_text.regex_split(texts, f"{CUT}|{WORD}", WORD)

    def _merge(self, words: Tensor) -> tf.RaggedTensor:
        """Encodes words, string `(words,)`, to ids, ragged int32 `(words, None)`."""
        count = tf.size(words, tf.int64)
        byte_values = tf.io.decode_raw(tf.strings.reduce_join(words), tf.uint8)
        symbols = tf.gather(self._byte_symbols, tf.cast(byte_values, tf.int32))  # (symbols,), of all words
        owners = tf.repeat(tf.range(count), tf.strings.length(words))  # (symbols,), the word of each

        def merge_once(symbols, owners, _):
            """Merges the first pair of the lowest rank in each word."""
            pairs = symbols[:-1] * self._num_symbols + symbols[1:]
            place = tf.minimum(tf.searchsorted(self._pairs, pairs), tf.size(self._pairs) - 1)
            mergeable = (tf.gather(self._pairs, place) == pairs) & (owners[:-1] == owners[1:])
            position = tf.range(tf.size(pairs, tf.int64), dtype=tf.int64)
            order = tf.where(mergeable, tf.gather(self._ranks, place) + position, tf.int64.max)
            first = tf.math.unsorted_segment_min(order, owners[:-1], count)  # (words,)
            chosen = mergeable & (order == tf.gather(first, owners[:-1]))
            merged = tf.where(chosen, tf.gather(self._merged, place), symbols[:-1])
            kept = ~tf.concat([tf.zeros_like(symbols[:1], tf.bool), chosen], axis=0)
            symbols = tf.boolean_mask(tf.concat([merged, symbols[-1:]], axis=0), kept)
            return symbols, tf.boolean_mask(owners, kept), tf.reduce_any(chosen)

        symbols, owners, _ = tf.while_loop(
            lambda symbols, owners, merged: merged, merge_once, [symbols, owners, True],
            shape_invariants=[tf.TensorShape([None]), tf.TensorShape([None]), tf.TensorShape([])],
        )  # fmt: skip
        return tf.RaggedTensor.from_value_rowids(tf.gather(self._symbol_ids, symbols), owners, count)

    def detokenize(self, token_ids: Tensor) -> Tensor:
        texts = tf.strings.reduce_join(tf.gather(self._texts, token_ids), axis=-1)
        texts = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="replace")
        return tf.strings.regex_replace(texts, "^ ", "") if self.add_prefix_space else texts

    def boundaries(self, token_ids: Tensor) -> tuple[Tensor, Tensor]:
        begins_word = tf.strings.substr(tf.gather(self._texts, token_ids), 0, 1) == " "
        return begins_word, tf.gather(self._begins_character, token_ids)


def byte_alphabet() -> list[str]:
    """The character that stands for each byte in tokens: printable ones for themselves, others from U+0100 on."""
    printable = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    others = itertools.count(256)
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]
