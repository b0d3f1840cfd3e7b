"""Runs a sampler over a model. The steps of searches are in `greedy.py` and `beam.py`, their loop is in `rows.py`."""

from kerasseq.search.base import Sampler
from kerasseq.search.request import Request, repeat_rows
from kerasseq.search.rows import Step
from kerasseq.seq2seq import Seq2Seq
from kerasseq.types import Context, Tensor


def decode(
    model: Seq2Seq, context: Context, sampler: Sampler, request: Request, num_hypotheses: int | None = None
) -> dict[str, Tensor]:
    """Searches for the best outputs of a model, from a context that is already encoded.

    Args:
        model: a `kerasseq.Seq2Seq`.
        context: the result of `model.encode(inputs)`.
        sampler: a `kerasseq.search` object.
        request: the `Request`. `source_mask` and `source_token_ids` are filled in from the context.
        num_hypotheses: int, at most the sampler's `rows_per_sequence`. Default: that.

    Returns:
        dict of `token_ids`, int32 `(batch, num_hypotheses, max_length)`, and `scores`, float32 `(batch,
        num_hypotheses)`, best hypothesis first; see `Sampler`.

    Example:

    >>> import keras, kerasseq
    >>> model = kerasseq.models.AttentionSeq2Seq(100, 120, embedding_dim=16, units=32)
    >>> context = model.encode({"encoder_token_ids": keras.ops.ones((2, 7), dtype="int32")})
    >>> request = kerasseq.search.Request(batch_size=2, max_length=10)
    >>> outputs = kerasseq.search.decode(model, context, kerasseq.search.BeamSampler(beam_width=3), request)
    >>> keras.ops.shape(outputs["token_ids"])
    (2, 3, 10)
    """
    rows = sampler.rows_per_sequence
    # The memory is projected once per source, as it was encoded; steps run once per hypothesis.
    state, constants = model.start(context)
    state, constants = repeat_rows(state, rows), repeat_rows(constants, rows)
    request = request._replace(
        source_mask=context["memory_mask"], source_token_ids=context.get("encoder_token_ids", request.source_token_ids)
    )
    if any(scorer.needs_ctc for scorer in sampler.scorers):
        request = request._replace(ctc_log_probabilities=model.ctc_log_probabilities(context))
    return sampler(Step(model.step, constants), state, request, num_hypotheses)
