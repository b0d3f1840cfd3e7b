"""Models whose outputs depend on padding are found, and the part is named."""

import keras
import pytest
from keras import layers, ops

import kerasseq
from kerasseq.decoders import RecurrentDecoder, TransformerDecoder
from kerasseq.encoders import Encoder, RecurrentEncoder, TransformerEncoder
from kerasseq.layers import PaddingMask
from kerasseq.padding import check_padding, dependent_part

DIM = 8


def careless_convolution(embedded, mask):
    """Reads the embedding of padding beside the last token."""
    memory = layers.Conv1D(DIM, 3, padding="same", name="convolution")(embedded)
    return memory, layers.GlobalAveragePooling1D(name="mean")(memory, mask=mask)


def careless_mean(embedded, mask):
    memory = layers.Conv1D(DIM, 3, padding="causal", name="convolution")(embedded)
    return memory, layers.GlobalAveragePooling1D(name="mean")(memory)


def careful(embedded, mask):
    memory = layers.Conv1D(DIM, 3, padding="causal", name="convolution")(embedded)
    return memory, layers.GlobalAveragePooling1D(name="mean")(memory, mask=mask)


def operation_before_a_layer(embedded, mask):
    """The fault is in `keras.ops`, not in the layer that follows."""
    memory = embedded + ops.mean(embedded, axis=1, keepdims=True)
    memory = layers.Dense(DIM, name="innocent_dense")(memory)
    return memory, layers.GlobalAveragePooling1D(name="masked_mean")(memory, mask=mask)


def operation_beside_a_layer(embedded, mask):
    """The states, which are read from the memory, have the fault as well; the layer between is innocent."""
    memory = embedded + ops.flip(ops.cumsum(ops.flip(embedded, axis=1), axis=1), axis=1)
    return memory, layers.GlobalAveragePooling1D(name="masked_mean")(memory, mask=mask)


def inner_model(embedded, mask):
    sequences = keras.Input((None, DIM))
    inner = keras.Model(sequences, layers.Conv1D(DIM, 3, padding="same")(sequences), name="inner")
    memory = inner(embedded)
    return memory, layers.GlobalAveragePooling1D(name="masked_mean")(memory, mask=mask)


def layer_called_twice(embedded, mask):
    dense = layers.Dense(DIM, name="twice")
    memory = layers.Conv1D(DIM, 3, padding="same", name="convolution")(dense(dense(embedded)))
    return memory, layers.GlobalAveragePooling1D(name="masked_mean")(dense(memory), mask=mask)


def other_rows(embedded, mask):
    """Not the padding, but the first tokens of the other rows."""
    memory = embedded + ops.mean(embedded[:, :1], axis=0, keepdims=True)
    return memory, layers.GlobalAveragePooling1D(name="masked_mean")(memory, mask=mask)


@pytest.fixture
def encoder(preprocessor):
    """A function of a body to an encoder of one's own."""

    def encoder(body):
        ids = keras.Input((None,), dtype="int32", name="encoder_token_ids")
        mask = PaddingMask(name="memory_mask")(ids)
        memory, state = body(layers.Embedding(preprocessor.source_vocabulary_size, DIM)(ids), mask)
        outputs = {"memory": memory, "memory_mask": mask, "states": [{"hidden": state}]}
        size = preprocessor.source_vocabulary_size
        return Encoder({"encoder_token_ids": ids}, outputs, vocabulary_size=size)

    return encoder


def decoder_of(preprocessor):
    return RecurrentDecoder(preprocessor.target_vocabulary_size, DIM, DIM, attention="luong")


class MeanOfAll(RecurrentDecoder):
    """Starts from the mean of the memory, padding included."""

    def start(self, context):
        state, constants = super().start(context)
        mean = keras.ops.mean(context["memory"], axis=1)
        return {**state, "layers": [{"hidden": mean, "cell": mean}]}, constants


MEAN = "'memory' of the encoder, from its operation 'mean\\w*' \\(Mean\\) on,"


@pytest.mark.parametrize(
    "body, part",
    [
        (careless_convolution, "'memory' of the encoder, from its layer 'convolution' \\(Conv1D\\) on,"),
        (careless_mean, "'states' of the encoder, from its layer 'mean' \\(GlobalAveragePooling1D\\) on,"),
    ],
)
def test_an_encoder_that_reads_padding(body, part, encoder, preprocessor, tmp_path):
    message = f"must not depend on padding.*Received: .*{part}.* Mask padded positions"
    with pytest.warns(UserWarning, match=message) as warnings:
        generator = kerasseq.TextGenerator(kerasseq.Seq2Seq(encoder(body), decoder_of(preprocessor)), preprocessor)
    assert warnings[0].filename == __file__
    with pytest.raises(ValueError, match=message):
        generator.export(tmp_path / "exported")
    assert not (tmp_path / "exported").exists()


def test_a_model_that_was_checked_is_saved(encoder, preprocessor, tmp_path):
    """Although the search for the part calls its layers again."""
    model = kerasseq.Seq2Seq(encoder(layer_called_twice), decoder_of(preprocessor))
    assert dependent_part(model, preprocessor)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    batch = {"encoder_token_ids": ops.ones((1, 3), "int32"), "decoder_token_ids": ops.ones((1, 2), "int32")}
    assert ops.all(loaded(batch) == model(batch))


