"""Placeholders for what a model should copy and not translate, such as URLs and numbers."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from kerasseq.arguments import check_positive_integer
from kerasseq.preprocessing.vocabulary import check_protected_tokens
from kerasseq.types import Pair

NAME = re.compile("[A-Za-z]+")


class Placeholders:
    """Replaces parts of texts by protected tokens, `<URL1>`, `<URL2>` and so on, and puts them back into outputs.

    The model learns to copy a few tokens in the place of parts that it would misspell.

    Args:
        patterns: dict from names, of letters, to regular expressions. What several of them match belongs to the first.
        count: int, the number of placeholders of each name in a text; further matches are left as they are.
        keep: list of str, other protected tokens, such as `"<2fr>"`, within which nothing matches.

    Raises:
        ValueError: if a name has other characters than letters, a pattern is no regular expression or matches the empty
            text, `count` is not positive, or `keep` are no protected tokens.

    Example:

    >>> import kerasseq
    >>> patterns = {"URL": r"https?://\\S*\\w", "MAIL": r"\\S+@\\S*\\w"}
    >>> placeholders = kerasseq.preprocessing.Placeholders(patterns, count=2)
    >>> placeholders.tokens
    ['<URL1>', '<URL2>', '<MAIL1>', '<MAIL2>']
    >>> text, hidden = placeholders.hide("See https://keras.io/api?q=1.")
    >>> text
    'See <URL1>.'
    >>> placeholders.restore("Voir <URL1>.", hidden)
    'Voir https://keras.io/api?q=1.'

    In training, `from_pairs(placeholders.hide_pairs(pairs), protected_tokens=placeholders.tokens)`.
    """

    def __init__(self, patterns: Mapping[str, str], count: int = 4, keep: Sequence[str] = ()) -> None:
        check_positive_integer("count", count)
        check_protected_tokens(keep)
        if not isinstance(patterns, Mapping) or not patterns:
            raise ValueError(f"patterns must be a dict from names to regular expressions. Received: {patterns!r}.")
        self._patterns: dict[str, re.Pattern[str]] = {}
        for name, pattern in patterns.items():
            if not isinstance(name, str) or not NAME.fullmatch(name):
                raise ValueError(f"Names of placeholders must be of the letters A to Z. Received: {name!r}.")
            try:
                self._patterns[name] = re.compile(pattern)
                matches_nothing = self._patterns[name].fullmatch("") is not None
            except (re.error, TypeError) as error:
                raise ValueError(
                    f"The pattern of {name!r} must be a regular expression. Received: {pattern!r}."
                ) from error
            if matches_nothing:
                raise ValueError(f"The pattern of {name!r} must not match the empty text. Received: {pattern!r}.")
        self.count = count
        self._tokens = re.compile("|".join(map(re.escape, self.tokens)))
        self._known = re.compile("|".join(map(re.escape, [*self.tokens, *sorted(keep, key=len, reverse=True)])))

    @property
    def tokens(self) -> list[str]:
        """All placeholders, for `protected_tokens`."""
        return [f"<{name}{number}>" for name in self._patterns for number in range(1, self.count + 1)]

    def hide(self, text: str) -> tuple[str, dict[str, str]]:
        """Returns a text with placeholders, and a dict from these to what they replace. Equal parts share one."""
        return self._hide(text, self._matches(text), lambda part: True)

    def restore(self, text: str, hidden: Mapping[str, str]) -> str:
        """Puts back what `hide` has replaced. Placeholders that are not in `hidden` are removed."""
        return self._tokens.sub(lambda match: hidden.get(match[0], ""), text)

    def hide_pairs(self, pairs: Iterable[Pair]) -> list[tuple[str, str]]:
        """Replaces parts that occur on both sides of a pair by the same placeholder; others are left as they are."""
        result = []
        for source, target in pairs:
            matches = self._matches(target)
            in_target = {target[match.start : match.end] for match in matches}
            hidden_source, hidden = self._hide(source, self._matches(source), in_target.__contains__)
            token_of = {part: token for token, part in hidden.items()}
            result.append((hidden_source, replaced(target, matches, token_of)))
        return result

    def _matches(self, text: str) -> list["Match"]:
        """What the patterns match in a text, in its order; placeholders and kept tokens have the name `""`."""
        matches = [Match(*match.span(), "") for match in self._known.finditer(text)]
        for name, pattern in self._patterns.items():
            for start, end in (match.span() for match in pattern.finditer(text)):
                if start < end and all(end <= other.start or start >= other.end for other in matches):
                    matches.append(Match(start, end, name))
        return sorted(matches)

    def _hide(self, text: str, matches: list["Match"], is_hidden: Callable[[str], bool]) -> tuple[str, dict[str, str]]:
        # Placeholders in the text stay what they are.
        token_of = {token: token for token in self._known.findall(text)}
        unused = {name: [f"<{name}{number}>" for number in range(self.count, 0, -1)] for name in self._patterns}
        for start, end, name in matches:
            part = text[start:end]
            if part not in token_of and is_hidden(part):
                while unused[name] and unused[name][-1] in token_of:
                    unused[name].pop()
                if unused[name]:
                    token_of[part] = unused[name].pop()
        return replaced(text, matches, token_of), {token: part for part, token in token_of.items()}


class Match(NamedTuple):
    """Where a pattern matches."""

    start: int
    end: int
    name: str


def replaced(text: str, matches: Iterable[Match], token_of: Mapping[str, str]) -> str:
    """Replaces the matches that have a token."""
    pieces, position = [], 0
    for start, end, _ in matches:
        part = text[start:end]
        pieces += [text[position:start], token_of.get(part, part)]
        position = end
    return "".join([*pieces, text[position:]])
