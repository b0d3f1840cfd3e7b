"""Translated pages and tutorials say the same as the English ones: headings, code, links and numbers agree."""

import ast
import collections
import pathlib
import re

import nbformat
import pytest
from helpers import load_script

ROOT = pathlib.Path(__file__).resolve().parents[1]
TUTORIALS = ROOT / "tutorials"
PAGES = sorted(
    path.relative_to(ROOT).as_posix() for path in [*ROOT.glob("*.zh-TW.md"), *ROOT.glob("docs/**/*.zh-TW.md")]
)
SCRIPTS = sorted(path.name for path in TUTORIALS.glob("zh-TW/*.py"))
TERMS = "docs/glossary.zh-TW.md"  # A list of terms, not a translation of the English page.

FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
CHINESE = "[\u4e00-\u9fff]"
# Terms of mainland China that have others in Taiwan.
MAINLAND = re.compile("軟件|硬件|數據|代碼|默認|視頻|信息|網絡|服務器|內存|字符|字節|調用|打印|文件夾|優化|緩存|線程")


def english(path):
    """The path of the English original, as str."""
    return path.replace(".zh-TW.", ".").replace("zh-TW/", "")


def without_comments(code, language="python"):
    """Code without comments and docstrings."""
    if language == "bash":
        return re.sub(r"\s+#.*$", "", code, flags=re.MULTILINE)
    if language != "python":
        return code
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
            node.body[0].value.value = ""
    return ast.unparse(tree)


def headings(text):
    """The levels of the headings of Markdown."""
    return [len(marks) for marks in re.findall("^(#+) ", FENCED.sub("", text), re.MULTILINE)]


def tables(text):
    """Of each row of Markdown's tables: the number of cells, and all numbers outside addresses."""
    rows = re.findall(r"^\|.*\|$", LINK.sub("]", FENCED.sub("", text)), re.MULTILINE)
    return [(row.count("|"), sorted(re.findall(r"\d+(?:\.\d+)?", row))) for row in rows]


def outline(text):
    """What a page and its translation have in common."""
    return {
        "headings": headings(text),
        "code": [(language, without_comments(code, language)) for language, code in FENCED.findall(text)],
        "tables": tables(text),
    }


def differences(original, translation):
    """What a translation does not have in common with its original, both Markdown, as a list of str.

    It may have more links, but only to other translations.
    """
    expected, received = outline(original), outline(translation)
    found = [name for name in expected if expected[name] != received[name]]
    links, own = collections.Counter(map(english, LINK.findall(original))), LINK.findall(translation)
    if missing := links - collections.Counter(map(english, own)):
        found.append(f"links missing: {sorted(missing)}")
    if added := collections.Counter(link for link in own if "zh-TW" not in link) - links:
        found.append(f"links added: {sorted(added)}")
    return found


def cells(notebook):
    """The kind, tags and code of each cell of a notebook; of prose, levels of headings, formulas and tables."""
    found = []
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        if "generated" in tags:
            content = None
        elif cell.cell_type == "code":
            content = without_comments(cell.source)
        else:
            formulas = re.findall(r"(\$\$?)([^$]+)\1", re.sub(r"\\text\{.*?\}", "", cell.source))
            content = headings(cell.source), sorted(formulas), tables(cell.source)
        found.append((cell.cell_type, tags, content))
    return found


@pytest.fixture(scope="module")
def notebooks():
    """The module `tutorials/notebooks.py`, which is no part of the package."""
    return load_script(TUTORIALS / "notebooks.py")


def test_there_are_translations():
    assert {"README.zh-TW.md", "docs/start.zh-TW.md"} <= set(PAGES)
    assert {"01_from_sequence_to_sequence.py", "03_attention.py"} <= set(SCRIPTS)


@pytest.mark.parametrize("page", PAGES)
def test_pages(page):
    original, translation = ((ROOT / name).read_text("utf-8") for name in (english(page), page))
    assert pathlib.Path(page).name in LINK.findall(original)
    assert pathlib.Path(english(page)).name in LINK.findall(translation)
    if page != TERMS:
        assert differences(original, translation) == []


