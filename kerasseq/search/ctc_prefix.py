"""Joint decoding with the CTC probabilities of the encoder."""

import keras
from keras import ops

from kerasseq.arguments import check_number, check_positive_integer
from kerasseq.search.request import IMPOSSIBLE
from kerasseq.search.scorers import Scorer
from kerasseq.search.top_k import take_rows
from kerasseq.types import Tensor

BLANK = 0  # as in `kerasseq.layers.CTCLoss`


@keras.saving.register_keras_serializable(package="kerasseq")
class CTCPrefix(Scorer):
    """Joint decoding of attention and CTC (Watanabe et al. 2017, section III.B), for models with a `CTCLoss`.

    The logarithms of both probabilities are mixed, those of a partial hypothesis h and of a finished one y:

        (1 - weight) * log p(h | x) + weight * log p_ctc(h, ... | x)
        (1 - weight) * log p(y | x) + weight * log p_ctc(y | x)

    where `p_ctc(h, ...)` sums over all outputs that begin with h. CTC knows no order of its own but that of the source,
    so outputs that skip or repeat a part of it score low.

    Args:
        weight: float in [0, 1], the share of CTC; 0.3 in ESPnet's recipes.
        candidates: int, how many tokens of each partial hypothesis, the likeliest ones of the decoder, get a CTC score;
            at least `2 * beam_width`, and at most the vocabulary. The others do not continue it.

    Raises:
        ValueError: if `weight` is not in [0, 1] or `candidates` is not a positive integer; in a `TextGenerator` for a
            model without a `CTCLoss`.

    Example:

    ```python
    sampler = kerasseq.search.BeamSampler(scorers=[kerasseq.search.CTCPrefix(0.3)], length_penalty=0.0)
    recognizer = kerasseq.TextGenerator(model, preprocessor, sampler=sampler)
    ```

    Sources: Watanabe et al. 2017, "Hybrid CTC/attention architecture for end-to-end speech recognition", algorithm 2;
    Graves 2008, section 7.5.3, for the probabilities of prefixes.
    """

    needs_ctc = True

    def __init__(self, weight: float = 0.3, candidates: int = 40):
        if check_number("weight", weight) > 1:
            raise ValueError(f"weight must be in [0, 1]. Received: weight={weight!r}.")
        check_positive_integer("candidates", candidates)
        self.weight = weight
        self.candidates = candidates

    def start(self, request):
        if request.ctc_log_probabilities is None:
            raise ValueError(
                "CTCPrefix needs the ctc_log_probabilities of the request, float (batch, positions, vocabulary). "
                "Received: ctc_log_probabilities=None."
            )
        scores = ops.cast(request.ctc_log_probabilities, "float32")
        tokens = ops.arange(scores.shape[-1], dtype="int32")
        # Positions of padding are blanks for certain: they change no probability.
        blank = ops.where(tokens == BLANK, 0.0, IMPOSSIBLE)
        scores = ops.where(request.source_mask[:, :, None], scores, blank)
        scores = ops.transpose(scores, (0, 2, 1))  # (rows, vocabulary, positions)
        blanks = ops.cumsum(scores[:, BLANK], axis=-1)
        nothing = ops.full_like(blanks, IMPOSSIBLE)
        state = {
            "last": ops.full((request.batch_size,), -1, dtype="int32"),
            "prefix": ops.zeros((request.batch_size,), dtype="float32"),  # log p_ctc of the hypothesis as a prefix
            # Of the alignments of the hypothesis with the positions up to each: those that end in a token, in a blank.
            "in_token": nothing,  # (rows, positions)
            "in_blank": blanks,
        }
        return state, {"scores": scores, "end": ops.full((request.batch_size,), request.end_id, dtype="int32")}

    def follow(self, outputs, state, constants):
        return state

    def score(self, state, constants):
        return ops.zeros_like(state["prefix"])

    def rescore(self, log_probabilities, token_ids, state, constants):
        prefixes = logsumexp(self._begins(token_ids, state, constants))  # (rows, candidates)
        whole = ops.logaddexp(state["in_token"][:, -1:], state["in_blank"][:, -1:])  # (rows, 1)
        prefixes = ops.where(token_ids == constants["end"][:, None], whole, prefixes)
        gained = ops.maximum(prefixes - state["prefix"][:, None], IMPOSSIBLE)
        return (1.0 - self.weight) * log_probabilities + self.weight * gained

    def extend(self, token_ids, state, constants):
        begins = self._begins(token_ids[:, None], state, constants)[:, 0]  # (rows, positions)
        scores = take_rows(constants["scores"], token_ids[:, None])[:, 0]
        in_token = solve(scores, begins)
        before = shifted(in_token, 1)
        blanks = constants["scores"][:, BLANK]
        in_blank = solve(blanks, ops.maximum(before + blanks, IMPOSSIBLE))
        return {"last": token_ids, "prefix": logsumexp(begins), "in_token": in_token, "in_blank": in_blank}

    def _begins(self, token_ids: Tensor, state, constants) -> Tensor:
        """Log-probabilities that the next token begins at each position: `(rows, candidates, positions)`."""
        repeats = token_ids == state["last"][:, None]
        # A token that repeats the last one begins behind a blank.
        in_token, in_blank = state["in_token"][:, None], state["in_blank"][:, None]
        before = ops.where(repeats[:, :, None], in_blank, ops.logaddexp(in_token, in_blank))
        first = ops.where(state["last"] < 0, 0.0, IMPOSSIBLE)  # of the hypothesis, before the first position
        before = ops.concatenate(
            [ops.broadcast_to(first[:, None, None], ops.shape(before[:, :, :1])), before[:, :, :-1]], axis=-1
        )
        return ops.maximum(before + take_rows(constants["scores"], token_ids), IMPOSSIBLE)

    def get_config(self):
        return {"weight": self.weight, "candidates": self.candidates}


def logsumexp(values: Tensor) -> Tensor:
    """Over the last axis, and at least `IMPOSSIBLE`."""
    return ops.maximum(ops.logsumexp(values, axis=-1), IMPOSSIBLE)


def shifted(values: Tensor, steps: Tensor | int) -> Tensor:
    """The values `(rows, positions)` that stand `steps` positions before each; `IMPOSSIBLE` where there are none."""
    sources = ops.arange(ops.shape(values)[-1], dtype="int32") - steps
    return ops.where(sources >= 0, ops.take(values, ops.maximum(sources, 0), axis=-1), IMPOSSIBLE)


def solve(factors: Tensor, terms: Tensor) -> Tensor:
    """Solves `x[t] = logaddexp(factors[t] + x[t - 1], terms[t])`, all `(rows, positions)`, with nothing before.

    By doubling: each round joins twice as many positions.
    """
    positions = ops.shape(terms)[-1]

    def join(steps, factors, terms):
        terms = ops.logaddexp(terms, ops.maximum(factors + shifted(terms, steps), IMPOSSIBLE))
        return 2 * steps, ops.maximum(factors + shifted(factors, steps), IMPOSSIBLE), terms

    steps = ops.convert_to_tensor(1, dtype="int32")
    return ops.while_loop(lambda steps, *_: steps < positions, join, (steps, factors, terms))[2]
