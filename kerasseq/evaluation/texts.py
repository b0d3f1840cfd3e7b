"""Text metrics computed by the reference implementations of the field, with confidence intervals."""

import importlib.metadata
import itertools
import json
import re
import warnings
from collections.abc import Callable, Iterable
from statistics import fmean
from typing import Any

import numpy as np

from kerasseq.evaluation.arguments import (
    References,
    check_resamples,
    paired,
    reference_count,
    with_references,
)
from kerasseq.evaluation.bootstrap import SEED, bootstrap_interval
from kerasseq.evaluation.languages import (
    BY_CHARACTERS,
    bleu_tokenizer,
    language_code,
    letters_of,
    warn_of_texts_without_spaces,
    words_of,
)


def bleu(
    predictions: Iterable[str],
    references: References,
    tokenize: str | None = None,
    resamples: int = 0,
    language: str | None = None,
) -> dict[str, Any]:
    """Corpus BLEU, computed by sacreBLEU.

    Args:
        predictions: list of str.
        references: list of str, one per prediction; or list of lists of str, one or more per prediction.
        tokenize: str, name of a sacreBLEU tokenizer. Default: that of `language`.
        language: str, code of the texts' language, such as `"zh"`: Chinese is split by `"zh"`, Japanese by
            `"ja-mecab"`, Korean by `"ko-mecab"`, Thai, Lao, Burmese, Khmer and Tibetan into characters, by `"char"`,
            all others by `"13a"`. Japanese and Korean need `pip install "sacrebleu[ja]"` and `"sacrebleu[ko]"`.
            Default: `"13a"`, with a warning where the references have no spaces.
        resamples: int, number of bootstrap resamples for a confidence interval: at least 40, usually 1,000. Defaults
            to 0: no interval.

    Returns:
        dict with `score`, float from 0 to 100, and `signature`, str, all settings and the version. With `resamples`
        also `intervals`, a dict from `"score"` to the list of the lower and upper bound of the 95% confidence interval.

    Raises:
        ValueError: if there are no predictions, predictions and references differ in number or are not str, or the
            tokenizer is unknown.
        ImportError: if the tokenizer needs a package that is not installed.

    Example:

    >>> import kerasseq
    >>> kerasseq.evaluation.bleu(["the cat sat on the mat"], ["the cat sat on the mat"])["score"]
    100.0
    >>> kerasseq.evaluation.bleu(["我们今天去公园"], ["我们今天去公园"], language="zh")["score"]
    100.0

    Source: Papineni et al. 2002; Post 2018 (sacreBLEU); Koehn 2004 (intervals).
    """
    predictions, references = with_references(predictions, references)
    return corpus_score(bleu_metric(references, tokenize, language), predictions, references, resamples)


def bleu_metric(references: list[list[str]], tokenize: str | None = None, language: str | None = None) -> Any:
    """The metric of sacreBLEU that `bleu` computes for these references."""
    import sacrebleu  # Deferred: building and serving models does not need it.

    if tokenize is None:
        tokenize = bleu_tokenizer(language)
        if language is None:
            advice = "Pass language=, such as 'zh', 'ja' or 'th', or tokenize='char'."
            warn_of_texts_without_spaces(itertools.chain(*references), "BLEU", advice)
    if tokenize not in sacrebleu.metrics.BLEU.TOKENIZERS:
        known = ", ".join(map(repr, sacrebleu.metrics.BLEU.TOKENIZERS))
        raise ValueError(f"tokenize must be one of sacreBLEU's {known}. Received: tokenize={tokenize!r}.")
    # sacreBLEU warns about tokenized texts. With tokenize="none" they are intended, so `force` silences the warning.
    try:
        return sacrebleu.metrics.BLEU(tokenize=tokenize, force=tokenize == "none")
    except RuntimeError as error:  # As sacreBLEU reports a missing package.
        raise ImportError(
            f"sacreBLEU's tokenizer {tokenize!r} needs packages that are not installed: "
            f'pip install "sacrebleu[{tokenize[:2]}]", or pass tokenize="char".'
        ) from error


def chrf(predictions: Iterable[str], references: References, resamples: int = 0) -> dict[str, Any]:
    """Corpus chrF2, the F-score of character n-grams, computed by sacreBLEU.

    Arguments and return value are those of `bleu`, without `tokenize` and `language`.

    Example:

    >>> import kerasseq
    >>> kerasseq.evaluation.chrf(["le chat"], ["le chat"])["score"]
    100.0

    Source: Popović 2015; Post 2018 (sacreBLEU).
    """
    import sacrebleu  # Deferred, as above.

    return corpus_score(sacrebleu.metrics.CHRF(), predictions, references, resamples)


