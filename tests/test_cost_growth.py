"""benchmarks/cost_growth.py, with tiny settings."""

import itertools
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.text import Text

from kerasseq.preprocessing.vocabulary import END_ID

ROOT = pathlib.Path(__file__).resolve().parent.parent


@pytest.fixture
def cost_growth(load_benchmark):
    return load_benchmark("cost_growth")


@pytest.mark.parametrize("side", ["Luong attention, SSRU", "pointer-generator, location"])
def test_as_many_tokens_are_decoded_as_are_counted(cost_growth, side):
    _, decode = cost_growth.make_side("decoding", side, 50, 8)
    results = decode(cost_growth.make_batch(3, 7, 50), 2)()
    assert [token_ids.shape for token_ids in results] == [(3, 1, cost_growth.TARGET_LENGTH)] * 2
    # END in the last place at most. Untrained models choose any other token, padding included.
    assert all((token_ids[..., :-1] != END_ID).all() for token_ids in results)


@pytest.mark.parametrize("side", ["loss in blocks", "all logits at once"])
def test_all_training_tokens_are_real(cost_growth, side):
    model, train = cost_growth.make_side("training", side, 50, 8)
    inputs, labels = cost_growth.make_batch(3, 7, 50)
    assert np.count_nonzero(labels) == labels.size == 3 * cost_growth.TARGET_LENGTH
    assert model.loss_in_blocks is (side == "loss in blocks")
    before = [weight.copy() for weight in model.get_weights()]
    train((inputs, labels), 2)()
    assert int(model.optimizer.iterations) == 2
    assert any((old != new).any() for old, new in zip(before, model.get_weights(), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("name, sides", [("lengths", (2, 2)), ("vocabularies", (2, 1))])
def test_quick_settings(cost_growth, monkeypatch, tmp_path, name, sides):
    # In this process, which saves the time of imports; memory is then that of all tests so far.
    monkeypatch.setattr(cost_growth.timing, "in_fresh_process", lambda function, *arguments: function(*arguments))
    arguments = ["--quick", "--experiments", name, "--output", str(tmp_path / "out.json")]
    monkeypatch.setattr(sys, "argv", ["cost_growth.py", *arguments])
    cost_growth.main()
    assert {path.name for path in tmp_path.iterdir()} == {f"out_{name}.json", f"out_{name}.png"}
    content = json.loads((tmp_path / f"out_{name}.json").read_text(encoding="utf-8"))
    results = content["results"]
    assert (len(results["training"]), len(results["decoding"])) == sides
    for cells in (*results["training"].values(), *results["decoding"].values()):
        assert list(cells) == [str(value) for value in cost_growth.growth(name, quick=True).values]
        assert all(cell["target_tokens_per_second"]["median"] > 0 for cell in cells.values())
        assert all(cell["peak_memory_mb"] >= results["imports alone"]["peak_memory_mb"] / 2 for cell in cells.values())
    assert (tmp_path / f"out_{name}.png").stat().st_size < 60_000

    # The plot again, without measuring.
    (tmp_path / f"out_{name}.png").unlink()
    monkeypatch.setattr(sys, "argv", ["cost_growth.py", *arguments, "--plots"])
    cost_growth.main()
    assert (tmp_path / f"out_{name}.png").is_file()
    assert json.loads((tmp_path / f"out_{name}.json").read_text(encoding="utf-8")) == content


@pytest.mark.parametrize("ends", [(5.0, 5.0, 5.0, 5.0, 5.0), (1.0, 1.01, 9.9, 9.99, 10.0), (1.0, 1.0, 1.0, 1.0, 10.0)])
def test_names_beside_lines_do_not_overlap(cost_growth, ends):
    figure = cost_growth.Figure(figsize=(5, 3.5), layout="constrained")
    axis = figure.subplots()
    for end in ends:
        axis.plot([1, 10], [10, end])
    cost_growth.finish_axis(axis, [1, 10], log_y=True)
    cost_growth.label_ends(axis, {f"side {index}": (10, end, "C0") for index, end in enumerate(ends)})
    figure.draw_without_rendering()
    boxes = [Text.get_window_extent(text) for text in axis.texts]  # Without the lines to the ends.
    assert len(boxes) == len(ends)
    for one, other in itertools.combinations(boxes, 2):
        assert one.y1 <= other.y0 or other.y1 <= one.y0
    # In the order of the lines, and not over the title.
    assert [text.get_text() for text in axis.texts] == [f"side {index}" for index in np.argsort(ends, kind="stable")]
    assert boxes[-1].y1 <= axis.get_window_extent().y1 + 1


def test_memory_is_that_of_the_process(load_benchmark):
    timing = load_benchmark("timing")
    before = timing.process_memory("VmRSS")
    array = np.ones(100 * 2**20, "uint8")
    assert 90 <= timing.process_memory("VmRSS") - before <= 150
    del array
    assert timing.process_memory("VmHWM") >= before + 90


@pytest.mark.notebooks
def test_memory_is_flat_in_the_number_of_batches(tmp_path):
    output = tmp_path / "out.json"
    command = [
        sys.executable,
        ROOT / "benchmarks" / "cost_growth.py",
        "--quick",
        "--experiments",
        "batches",
        "--output",
        output,
    ]
    path = os.pathsep.join(filter(None, [str(ROOT), *sys.path]))
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": path})
    results = json.loads((tmp_path / "out_batches.json").read_text(encoding="utf-8"))["results"]
    assert list(results) == ["training", "generate"]
    for memory in results.values():
        assert memory["1"] > 300
        # A graph a batch would be a megabyte each. Before, the allocator still settles.
        assert memory["600"] - memory["400"] <= 10
    assert (tmp_path / "out_batches.png").stat().st_size < 60_000
