"""The one loop of the library: encode, start, step."""

from kerasseq.search.base import Sampler
from kerasseq.search.request import Request, repeat_rows
from kerasseq.seq2seq import Seq2Seq
from kerasseq.types import Context, Tensor


def decode(
    model: Seq2Seq,
    context: Context,
    sampler: Sampler,
    request: Request,
    num_hypotheses: int | None = None,
) -> dict[str, Tensor]:
    """Searches for the best outputs of a model.

    Args:
        model: a `kerasseq.Seq2Seq`.
        context: the result of `model.encode(inputs)`.
        sampler: a `kerasseq.search` object.
        request: the `Request`. `source_mask` and `source_token_ids` are filled in from the context.
        num_hypotheses: int, at most the sampler's `rows_per_sequence`. Default: that.

    Returns:
        dict of `token_ids`, int32 `(batch, num_hypotheses, max_length)`, and `scores`, float32 `(batch,
        num_hypotheses)`, best hypothesis first; see `Sampler`.
    """
    rows = sampler.rows_per_sequence
    # The encoder and the projections of its memory run once a sentence, the steps once for each hypothesis.
    state, constants = model.start(context)
    state, constants = repeat_rows(state, rows), repeat_rows(constants, rows)
    request = request._replace(
        source_mask=context["memory_mask"], source_token_ids=context.get("encoder_token_ids", request.source_token_ids)
    )

    def step(token_ids, state):
        return model.step(token_ids, state, constants)

    return sampler(step, state, request, num_hypotheses)
