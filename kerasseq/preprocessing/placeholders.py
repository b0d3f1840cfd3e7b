"""Placeholders for what a model should copy and not translate, such as URLs and numbers."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping

from kerasseq.arguments import check_positive_integer
from kerasseq.types import Pair

NAME = re.compile("[A-Za-z]+")


class Placeholders:
    """Replaces parts of texts by protected tokens, `<URL1>`, `<URL2>` and so on, and puts them back into outputs.

    The model learns to copy a few tokens in the place of parts that it would misspell.

    Args:
        patterns: dict from names, of letters, to regular expressions. What several of them match belongs to the first.
        count: int, the number of placeholders of each name in a text; further matches are left as they are.

    Raises:
        ValueError: if a name has other characters than letters, a pattern is no regular expression or matches nothing
            at all, or `count` is not positive.

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

    def __init__(self, patterns: Mapping[str, str], count: int = 4) -> None:
        check_positive_integer("count", count)
        if not isinstance(patterns, Mapping) or not patterns:
            raise ValueError(f"patterns must be a dict from names to regular expressions. Received: {patterns!r}.")
        self._patterns: dict[str, re.Pattern[str]] = {}
        for name, pattern in patterns.items():
            if not isinstance(name, str) or not NAME.fullmatch(name):
                raise ValueError(f"Names of placeholders must be of the letters A to Z. Received: {name!r}.")
            try:
                self._patterns[name] = re.compile(pattern)
            except (re.error, TypeError) as error:
                raise ValueError(
                    f"The pattern of {name!r} must be a regular expression. Received: {pattern!r}."
                ) from error
            if self._patterns[name].fullmatch(""):
                raise ValueError(f"The pattern of {name!r} must not match the empty text. Received: {pattern!r}.")
        self.count = count
        self._known = re.compile("|".join(map(re.escape, self.tokens)))

    @property
    def tokens(self) -> list[str]:
        """All placeholders, for `protected_tokens`."""
        return [f"<{name}{number}>" for name in self._patterns for number in range(1, self.count + 1)]

    def hide(self, text: str) -> tuple[str, dict[str, str]]:
        """Returns a text with placeholders, and a dict from these to what they replace. Equal parts share one."""
        return self._hide(text, lambda part: True)

    def restore(self, text: str, hidden: Mapping[str, str]) -> str:
        """Puts back what `hide` has replaced. Placeholders that are not in `hidden` are removed."""
        return self._known.sub(lambda match: hidden.get(match[0], ""), text)

    def hide_pairs(self, pairs: Iterable[Pair]) -> list[tuple[str, str]]:
        """Replaces parts that occur on both sides of a pair by the same placeholder; others are left as they are."""
        result = []
        for source, target in pairs:
            source, hidden = self._hide(source, self._parts(target).__contains__)
            token_of = {part: token for token, part in hidden.items()}
            for pattern in self._patterns.values():
                target = self._replace(pattern, target, token_of.get)
            result.append((source, target))
        return result

    def _parts(self, text: str) -> set[str]:
        """What the patterns match in a text."""
        parts: set[str] = set()

        def choose(part: str) -> str:
            parts.add(part)
            return self.tokens[0]  # so that no later pattern matches it

        for pattern in self._patterns.values():
            text = self._replace(pattern, text, choose)
        return parts

    def _hide(self, text: str, is_hidden: Callable[[str], bool]) -> tuple[str, dict[str, str]]:
        # Placeholders that are in the text already stay what they are.
        hidden = {token: token for token in self._known.findall(text)}
        token_of: dict[str, str] = {}
        for name, pattern in self._patterns.items():
            tokens = (f"<{name}{number}>" for number in range(1, self.count + 1))
            unused = iter([token for token in tokens if token not in hidden])

            def choose(part: str, unused: Iterator[str] = unused) -> str | None:
                if part not in token_of and is_hidden(part) and (token := next(unused, None)):
                    token_of[part] = token
                return token_of.get(part)

            text = self._replace(pattern, text, choose)
        return text, hidden | {token: part for part, token in token_of.items()}

    def _replace(self, pattern: re.Pattern[str], text: str, choose: Callable[[str], str | None]) -> str:
        """Replaces matches by what `choose` returns, unless it is `None`. Placeholders are no part of a match."""
        pieces = re.split(f"({self._known.pattern})", text)
        for index in range(0, len(pieces), 2):
            pieces[index] = pattern.sub(lambda match: choose(match[0]) or match[0], pieces[index])
        return "".join(pieces)
