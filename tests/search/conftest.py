"""A decoder whose every probability is known, and searches over it in plain Python."""

import dataclasses
import fractions
import math

import numpy as np
import pytest
import tensorflow as tf

from kerasseq import search

END = 3


class Trees:
    """A tree of tokens for each sequence: logits and attention depend on the whole prefix, a node of the tree.

    Args:
        tables: logits `(batch, nodes, vocabulary)`; child `token` of `node` is node `node * vocabulary + token + 1`.
        attention: `(batch, nodes, source)`.
        source_mask: bool `(batch, source)`.
    """

    def __init__(self, tables, attention=None, source_mask=None):
        self.tables = np.asarray(tables, "float32")
        self.attention = attention
        self.source_mask = source_mask
        self.steps = tf.Variable(0)

    @classmethod
    def random(cls, batch, depth, seed, vocabulary=4, source=5):
        """Trees for prefixes of up to `depth` tokens; sources of 1 to `source` real positions."""
        random = np.random.default_rng(seed)
        nodes = (vocabulary ** (depth + 1) - 1) // (vocabulary - 1)
        tables = random.normal(size=(batch, nodes, vocabulary)) * 2
        source_mask = np.arange(source) < random.integers(1, source, endpoint=True, size=(batch, 1))
        attention = random.dirichlet(np.full(source, 0.4), size=(batch, nodes)).astype("float32")
        attention[::2, :, 0] = 0.0  # In every other sequence a position is never attended to.
        return cls(tables, attention, source_mask)

    def search(self, sampler, max_length, rows=None, num_hypotheses=None, **request):
        """Token ids and scores of all sequences, or of those in `rows`, as arrays."""
        rows = range(len(self.tables)) if rows is None else rows
        if self.source_mask is not None:
            request["source_mask"] = tf.gather(self.source_mask, rows)
        outputs = self.sample(sampler, rows, max_length, num_hypotheses, **request)
        return np.asarray(outputs["token_ids"]), np.asarray(outputs["scores"])

    def sample(self, sampler, rows, max_length, num_hypotheses=None, prefix_ids=None, **request):
        """The results of `sampler` for the sequences `rows`, int32 `(batch,)`; also in a graph."""
        rows = tf.convert_to_tensor(rows, tf.int32)
        repeated = tf.repeat(rows, sampler.rows_per_sequence)
        state = {"row": repeated, "node": tf.zeros_like(repeated), "position": tf.zeros_like(repeated)}
        if prefix_ids is not None:
            request |= {"prefix_ids": prefix_ids, "constraints": (search.Prefix(),)}
        request = search.Request(batch_size=tf.shape(rows)[0], max_length=max_length, **request)
        step = search.Step(lambda token_ids, state, constants: self.step(token_ids, state), {})
        return sampler(step, state, request, num_hypotheses)

    def step(self, token_ids, state):
        self.steps.assign_add(1)
        child = state["node"] * self.tables.shape[2] + token_ids + 1
        node = tf.where(state["position"] == 0, 0, child)  # START leads to the root.
        # Prefixes beyond the depth of the tree share the last node.
        node = tf.minimum(node, self.tables.shape[1] - 1)
        place = tf.stack([state["row"], node], axis=1)
        outputs = {"logits": tf.gather_nd(self.tables, place)}
        if self.attention is not None:
            outputs["attention"] = tf.gather_nd(self.attention, place)
        return {**outputs, "state": {"row": state["row"], "node": node, "position": state["position"] + 1}}

    def by_hand(self, row, max_length, **options):
        attention, source_mask = (None if part is None else part[row] for part in (self.attention, self.source_mask))
        return ByHand(self.tables[row], attention, source_mask, max_length, **options)


