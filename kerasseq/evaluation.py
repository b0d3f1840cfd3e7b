"""Scores of generated texts, by the field's reference implementations where there are any."""

import importlib.metadata
import math
import re
from collections import Counter
from statistics import fmean

TOKENS = {
    "words": lambda text: re.findall(r"\w+|[^\w\s]", text.lower()),
    "whitespace": str.split,
}
CAPTION_WORDS = "words:lowercased, without punctuation"
# Of CIDEr-D: its longest n-grams, and the deviation in words by which a length that differs is judged.
LONGEST_NGRAM, LENGTH_DEVIATION = 4, 6.0


def bleu(predictions, references, tokenize="13a"):
    """Corpus BLEU.

    Args:
        predictions: list of str.
        references: list of str, one a prediction; or list of lists of str, one or more a prediction.
        tokenize: str, sacreBLEU's tokenizer, such as `"13a"` or, for Chinese, `"zh"`.

    Returns:
        dict of `score`, float from 0 to 100, and `signature`, str, which names all settings and the version.

    Raises:
        ValueError: if there is nothing to score, or predictions and references differ in number or are not str.

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


def rouge(predictions, references):
    """ROUGE-1, ROUGE-2 and ROUGE-L: F-measures of common words, pairs of words, and longest common subsequences.

    Words are runs of `a-z` and `0-9` in the lowercased text; those of more than 3 characters are stemmed, by Porter's
    stemmer for English. Other letters part words, so that a text in another script has none; without words it scores 0.

    Args:
        predictions: list of str.
        references: list of str, one a prediction; or list of lists of str, of which the best counts, for each measure.

    Returns:
        dict of `rouge1`, `rouge2`, `rougeL`, floats from 0 to 100, means over the predictions; and `signature`, str,
        which names all settings and the version.

    Raises:
        ValueError: as `bleu`.

    Example:

    >>> import kerasseq
    >>> kerasseq.evaluation.rouge(["the dog is running"], ["the dog runs"])["rouge1"]
    85.71

    Source: Lin 2004 (ROUGE); the rouge-score package.
    """
    from rouge_score.rouge_scorer import RougeScorer  # As above.

    predictions, references = _with_references(predictions, references)
    names = ["rouge1", "rouge2", "rougeL"]
    scorer = RougeScorer(names, use_stemmer=True)
    scores = [scorer.score_multi(entry, text) for text, entry in zip(predictions, references, strict=True)]
    means = {name: round(100 * fmean(score[name].fmeasure for score in scores), 2) for name in names}
    numbers = {len(entry) for entry in references}
    number = numbers.pop() if len(numbers) == 1 else "var"
    package = f"package:rouge-score|version:{importlib.metadata.version('rouge-score')}"
    return {**means, "signature": f"nrefs:{number}|multi:best|stem:porter|measure:f1|{package}"}


def caption_bleu(predictions, references):
    """BLEU-1 to BLEU-4 of captions, as papers on image captioning report them: over words without punctuation.

    Words are runs of letters, digits and apostrophes in the lowercased text; the rest parts them. So `"A dog ."` and
    `"a dog"` are the same.

    Args:
        predictions: list of str.
        references: list of lists of str, one or more a prediction; or list of str.

    Returns:
        dict of `bleu1`, `bleu2`, `bleu3`, `bleu4`, floats from 0 to 100: BLEU of n-grams up to that length, each with
        the brevity penalty; and `signature`, str, which names the settings of `bleu4` and the version of sacreBLEU.

    Raises:
        ValueError: as `bleu`.

    Example:

    >>> import kerasseq
    >>> kerasseq.evaluation.caption_bleu(["A dog runs ."], [["A dog runs fast", "The dog runs."]])["bleu2"]
    100.0

    Source: Papineni et al. 2002; Post 2018 (sacreBLEU).
    """
    import sacrebleu  # As above.

    predictions, references = _with_references(predictions, references)
    predictions = [" ".join(_caption_words(text)) for text in predictions]
    references = [[" ".join(_caption_words(text)) for text in entry] for entry in references]
    scores = {}
    for order in range(1, 5):
        metric = sacrebleu.metrics.BLEU(tokenize="none", max_ngram_order=order, smooth_method="none")
        result = _corpus_score(metric, predictions, references)
        scores[f"bleu{order}"] = result["score"]
    return {**scores, "signature": f"{CAPTION_WORDS}|{result['signature']}"}


def cider(predictions, references):
    """CIDEr-D of captions: the likeness of their n-grams to those of the references, the rarer ones counting more.

    For each length of n-grams up to 4, texts become vectors of how often they have each n-gram, times the logarithm of
    the number of images over the number of those whose references have it; the score is their cosine, the caption's
    counts clipped to the reference's, times a penalty for another length, the mean over lengths and references, times
    10. As the script of the COCO challenge computes it (pycocoevalcap 1.2), but for its tokenizer: words are those of
    `caption_bleu`. A single image scores 0, for it tells no rare n-gram from a frequent one.

    Args:
        predictions: list of str, one an image.
        references: list of lists of str, one or more a prediction; or list of str.

    Returns:
        dict of `score`, float from 0 to 1000, in hundredths of what the script gives, as papers have it: people score
        about 85 on COCO; `scores`, list of float, those of the single predictions; and `signature`, str.

    Raises:
        ValueError: as `bleu`.

    Example:

    >>> import kerasseq
    >>> kerasseq.evaluation.cider(["a dog runs in the snow", "a cat"], ["a dog runs in the snow", "two men"])["scores"]
    [1000.0, 0.0]

    Source: Vedantam, Zitnick and Parikh 2015, equations 1 to 5.
    """
    predictions, references = _with_references(predictions, references)
    predictions = [_caption_words(text) for text in predictions]
    references = [[_caption_words(text) for text in entry] for entry in references]
    frequencies = Counter()
    for entry in references:
        frequencies.update({ngram for words in entry for ngram in _ngrams(words)})

    def vectors(words):
        """For each length, the weighted counts of the n-grams."""
        weighted = [{} for _ in range(LONGEST_NGRAM)]
        for ngram, count in _ngrams(words).items():
            rareness = math.log(len(references) / max(frequencies[ngram], 1))
            weighted[len(ngram) - 1][ngram] = count * rareness
        return weighted

    def likeness(prediction, reference):
        penalty = math.exp(-((len(prediction) - len(reference)) ** 2) / (2 * LENGTH_DEVIATION**2))
        return penalty * fmean(map(_clipped_cosine, vectors(prediction), vectors(reference)))

    scores = [
        round(1000 * fmean(likeness(words, other) for other in entry), 2)
        for words, entry in zip(predictions, references, strict=True)
    ]
    numbers = {len(entry) for entry in references}
    number = numbers.pop() if len(numbers) == 1 else "var"
    settings = f"CIDEr-D|n:{LONGEST_NGRAM}|sigma:{LENGTH_DEVIATION}|{CAPTION_WORDS}"
    return {"score": round(fmean(scores), 2), "scores": scores, "signature": f"nrefs:{number}|{settings}"}


def word_error_rate(predictions, references):
    """Word and character error rates: substitutions, deletions and insertions over the length of the references.

    Args:
        predictions: list of str.
        references: list of str, one a prediction.

    Returns:
        dict of `wer` and `cer`, floats in percent over all texts, `substitutions`, `deletions` and `insertions`, int,
        of words, and `words`, int, in the references. Words are what white space parts; case and punctuation count.

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

    predictions, references = _paired(predictions, references, "references")
    for index, reference in enumerate(references):
        if not reference.split():
            raise ValueError(
                f"Every reference must have a word. Received at index {index}: {reference!r}. Leave such pairs out."
            )
    words, characters = jiwer.process_words(references, predictions), jiwer.process_characters(references, predictions)
    return {
        "wer": round(100 * words.wer, 2),
        "cer": round(100 * characters.cer, 2),
        "substitutions": words.substitutions,
        "deletions": words.deletions,
        "insertions": words.insertions,
        "words": words.hits + words.substitutions + words.deletions,
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
    predictions, references = _paired(predictions, references, "references")

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
    predictions, sources = _paired(predictions, sources, "sources")
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
    predictions, sources = _paired(predictions, sources, "sources")
    examples = []
    for index, texts in enumerate(zip(predictions, sources, strict=True)):
        prediction, source = (dict.fromkeys(re.findall(r"\w+", text.lower())) for text in texts)
        if words := [word for word in prediction if word not in source]:
            examples.append((index, words))
    return {"outputs": len(examples), "share": round(len(examples) / len(predictions), 4), "examples": examples}


def _caption_words(text):
    return re.findall(r"[\w']*\w[\w']*", text.lower())


def _ngrams(words):
    """How often a text has each n-gram of up to 4 words."""
    lengths = range(1, LONGEST_NGRAM + 1)
    return Counter(tuple(words[i : i + length]) for length in lengths for i in range(len(words) - length + 1))


def _clipped_cosine(prediction, reference):
    """The cosine of two vectors as dicts, the first one's entries clipped to the second one's in the product."""
    product = sum(min(value, reference[key]) * reference[key] for key, value in prediction.items() if key in reference)
    norms = math.hypot(*prediction.values()) * math.hypot(*reference.values())
    return product / norms if norms else 0.0


def _corpus_score(metric, predictions, references):
    predictions, references = _with_references(predictions, references)
    most = max(map(len, references))
    # sacreBLEU takes one list a reference number, with None where a prediction has fewer references.
    streams = [[entry[number] if number < len(entry) else None for entry in references] for number in range(most)]
    score = metric.corpus_score(predictions, streams).score
    return {"score": round(score, 2), "signature": str(metric.get_signature())}


def _with_references(predictions, references):
    """A list of str and a list of lists of str: one or more references a prediction."""
    predictions, references = _same_length(predictions, references, "references")
    references = [[entry] if isinstance(entry, str) else list(entry) for entry in references]
    for index, entry in enumerate(references):
        if not entry:
            raise ValueError(f"Every prediction needs a reference. Received: none at index {index}.")
    _check_texts("predictions", predictions)
    _check_texts("references", [text for entry in references for text in entry])
    return predictions, references


def _paired(predictions, others, name):
    """Two lists of str: one other text a prediction."""
    predictions, others = _same_length(predictions, others, name)
    _check_texts("predictions", predictions)
    _check_texts(name, others)
    return predictions, others


def _same_length(predictions, others, name):
    if isinstance(predictions, str) or isinstance(others, str):
        raise ValueError(f"predictions and {name} must be lists. Received: a single string. Put it in a list.")
    predictions, others = list(predictions), list(others)
    if not predictions or len(predictions) != len(others):
        raise ValueError(
            f"predictions and {name} must be lists of the same length, at least 1. "
            f"Received: {len(predictions)} predictions, {len(others)} {name}."
        )
    return predictions, others


def _check_texts(name, texts):
    for text in texts:
        if not isinstance(text, str):
            raise ValueError(f"{name} must be strings. Received: {text!r}, of type {type(text).__name__}.")
