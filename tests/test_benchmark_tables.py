"""Tables of the README are those of the results."""

import importlib.util
import json
import pathlib

import pytest

BENCHMARKS = pathlib.Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture
def load(monkeypatch):
    """A function that loads a script of the benchmarks."""
    monkeypatch.syspath_prepend(BENCHMARKS)

    def load(name):
        specification = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
        module = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(module)
        return module

    return load


def test_tables_are_those_of_the_results(load):
    tables = load("tables")
    text = (BENCHMARKS.parent / "README.md").read_text(encoding="utf-8")
    assert "<!-- table multi30k -->" in text
    assert tables.updated(text) == text
    assert tables.updated(text.replace("| en-de |", "| en-xx |")) == text


def test_published_results_are_those_of_the_recipe(load):
    """The command beside a table makes its numbers."""
    recipe = load("multi30k").RECIPE
    for path in (BENCHMARKS / "results").glob("multi30k_??-??.json"):
        assert json.loads(path.read_text(encoding="utf-8"))["settings"]["recipe"] == recipe
