"""From a version's folder back to a generator: weights by name, and training after loading."""

import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

import kerasseq
from kerasseq import TextGenerator
from kerasseq.export import read_description
from kerasseq.export.description import digests
from kerasseq.export.loading import own_names

SOURCES = ["one two three", "four", "four three", "two two one"]


def assert_same_weights(model, other):
    for one, two in zip(model.weights, other.weights, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("above", [False, True])
def test_load_is_the_generator(generator, quick_export, above):
    loaded = TextGenerator.load(quick_export.parent if above else quick_export)
    for name in ("name", "max_length", "long_sources"):
        assert getattr(loaded, name) == getattr(generator, name)
    assert loaded.sampler.get_config() == generator.sampler.get_config()
    assert_same_weights(loaded.model, generator.model)
    inputs, _ = next(iter(loaded.preprocessor.dataset([(source, "eins zwei") for source in SOURCES], 4)))
    np.testing.assert_allclose(loaded.model(inputs), generator.model(inputs), atol=1e-6)


def test_highest_version_is_taken(copy):
    (copy.parent / "9").mkdir()
    with pytest.raises(ValueError, match=r"Received: .*9, which has none"):
        TextGenerator.load(copy.parent)
    shutil.rmtree(copy.parent / "9")
    copy.rename(copy.parent / "10")
    assert TextGenerator.load(copy.parent).max_length


def permuted_checkpoint(folder, order):
    """Writes the variables of a version in another order."""
    prefix = str(folder / "variables" / "variables")
    reader = tf.train.load_checkpoint(prefix)
    values = [reader.get_tensor(f"weights/{index}/.ATTRIBUTES/VARIABLE_VALUE") for index in order]
    tf.train.Checkpoint(weights=[tf.Variable(value) for value in values]).write(prefix)


def test_weights_are_read_by_name(copy, generator, change_description):
    order = np.random.default_rng(1).permutation(len(generator.model.weights))
    permuted_checkpoint(copy, order)

    def edit(description):
        description["weights"] = [description["weights"][index] for index in order]
        description["files"] = digests(copy)

    change_description(copy, edit)
    assert [entry["name"] for entry in read_description(str(copy))["weights"]][0] != "encoder/embedding/embeddings"
    assert_same_weights(TextGenerator.load(copy).model, generator.model)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda weights: weights.pop(), r"Expected for 'decoder/logits/bias': \[274\]. Received: no such weight"),
        (
            lambda weights: weights[0].update(shape=[5, 16]),
            r"Expected for 'encoder/embedding/embeddings': \[274, 16\]. Received: \[5, 16\]",
        ),
        (
            lambda weights: weights.append({"name": "decoder/more", "shape": [1]}),
            r"Expected for 'decoder/more': no such weight. Received: \[1\]",
        ),
    ],
    ids=["missing", "another shape", "more"],
)
def test_weights_of_another_model(copy, change_description, edit, message):
    change_description(copy, lambda description: edit(description["weights"]))
    with pytest.raises(ValueError, match=f"are not those of the model it describes. {message}. Export the model again"):
        TextGenerator.load(copy)


def test_fit_and_export_again(copy, quick, number_pairs):
    loaded = TextGenerator.load(copy)
    loaded.model.encoder.trainable = False
    loaded.model.compile(keras.optimizers.SGD(0.1), kerasseq.losses.MaskedCrossentropy(), run_eagerly=True)
    loaded.model.fit(loaded.preprocessor.dataset(number_pairs, batch_size=16), verbose=0, shuffle=False)
    assert loaded.export(copy.parent, verify=False) == str(copy.parent / "2")
    again, first = TextGenerator.load(copy.parent), TextGenerator.load(copy)
    assert_same_weights(again.model, loaded.model)
    assert_same_weights(again.model.encoder, first.model.encoder)
    assert not np.array_equal(again.model.decoder.logits.kernel, first.model.decoder.logits.kernel)
    # What was frozen stays so, and the export has no part of the training.
    assert not again.model.encoder.trainable_weights and again.model.decoder.trainable_weights
    assert "compile_config" not in read_description(str(copy.parent / "2"))["generator"]["model"]


@pytest.mark.exports
def test_exports_loaded_together_keep_their_own_vocabularies(generator, exported, number_pairs, tmp_path):
    """TF Text's models share a name by default, and in one process the first one loaded serves for all."""
    swapped = [(target, source) for source, target in number_pairs]
    preprocessor = kerasseq.preprocessing.TextPreprocessor.from_pairs(swapped, vocabulary_size=285)
    model = kerasseq.models.GRUSeq2Seq(
        preprocessor.source_vocabulary_size, preprocessor.target_vocabulary_size, units=8, embedding_dim=8
    )
    other = TextGenerator(model, preprocessor, "greedy", max_length=12)
    folders = {str(exported): generator, other.export(tmp_path, verify=False): other}
    loaded = {folder: tf.saved_model.load(folder) for folder in folders}
    for folder, expected in folders.items():
        served = loaded[folder].signatures["serving_default"](text=tf.constant(SOURCES))["text"].numpy()
        assert [text.decode() for text in served] == expected.generate(SOURCES)
    # A model without attention has no signature for it.
    assert set(loaded[str(tmp_path / "1")].signatures) == {"serving_default", "greedy", "nbest"}


def test_weights_of_layers_that_were_numbered_anew():
    """By name where all names are there, whatever their order; else by order."""
    assert own_names(["a_1/kernel", "a_0/kernel"], ["a_0/kernel", "a_1/kernel"]) == ["a_1/kernel", "a_0/kernel"]
    # One name is there, but belongs to the other layer.
    assert own_names(["x/norm_5/w", "x/norm_6/w"], ["x/norm_6/w", "x/norm_7/w"]) == ["x/norm_6/w", "x/norm_7/w"]
    assert own_names(["norm/w", "norm_1/w"], ["norm_1/w", "norm_2/w"]) == ["norm_1/w", "norm_2/w"]
    assert own_names(["b/w", "old/w"], ["new/w", "b/w"]) == ["b/w", "new/w"]
