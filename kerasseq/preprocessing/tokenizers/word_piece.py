"""WordPiece: the subwords of BERT."""

import re
from collections.abc import Sequence

import tensorflow as tf

from kerasseq.preprocessing.tokenizers.listed import ListedTokenizer
from kerasseq.preprocessing.vocabulary import NUM_SPECIAL_TOKENS
from kerasseq.types import Tensor

# As in BERT's own tokenizer: control characters count as white space, all ASCII symbols as punctuation.
WHITE_SPACE = r"\s|\p{Cc}|\p{Cf}"
PUNCTUATION = r"[!-/]|[:-@]|[\[-`]|[{-~]|\p{P}"
IDEOGRAPHS = (
    r"[\x{4E00}-\x{9FFF}\x{3400}-\x{4DBF}\x{20000}-\x{2A6DF}\x{2A700}-\x{2B73F}\x{2B740}-\x{2B81F}\x{2B820}-\x{2CEAF}"
    r"\x{F900}-\x{FAFF}\x{2F800}-\x{2FA1F}]"
)


class WordPieceTokenizer(ListedTokenizer):
    """Words and punctuation marks, split into the longest subwords of a list.

    Args:
        tokens: list of str; the token at index i has the id i + 4.
        unknown_token: str, one of the tokens, for words that cannot be split into tokens.
        suffix_indicator: str, how tokens within a word begin.
        lowercase: bool, whether to fold the case of texts.
        strip_accents: bool, whether to remove the accents of texts.
        split_ideographs: bool, whether Chinese characters are words of their own.

    Example:

    >>> import kerasseq
    >>> tokens = ["[UNK]", "one", "##s", "two", ","]
    >>> tokenizer = WordPieceTokenizer(tokens, lowercase=True)
    >>> ids = tokenizer.tokenize(["Ones, two"])
    >>> ids.to_list(), tokenizer.detokenize(ids).numpy().tolist()
    ([[5, 6, 8, 7]], [b'ones , two'])

    Source: Schuster and Nakajima 2012; Devlin et al. 2019 (BERT).
    """

    suffix = "wordpiece"

    def __init__(
        self,
        tokens: Sequence[str],
        unknown_token: str = "[UNK]",
        suffix_indicator: str = "##",
        lowercase: bool = False,
        strip_accents: bool = False,
        split_ideographs: bool = True,
    ) -> None:
        import tensorflow_text  # Deferred: importing kerasseq stays cheap.

        arguments = {
            "tokens": list(tokens), "unknown_token": unknown_token, "suffix_indicator": suffix_indicator,
            "lowercase": lowercase, "strip_accents": strip_accents, "split_ideographs": split_ideographs,
        }  # fmt: skip
        super().__init__(arguments, name="word_piece")
        self.suffix_indicator = suffix_indicator
        self.lowercase = lowercase
        self.strip_accents = strip_accents
        self.split_ideographs = split_ideographs
        self._pieces = tensorflow_text.FastWordpieceTokenizer(
            list(tokens), suffix_indicator, token_out_type=tf.int32, unknown_token=unknown_token,
            no_pretokenization=True,
        )  # fmt: skip

    def tokenize(self, texts: Tensor) -> tf.RaggedTensor:
        import tensorflow_text

        texts = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="replace")
        kept = f"{PUNCTUATION}|{IDEOGRAPHS}" if self.split_ideographs else PUNCTUATION
        if self.strip_accents:
            texts = tensorflow_text.normalize_utf8(texts, "NFD")
            texts = tf.strings.regex_replace(texts, r"\p{Mn}", "")
        words = tensorflow_text.regex_split(texts, f"{WHITE_SPACE}|{kept}", kept)
        if self.lowercase:
            words = tensorflow_text.case_fold_utf8(words)
        return self._pieces.tokenize(words).merge_dims(-2, -1) + NUM_SPECIAL_TOKENS

    def detokenize(self, token_ids: Tensor) -> Tensor:
        kept = tf.ragged.boolean_mask(token_ids, token_ids >= NUM_SPECIAL_TOKENS)
        joined = tf.strings.reduce_join(self.id_to_string(kept), axis=-1, separator=" ")
        return tf.strings.regex_replace(joined, re.escape(f" {self.suffix_indicator}"), "")

    def boundaries(self, token_ids: Tensor) -> tuple[Tensor, Tensor]:
        begins_character = tf.ones_like(token_ids, tf.bool)
        start = tf.strings.substr(self.id_to_string(token_ids), 0, len(self.suffix_indicator), unit="UTF8_CHAR")
        return start != self.suffix_indicator, begins_character
