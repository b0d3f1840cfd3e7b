"""Caption metrics as image captioning papers report them: BLEU-1 to BLEU-4 and CIDEr-D."""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable
from statistics import fmean
from typing import Any, TypeAlias

from kerasseq.evaluation.arguments import References, check_resamples, reference_count, with_references
from kerasseq.evaluation.bootstrap import bootstrap_interval
from kerasseq.evaluation.languages import by_characters, language_code, letters_of, words_of
from kerasseq.evaluation.texts import corpus_score

NgramVector: TypeAlias = dict[tuple[str, ...], float]

# CIDEr-D: the longest n-grams, and the standard deviation, in words, of the length penalty.
LONGEST_NGRAM, LENGTH_DEVIATION = 4, 6.0


def caption_bleu(
    predictions: Iterable[str], references: References, resamples: int = 0, language: str | None = None
) -> dict[str, Any]:
    """BLEU-1 to BLEU-4 of captions, ignoring case and punctuation.

    Words are runs of letters, digits and apostrophes in the lowercased text. All other characters separate words, so
    `"A dog ."` and `"a dog"` are the same caption. With a `language` without spaces between words, such as `"zh"`,
    every letter counts as a word. Arguments and errors are those of `bleu`, without `tokenize`.

    Returns:
        dict with `bleu1`, `bleu2`, `bleu3` and `bleu4`, floats from 0 to 100: BLEU over n-grams up to that length,
        each with the brevity penalty; and `signature`, str, the settings of `bleu4` and the version of sacreBLEU. With
        `resamples` also `intervals`, a dict with the same four names.

    Example:

    >>> import kerasseq
    >>> kerasseq.evaluation.caption_bleu(["A dog runs ."], [["A dog runs fast", "The dog runs."]])["bleu2"]
    100.0

    Source: Papineni et al. 2002; Post 2018 (sacreBLEU).
    """
    import sacrebleu  # Deferred: building and serving models does not need it.

    predictions, references = with_references(predictions, references)
    split, words = caption_splitter(language, references, "caption_bleu")
    predictions = [" ".join(split(text)) for text in predictions]
    references = [[" ".join(split(text)) for text in entry] for entry in references]
    scores: dict[str, Any] = {}
    intervals = {}
    signature = ""
    for order in range(1, 5):
        metric = sacrebleu.metrics.BLEU(tokenize="none", force=True, max_ngram_order=order, smooth_method="none")
        result = corpus_score(metric, predictions, references, resamples)
        scores[f"bleu{order}"], signature = result["score"], result["signature"]
        if resamples:
            intervals[f"bleu{order}"] = result["intervals"]["score"]
    scores["signature"] = f"{words}|{signature}"
    return {**scores, "intervals": intervals} if resamples else scores


def cider(
    predictions: Iterable[str], references: References, resamples: int = 0, language: str | None = None
) -> dict[str, Any]:
    """CIDEr-D of captions: n-gram similarity to the references, weighted by TF-IDF.

    For each n-gram length up to 4, a text becomes a vector of n-gram counts, each multiplied by log(number of images /
    number of images with the n-gram in a reference). The score is the cosine similarity, with the counts of the
    prediction clipped to those of the reference, times a Gaussian penalty on the difference in length, averaged over
    lengths and references, times 10. It equals that of the COCO evaluation script (pycocoevalcap 1.2) except for the
    tokenizer: words are those of `caption_bleu`. With a single image all weights, and therefore the score, are 0.
    Arguments and errors are those of `caption_bleu`, one prediction per image.

    Returns:
        dict with `score`, float from 0 to 1000, which is 100 times the value of the script, as papers report it
        (humans score about 85 on COCO); `scores`, list of float, one per prediction; and `signature`, str. With
        `resamples` also `intervals`, a dict with `score`; the weights of n-grams are those of all images.

    Example:

    >>> import kerasseq
    >>> kerasseq.evaluation.cider(["a dog runs in the snow", "a cat"], ["a dog runs in the snow", "two men"])["scores"]
    [1000.0, 0.0]

    Source: Vedantam, Zitnick and Parikh 2015, equations 1 to 5.
    """
    predictions, references = with_references(predictions, references)
    check_resamples(resamples)
    split, words = caption_splitter(language, references, "cider")
    tokenized = [split(text) for text in predictions]
    tokenized_references = [[split(text) for text in entry] for entry in references]
    image_counts: Counter[tuple[str, ...]] = Counter()  # In how many images' references each n-gram occurs.
    for entry in tokenized_references:
        image_counts.update({ngram for words in entry for ngram in ngram_counts(words)})

    def tf_idf(words: list[str]) -> list[NgramVector]:
        """One vector per n-gram length."""
        vectors: list[NgramVector] = [{} for _ in range(LONGEST_NGRAM)]
        for ngram, count in ngram_counts(words).items():
            inverse_frequency = math.log(len(references) / max(image_counts[ngram], 1))
            vectors[len(ngram) - 1][ngram] = count * inverse_frequency
        return vectors

    def similarity(prediction: list[str], reference: list[str]) -> float:
        penalty = math.exp(-((len(prediction) - len(reference)) ** 2) / (2 * LENGTH_DEVIATION**2))
        return penalty * fmean(map(clipped_cosine, tf_idf(prediction), tf_idf(reference)))

    scores = [
        round(1000 * fmean(similarity(words, other) for other in entry), 2)
        for words, entry in zip(tokenized, tokenized_references, strict=True)
    ]
    settings = f"CIDEr-D|n:{LONGEST_NGRAM}|sigma:{LENGTH_DEVIATION}|{words}"
    signature = f"nrefs:{reference_count(references)}|{settings}"
    result: dict[str, Any] = {"score": round(fmean(scores), 2), "scores": scores, "signature": signature}
    if resamples:
        counts = [100] * len(scores)  # Intervals are in percent.
        result["intervals"] = {"score": bootstrap_interval(scores, counts, resamples)}
    return result


def caption_splitter(
    language: str | None, references: list[list[str]], metric: str
) -> tuple[Callable[[str], list[str]], str]:
    """A function that splits captions of a language into words, and its entry in signatures."""
    if by_characters(language, references, metric):
        return letters_of, "words:letters, lowercased, without punctuation"
    if language_code(language) not in (None, "en"):
        return words_of, "words:lowercased, without punctuation, of letters and marks"
    return caption_words, "words:lowercased, without punctuation"


def caption_words(text: str) -> list[str]:
    return re.findall(r"[\w']*\w[\w']*", text.lower())


def ngram_counts(words: list[str]) -> Counter[tuple[str, ...]]:
    """Counts of all n-grams of up to 4 words."""
    lengths = range(1, LONGEST_NGRAM + 1)
    return Counter(tuple(words[i : i + length]) for length in lengths for i in range(len(words) - length + 1))


def clipped_cosine(prediction: NgramVector, reference: NgramVector) -> float:
    """Cosine similarity of sparse vectors, with `prediction` clipped to `reference` in the dot product."""
    product = sum(min(value, reference[key]) * reference[key] for key, value in prediction.items() if key in reference)
    norms = math.hypot(*prediction.values()) * math.hypot(*reference.values())
    return product / norms if norms else 0.0
