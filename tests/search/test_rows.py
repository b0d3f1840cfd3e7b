"""Sequences that leave the batch."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from kerasseq import search
from kerasseq.search import BeamSampler, GreedySampler

END, VOCABULARY, SOURCE, BATCH = 3, 6, 5, 20
SAMPLERS = {
    "greedy": GreedySampler(),
    "greedy with constraints": GreedySampler([search.NoRepeatNGram(2), search.LengthLimits(2, 0.5, 2.0)]),
    "beam": BeamSampler(3),
    "beam with all": BeamSampler(
        3,
        constraints=[search.NoRepeatNGram(2), search.LengthLimits(2, 0.5, 2.0), search.SuppressTokens([1])],
        scorers=[search.Coverage(0.1)],
    ),
    "first": BeamSampler(4, stop="first"),
}


class Rows:
    """Logits that depend on the row, the step and the last token, by constants: of a row, and shared.

    Sequences end after lengths of their own, from 1 on.
    """

    def __init__(self, seed):
        random = np.random.default_rng(seed)
        self.table = tf.constant(random.normal(size=(BATCH, VOCABULARY, VOCABULARY)), tf.float32)
        self.shared = tf.constant(random.normal(size=(25, VOCABULARY)), tf.float32)
        self.ends = tf.constant(random.permutation(BATCH) + 1, tf.int32)
        attention = random.dirichlet(np.full(SOURCE, 0.5), size=BATCH)
        self.attention = tf.constant(attention, tf.float32)
        self.source_mask = tf.constant(np.arange(SOURCE) < random.integers(1, SOURCE + 1, size=(BATCH, 1)))
        self.rows_seen = tf.Variable(0)

    def step(self, token_ids, state, constants):
        self.rows_seen.assign_add(tf.size(token_ids))
        logits = tf.gather(constants["table"], token_ids, batch_dims=1) + tf.gather(
            constants["shared"]["table"], state["step"]
        )
        end = tf.cast(state["step"] + 1 >= constants["ends"], tf.float32) * 40.0 - 20.0
        logits = tf.concat([logits[:, :END], end[:, None], logits[:, END + 1 :]], axis=1)
        return {"logits": logits, "attention": constants["attention"], "state": {"step": state["step"] + 1}}

    def search(self, sampler, leaving, traced=False, rows=BATCH, **request):
        """The results, and the number of rows in all steps."""

        def run(ends):
            times = sampler.rows_per_sequence
            constants = {"table": self.table[:rows], "ends": ends, "attention": self.attention[:rows]}
            constants = {name: tf.repeat(value, times, axis=0) for name, value in constants.items()}
            constants["shared"] = {"table": self.shared}
            step = search.Step(self.step, constants) if leaving else lambda *both: self.step(*both, constants)
            state = {"step": tf.zeros_like(constants["ends"])}
            outline = search.Request(
                batch_size=tf.shape(ends)[0], max_length=25, source_mask=self.source_mask[:rows], **request
            )
            return sampler(step, state, outline)

        self.rows_seen.assign(0)
        run_here = tf.function(run, [tf.TensorSpec([None], tf.int32)], autograph=False) if traced else run
        outputs = run_here(self.ends[:rows])
        return {name: value.numpy() for name, value in outputs.items()}, int(self.rows_seen)


@pytest.mark.parametrize("traced", [False, True])
@pytest.mark.parametrize("name", SAMPLERS)
def test_leaving_changes_nothing(name, traced):
    rows = Rows(seed=1)
    stays, seen_by_all = rows.search(SAMPLERS[name], leaving=False)
    leaves, seen = rows.search(SAMPLERS[name], leaving=True, traced=traced)
    np.testing.assert_array_equal(leaves["token_ids"], stays["token_ids"])
    np.testing.assert_allclose(leaves["scores"], stays["scores"], rtol=1e-5)
    assert seen < seen_by_all


def test_few_rows_stay_longer_than_they_must():
    """Sequences of 1 to 20 tokens: an eighth of the batch leaves at once, so at most an eighth stays too long."""
    rows = Rows(seed=2)
    _, seen = rows.search(GreedySampler(), leaving=True)
    needed = int(tf.reduce_sum(rows.ends))
    assert needed <= seen <= needed * 8 / 7 + 20
    _, seen = rows.search(GreedySampler(), leaving=False)
    assert seen == BATCH * BATCH


@pytest.mark.parametrize("rows", [0, 1])
@pytest.mark.parametrize("traced", [False, True])
def test_empty_batches_and_single_sequences(rows, traced):
    some = Rows(seed=3)
    leaves, _ = some.search(BeamSampler(2), leaving=True, traced=traced, rows=rows)
    assert leaves["token_ids"].shape == (rows, 2, 25)
    if rows:
        stays, _ = some.search(BeamSampler(2), leaving=False, rows=rows)
        np.testing.assert_array_equal(leaves["token_ids"], stays["token_ids"])


@keras.saving.register_keras_serializable(package="test")
class WithTable(search.Constraint):
    """Allows the tokens of a table that all rows share, and forgets to say so."""

    def start(self, request):
        return {}, {"allowed": ops.ones((VOCABULARY,), dtype="bool")}

    def mask(self, hypotheses, state, constants):
        return constants["allowed"][None]


class WithTableOfUnknownSize(WithTable):
    def start(self, request):
        return {}, {"allowed": tf.where(tf.ones(VOCABULARY, dtype="bool"))[:, 0] >= 0}


@pytest.mark.parametrize("constraint", [WithTable, WithTableOfUnknownSize])
@pytest.mark.parametrize("traced", [False, True])
def test_constants_without_rows_are_refused(traced, constraint):
    message = "Received: a tensor of the shape .(6|None),.*Put what all rows share under the key"
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match=message):
        Rows(seed=4).search(GreedySampler([constraint()]), leaving=True, traced=traced)
