"""Tables of the README are those of the results."""

import importlib.util
import pathlib

ROOT = pathlib.Path(__file__).resolve().parent.parent


def test_tables_are_those_of_the_results():
    specification = importlib.util.spec_from_file_location("tables", ROOT / "benchmarks" / "tables.py")
    tables = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(tables)
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "<!-- table multi30k -->" in text
    assert tables.updated(text) == text
    assert tables.updated(text.replace("| en-de |", "| en-xx |")) == text
