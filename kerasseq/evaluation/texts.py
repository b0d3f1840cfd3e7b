"""Scores of generated texts by the field's reference implementations, and how sure they are."""

import importlib.metadata
import json
from statistics import fmean

import numpy as np

from kerasseq.evaluation.arguments import check_resamples, paired, same_length, with_references
from kerasseq.evaluation.bootstrap import SEED, bootstrap_interval


def score_texts(predictions, references, metrics=("bleu", "chrf"), resamples=0):
    """Several scores of the same texts.

    Args:
        predictions: list of str.
        references: list of str, one a prediction; or list of lists of str, one or more a prediction, as far as the
            metrics take them.
        metrics: list of names: `"bleu"`, `"chrf"`, `"rouge"`, `"word_error_rate"`, `"exact_match"`.
        resamples: int, as in `bleu`.

    Returns:
        dict of what the functions of these names return.

    Raises:
        ValueError: if a metric is unknown, and as the functions.

    Example:

    >>> import kerasseq
    >>> scores = kerasseq.evaluation.score_texts(["the cat sat on a mat"], ["the cat sat on the mat"])
    >>> scores["bleu"]["score"], scores["chrf"]["score"]
    (53.73, 65.98)
    """
    metrics = metric_names(metrics)
    predictions, references = same_length(predictions, references, "references")
    return {name: METRICS[name](predictions, references, resamples=resamples) for name in metrics}


def check_scorable(references, metrics, resamples=0):
    """Raises what `score_texts` would raise for any predictions, before anything is generated; returns the metrics."""
    metrics = metric_names(metrics)
    check_resamples(resamples)
    score_texts([""] * len(references), references, metrics)
    return metrics


def metric_names(metrics):
    """A list of known metrics: of a name, or of several."""
    metrics = [metrics] if isinstance(metrics, str) else list(metrics or ())
    known = list(METRICS)  # A list, since what is looked up need not be hashable.
    if not metrics or any(name not in known for name in metrics):
        raise ValueError(f"metrics must be among {', '.join(map(repr, known))}. Received: {metrics!r}.")
    return metrics


def bleu(predictions, references, tokenize="13a", resamples=0):
    """Corpus BLEU.

    Args:
        predictions: list of str.
        references: list of str, one a prediction; or list of lists of str, one or more a prediction.
        tokenize: str, sacreBLEU's tokenizer, such as `"13a"` or, for Chinese, `"zh"`.
        resamples: int, of the predictions, for a confidence interval: 1,000 are usual, 40 the least. Default: none.

    Returns:
        dict of `score`, float from 0 to 100, and `signature`, str, which names all settings and the version. With
        `resamples` also `intervals`, a dict of `score`: the list of the lower and the upper bound of 95 % confidence.

    Raises:
        ValueError: if there is nothing to score, predictions and references differ in number or are not str, or the
            tokenizer is unknown.

    Example:

    >>> import kerasseq
    >>> kerasseq.evaluation.bleu(["the cat sat on the mat"], ["the cat sat on the mat"])["score"]
    100.0

    Source: Papineni et al. 2002; Post 2018 (sacreBLEU); Koehn 2004 (intervals).
    """
    import sacrebleu  # Deferred: scores are not needed for building and serving models.

    if tokenize not in sacrebleu.metrics.BLEU.TOKENIZERS:
        known = ", ".join(map(repr, sacrebleu.metrics.BLEU.TOKENIZERS))
        raise ValueError(f"tokenize must be one of sacreBLEU's {known}. Received: tokenize={tokenize!r}.")
    # Tokenized texts are a mistake, of which sacreBLEU warns, unless its tokenizer is switched off.
    metric = sacrebleu.metrics.BLEU(tokenize=tokenize, force=tokenize == "none")
    return corpus_score(metric, predictions, references, resamples)


