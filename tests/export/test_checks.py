"""The comparison of a SavedModel with the functions that were saved in it."""

import pytest
import tensorflow as tf

from kerasseq.export.checks import check_answers


@pytest.fixture
def functions(quick_export):
    return dict(tf.saved_model.load(str(quick_export)).signatures)


def test_the_same_answers(functions, quick_export, preprocessor):
    check_answers(functions, str(quick_export), preprocessor)


@pytest.mark.parametrize("output", ["text", "score"])
def test_other_answers(functions, quick_export, preprocessor, output):
    real = functions["greedy"]

    def other(text):
        answer = real(text=text)
        return {**answer, output: tf.reverse(answer[output], [0])}

    functions["greedy"] = other
    with pytest.raises(ValueError, match="'greedy' of the SavedModel does not answer as the generator. Expected: .*"):
        check_answers(functions, str(quick_export), preprocessor)


def test_other_outputs(functions, quick_export, preprocessor):
    real = functions["greedy"]
    functions["greedy"] = lambda text: {**real(text=text), "more": text}
    with pytest.raises(ValueError, match="'greedy' of the SavedModel does not answer as the generator"):
        check_answers(functions, str(quick_export), preprocessor)


@pytest.mark.parametrize(("gap", "refused"), [(0.0, False), (5e-4, False), (0.01, True)])
def test_near_ties_may_be_exchanged(functions, quick_export, preprocessor, gap, refused):
    """Rounding in another kernel decides between hypotheses with nearly equal scores, whose texts may be exchanged."""
    nbest, greedy = functions["nbest"], functions["greedy"]

    def near(text):
        answer = nbest(text=text)
        return {**answer, "score": answer["score"][:, :1] - [0.0, gap]}

    functions["nbest"] = near
    functions["greedy"] = lambda text: {**greedy(text=text), "text": tf.reverse(greedy(text=text)["text"], [0])}
    functions = {"greedy": functions["greedy"], "nbest": near}
    if refused:
        with pytest.raises(ValueError, match="'greedy' of the SavedModel does not answer"):
            check_answers(functions, str(quick_export), preprocessor)
        return
    with pytest.raises(ValueError, match="'nbest' of the SavedModel does not answer"):  # Its scores are checked still.
        check_answers(functions, str(quick_export), preprocessor)
