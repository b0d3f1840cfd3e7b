"""Models whose outputs depend on padding are found, and the part is named."""

import re

import keras
import pytest
from keras import layers

import kerasseq
from kerasseq.decoders import RecurrentDecoder, TransformerDecoder
from kerasseq.encoders import Encoder, RecurrentEncoder, TransformerEncoder
from kerasseq.layers import PaddingMask
from kerasseq.padding import check_padding

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


@pytest.mark.parametrize(
    "body, part",
    [
        (careless_convolution, "'memory' of the encoder, from its layer 'convolution' \\(Conv1D\\) on,"),
        (careless_mean, "'states' of the encoder, from its layer 'mean' \\(GlobalAveragePooling1D\\) on,"),
    ],
)
def test_an_encoder_that_reads_padding(body, part, encoder, preprocessor, tmp_path, caplog):
    generator = kerasseq.TextGenerator(kerasseq.Seq2Seq(encoder(body), decoder_of(preprocessor)), preprocessor)
    assert re.search(part, caplog.text)
    with pytest.raises(ValueError, match=f"must not depend on padding.*Received: .*{part}.* Mask padded positions"):
        generator.export(tmp_path / "exported")
    assert not (tmp_path / "exported").exists()


def test_a_member_of_an_ensemble(encoder, preprocessor, caplog):
    members = [kerasseq.Seq2Seq(encoder(body), decoder_of(preprocessor)) for body in (careful, careless_mean)]
    kerasseq.TextGenerator(kerasseq.models.Ensemble(members), preprocessor)
    assert "'states' of the encoder, from its layer 'mean'" in caplog.text


def test_short_sources(encoder, number_pairs):
    """The limit leaves no room for two lengths."""
    preprocessor = kerasseq.preprocessing.TextPreprocessor.from_pairs(
        number_pairs, vocabulary_size=285, max_source_length=3
    )
    with pytest.raises(ValueError, match="'states' of the encoder"):
        check_padding(kerasseq.Seq2Seq(encoder(careless_mean), decoder_of(preprocessor)), preprocessor)
    check_padding(kerasseq.Seq2Seq(encoder(careful), decoder_of(preprocessor)), preprocessor)


def test_a_decoder_that_reads_padding(encoder, preprocessor, caplog):
    model = kerasseq.Seq2Seq(encoder(careful), MeanOfAll(preprocessor.target_vocabulary_size, DIM, DIM))
    kerasseq.TextGenerator(model, preprocessor)
    assert "Received: a model in which the decoder does" in caplog.text


def test_careful_models_pass(encoder, preprocessor, caplog):
    kerasseq.TextGenerator(kerasseq.Seq2Seq(encoder(careful), decoder_of(preprocessor)), preprocessor)
    assert not caplog.text


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
