"""Scores of captions, with the words that papers on image captioning compare."""

import math
import re
from collections import Counter
from statistics import fmean

from kerasseq.evaluation.arguments import with_references
from kerasseq.evaluation.texts import corpus_score

CAPTION_WORDS = "words:lowercased, without punctuation"
# Of CIDEr-D: its longest n-grams, and the deviation in words by which a length that differs is judged.
LONGEST_NGRAM, LENGTH_DEVIATION = 4, 6.0


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
    import sacrebleu  # Deferred: scores are not needed for building and serving models.

    predictions, references = with_references(predictions, references)
    predictions = [" ".join(caption_words(text)) for text in predictions]
    references = [[" ".join(caption_words(text)) for text in entry] for entry in references]
    scores = {}
    for order in range(1, 5):
        metric = sacrebleu.metrics.BLEU(tokenize="none", force=True, max_ngram_order=order, smooth_method="none")
        result = corpus_score(metric, predictions, references)
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
    predictions, references = with_references(predictions, references)
    predictions = [caption_words(text) for text in predictions]
    references = [[caption_words(text) for text in entry] for entry in references]
    frequencies = Counter()
    for entry in references:
        frequencies.update({ngram for words in entry for ngram in ngram_counts(words)})

    def vectors(words):
        """For each length, the weighted counts of the n-grams."""
        weighted = [{} for _ in range(LONGEST_NGRAM)]
        for ngram, count in ngram_counts(words).items():
            rareness = math.log(len(references) / max(frequencies[ngram], 1))
            weighted[len(ngram) - 1][ngram] = count * rareness
        return weighted

    def likeness(prediction, reference):
        penalty = math.exp(-((len(prediction) - len(reference)) ** 2) / (2 * LENGTH_DEVIATION**2))
        return penalty * fmean(map(clipped_cosine, vectors(prediction), vectors(reference)))

    scores = [
        round(1000 * fmean(likeness(words, other) for other in entry), 2)
        for words, entry in zip(predictions, references, strict=True)
    ]
    numbers = {len(entry) for entry in references}
    number = numbers.pop() if len(numbers) == 1 else "var"
    settings = f"CIDEr-D|n:{LONGEST_NGRAM}|sigma:{LENGTH_DEVIATION}|{CAPTION_WORDS}"
    return {"score": round(fmean(scores), 2), "scores": scores, "signature": f"nrefs:{number}|{settings}"}


def caption_words(text):
    return re.findall(r"[\w']*\w[\w']*", text.lower())


def ngram_counts(words):
    """How often a text has each n-gram of up to 4 words."""
    lengths = range(1, LONGEST_NGRAM + 1)
    return Counter(tuple(words[i : i + length]) for length in lengths for i in range(len(words) - length + 1))


def clipped_cosine(prediction, reference):
    """The cosine of two vectors as dicts, the first one's entries clipped to the second one's in the product."""
    product = sum(min(value, reference[key]) * reference[key] for key, value in prediction.items() if key in reference)
    norms = math.hypot(*prediction.values()) * math.hypot(*reference.values())
    return product / norms if norms else 0.0
