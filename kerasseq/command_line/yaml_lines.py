"""Reads YAML and records the line number of each key."""

import pathlib
import re
from typing import Any, TypeAlias

import yaml

from kerasseq.command_line.shell import UsageError

Path: TypeAlias = tuple[str | int, ...]  # of a value: keys, and positions in lists


class Loader(yaml.SafeLoader):
    """Booleans and decimal numbers of YAML 1.2: `no`, `12:30` and `2024_01_05` are texts, `1e-3` is a number."""


class Dumper(yaml.SafeDumper):
    """Quotes texts that YAML 1.1 or 1.2 would take for something else."""


BOOL, INT, FLOAT = (f"tag:yaml.org,2002:{name}" for name in ("bool", "int", "float"))
TIMESTAMP = "tag:yaml.org,2002:timestamp"
Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in (BOOL, INT, FLOAT, TIMESTAMP)]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
INTEGER = re.compile(r"[-+]?[0-9]+$")
NUMBER = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$|[-+]?\.(?:inf|nan)$")
Loader.add_implicit_resolver(BOOL, re.compile("(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
for kind in (Loader, Dumper):
    kind.add_implicit_resolver(INT, INTEGER, list("-+0123456789"))  # Before FLOAT: the first one that fits is taken.
    kind.add_implicit_resolver(FLOAT, NUMBER, list("-+0123456789."))
Loader.add_constructor(INT, lambda loader, node: int(loader.construct_scalar(node)))


def read_yaml(path: str) -> tuple[Any, dict[Path, int]]:
    """The content of a file, and the lines of its keys, by path.

    Raises:
        UsageError: with the line, if the file is no YAML, or a key stands twice.
    """
    try:
        loader = Loader(pathlib.Path(path).expanduser().read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: expected UTF-8 text. Received: byte 0x{error.object[error.start]:02x}.") from None
    except yaml.YAMLError as error:  # of a character that no YAML may have
        raise UsageError(f"{path}: expected YAML. Received: {' '.join(str(error).split())}.") from None
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
    except RecursionError:
        raise UsageError(
            f"{path}: expected sections. Received: one that contains itself, by an anchor (&) and an alias (*)."
        ) from None
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
    except (yaml.YAMLError, RecursionError):
        return text
    finally:
        loader.dispose()


def write_yaml(value: Any) -> str:
    """YAML that `read_yaml` reads as the same value."""
    return yaml.dump(value, Dumper=Dumper, sort_keys=False, allow_unicode=True)
