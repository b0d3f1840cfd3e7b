"""What docs/guides/processes.md says is safe: threads, forks, pickling."""

import copy
import os
import pickle
import subprocess
import sys
import threading

import pytest

from kerasseq import TextGenerator

SOURCES = [["one two"], ["four"], ["three two one"], ["two", "one"]] * 2

FORK = """
import os, sys
import kerasseq

PAIRS = [("one two", "eins zwei"), ("two one", "zwei eins")] * 10

def make():
    preprocessor = kerasseq.preprocessing.TextPreprocessor.from_pairs(PAIRS, vocabulary_size=280)
    sizes = preprocessor.source_vocabulary_size, preprocessor.target_vocabulary_size
    model = kerasseq.models.LSTMSeq2Seq(*sizes, units=4, embedding_dim=4)
    return kerasseq.TextGenerator(model, preprocessor, "greedy", max_length=4)

generator = make() if sys.argv[1] == "before" else None
process = os.fork()
if process:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
if sys.argv[1] == "after":
    assert len(make().generate(["one"])) == 1
else:
    for use in (lambda: generator.generate(["one"]), lambda: generator.score([("one", "eins")]), make,
                lambda: kerasseq.preprocessing.ImagePreprocessor(),
                lambda: kerasseq.TextGenerator.load("model.keras")):
        try:
            use()
        except RuntimeError as error:
            assert "Load the TextGenerator in each worker process" in str(error), error
        else:
            os._exit(3)
os._exit(0)
"""


@pytest.mark.notebooks
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("loaded", ["before", "after"])
def test_forks(loaded, tmp_path):
    """A generator from before the fork says what to do, in the place of waiting forever; one from after it works."""
    script = tmp_path / "fork.py"
    script.write_text(FORK)
    subprocess.run([sys.executable, script, loaded], check=True, capture_output=True, timeout=240)


def test_cold_threads_share_a_graph(trained_model, preprocessor, monkeypatch):
    traced = []

    class Counting(TextGenerator):
        def decode(self, *args, **options):
            traced.append(threading.get_ident())
            return super().decode(*args, **options)

    generator = Counting(trained_model, preprocessor, sampler="greedy")
    outputs = [None] * len(SOURCES)

    def work(index):
        outputs[index] = generator.generate(SOURCES[index])

    threads = [threading.Thread(target=work, args=[index]) for index in range(len(SOURCES))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(traced) == 1
    assert outputs == [generator.generate(sources) for sources in SOURCES]


def test_pickled_generators_are_saved_and_loaded(generator):
    """Keras writes the same file as `save`; graphs are traced anew."""
    sources = ["one two", "four four"]
    again = pickle.loads(pickle.dumps(generator))
    expected = generator.generate(sources, sampler="greedy")
    assert again.generate(sources, sampler="greedy") == expected
    assert copy.deepcopy(generator).generate(sources, sampler="greedy") == expected
    assert again.preprocessor.vocabulary_digest == generator.preprocessor.vocabulary_digest
    assert again.max_length == generator.max_length and type(again.sampler) is type(generator.sampler)