def rouge(
    predictions: Iterable[str], references: References, resamples: int = 0, language: str | None = None
) -> dict[str, Any]:
    """ROUGE-1, ROUGE-2 and ROUGE-L: F1 scores of unigrams, bigrams and longest common subsequences.

    Words are runs of `a-z` and `0-9` in the lowercased text. Words of more than 3 characters are stemmed by the Porter
    stemmer for English. All other letters separate words, so a text in another script has no words and scores 0. With
    a `language` other than English, words are runs of any letters and digits, unstemmed; of languages without spaces
    between words, such as `"zh"`, each letter is one.

    Arguments and errors are those of `bleu`, without `tokenize`; of several references the best counts, separately for
    each score.

    Returns:
        dict with `rouge1`, `rouge2` and `rougeL`, floats from 0 to 100, means over the predictions; and `signature`,
        str, all settings and the version. With `resamples` also `intervals`, a dict with the same three names.

    Example:

    >>> import kerasseq
    >>> kerasseq.evaluation.rouge(["the dog is running"], ["the dog runs"])["rouge1"]
    85.71

    Source: Lin 2004 (ROUGE); the rouge-score package.
    """
    from rouge_score.rouge_scorer import RougeScorer  # Deferred, as above.

    predictions, references = with_references(predictions, references)
    check_resamples(resamples)
    names = ["rouge1", "rouge2", "rougeL"]
    split = rouge_words(language, references)
    # The stemmer is the default tokenizer's.
    scorer = RougeScorer(names, use_stemmer=True, tokenizer=None if split is None else Words(split))
    scored = [scorer.score_multi(entry, text) for text, entry in zip(predictions, references, strict=True)]
    scores = {name: [score[name].fmeasure for score in scored] for name in names}
    result: dict[str, Any] = {name: round(100 * fmean(values), 2) for name, values in scores.items()}
    package = f"package:rouge-score|version:{importlib.metadata.version('rouge-score')}"
    stemmed = "stem:porter" if split is None else "words:" + ("letters" if split is letters_of else "unstemmed")
    result["signature"] = f"nrefs:{reference_count(references)}|multi:best|{stemmed}|measure:f1|{package}"
    if resamples:
        counts = [1] * len(predictions)
        result["intervals"] = {name: bootstrap_interval(values, counts, resamples) for name, values in scores.items()}
    return result


class Words:
    """A tokenizer of rouge-score: a function from texts to words."""

    def __init__(self, split: Callable[[str], list[str]]):
        self.tokenize = split


def rouge_words(language: str | None, references: list[list[str]]) -> Callable[[str], list[str]] | None:
    """The function that splits texts of a language; `None` for rouge-score's own, which is the default.

    Warns where most letters would belong to no word.
    """
    code = language_code(language)
    if code is None:
        letters = [letter for entry in references for text in entry for letter in re.findall(r"\w", text.lower())]
        if 2 * sum(letter.isascii() for letter in letters) < len(letters):
            warnings.warn(
                "ROUGE's words are of the letters a to z, and most letters of the references are others. Pass "
                "language=, such as 'ru' or 'zh'.",
                stacklevel=3,
            )
    if code in (None, "en"):
        return None
    return letters_of if code in BY_CHARACTERS else words_of