@pytest.mark.parametrize(
    "body, part",
    [
        (operation_before_a_layer, MEAN),
        (other_rows, MEAN),
        (operation_beside_a_layer, "'memory' of the encoder, from its operation "),
        (inner_model, "'memory' of the encoder, from its layer 'inner' \\(Functional\\) on,"),
        (layer_called_twice, "'memory' of the encoder, from its layer 'convolution'"),
    ],
)
def test_the_part_is_named(body, part, encoder, preprocessor):
    with pytest.raises(ValueError, match=part):
        check_padding(kerasseq.Seq2Seq(encoder(body), decoder_of(preprocessor)), preprocessor)


def test_a_faulty_mask(preprocessor):
    ids = keras.Input((None,), dtype="int32", name="encoder_token_ids")
    memory = layers.Embedding(preprocessor.source_vocabulary_size, DIM)(ids)
    states = [{"hidden": layers.GlobalAveragePooling1D()(memory, mask=PaddingMask()(ids))}]
    outputs = {"memory": memory, "memory_mask": ops.ones_like(ids, dtype="bool"), "states": states}
    encoder = Encoder({"encoder_token_ids": ids}, outputs, vocabulary_size=preprocessor.source_vocabulary_size)
    with pytest.raises(ValueError, match="'memory_mask' of the encoder, from its operation 'ones_like"):
        check_padding(kerasseq.Seq2Seq(encoder, decoder_of(preprocessor)), preprocessor)


def test_a_member_of_an_ensemble(encoder, preprocessor):
    members = [kerasseq.Seq2Seq(encoder(body), decoder_of(preprocessor)) for body in (careful, careless_mean)]
    with pytest.warns(UserWarning, match="'states' of the encoder, from its layer 'mean'"):
        kerasseq.TextGenerator(kerasseq.models.Ensemble(members), preprocessor)


def test_short_sources(encoder, number_pairs):
    """The limit leaves no room for two lengths."""
    preprocessor = kerasseq.preprocessing.TextPreprocessor.from_pairs(
        number_pairs, vocabulary_size=285, max_source_length=3
    )
    with pytest.raises(ValueError, match="'states' of the encoder"):
        check_padding(kerasseq.Seq2Seq(encoder(careless_mean), decoder_of(preprocessor)), preprocessor)
    check_padding(kerasseq.Seq2Seq(encoder(careful), decoder_of(preprocessor)), preprocessor)


class CarelessStart(TransformerDecoder):
    """Reads padding when it decodes step by step, and not under teacher forcing."""

    def start(self, context):
        return super().start({**context, "memory_mask": ops.ones_like(context["memory_mask"])})


def test_a_decoder_that_reads_padding_step_by_step(encoder, preprocessor):
    decoder = CarelessStart(preprocessor.target_vocabulary_size, units=DIM, num_layers=1, num_heads=2)
    with pytest.raises(ValueError, match="Received: a model in which the decoder, step by step, does"):
        check_padding(kerasseq.Seq2Seq(encoder(careful), decoder), preprocessor)


def test_weights_that_are_not_finite_are_no_fault_of_padding(encoder, preprocessor):
    model = kerasseq.Seq2Seq(encoder(careful), decoder_of(preprocessor))
    model.set_weights([weight * float("nan") for weight in model.get_weights()])
    check_padding(model, preprocessor)


def test_a_decoder_that_reads_padding(encoder, preprocessor):
    model = kerasseq.Seq2Seq(encoder(careful), MeanOfAll(preprocessor.target_vocabulary_size, DIM, DIM))
    with pytest.warns(UserWarning, match="Received: a model in which the decoder does"):
        kerasseq.TextGenerator(model, preprocessor)


def test_careful_models_pass(encoder, preprocessor):
    """Warnings are errors in tests."""
    kerasseq.TextGenerator(kerasseq.Seq2Seq(encoder(careful), decoder_of(preprocessor)), preprocessor)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", pytest.param("mixed_float16", marks=pytest.mark.slow)])
def test_models_of_the_library_pass(policy, preprocessor):
    sizes = preprocessor.source_vocabulary_size, preprocessor.target_vocabulary_size
    keras.config.set_dtype_policy(policy)
    try:
        models = [
            kerasseq.models.AttentionSeq2Seq(*sizes, "lstm", 16, 16, num_layers=2),
            kerasseq.Seq2Seq(
                RecurrentEncoder(sizes[0], 16, 16, "ssru", num_layers=2, bidirectional=True, pyramidal=True),
                TransformerDecoder(sizes[1], 16),
            ),
            kerasseq.Seq2Seq(TransformerEncoder(sizes[0], 16), RecurrentDecoder(sizes[1], 16, 16)),
        ]
        models.append(kerasseq.models.Ensemble([models[0], models[2]]))
    finally:
        keras.config.set_dtype_policy("float32")
    for model in models:
        check_padding(model, preprocessor)


def test_sounds():
    preprocessor = kerasseq.preprocessing.AudioPreprocessor.from_pairs([(b"", "one two")] * 9, vocabulary_size=270)
    model = kerasseq.models.SpeechSeq2Seq(preprocessor.target_vocabulary_size, units=8, embedding_dim=8, num_layers=2)
    check_padding(model, preprocessor)
