"""More training pairs for sentence compression from those at hand.

A compression leaves out spans of its sentence. Leaving out only some of them gives a sentence between the two, with the
same compression.
"""

import difflib
import random
import re

TOKEN = re.compile(r"\w+|[^\w\s]")
CLOSING = re.compile(r"[.,;:!?')%’”]")


class Augmentation:
    """Varies training pairs.

    Args:
        pairs: list of (sentence, compression) tuples.
        seed: int.
        share_of_spans: float, how likely a span that the compression leaves out is left out of the sentence.
        share_of_pairs: float, how many pairs are varied; the others stay as they are.
    """

    def __init__(self, pairs, seed, share_of_spans=0.5, share_of_pairs=0.7):
        self.pairs = pairs
        self.seed = seed
        self.share_of_spans = share_of_spans
        self.share_of_pairs = share_of_pairs
        self.spans = [left_out(*pair) for pair in pairs]

    def epoch(self, number):
        """The pairs of an epoch: the same for the same seed and number."""
        chance = random.Random(f"{self.seed} {number}")
        return [self.varied(chance, *each) for each in zip(self.pairs, self.spans, strict=True)]

    def varied(self, chance, pair, spans):
        if chance.random() >= self.share_of_pairs:
            return pair
        sentence, compression = pair
        chosen = [span for span in spans if chance.random() < self.share_of_spans]
        sentence = without(sentence, chosen)
        if compression[:1].isupper():
            sentence = sentence[:1].upper() + sentence[1:]
        return sentence, compression


def left_out(sentence, compression):
    """Spans of characters of the sentence that its compression leaves out; none where it is no pure deletion."""
    tokens = list(TOKEN.finditer(sentence))
    kept, target = [token[0].lower() for token in tokens], TOKEN.findall(compression.lower())
    blocks = difflib.SequenceMatcher(None, kept, target, autojunk=False).get_matching_blocks()
    if sum(block.size for block in blocks) < len(target):
        return []
    spans, end = [], 0
    for block in blocks:  # The last one is empty and stands at the end.
        if block.a > end:
            spans.append((tokens[end].start(), tokens[block.a - 1].end()))
        end = block.a + block.size
    return spans


def without(sentence, spans):
    """The sentence without these spans, with single spaces, and none before closing punctuation."""
    kept, position = "", 0
    for start, end in [*spans, (len(sentence), len(sentence))]:
        part = sentence[position:start]
        if kept and position and CLOSING.match(part):
            kept = kept.rstrip()
        kept += part
        position = end
    return " ".join(kept.split())
