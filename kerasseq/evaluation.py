"""Corpus scores of generated texts, through the field's reference implementations."""


def bleu(predictions, references, tokenize="13a"):
    """Corpus BLEU.

    Args:
        predictions: list of str.
        references: list of str, one a prediction; or list of lists of str, one or more a prediction.
        tokenize: str, sacreBLEU's tokenizer, such as `"13a"` or, for Chinese, `"zh"`.

    Returns:
        dict of `score`, float from 0 to 100, and `signature`, str, which names all settings and the version.

    Raises:
        ValueError: if there is nothing to score, or predictions and references differ in number.

    Example:

    >>> import kerasseq
    >>> kerasseq.evaluation.bleu(["the cat sat on the mat"], ["the cat sat on the mat"])["score"]
    100.0

    Source: Papineni et al. 2002; Post 2018 (sacreBLEU).
    """
    import sacrebleu  # Deferred: scores are not needed for building and serving models.

    return _corpus_score(sacrebleu.metrics.BLEU(tokenize=tokenize), predictions, references)


def chrf(predictions, references):
    """Corpus chrF2, the F-score of character n-grams.

    Args and returns as of `bleu`.

    Example:

    >>> import kerasseq
    >>> kerasseq.evaluation.chrf(["le chat"], ["le chat"])["score"]
    100.0

    Source: Popović 2015; Post 2018 (sacreBLEU).
    """
    import sacrebleu  # As above.

    return _corpus_score(sacrebleu.metrics.CHRF(), predictions, references)


def _corpus_score(metric, predictions, references):
    if isinstance(predictions, str) or isinstance(references, str):
        raise ValueError("predictions and references must be lists. Received: a single string. Put it in a list.")
    predictions, references = list(predictions), list(references)
    if not predictions or len(predictions) != len(references):
        raise ValueError(
            "predictions and references must be lists of the same length, at least 1. "
            f"Received: {len(predictions)} predictions, {len(references)} references."
        )
    references = [[entry] if isinstance(entry, str) else list(entry) for entry in references]
    for index, entry in enumerate(references):
        if not entry:
            raise ValueError(f"Every prediction needs a reference. Received: none at index {index}.")
    most = max(map(len, references))
    # sacreBLEU takes one list a reference number, with None where a prediction has fewer references.
    streams = [[entry[number] if number < len(entry) else None for entry in references] for number in range(most)]
    score = metric.corpus_score(predictions, streams).score
    return {"score": round(score, 2), "signature": str(metric.get_signature())}
