"""Reads YAML, and remembers in which line each key stands."""

import pathlib
import re
from typing import Any, TypeAlias

import yaml

from kerasseq.command_line.shell import UsageError

Path: TypeAlias = tuple[str | int, ...]  # of a value: keys, and positions in lists


class Loader(yaml.SafeLoader):
    """Booleans and numbers as YAML 1.2 has them: `no` is a text, such as a language, and `1e-3` is a number."""


TAGS = ("tag:yaml.org,2002:bool", "tag:yaml.org,2002:float", "tag:yaml.org,2002:timestamp")
Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in TAGS]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Loader.add_implicit_resolver(TAGS[0], re.compile("true|True|TRUE|false|False|FALSE"), list("tTfF"))
NUMBER = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$|[-+]?\.(?:inf|nan)$")
Loader.add_implicit_resolver(TAGS[1], NUMBER, list("-+0123456789."))


def read_yaml(path: str) -> tuple[Any, dict[Path, int]]:
    """The content of a file, and the lines of its keys, by path.

    Raises:
        UsageError: with the line, if the file is no YAML, or a key stands twice.
    """
    text = pathlib.Path(path).expanduser().read_text(encoding="utf-8")
    loader = Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return {}, {}
        lines: dict[Path, int] = {}
        note_lines(node, (), lines, path)
        return loader.construct_document(node), lines
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{path}, line {mark.line + 1}" if mark else path
        raise UsageError(f"{place}: expected YAML. Received: {error.problem}.") from None
    finally:
        loader.dispose()


def note_lines(node: yaml.Node, path: Path, lines: dict[Path, int], file: str) -> None:
    """Notes the lines of the keys below a node."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            own = (*path, str(key.value))
            line = key.start_mark.line + 1
            if own in lines:
                raise UsageError(
                    f"{file}, line {line}: expected each key once. Received: {'.'.join(map(str, own))!r}, which also "
                    f"stands in line {lines[own]}."
                )
            lines[own] = line
            note_lines(value, own, lines, file)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            lines[(*path, index)] = value.start_mark.line + 1
            note_lines(value, (*path, index), lines, file)


def read_value(text: str) -> Any:
    """A value as YAML has it, such as `3`, `[bleu, chrf]` or `1e-3`."""
    loader = Loader(text)
    try:
        return loader.get_single_data()
    except yaml.YAMLError:
        return text
    finally:
        loader.dispose()