def chrf(predictions, references, resamples=0):
    """Corpus chrF2, the F-score of character n-grams.

    Args and returns as of `bleu`.

    Example:

    >>> import kerasseq
    >>> kerasseq.evaluation.chrf(["le chat"], ["le chat"])["score"]
    100.0

    Source: Popović 2015; Post 2018 (sacreBLEU).
    """
    import sacrebleu  # As above.

    return corpus_score(sacrebleu.metrics.CHRF(), predictions, references, resamples)


def rouge(predictions, references, resamples=0):
    """ROUGE-1, ROUGE-2 and ROUGE-L: F-measures of common words, pairs of words, and longest common subsequences.

    Words are runs of `a-z` and `0-9` in the lowercased text; those of more than 3 characters are stemmed, by Porter's
    stemmer for English. Other letters part words, so that a text in another script has none; without words it scores 0.

    Args:
        predictions: list of str.
        references: list of str, one a prediction; or list of lists of str, of which the best counts, for each measure.
        resamples: int, as in `bleu`.

    Returns:
        dict of `rouge1`, `rouge2`, `rougeL`, floats from 0 to 100, means over the predictions; and `signature`, str,
        which names all settings and the version. With `resamples` also `intervals`, a dict of the same three names.

    Raises:
        ValueError: as `bleu`.

    Example:

    >>> import kerasseq
    >>> kerasseq.evaluation.rouge(["the dog is running"], ["the dog runs"])["rouge1"]
    85.71

    Source: Lin 2004 (ROUGE); the rouge-score package.
    """
    from rouge_score.rouge_scorer import RougeScorer  # As above.

    predictions, references = with_references(predictions, references)
    check_resamples(resamples)
    names = ["rouge1", "rouge2", "rougeL"]
    scorer = RougeScorer(names, use_stemmer=True)
    scored = [scorer.score_multi(entry, text) for text, entry in zip(predictions, references, strict=True)]
    scores = {name: [score[name].fmeasure for score in scored] for name in names}
    result = {name: round(100 * fmean(values), 2) for name, values in scores.items()}
    numbers = {len(entry) for entry in references}
    number = numbers.pop() if len(numbers) == 1 else "var"
    package = f"package:rouge-score|version:{importlib.metadata.version('rouge-score')}"
    result["signature"] = f"nrefs:{number}|multi:best|stem:porter|measure:f1|{package}"
    if resamples:
        counts = [1] * len(predictions)
        result["intervals"] = {name: bootstrap_interval(values, counts, resamples) for name, values in scores.items()}
    return result


def word_error_rate(predictions, references, resamples=0):
    """Word and character error rates: substitutions, deletions and insertions over the length of the references.

    Args:
        predictions: list of str.
        references: list of str, one a prediction.
        resamples: int, as in `bleu`.

    Returns:
        dict of `wer` and `cer`, floats in percent over all texts, `substitutions`, `deletions` and `insertions`, int,
        of words, and `words`, int, in the references. Words are what white space parts, which is one blank wherever it
        is, no-break spaces too; case and punctuation count.
        With `resamples` also `intervals`, a dict of `wer` and `cer`.

    Raises:
        ValueError: if there is nothing to score, a reference has no word, or predictions and references differ in
            number or are not str.

    Example:

    >>> import kerasseq
    >>> kerasseq.evaluation.word_error_rate(["one two", "four"], ["one two three", "four"])["wer"]
    25.0

    Source: jiwer (https://github.com/jitsi/jiwer).
    """
    import jiwer  # As above.

    predictions, references = paired(predictions, references, "references")
    check_resamples(resamples)
    for index, reference in enumerate(references):
        if not reference.split():
            raise ValueError(
                f"Every reference must have a word. Received at index {index}: {reference!r}. Leave such pairs out."
            )
    predictions, references = ([" ".join(text.split()) for text in texts] for texts in (predictions, references))
    words, characters = jiwer.process_words(references, predictions), jiwer.process_characters(references, predictions)
    result = {
        "wer": round(100 * words.wer, 2),
        "cer": round(100 * characters.cer, 2),
        "substitutions": words.substitutions,
        "deletions": words.deletions,
        "insertions": words.insertions,
        "words": words.hits + words.substitutions + words.deletions,
    }
    if resamples:
        result["intervals"] = {
            "wer": error_interval(words, resamples),
            "cer": error_interval(characters, resamples),
        }
    return result


