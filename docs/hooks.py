"""Hooks of MkDocs: pages of files outside docs/, of notebooks and of the API, and links between all of these.

Links are written as they work in the repository, relative to the file that has them. On the site, a link to a file that
has a page leads to this page, and any other into the repository.
"""

import ast
import logging
import pathlib
import posixpath
import re

import nbconvert
from mkdocs.structure.files import File

logger = logging.getLogger("mkdocs.hooks.kerasseq")
ROOT = pathlib.Path(__file__).resolve().parents[1]

# Files outside docs/, and their pages.
PAGES = {
    "README.md": "index.md",
    "README.zh-TW.md": "index.zh-TW.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing/start.md",
    "benchmarks/README.md": "benchmark_scripts.md",
    "saved_models/README.md": "guides/deployment.md",
    **{
        f"saved_models/{card.parent.name}/README.md": f"zoo/{card.parent.name}.md"
        for card in sorted(ROOT.glob("saved_models/*/README.md"))
    },
}
NOTEBOOKS = {
    path.relative_to(ROOT).as_posix(): path.relative_to(ROOT).with_suffix(".md").as_posix()
    for path in sorted(ROOT.glob("tutorials/**/[0-9]*.ipynb"))
}
PAGES |= NOTEBOOKS
SOURCES = {page: source for source, page in PAGES.items()}
IMAGES = ("tutorials/pictures/*.png", "benchmarks/results/*.png", "saved_models/*/*.png")

# Fenced code, which stays as it is, or a link: its beginning, path, anchor and end.
LINK = re.compile(r"^( *)```.*?^\1```|(\]\()([^)\s#]+)(#[^)\s]*)?(\))", re.MULTILINE | re.DOTALL)


def repository():
    """The address of the repository, which is written in one place."""
    text = (ROOT / "kerasseq" / "zoo" / "released.py").read_text("utf-8")
    return re.search(r'^REPOSITORY = "(.*?)"', text, re.MULTILINE)[1]


def on_config(config):
    config.repo_url, config.repo_name = repository(), "kerasseq"
    return config


def on_files(files, config):
    for source, page in PAGES.items():
        if source in NOTEBOOKS:
            files_of = notebook_files(source)
            generated = [File.generated(config, name, content=content) for name, content in files_of.items()]
        else:
            generated = [File.generated(config, page, abs_src_path=str(ROOT / source))]
        for file in generated:
            files.append(file)
    for pattern in IMAGES:
        for path in sorted(ROOT.glob(pattern)):
            files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    for name, content in api_pages().items():
        files.append(File.generated(config, f"api/{name}.md", content=content))
    return files


def on_page_markdown(markdown, page, config, files):
    page_uri = page.file.src_uri
    if page_uri.startswith("api/"):
        return markdown
    source = SOURCES.get(page_uri, f"docs/{page_uri}")

    def replace(match):
        _, start, target, anchor, end = match.groups()
        if start is None or re.match(r"[a-z]+:", target):
            return match[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        uri = PAGES.get(path, path.removeprefix("docs/") if path.startswith("docs/") else path)
        if uri in files.src_uris:
            target = posixpath.relpath(uri, posixpath.dirname(page_uri) or ".")
        elif (ROOT / path).exists():
            kind = "tree" if (ROOT / path).is_dir() else "blob"
            target = f"{config.repo_url}/{kind}/main/{path}"
        else:
            logger.warning("%s links to %s, which does not exist.", source, target)
        return f"{start}{target}{anchor or ''}{end}"

    return LINK.sub(replace, markdown)


# === Notebooks ===


def notebook_files(source):
    """The page of a notebook, str, and its pictures, bytes, by their names on the site."""
    page = pathlib.PurePosixPath(NOTEBOOKS[source])
    names = {"unique_key": page.stem, "output_files_dir": f"{page.stem}_files"}
    text, resources = nbconvert.MarkdownExporter().from_filename(str(ROOT / source), resources=names)
    pictures = {(page.parent / name).as_posix(): content for name, content in resources["outputs"].items()}
    return {page.as_posix(): text, **pictures}


# === API ===


def api_pages():
    """Markdown for the classes and functions of `kerasseq`, and for those of each of its packages, by name."""
    names, _ = public_names("kerasseq")
    packages = [name for name in names if name.islower()]
    pages = {"kerasseq": api_page("kerasseq", [name for name in names if name not in packages])}
    for package in [*packages, "serving"]:
        pages[package] = api_page(f"kerasseq.{package}", public_names(f"kerasseq.{package}")[0])
    return pages


def api_page(module, names):
    entries = "\n\n".join(f"::: {module}.{name}" for name in names)
    return f"# {module}\n\n{public_names(module)[1]}\n\n{entries}\n"


def source_of(module):
    """The file of a module or package."""
    path = ROOT / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def public_names(module):
    """The names in `__all__` of a module, and its docstring."""
    tree = ast.parse(source_of(module).read_text("utf-8"))
    (names,) = (
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    )
    return names, ast.get_docstring(tree)
