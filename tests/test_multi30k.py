"""benchmarks/multi30k.py, from fitting to other files."""

import json
import sys

import pytest

import kerasseq


@pytest.fixture
def run(load_benchmark, require_mirror, monkeypatch, tmp_path):
    """A function of arguments that runs the script with tiny settings; returns what it wrote."""
    require_mirror("multi30k/train.lc.norm.tok.en")
    multi30k = load_benchmark("multi30k")
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["multi30k.py", "--quick", "--output", "out.json", *arguments])
        multi30k.main()
        (path,) = tmp_path.glob("out*.json")
        content = json.loads(path.read_text(encoding="utf-8"))
        path.unlink()
        return content["results"]["en-de"]

    return run


@pytest.fixture
def files(tmp_path):
    """Files of the sources and references of some test pairs."""
    *_, test = kerasseq.datasets.load_multi30k("en", "de", tokenized=True)
    paths = tmp_path / "source.txt", tmp_path / "reference.txt"
    for path, texts in zip(paths, zip(*test[:20], strict=True), strict=True):
        path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    return paths


# Keras's CSVLogger leaves its file open.
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Exception ignored in.*epochs.csv:pytest.PytestUnraisableExceptionWarning")
def test_other_files_are_scored_as_the_test(run, files, tmp_path):
    arguments = ["--score", *map(str, files)]
    with pytest.raises(SystemExit, match="No fitted model: .* Run the same command without --score first"):
        run(*arguments)
    assert not (tmp_path / "runs").exists()
    fitted = run()
    scored = run(*arguments)
    assert scored == {"pairs": 20, **fitted["test"]}


def test_files_of_different_lengths(run, files):
    files[1].write_text("ein satz\n", encoding="utf-8")
    with pytest.raises(SystemExit, match="source.txt with 20, .*reference.txt with 1"):
        run("--score", *map(str, files))
