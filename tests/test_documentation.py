"""Blocks of code in the documentation: their Python compiles, and the names of kerasseq in them exist."""

import ast
import importlib
import pathlib
import re
import runpy
import textwrap

import pytest

import kerasseq

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("saved_models/**/README.md")]
)


def blocks(page, language):
    text = (ROOT / page).read_text(encoding="utf-8")
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```", text, re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(block) for _, block in found]


def parsed(block):
    """The syntax tree of a block: statements, or the entries of a dict."""
    try:
        return ast.parse(block)
    except SyntaxError:
        return ast.parse(f"{{{block}}}")


def dotted_name(node):
    """`a.b.c` for nested attributes of a name, else an empty string."""
    names = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(names)]) if isinstance(node, ast.Name) else ""


def resolve(name):
    """The object of a dotted name."""
    value = kerasseq
    for part in name.split(".")[1:]:
        if not hasattr(value, part):
            importlib.import_module(f"{value.__name__}.{part}")
        value = getattr(value, part)
    return value


def test_there_are_blocks():
    assert len(PAGES) > 25 and sum(len(blocks(page, "python")) for page in PAGES) > 50


@pytest.mark.parametrize("page", PAGES)
def test_python_compiles_and_names_exist(page):
    for block in blocks(page, "python"):
        for node in ast.walk(parsed(block)):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("kerasseq"):
                for alias in node.names:
                    resolve(f"{node.module}.{alias.name}")
            name = dotted_name(node)
            if name.startswith("kerasseq."):
                resolve(name)


def test_faults_are_found():
    with pytest.raises(SyntaxError):
        parsed("model = (")
    with pytest.raises(ModuleNotFoundError):
        resolve("kerasseq.models.TransformerSequence")


@pytest.mark.exports
@pytest.mark.parametrize("page", ["README.md", "docs/guides/own_data.md"])
def test_training_on_your_own_file(page, tmp_path, monkeypatch):
    """The blocks from `read_pairs` to `export` run as they stand, but for sizes and epochs."""
    monkeypatch.chdir(tmp_path)
    pairs = kerasseq.datasets.load_dates()[0][:400]
    (tmp_path / "pairs.tsv").write_text("".join(f"{source}\t{target}\n" for source, target in pairs), "utf-8")
    found = blocks(page, "python")
    (first,) = (index for index, block in enumerate(found) if 'read_pairs("pairs.tsv")' in block)
    (last,) = (index for index, block in enumerate(found) if ".export(" in block)
    code = "\n".join(found[first : last + 1])
    for old, new in (("units=128, embedding_dim=128", "units=8, embedding_dim=8"), ("epochs=10", "epochs=1")):
        assert code.count(old) == 1
        code = code.replace(old, new)
    (tmp_path / "page.py").write_text(code, "utf-8")
    generator = runpy.run_path(str(tmp_path / "page.py"))["generator"]
    exported = kerasseq.TextGenerator.load(tmp_path / "exported" / "pairs" / "1")
    texts = [source for source, _ in pairs[:3]]
    assert exported.generate(texts) == generator.generate(texts)


def test_commands_of_the_tests_agree():
    """The README, the pages for contributors and `.ci/run` name one command."""
    command = next(block for block in blocks("README.md", "bash") if "pytest" in block)
    for page in ("CONTRIBUTING.md", "docs/contributing/README.md"):
        assert command in blocks(page, "bash")