@dataclasses.dataclass
class ByHand:
    """Constraints, scores and searches of one sequence, in plain Python and float64, without early stopping.

    The options are those of `make_sampler`. Searches return lists of ids and score.
    """

    table: np.ndarray
    attention: np.ndarray
    source_mask: np.ndarray
    max_length: int
    end: int = END
    prefix_ids: tuple = ()
    length_penalty: float = 1.0
    normalization: str = "gnmt"
    coverage: float = 0.0
    min_length: int = 1
    min_length_ratio: float = 0.0
    max_length_ratio: float | None = None
    ngram_size: int | None = None
    suppressed_ids: tuple = ()

    def __post_init__(self):
        self.vocabulary = self.table.shape[-1]
        self.prefix_ids = [int(token) for token in self.prefix_ids]
        self.longest, self.shortest = self.max_length, self.min_length
        if self.source_mask is not None:
            source = int(self.source_mask.sum())
            if self.max_length_ratio is not None:
                relative = math.floor(fractions.Fraction(str(self.max_length_ratio)) * source)
                prefix = sum(token > 0 for token in self.prefix_ids)
                self.longest = min(self.longest, max(relative, prefix + 1))
            self.shortest = max(self.shortest, math.ceil(fractions.Fraction(str(self.min_length_ratio)) * source))
        self.shortest = min(self.shortest, self.longest)

    # === Probabilities, constraints and scores ===

    def node(self, prefix):
        node = 0
        for token in prefix:
            node = min(node * self.vocabulary + token + 1, len(self.table) - 1)
        return node

    def log_probabilities(self, prefix):
        row = self.table[self.node(prefix)].astype("float64")
        return row - np.log(np.exp(row).sum())

    def log_probability(self, ids):
        return sum(self.log_probabilities(ids[:position])[token] for position, token in enumerate(ids))

    def allows(self, prefix, token):
        if len(prefix) < len(self.prefix_ids) and self.prefix_ids[len(prefix)]:
            return token == self.prefix_ids[len(prefix)]
        if token in self.suppressed_ids or (token == self.end and len(prefix) + 1 < self.shortest):
            return False
        ids, size = (*prefix, token), self.ngram_size
        if not size or len(ids) < size:
            return True
        return ids[-size:] not in [ids[start : start + size] for start in range(len(ids) - size)]

    def continuations(self, prefix):
        following = self.log_probabilities(prefix)
        return [(token, following[token]) for token in range(self.vocabulary) if self.allows(prefix, token)]

    def score(self, ids, log_probability):
        """Wu et al. 2016, equation 14."""
        base = {"gnmt": (5 + len(ids)) / 6, "length": len(ids)}[self.normalization]
        score = log_probability / base**self.length_penalty
        if self.coverage:
            attended = sum(self.attention[self.node(ids[:step])].astype("float64") for step in range(len(ids)))
            # Attention below a millionth counts as a millionth.
            logarithms = np.log(np.clip(attended, 1e-6, 1.0))
            score += self.coverage * logarithms[self.source_mask].sum()
        return score

    def ranked(self, finished, partial):
        """Pairs of ids and log-probability, scored; the finished ones before all partial ones."""
        scored = [[(ids, self.score(ids, value)) for ids, value in group] for group in (finished, partial)]
        return [pair for group in scored for pair in sorted(group, key=lambda pair: -pair[1])]

    # === Searches ===

    def greedy(self):
        """Ids and log-probability."""
        ids, score = (), 0.0
        while len(ids) < self.longest and self.end not in ids and self.continuations(ids):
            token, added = max(self.continuations(ids), key=lambda pair: pair[1])
            ids, score = (*ids, token), score + added
        return ids, score

    def brute_force(self):
        """Every output."""
        finished, partial, prefixes = [], [], [()]
        while prefixes:
            prefix = prefixes.pop()
            for token, _ in self.continuations(prefix):
                ids = (*prefix, token)
                group = finished if token == self.end else partial if len(ids) == self.longest else prefixes
                group.append(ids)
        return self.ranked(*([(ids, self.log_probability(ids)) for ids in group] for group in (finished, partial)))

    def beam_search(self, beams, stop=None):
        """`stop` is a function of the candidates of a step, the partial and the finished hypotheses."""
        alive, finished = [((), 0.0)], []
        for _ in range(self.longest):
            candidates = [
                ((*prefix, token), score + added)
                for prefix, score in alive
                for token, added in self.continuations(prefix)
            ]
            candidates.sort(key=lambda pair: -pair[1])
            finished += [(ids, score) for ids, score in candidates[:beams] if ids[-1] == self.end]
            alive = [(ids, score) for ids, score in candidates if ids[-1] != self.end][:beams]
            if stop is not None and alive and stop(candidates, alive, finished):
                break
        return self.ranked(finished, alive)[:beams]


def make_sampler(sampler, options=None, **arguments):
    """`sampler(**arguments)` with the constraints and scorers of the options of `ByHand`.

    "source_words" stands for `SourceWords`; other options are arguments of the sampler.
    """
    arguments |= options or {}
    constraints = list(arguments.pop("constraints", []))
    for name, constraint in (("suppressed_ids", search.SuppressTokens), ("ngram_size", search.NoRepeatNGram)):
        if arguments.get(name) is not None:
            constraints.append(constraint(arguments[name]))
        arguments.pop(name, None)
    if arguments.pop("source_words", False):
        constraints.append(search.SourceWords())
    names = ("min_length", "min_length_ratio", "max_length_ratio")
    if lengths := {name: arguments.pop(name) for name in names if name in arguments}:
        constraints.append(search.LengthLimits(**lengths))
    if coverage := arguments.pop("coverage", 0):
        arguments["scorers"] = [search.Coverage(coverage)]
    return sampler(**arguments, constraints=constraints)


def check(token_ids, scores, expected):
    """The hypotheses of a sequence are the expected ones, best first; ranks without a hypothesis are empty."""
    expected = expected[: len(token_ids)]
    empty = len(token_ids) - len(expected)
    padded = [[*ids, *[0] * (token_ids.shape[1] - len(ids))] for ids, _ in expected]
    assert token_ids.tolist() == padded + [[0] * token_ids.shape[1]] * empty
    np.testing.assert_allclose(scores[: len(expected)], [score for _, score in expected], rtol=1e-4, atol=1e-4)
    assert (scores[len(expected) :] <= -1e9).all() and not np.isnan(scores).any()


@pytest.fixture(scope="session")
def trees():
    """The class `Trees`."""
    return Trees


@pytest.fixture(scope="session", name="make_sampler")
def make_sampler_fixture():
    """The function `make_sampler(sampler, options, **arguments)`."""
    return make_sampler


@pytest.fixture(scope="session", name="check")
def check_fixture():
    """The function `check(token_ids, scores, expected)`."""
    return check
