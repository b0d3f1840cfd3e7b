"""What a summary keeps of its source: for models that leave words out."""

import re
from collections import Counter
from statistics import fmean

from kerasseq.evaluation.arguments import paired

TOKENS = {
    "words": lambda text: re.findall(r"\w+|[^\w\s]", text.lower()),
    "whitespace": str.split,
}


def token_f1(predictions, references, tokens="words"):
    """F1 between the tokens of prediction and reference, counted as multisets: order does not matter, repetition does.

    Args:
        predictions: list of str.
        references: list of str, one a prediction.
        tokens: `"words"`, lowercased words and single punctuation marks; or `"whitespace"`, what stands between white
            space, its case and punctuation kept, so that `home` and `home.` differ.

    Returns:
        float from 0 to 1, the mean over the predictions. Two empty texts score 1, an empty and another 0.

    Raises:
        ValueError: if `tokens` is unknown, there is nothing to score, or predictions and references differ in number or
            are not str.

    Example:

    >>> import kerasseq
    >>> kerasseq.evaluation.token_f1(["A cat sat."], ["The cat sat down."])
    0.6667

    Source: Filippova et al. 2015, who count the tokens kept of a sentence; here by text, not position.
    """
    if tokens not in TOKENS:
        raise ValueError(f"tokens must be one of {', '.join(map(repr, TOKENS))}. Received: tokens={tokens!r}.")
    predictions, references = paired(predictions, references, "references")

    def f1(prediction, reference):
        prediction, reference = Counter(TOKENS[tokens](prediction)), Counter(TOKENS[tokens](reference))
        total = prediction.total() + reference.total()
        return 2 * (prediction & reference).total() / total if total else 1.0

    return round(fmean(map(f1, predictions, references)), 4)


def compression_rate(predictions, sources):
    """Length of the prediction over the length of its source, in characters: the lower, the shorter.

    Args:
        predictions: list of str.
        sources: list of str, one a prediction.

    Returns:
        float from 0, the mean over the predictions: 1 where all is copied.

    Raises:
        ValueError: if a source is empty, there is nothing to score, or predictions and sources differ in number or are
            not str.

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


def new_words(predictions, sources):
    """Predictions with words that their source does not have: slips of a model that should only leave words out.

    Words are runs of letters, digits and underscores, compared in lower case.

    Args:
        predictions: list of str.
        sources: list of str, one a prediction.

    Returns:
        dict of `outputs`, int, the number of predictions with a new word; `share`, float from 0 to 1, the same over all
        predictions; `examples`, list of (index of the prediction, list of its new words), all of them.

    Raises:
        ValueError: if there is nothing to score, or predictions and sources differ in number or are not str.

    Example:

    >>> import kerasseq
    >>> kerasseq.evaluation.new_words(["A cat sat.", "A dog slept."], ["A cat sat down.", "A dog lay down."])
    {'outputs': 1, 'share': 0.5, 'examples': [(1, ['slept'])]}

    Source: after the novel n-grams of See et al. 2017.
    """
    predictions, sources = paired(predictions, sources, "sources")
    examples = []
    for index, texts in enumerate(zip(predictions, sources, strict=True)):
        prediction, source = (dict.fromkeys(re.findall(r"\w+", text.lower())) for text in texts)
        if words := [word for word in prediction if word not in source]:
            examples.append((index, words))
    return {"outputs": len(examples), "share": round(len(examples) / len(predictions), 4), "examples": examples}
