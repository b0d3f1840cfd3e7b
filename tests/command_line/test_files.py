"""`kerasseq average`, `export` and `models`."""

import json

import numpy as np
import pytest

import kerasseq
from kerasseq import TextGenerator


def test_average(kerasseq_command, trained, tmp_path):
    checkpoints = sorted(trained["folder"].glob("checkpoints/*.keras"))
    stdout, _ = kerasseq_command("average", *checkpoints, "-o", tmp_path / "mean.keras")
    assert stdout == f"{tmp_path / 'mean.keras'}\n"
    mean, *others = (TextGenerator.load(path) for path in (tmp_path / "mean.keras", *checkpoints))
    weights = [[weight.numpy() for weight in one.model.trainable_weights] for one in (mean, *others)]
    for average, *arrays in zip(*weights, strict=True):
        np.testing.assert_allclose(average, np.mean(arrays, axis=0), atol=1e-6)
    assert mean.max_length == others[0].max_length == 16
    assert len(mean.generate(["May 3, 1998"])) == 1
    _, stderr = kerasseq_command("average", *checkpoints, "-o", tmp_path / "mean.h5", code=2)
    assert "--output must be a .keras file" in stderr


@pytest.mark.exports
def test_export_and_models(kerasseq_command, trained, tmp_path):
    stdout, _ = kerasseq_command("export", trained["folder"], tmp_path / "dates", "--score", "--version", 3)
    assert stdout == f"{tmp_path / 'dates' / '3'}\n"
    sources = ["May 3, 1998", "6. Juni 2020"]
    expected = TextGenerator.load(trained["folder"] / "best.keras").generate(sources)
    stdout, _ = kerasseq_command("generate", tmp_path / "dates", input="\n".join(sources))
    assert stdout.splitlines() == expected
    _, stderr = kerasseq_command("export", trained["folder"], tmp_path / "dates", "--version", 3, code=1)
    assert "3" in stderr and "Traceback" not in stderr
    stdout, _ = kerasseq_command("models", tmp_path)
    assert stdout == f"{tmp_path / 'dates'}\tversions 3\n" == kerasseq_command("models", tmp_path / "dates")[0]


def test_models(kerasseq_command, trained, tmp_path):
    results = json.loads((trained["folder"] / "results.json").read_text())
    (line,) = kerasseq_command("models", trained["folder"])[0].splitlines()
    assert kerasseq_command("models", trained["folder"].parent)[0] == f"{line}\n"
    epoch, chrf = results["best"]["epoch"], results["best"]["val_chrf"]
    assert line.startswith(f"{trained['folder']}\trun, best epoch {epoch} of 2: ") and f"val_chrf {chrf:.4g}" in line
    assert f"Best: epoch {epoch} of 2, val_chrf {chrf:.4g}. Next: kerasseq evaluate " in trained["stderr"]
    best = trained["folder"] / "best.keras"
    assert kerasseq_command("models", best)[0] == f"{best}\tfile\n"
    preset, begun = tmp_path / "preset", tmp_path / "run"
    TextGenerator.load(best).save_to_preset(preset)
    begun.mkdir()
    (begun / "run.json").write_text("{}")
    for number in ("1", "2"):  # Runs with numbers for names are no versions.
        (tmp_path / number).mkdir()
        (tmp_path / number / "best.keras").write_bytes(b"")
    assert kerasseq_command("models", preset)[0] == f"{preset}\tpreset\n"
    (tmp_path / "2" / "run.json").write_text("{}")
    kinds = {"1": "run", "2": "run, not finished", "preset": "preset", "run": "run without a model yet"}
    assert kerasseq_command("models", tmp_path)[0] == "".join(
        f"{tmp_path / name}\t{kind}\n" for name, kind in kinds.items()
    )
    (tmp_path / "empty").mkdir()
    stdout, stderr = kerasseq_command("models", tmp_path / "empty")
    assert (stdout, stderr) == ("", f"There are no models in {tmp_path / 'empty'}.\n")
    stdout, _ = kerasseq_command("models")
    assert [line.partition("/")[0] for line in stdout.splitlines()] == kerasseq.zoo.list()
    stdout, _ = kerasseq_command("models", "translation_en_de")
    assert stdout == f"{kerasseq.zoo.card('translation_en_de')}\n"
    _, stderr = kerasseq_command("models", tmp_path / "none", code=1)
    assert "No such file" in stderr
    (tmp_path / "p.tsv").write_text("one\teins\n")
    _, stderr = kerasseq_command("models", tmp_path / "p.tsv", code=2)
    expected = "PATH must be a folder or a model (.keras file, run, preset, exported model). Received: "
    assert stderr == f"Error: {expected}{tmp_path / 'p.tsv'}, a file of another kind.\n"


def test_a_model_that_cannot_be_read(kerasseq_command, trained, tmp_path):
    """One line, and no traceback, whatever is wrong with the file."""
    cut, text = tmp_path / "cut.keras", tmp_path / "text.keras"
    cut.write_bytes((trained["folder"] / "best.keras").read_bytes()[:-100])
    text.write_text("no model")
    preset = tmp_path / "preset"
    preset.mkdir()
    (preset / "preset.json").write_text('{"format": 1, "files": {"model.keras": 3}}')
    for model, message in (
        (cut, f"Expected a .keras file, as TextGenerator.save writes it, at {cut}. Received: a file of "),
        (
            text,
            "a file of 8 bytes that is not a .keras archive, or is truncated. Copy the file again, or save the model",
        ),
        (preset, "must list paths below its folder, each with sha256 and size. Received: 'model.keras': 3."),
    ):
        stdout, stderr = kerasseq_command("generate", model, input="May 3, 1998\n", code=1)
        assert message in stderr and stderr.startswith("Error: ") and stderr.count("\n") == 1 and stdout == ""
