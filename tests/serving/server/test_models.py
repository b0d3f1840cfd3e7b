"""Which models are served, and what happens when versions come and go."""

import numpy as np
import pytest
import tensorflow as tf

from kerasseq.serving.server.models import Entry, ServedModels, find_entries
from kerasseq.serving.server.refusals import Refusal


@pytest.fixture
def folder(tmp_path):
    """Two models with two versions each, which are empty, and what is no model."""
    for name in ("a/1", "a/3", "b/2", "b/10", "b/.export-11", "notes"):
        (tmp_path / name).mkdir(parents=True)
        if name != "notes":
            (tmp_path / name / "saved_model.pb").touch()
    (tmp_path / "a" / "4").mkdir()  # Not complete.
    return tmp_path


def test_the_newest_version_is_served(folder):
    a, b = Entry({3: folder / "a" / "3"}), Entry({10: folder / "b" / "10"})
    assert find_entries([folder]) == {"a": a, "b": b}
    assert find_entries([folder / "b", folder / "a"]) == {"a": a, "b": b}
    assert find_entries([folder / "a" / "1"]) == {"a": Entry({1: folder / "a" / "1"})}
    with pytest.raises(ValueError, match="a name of its own. Received: 'a' twice"):
        find_entries([folder, folder / "a" / "1"])
    for path in (folder / "notes", folder / "nothing"):
        with pytest.raises(ValueError, match="Expected an exported model, a folder of such models, or a models.config"):
            find_entries([path])


def test_a_configuration_says_which_versions_and_labels(folder):
    config = folder / "models.config"
    config.write_text(
        'model_config_list { config { name: "x" base_path: "/models/a" model_version_policy { all { } } '
        f'version_labels {{ key: "stable" value: 1 }} }} config {{ name: "y" base_path: "{folder}/b" '
        'model_version_policy { specific { versions: 2 } } } config { name: "z" base_path: "/models/b" } }'
    )
    expected = {
        "x": Entry({1: folder / "a" / "1", 3: folder / "a" / "3"}, {"stable": 1}),
        "y": Entry({2: folder / "b" / "2"}),
        "z": Entry({10: folder / "b" / "10"}),
    }
    assert find_entries([config]) == find_entries([folder]) == expected
    config.write_text('model_config_list { config { name: "x" base_path: "/models/c" } }')
    with pytest.raises(ValueError, match="expected versions of x in .*c. Received: none"):
        find_entries([config])


def save(path, factor):
    """A model that repeats texts."""
    module = tf.Module()
    module.repeat = tf.function(
        lambda text: {"text": tf.strings.reduce_join([text] * factor, axis=0)},
        input_signature=[tf.TensorSpec([None], tf.string, name="text")],
    )
    tf.saved_model.save(module, str(path), signatures={"serving_default": module.repeat})


@pytest.mark.exports
def test_versions_come_and_go(tmp_path, caplog):
    model = tmp_path / "model"
    for version in (1, 2):
        save(model / str(version), version)
    served = ServedModels([model])

    def answer(*arguments):
        number, version = served.find("model", *arguments)
        return number, version.submit("serving_default", {"text": np.array([b"ab"], object)}).result(20)[
            "text"
        ].tolist()

    served.update()
    assert answer() == (2, [b"abab"]) and served.available() == [("model", 2)]
    old = served.find("model")[1]
    save(model / "3", 3)
    served.update()
    assert answer() == (3, [b"ababab"]) and served.available() == [("model", 3)]
    assert old.state == "END"
    with pytest.raises(Refusal, match=r"Servable not found for request: Specific\(model, 2\)"):
        served.find("model", 2)
    # A damaged version leaves the callers of its number without an answer, and no others.
    (model / "4").mkdir()
    (model / "4" / "saved_model.pb").write_bytes(b"no graph")
    config = tmp_path / "models.config"
    config.write_text(
        'model_config_list { config { name: "model" base_path: "/models/model" model_version_policy { all { } } '
        'version_labels { key: "stable" value: 1 } version_labels { key: "next" value: 4 } } }'
    )
    served.paths = [config]
    served.update()
    assert answer() == (3, [b"ababab"]) and answer(None, "stable") == (1, [b"ab"]) and answer(2) == (2, [b"abab"])
    damaged = served.versions("model")[4]
    assert damaged.state == "END" and damaged.code == "INTERNAL" and damaged.message
    assert "model/4 was not loaded" in caplog.text
    with pytest.raises(Refusal, match="Specific.model, 4."):
        served.find("model", label="next")
    with pytest.raises(Refusal, match="Unrecognized servable version label: canary"):
        served.find("model", label="canary")
    # What is loaded stays when the configuration cannot be read.
    config.write_text("model_config_list {")
    with pytest.raises(ValueError, match="must be a ModelServerConfig"):
        served.update()
    assert answer() == (3, [b"ababab"])
    served.close()
