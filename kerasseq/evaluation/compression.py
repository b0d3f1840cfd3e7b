"""Metrics for extractive summaries and sentence compressions: token overlap, length and new words."""

import re
from collections import Counter
from collections.abc import Iterable
from statistics import fmean
from typing import Any

from kerasseq.arguments import check_choice
from kerasseq.evaluation.arguments import check_resamples, paired
from kerasseq.evaluation.bootstrap import bootstrap_interval
from kerasseq.evaluation.languages import by_characters

TOKENS = {
    "words": lambda text: re.findall(r"\w+|[^\w\s]", text.lower()),
    "whitespace": str.split,
    "characters": lambda text: re.findall(r"\S", text.lower()),
}


def token_f1(
    predictions: Iterable[str],
    references: Iterable[str],
    tokens: str | None = None,
    resamples: int = 0,
    language: str | None = None,
) -> dict[str, Any]:
    """F1 score of tokens between prediction and reference, counted as multisets: order does not matter.

    Args:
        predictions: list of str.
        references: list of str, one per prediction.
        tokens: `"words"`, lowercased words and single punctuation marks; `"whitespace"`, tokens separated by white
            space, with case and punctuation kept, so `home` and `home.` differ; or `"characters"`, lowercased, without
            white space. Default: `"characters"` if `language` has no spaces between words, else `"words"`.
        resamples: int, as in `bleu`.
        language: str, code of the texts' language, such as `"zh"`.

    Returns:
        dict with `score`, float from 0 to 1, the mean over the predictions. Two empty texts score 1, an empty and a
        non-empty one 0. With `resamples` also `intervals`, a dict with `score`.

    Raises:
        ValueError: if `tokens` or the language is unknown, there are no predictions, or predictions and references
            differ in number or are not str.

    Example:

    >>> import kerasseq
    >>> kerasseq.evaluation.token_f1(["A cat sat."], ["The cat sat down."])["score"]
    0.6667

    Source: Filippova et al. 2015, who count the tokens of the source that are kept. Here tokens are compared by text,
    not by position.
    """
    predictions, references = paired(predictions, references, "references")
    check_resamples(resamples)
    if tokens is None:
        tokens = "characters" if by_characters(language, [references], "token_f1") else "words"
    check_choice("tokens", tokens, TOKENS)
    tokenize = TOKENS[tokens]

    def f1(prediction: str, reference: str) -> float:
        predicted, expected = Counter(tokenize(prediction)), Counter(tokenize(reference))
        total = predicted.total() + expected.total()
        return 2 * (predicted & expected).total() / total if total else 1.0

    scores = list(map(f1, predictions, references))
    result: dict[str, Any] = {"score": round(fmean(scores), 4)}
    if resamples:
        interval = bootstrap_interval(scores, [1] * len(scores), resamples)
        result["intervals"] = {"score": [round(bound / 100, 4) for bound in interval]}
    return result


def compression_rate(predictions: Iterable[str], sources: Iterable[str]) -> float:
    """Length of the prediction divided by the length of its source, in characters.

    Args:
        predictions: list of str.
        sources: list of str, one per prediction.

    Returns:
        float of at least 0, the mean over the predictions. Copying the source scores 1.

    Raises:
        ValueError: if a source is empty, and as `token_f1`.

    Example:

    >>> import kerasseq
    >>> kerasseq.evaluation.compression_rate(["A cat sat."], ["A cat sat on the mat"])
    0.5

    Source: Filippova et al. 2015.
    """
    predictions, sources = paired(predictions, sources, "sources")
    if "" in sources:
        raise ValueError(f"Every source needs at least one character. Received: none at index {sources.index('')}.")
    return round(fmean(len(text) / len(source) for text, source in zip(predictions, sources, strict=True)), 4)


def new_words(predictions: Iterable[str], sources: Iterable[str]) -> dict[str, Any]:
    """Finds predictions with words that their source lacks: errors of a model that should only delete words.

    Words are runs of letters, digits and underscores, compared in lower case.

    Args:
        predictions: list of str.
        sources: list of str, one per prediction.

    Returns:
        dict with `outputs`, int, the number of predictions with a new word; `share`, float from 0 to 1, that number
        divided by the number of predictions; and `examples`, a list of (index of the prediction, list of its new
        words) for all of them.

    Raises:
        ValueError: as `token_f1`.

    Example:

    >>> import kerasseq
    >>> kerasseq.evaluation.new_words(["A cat sat.", "A dog slept."], ["A cat sat down.", "A dog lay down."])
    {'outputs': 1, 'share': 0.5, 'examples': [(1, ['slept'])]}

    Source: similar to the novel n-grams of See et al. 2017.
    """
    predictions, sources = paired(predictions, sources, "sources")
    examples = []
    for index, texts in enumerate(zip(predictions, sources, strict=True)):
        prediction, source = (dict.fromkeys(re.findall(r"\w+", text.lower())) for text in texts)
        if words := [word for word in prediction if word not in source]:
            examples.append((index, words))
    return {"outputs": len(examples), "share": round(len(examples) / len(predictions), 4), "examples": examples}