def exact_match(predictions, references, resamples=0):
    """Predictions that are one of their references, character by character, whatever the kind of white space.

    Args:
        predictions: list of str.
        references: list of str, one a prediction; or list of lists of str, one or more a prediction.
        resamples: int, as in `bleu`.

    Returns:
        dict of `score`, float in percent, and with `resamples` `intervals`, a dict of `score`.

    Raises:
        ValueError: as `bleu`.

    Example:

    >>> import kerasseq
    >>> kerasseq.evaluation.exact_match(["2010-05-01", "2010-05-02"], ["2010-05-01", "2010-05-20"])["score"]
    50.0
    """
    predictions, references = with_references(predictions, references)
    check_resamples(resamples)
    matches = [
        float(text.split() in [reference.split() for reference in entry])
        for text, entry in zip(predictions, references, strict=True)
    ]
    result = {"score": round(100 * fmean(matches), 2)}
    if resamples:
        result["intervals"] = {"score": bootstrap_interval(matches, [1] * len(matches), resamples)}
    return result


METRICS = {
    "bleu": bleu,
    "chrf": chrf,
    "rouge": rouge,
    "word_error_rate": word_error_rate,
    "exact_match": exact_match,
}


def corpus_score(metric, predictions, references, resamples=0):
    """What a metric of sacreBLEU says of texts with one or more references each."""
    predictions, references = with_references(predictions, references)
    check_resamples(resamples)
    most = max(map(len, references))
    # sacreBLEU takes one list a reference number, with None where a prediction has fewer references.
    streams = [[entry[number] if number < len(entry) else None for entry in references] for number in range(most)]
    # The interval is half its width, around the mean of the resamples, so with few texts it can pass the ends of the
    # scale; nothing is said where all are 0.
    try:
        score = metric.corpus_score(predictions, streams, n_bootstrap=resamples)
        said = json.loads(score.format(width=6, signature=str(metric.get_signature()), is_json=True))
        mean, half = said.get("confidence_mean", 0.0), said.get("confidence_var", 0.0)
    except TypeError:  # sacreBLEU cannot take the mean of chrFs of which some are 0 and others are not.
        score = metric.corpus_score(predictions, streams)
        mean, half = sacrebleu_interval(metric, predictions, streams, resamples)
    result = {"score": round(score.score, 2), "signature": str(metric.get_signature())}
    if resamples:
        result["intervals"] = {"score": [round(max(mean - half, 0.0), 2), round(min(mean + half, 100.0), 2)]}
    return result


def sacrebleu_interval(metric, predictions, streams, resamples):
    """The mean of resamples and half the width of their interval, by sacreBLEU's rules and draws, but slowly."""
    scores = []
    drawn = np.random.default_rng(SEED).choice(len(predictions), size=(resamples, len(predictions)))
    for rows in drawn:
        resampled = [[texts[row] for row in rows] for texts in (predictions, *streams)]
        scores.append(metric.corpus_score(resampled[0], resampled[1:]).score)
    scores.sort()
    tail = resamples // 40
    return fmean(scores), (scores[resamples - tail - 1] - scores[tail]) / 2


def error_interval(measured, resamples):
    """The interval of an error rate, from jiwer's alignments of the single texts."""
    errors, lengths = [], []
    for reference, chunks in zip(measured.references, measured.alignments, strict=True):
        wrong = [chunk for chunk in chunks if chunk.type != "equal"]
        errors.append(sum(max(c.ref_end_idx - c.ref_start_idx, c.hyp_end_idx - c.hyp_start_idx) for c in wrong))
        lengths.append(len(reference))
    return bootstrap_interval(errors, lengths, resamples)
