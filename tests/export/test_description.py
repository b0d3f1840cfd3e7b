"""`kerasseq.json`: its formats, and files that are missing or damaged."""

import json
import os
import re
import shutil

import pytest

from kerasseq import TextGenerator
from kerasseq.export import read_description

FILES = ["saved_model.pb", "assets.extra/source.spm", "variables/variables.data-00000-of-00001"]
DESCRIPTION = "assets.extra/kerasseq.json"


def test_content(quick_export, generator):
    description = read_description(str(quick_export))
    assert description["format"] == 2
    assert set(description["generator"]) == {"name", "model", "preprocessor", "sampler", "max_length", "long_sources"}
    assert description["generator"]["model"]["class_name"] == "Seq2Seq"
    assert len(description["weights"]) == len(generator.model.weights)
    assert description["weights"][0] == {"name": "encoder/embedding/embeddings", "shape": [274, 16]}
    on_disk = {
        os.path.relpath(os.path.join(base, name), quick_export)
        for base, _, names in os.walk(quick_export)
        for name in names
    }
    assert set(description["files"]) == on_disk - {DESCRIPTION, "assets.extra/tf_serving_warmup_requests"}
    # The arguments of the parts, and no graph.
    assert os.path.getsize(quick_export / DESCRIPTION) <= 8_000


@pytest.mark.parametrize(
    ("found", "release"), [(None, "format 1. kerasseq 0.2 reads it"), (3, "format 3. A later release of kerasseq")]
)
def test_other_formats(copy, change_description, found, release):
    def edit(description):
        del description["format"]
        if found:
            description["format"] = found

    change_description(copy, edit)
    with pytest.raises(ValueError, match=f"kerasseq.json must have format 2. Received: {release}"):
        TextGenerator.load(copy)


def test_a_folder_that_is_no_export(tmp_path):
    with pytest.raises(ValueError, match="Expected a version folder written by kerasseq's export.*which has none"):
        read_description(str(tmp_path))
    with pytest.raises(ValueError, match="Expected a version folder written by kerasseq's export.*which has none"):
        TextGenerator.load(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 2}', '{"format": 2, "generator": {}}', "\udcff"])
def test_damaged_description(copy, content):
    (copy / DESCRIPTION).write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError, match="kerasseq.json is damaged: .*export it again"):
        TextGenerator.load(copy)


@pytest.mark.parametrize("name", [*FILES, "variables/variables.index"])
def test_missing_file(copy, name):
    (copy / name).unlink()
    with pytest.raises(ValueError, match=f"is incomplete. Missing: {name}. Copy the version folder again"):
        TextGenerator.load(copy)


@pytest.mark.parametrize("name", [*FILES, DESCRIPTION, "assets.extra/tf_serving_warmup_requests"])
@pytest.mark.parametrize("damage", ["truncated", "a bit"])
def test_damaged_file(copy, name, damage):
    path = copy / name
    content = bytearray(path.read_bytes())
    if damage == "truncated":
        content = content[: len(content) // 2]
    else:
        content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{re.escape(str(copy))}.* damaged.*Copy the version folder again"):
        TextGenerator.load(copy)


def test_exchanged_vocabularies(copy):
    shutil.copy(copy / "assets.extra" / "target.spm", copy / "assets.extra" / "source.spm")
    with pytest.raises(ValueError, match="assets.extra/source.spm is not what was exported"):
        TextGenerator.load(copy)


def test_description_is_written_in_one_step(quick_export):
    assert not [name for name in os.listdir(quick_export / "assets.extra") if name.startswith(".")]
    json.loads((quick_export / DESCRIPTION).read_text(encoding="utf-8"))
