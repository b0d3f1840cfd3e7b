"""Whether the difference of two systems is more than chance."""

import kerasseq


def p_value(outputs, baseline, references):
    """That of the difference in BLEU over the tokens of texts as they are, see `kerasseq.evaluation.paired_bootstrap`.

    Args:
        outputs: list of str.
        baseline: list of str, outputs of the other system.
        references: list of str.
    """
    result = kerasseq.evaluation.paired_bootstrap(outputs, baseline, references, {"bleu": {"tokenize": "none"}})
    return result["bleu"]["p_value"]
