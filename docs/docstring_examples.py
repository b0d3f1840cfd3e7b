"""An extension of Griffe: examples in docstrings, `>>> ...`, become blocks of code."""

import griffe


class DocstringExamples(griffe.Extension):
    def on_instance(self, *, obj, **arguments):
        if obj.docstring:
            obj.docstring.value = with_fences(obj.docstring.value)


def with_fences(text):
    """Puts each run of lines from `>>>` to the next blank line between fences."""
    lines, indent = [], None
    for line in [*text.splitlines(), ""]:
        if indent is None and line.lstrip().startswith(">>> "):
            indent = line[: len(line) - len(line.lstrip())]
            lines.append(f"{indent}```pycon")
        elif indent is not None and not line.strip():
            lines.append(f"{indent}```")
            indent = None
        lines.append(line)
    return "\n".join(lines[:-1])