@pytest.mark.parametrize("name", SCRIPTS)
def test_tutorials(notebooks, name):
    pairs = zip(*(cells(notebooks.notebook_of(path / name)) for path in (TUTORIALS, TUTORIALS / "zh-TW")), strict=True)
    for original, translation in pairs:
        assert translation == original


@pytest.mark.parametrize("name", SCRIPTS)
def test_notebooks_link_to_the_english_ones(name):
    stem = pathlib.Path(name).stem
    notebook = nbformat.read(TUTORIALS / "zh-TW" / f"{stem}.ipynb", as_version=4)
    assert f"/tutorials/zh-TW/{stem}.ipynb)" in notebook.cells[0].source  # the badge
    assert f"/tutorials/{stem}.ipynb)" in notebook.cells[0].source
    assert not any(cell.get("outputs") for cell in notebook.cells)


def test_other_notebooks_are_found_out(notebooks, tmp_path, monkeypatch):
    monkeypatch.setattr(notebooks, "FOLDER", tmp_path)
    script = tmp_path / "zh-TW" / "01_one.py"
    script.parent.mkdir()
    script.write_text("# %% [markdown]\n# # 一\n\n# %%\nprint(1)\n", "utf-8")
    (missing,) = notebooks.problems()
    assert missing.startswith("zh-TW/01_one.ipynb is missing") and missing.endswith("prose zh-TW/01_one.py.")
    notebooks.renew_prose(script)
    assert notebooks.problems() == []
    path = script.with_suffix(".ipynb")
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[-1].outputs.append(nbformat.v4.new_output("stream", text="1\n"))
    nbformat.write(notebook, path)
    assert notebooks.problems() == [missing]
    script.unlink()
    assert notebooks.problems() == ["zh-TW/01_one.ipynb has no script: delete it."]


@pytest.mark.parametrize("path", [*PAGES, *(f"tutorials/zh-TW/{name}" for name in SCRIPTS)])
def test_chinese(path):
    """Terms of Taiwan, a space between Chinese and Latin words, and full-width punctuation after Chinese."""
    text = (ROOT / path).read_text("utf-8")
    assert MAINLAND.findall(text) == []
    plain = re.sub(r"`[^`\n]+`|\$[^$\n]+\$", "x", FENCED.sub("", LINK.sub("]", text)))  # Code and formulas are words.
    wrong = re.compile(f"{CHINESE}[A-Za-z0-9]|[A-Za-z0-9]{CHINESE}|{CHINESE}[,;:?!()]|[,;:?!()]{CHINESE}")
    assert [match[0] for match in wrong.finditer(plain)] == []


ORIGINAL = """\
# A page

[Chinese](page.zh-TW.md), [more](more.md)

| a | 1.5 |
|---|---|

```python
x = 1  # one
```

```bash
run --fast  # quick
```
"""


@pytest.mark.parametrize(
    "old, new, expected",
    [
        ("# 一頁", "# 一頁\n\n## 又一節", ["headings"]),
        ("x = 1", "x = 2", ["code"]),
        ("run --fast", "run", ["code"]),
        ("1.5", "1.6", ["tables"]),
        ("| a | 1.5 |", "", ["tables"]),
        ("more.md", "less.md", ["links missing: ['more.md']", "links added: ['less.md']"]),
        ("more.md", "more.zh-TW.md", []),
        ("一", "第一", []),
    ],
)
def test_differences_are_found(old, new, expected):
    translation = ORIGINAL
    words = {"A page": "一頁", "Chinese](page.zh-TW.md": "英文](page.md", "one": "一", "quick": "快"}
    for word, other in words.items():
        translation = translation.replace(word, other)
    assert differences(ORIGINAL, translation) == []
    assert old in translation
    assert differences(ORIGINAL, translation.replace(old, new)) == expected


def test_comments_and_docstrings_are_left_out():
    first = 'def f(x):\n    """Returns x."""\n    return x  # itself\n'
    assert without_comments(first) == without_comments('def f(x):\n    """傳回 x。"""\n    return x  # x 本身\n')
    assert without_comments(first) != without_comments(first.replace("return x", "return 2 * x"))
    assert without_comments('print("a # b")') != without_comments('print("a # c")')
