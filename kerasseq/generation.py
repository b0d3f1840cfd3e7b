"""The result of a generation: texts, scores, tokens and attention."""

import dataclasses
from typing import Any

import numpy as np

from kerasseq.search.request import IMPOSSIBLE

# Outputs of a decoder that describe a finished hypothesis.
DECODER_DETAILS = ("attention", "attention_heads", "generation_probability")


@dataclasses.dataclass
class Generation:
    """The hypotheses for one source.

    Attributes:
        text: str, the best hypothesis.
        score: float, the sampler's score of it.
        alternatives: list of (text, score), all hypotheses, the best first.
        source_tokens: list of str, END included, one for each position of the memory; where an encoder shortens the
            source, the tokens of a position are joined. For sounds, the time at which each position begins, in seconds;
            for images, the row and column of each region.
        target_tokens: list of str, END included where the hypothesis has ended.
        attention: float32 array `(target tokens, source tokens)`, or `None` for a model without attention; the mean
            over its heads where there are several.
        attention_heads: float32 array `(heads, target tokens, source tokens)`, or `None` without several heads.
        generation_probability: float32 array `(target tokens,)`, the probability that
            each token was generated and not copied, or `None` for a model that does not copy.
        ignored_tokens: int, number of source tokens beyond the model's limit, which were not read.
        problem: str, the problem of a sound or an image; empty if there is none.
        source_words, target_words: int32 arrays, the number of the word of each token, from 0 on, -1 for END; `None`
            for a model without attention. `source_words` is also `None` for sounds and images.
    """

    text: str
    score: float
    alternatives: list[tuple[str, float]]
    source_tokens: list[str]
    target_tokens: list[str]
    attention: np.ndarray | None = dataclasses.field(repr=False)
    attention_heads: np.ndarray | None = dataclasses.field(default=None, repr=False)
    generation_probability: np.ndarray | None = dataclasses.field(default=None, repr=False)
    ignored_tokens: int = 0
    problem: str = ""
    source_words: np.ndarray | None = dataclasses.field(default=None, repr=False)
    target_words: np.ndarray | None = dataclasses.field(default=None, repr=False)

    def alignment(self) -> list[tuple[int, int]]:
        """Aligns each word of the output with the word of the source that it attends to most.

        The attention of a target word is the mean over its tokens; that to a source word is the sum over its tokens.
        Words are numbered from 0. They are separated by white space; with KerasHub's WordPiece, punctuation marks are
        words too. In scripts without spaces, a sentence is one word: use `attention` there.

        Attention is no alignment model: a decoder may look at a neighbour of the word that it translates, and
        Transformers spread their attention over heads and layers.

        Returns:
            list of `(source word, target word)`, one for each target word, in their order. For sounds and images the
            former is the position of the memory.

        Raises:
            ValueError: for a model without attention.

        Example:

        >>> import numpy as np
        >>> from kerasseq.generation import Generation
        >>> generation = Generation(
        ...     "un chat", 0.0, [], ["▁a", "▁c", "at", "</s>"], ["▁un", "▁chat", "</s>"],
        ...     np.array([[0.6, 0.2, 0.1, 0.1], [0.4, 0.3, 0.3, 0.0], [0.0, 0.0, 0.0, 1.0]]),
        ...     source_words=np.array([0, 1, 1, -1]), target_words=np.array([0, 1, -1]),
        ... )
        >>> generation.alignment()
        [(0, 0), (1, 1)]
        """
        if self.attention is None or self.target_words is None:
            raise ValueError("An alignment requires attention. Received: a generation of a model without it.")
        positions = np.arange(len(self.source_tokens)) if self.source_words is None else self.source_words
        source_words, target_words = (np.unique(numbers[numbers >= 0]) for numbers in (positions, self.target_words))
        if not source_words.size:
            return []
        to_words = self.attention @ (positions[:, np.newaxis] == source_words)  # (target tokens, source words)
        return [
            (int(source_words[np.argmax(to_words[self.target_words == word].mean(axis=0))]), int(word))
            for word in target_words
        ]


def describe(result: dict[str, Any]) -> Generation:
    """The `Generation` of one row of `decode_with_details`."""
    texts = [text.decode("utf-8") for text in result["text"]]
    scores = [float(score) for score in result["score"]]
    # A search that finds fewer hypotheses fills the remaining ranks with impossible ones.
    alternatives = [(text, score) for text, score in zip(texts, scores, strict=True) if score > IMPOSSIBLE / 2]
    source_tokens, target_tokens = (real_tokens(result[side]) for side in ("source_tokens", "target_tokens"))
    copying = "generation_probability" in result
    attention = {
        name: result[name][..., : len(target_tokens), : len(source_tokens)]
        for name in ("attention", "attention_heads")
        if name in result
    }
    words = {
        f"{side}_words": result[f"{side}_words"][: len(tokens)]
        for side, tokens in (("source", source_tokens), ("target", target_tokens))
        if f"{side}_words" in result
    }
    return Generation(
        text=texts[0],
        score=scores[0],
        alternatives=alternatives or [(texts[0], scores[0])],
        source_tokens=source_tokens,
        target_tokens=target_tokens,
        attention=attention.get("attention"),
        attention_heads=attention.get("attention_heads"),
        generation_probability=result["generation_probability"][: len(target_tokens)] if copying else None,
        ignored_tokens=int(result.get("ignored_tokens", 0)),
        problem=result.get("problem", b"").decode("utf-8"),
        **words,
    )


def real_tokens(tokens: np.ndarray) -> list[str]:
    """List of str up to the last real token; padding before it, as an untrained model emits, is kept."""
    texts = [token.decode("utf-8") for token in tokens]
    while texts and not texts[-1]:
        texts.pop()
    return texts
