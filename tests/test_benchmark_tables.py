"""Tables of the documentation are those of the results."""

import json
import pathlib
import re

BENCHMARKS = pathlib.Path(__file__).resolve().parent.parent / "benchmarks"


def test_tables_are_those_of_the_results(load_benchmark):
    tables = load_benchmark("tables")
    texts = [page.read_text(encoding="utf-8") for page in tables.PAGES]
    for text in texts:
        assert tables.updated(text) == text
    names = re.findall(r"^<!-- table (\w+) -->$", "\n".join(texts), re.MULTILINE)
    assert set(names) == set(tables.TABLES)
    (benchmarks,) = (text for text in texts if "<!-- table multi30k -->" in text)
    assert tables.updated(benchmarks.replace("| en-de |", "| en-xx |")) == benchmarks


def test_published_results_are_those_of_the_recipe(load_benchmark):
    """The settings beside published numbers are those of the scripts."""
    multi30k = load_benchmark("multi30k")
    ladder = load_benchmark("translation_ladder").LADDER
    for name, rows in (("multi30k_en-de_changes", multi30k.CHANGES), ("translation_ladder", ladder)):
        published = json.loads((BENCHMARKS / "results" / f"{name}.json").read_text(encoding="utf-8"))
        assert list(published["results"]) == list(rows)
    for recipe, names in (
        (multi30k.BASE, "multi30k_en-de_changes.json"),
        (multi30k.RECIPE, "multi30k_??-??.json"),
        (multi30k.DIVERSIFIED, "multi30k_??-??_diversified.json"),
    ):
        paths = list((BENCHMARKS / "results").glob(names))
        assert paths
        for path in paths:
            assert json.loads(path.read_text(encoding="utf-8"))["settings"]["recipe"] == recipe


def test_data_streams_run(load_benchmark, tmp_path):
    """The sources in one process: each gives as many batches as are asked for."""
    streams = load_benchmark("data_streams")
    streams.write_files(tmp_path, 500)
    (tmp_path / "vocabulary").mkdir()
    preprocessor = streams.TextPreprocessor.from_files(streams.files_of(tmp_path), tokens="characters")
    preprocessor.save_assets(tmp_path / "vocabulary")
    assert len(preprocessor.prepare(streams.files_of(tmp_path), tmp_path / "prepared")) == 500
    for kind in streams.SOURCES:
        assert streams.measure(kind, tmp_path, 12)["batches_per_cpu_second"] > 0