def word_error_rate(predictions: Iterable[str], references: Iterable[str], resamples: int = 0) -> dict[str, Any]:
    """Word and character error rates: substitutions, deletions and insertions divided by the reference length.

    Words are separated by white space. Any run of white space, including no-break spaces, counts as one space. Case and
    punctuation count. In scripts without spaces between words only `cer` has a meaning.

    Args:
        predictions: list of str.
        references: list of str, one per prediction.
        resamples: as in `bleu`.

    Returns:
        dict with `wer` and `cer`, floats in percent over all texts; `substitutions`, `deletions` and `insertions`, int
        numbers of words; and `words`, int, the number of words in the references. With `resamples` also `intervals`, a
        dict with `wer` and `cer`.

    Raises:
        ValueError: if there are no predictions, a reference has no word, or predictions and references differ in
            number or are not str.

    Example:

    >>> import kerasseq
    >>> kerasseq.evaluation.word_error_rate(["one two", "four"], ["one two three", "four"])["wer"]
    25.0

    Source: jiwer (https://github.com/jitsi/jiwer).
    """
    import jiwer  # Deferred, as above.

    predictions, references = paired(predictions, references, "references")
    check_resamples(resamples)
    for index, reference in enumerate(references):
        if not reference.split():
            raise ValueError(
                f"Every reference must have a word. Received at index {index}: {reference!r}. Remove such pairs."
            )
    predictions, references = ([" ".join(text.split()) for text in texts] for texts in (predictions, references))
    words, characters = jiwer.process_words(references, predictions), jiwer.process_characters(references, predictions)
    result: dict[str, Any] = {
        "wer": round(100 * words.wer, 2),
        "cer": round(100 * characters.cer, 2),
        "substitutions": words.substitutions,
        "deletions": words.deletions,
        "insertions": words.insertions,
        "words": words.hits + words.substitutions + words.deletions,
    }
    if resamples:
        result["intervals"] = {"wer": error_interval(words, resamples), "cer": error_interval(characters, resamples)}
    return result


def exact_match(predictions: Iterable[str], references: References, resamples: int = 0) -> dict[str, Any]:
    """Share of predictions that equal one of their references. Differences in white space are ignored.

    Arguments and errors are those of `bleu`, without `tokenize`.

    Returns:
        dict with `score`, float in percent, and with `resamples` also `intervals`, a dict with `score`.

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
    result: dict[str, Any] = {"score": round(100 * fmean(matches), 2)}
    if resamples:
        result["intervals"] = {"score": bootstrap_interval(matches, [1] * len(matches), resamples)}
    return result


def corpus_score(metric: Any, predictions: Iterable[str], references: References, resamples: int = 0) -> dict[str, Any]:
    """Score, signature and confidence interval of a sacreBLEU metric."""
    predictions, references = with_references(predictions, references)
    check_resamples(resamples)
    streams = reference_streams(references)
    # sacreBLEU reports the interval as mean ± half its width, so with few texts it can exceed the scale. It reports
    # nothing if all resamples score 0.
    try:
        score = metric.corpus_score(predictions, streams, n_bootstrap=resamples)
        report = json.loads(score.format(width=6, signature=str(metric.get_signature()), is_json=True))
        mean, half = report.get("confidence_mean", 0.0), report.get("confidence_var", 0.0)
    except TypeError:  # sacreBLEU cannot average chrF scores if some, but not all, are 0.
        score = metric.corpus_score(predictions, streams)
        mean, half = sacrebleu_interval(metric, predictions, streams, resamples)
    result: dict[str, Any] = {"score": round(score.score, 2), "signature": str(metric.get_signature())}
    if resamples:
        result["intervals"] = {"score": [round(max(mean - half, 0.0), 2), round(min(mean + half, 100.0), 2)]}
    return result


def reference_streams(references: list[list[str]]) -> list[list[str | None]]:
    """References as sacreBLEU takes them: one stream per number, with None where a prediction has fewer."""
    most = max(map(len, references))
    return [[entry[number] if number < len(entry) else None for entry in references] for number in range(most)]


def sacrebleu_interval(
    metric: Any, predictions: list[str], streams: list[list[str | None]], resamples: int
) -> tuple[float, float]:
    """Mean of the resamples and half the width of their interval, with sacreBLEU's draws but without its caches."""
    scores = []
    drawn = np.random.default_rng(SEED).choice(len(predictions), size=(resamples, len(predictions)))
    for rows in drawn:
        resampled = [[stream[row] for row in rows] for stream in streams]
        scores.append(metric.corpus_score([predictions[row] for row in rows], resampled).score)
    scores.sort()
    tail = resamples // 40
    return fmean(scores), (scores[resamples - tail - 1] - scores[tail]) / 2


def error_interval(measured: Any, resamples: int) -> list[float]:
    """The confidence interval of an error rate, from jiwer's alignments of the individual texts."""
    errors, lengths = [], []
    for reference, chunks in zip(measured.references, measured.alignments, strict=True):
        wrong = [chunk for chunk in chunks if chunk.type != "equal"]
        errors.append(sum(max(c.ref_end_idx - c.ref_start_idx, c.hyp_end_idx - c.hyp_start_idx) for c in wrong))
        lengths.append(len(reference))
    return bootstrap_interval(errors, lengths, resamples)
