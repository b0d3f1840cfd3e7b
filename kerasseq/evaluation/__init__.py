"""Metrics for generated text: BLEU, chrF, ROUGE, error rates, and scores of captions and compressions."""

from kerasseq.evaluation.captions import caption_bleu, cider
from kerasseq.evaluation.compression import compression_rate, new_words, token_f1
from kerasseq.evaluation.scores import score_texts
from kerasseq.evaluation.significance import paired_bootstrap
from kerasseq.evaluation.texts import bleu, chrf, exact_match, rouge, word_error_rate

__all__ = [
    "bleu",
    "caption_bleu",
    "chrf",
    "cider",
    "compression_rate",
    "exact_match",
    "new_words",
    "paired_bootstrap",
    "rouge",
    "score_texts",
    "token_f1",
    "word_error_rate",
]
