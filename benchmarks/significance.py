"""Whether the difference of two systems is more than chance."""

from sacrebleu.metrics import BLEU
from sacrebleu.significance import PairedTest


def p_value(outputs, baseline, references):
    """How likely sentences drawn at random show so large a difference in BLEU where there is none, a float.

    Paired bootstrap resampling (Koehn 2004) by sacreBLEU, 1,000 draws, over the tokens of texts as they are. It knows
    of the choice of sentences alone: another seed of the training is another source of chance.

    Args:
        outputs: list of str.
        baseline: list of str, outputs of the other system.
        references: list of str.
    """
    if list(outputs) == list(baseline):
        return 1.0  # SacreBLEU counts draws with more than no difference, and finds none.
    systems = [("baseline", baseline), ("system", outputs)]
    test = PairedTest(
        systems, {"BLEU": BLEU(tokenize="none", force=True)}, [references], test_type="bs", n_samples=1_000
    )
    _, scores = test()
    return round(float(scores["BLEU"][1].p_value), 4)
