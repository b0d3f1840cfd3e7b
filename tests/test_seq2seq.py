"""The model of an encoder and a decoder: its inputs and parts, its weights by name, its losses, and how it is saved."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import dtype_policy
from keras import layers

import kerasseq
from kerasseq.decoders import RecurrentDecoder
from kerasseq.encoders import Encoder, RecurrentEncoder
from kerasseq.layers import CoverageLoss, CTCLoss, DoublyStochasticLoss
from kerasseq.losses import MaskedCrossentropy
from kerasseq.models import AttentionSeq2Seq, Ensemble, GRUSeq2Seq, PointerGeneratorSeq2Seq
from kerasseq.seq2seq import Seq2Seq, weights_by_name

IDS = np.array([[2, 7, 4], [2, 5, 0]], dtype="int32")
LABELS = np.array([[7, 4, 3], [5, 3, 0]], dtype="int32")
SOURCE = np.array([[5, 6, 7, 3], [5, 3, 0, 0]], dtype="int32")
BATCH = {"encoder_token_ids": SOURCE, "decoder_token_ids": IDS}


def encoder(**options):
    return RecurrentEncoder(9, 3, 4, **options)


def decoder(**options):
    return RecurrentDecoder(9, 3, 4, **options)


def attention_model(**options):
    return AttentionSeq2Seq(9, 9, units=4, embedding_dim=3, **options)


def pointer_model():
    return PointerGeneratorSeq2Seq(9, units=4, embedding_dim=3, coverage_loss=1.0, content_selection_loss=0.5)


def ensemble():
    return Ensemble([GRUSeq2Seq(9, 9, units=4, embedding_dim=3), attention_model()])


# === Inputs and parts ===


def test_a_functional_model_of_its_parts():
    model = Seq2Seq(encoder(), decoder(), name="reader")
    assert model.name == "reader" and isinstance(model, keras.Model)
    assert [layer.name for layer in model.layers] == ["encoder_token_ids", "decoder_token_ids", "encoder", "decoder"]
    assert model.get_layer("encoder") is model.encoder and model.get_layer("decoder") is model.decoder
    inputs = {name: (tensor.shape, tensor.dtype) for name, tensor in model.input.items()}
    assert inputs == {name: ((None, None), "int32") for name in ("encoder_token_ids", "decoder_token_ids")}
    assert (model.output.shape, model.output.dtype) == ((None, None, 9), "float32")
    assert {id(w) for w in model.weights} == {id(w) for part in (model.encoder, model.decoder) for w in part.weights}


def test_a_training_step_is_traced_once():
    """Also by `fit` after another compilation; the optimizer's variables are those of the trainable weights."""
    traces = []

    class Counting(Seq2Seq):
        def train_step(self, data):
            traces.append(data)
            return super().train_step(data)

    model = Counting(encoder(cell="simple_rnn"), decoder(cell="simple_rnn"))
    model.encoder.trainable = False
    for _ in range(2):
        traces.clear()
        model.compile(keras.optimizers.SGD(0.1, momentum=0.9), MaskedCrossentropy())
        model.fit(BATCH, LABELS, epochs=2, verbose=0)
        assert len(traces) == 1
        momenta = [variable.shape for variable in model.optimizer.variables[2:]]
        assert momenta == [weight.shape for weight in model.decoder.trainable_weights]


def test_inputs_in_any_order():
    model = attention_model()
    turned = dict(reversed(BATCH.items()))
    np.testing.assert_array_equal(model(turned), model(BATCH))


def test_encode_reads_its_inputs_alone():
    model = attention_model()
    context = model.encode({"other": IDS, **BATCH})
    assert set(context) == {"encoder_token_ids", "memory", "memory_mask", "states"}
    np.testing.assert_array_equal(context["memory"], model.encoder({"encoder_token_ids": SOURCE})["memory"])
    with pytest.raises(ValueError, match=r"reads \['encoder_token_ids'\]. Missing: \['encoder_token_ids'\]. Received"):
        model.encode({"decoder_token_ids": IDS})


def test_encode_in_training():
    model = attention_model(dropout=0.5)
    memories = [model.encode(BATCH, training=training)["memory"].numpy() for training in (False, False, True)]
    np.testing.assert_array_equal(memories[0], memories[1])
    assert not np.array_equal(memories[0], memories[2])


@pytest.mark.parametrize("attention", ["luong", "multi_head"])
def test_decoder_outputs(attention):
    """In training mode too, and a loss on the attention reaches the weights that are shared with the model."""
    model = attention_model(attention=attention, dropout=0.2)
    outputs = model.decoder_outputs(BATCH)
    np.testing.assert_array_equal(outputs["logits"], model(BATCH))
    assert ("attention_heads" in outputs) is (attention == "multi_head")
    with tf.GradientTape() as tape:
        outputs = model.decoder_outputs(BATCH, training=True)
        entropy = -tf.reduce_sum(outputs["attention"] * tf.math.log(outputs["attention"] + 1e-9))
    assert outputs["attention"].shape == (2, 3, 4) and not np.allclose(outputs["logits"], model(BATCH))
    assert np.abs(tape.gradient(entropy, model.decoder.attention.keys.kernel.value)).max() > 0


def test_parts_are_shared_with_other_models():
    """One encoder with two decoders: what is trained through the one is seen by the other."""
    shared = encoder()
    one, other = Seq2Seq(shared, decoder(attention="luong")), Seq2Seq(shared, decoder())
    before = other(BATCH).numpy()
    one.compile("sgd", MaskedCrossentropy(), run_eagerly=True)
    one.train_on_batch(BATCH, LABELS)
    assert np.abs(other(BATCH) - before).max() > 0


@pytest.mark.parametrize(
    "arguments, message",
    [
        (lambda: (decoder(), decoder()), "encoder must be a kerasseq.encoders.Encoder. Received: encoder=<RecurrentD"),
        (lambda: (encoder(), layers.Dense(3)), "decoder must be a kerasseq.decoders.Decoder. Received: decoder=<Dense"),
        (lambda: (keras.Sequential(), decoder()), "encoder must be a kerasseq.encoders.Encoder"),
        (
            lambda: (encoder(bidirectional=True), decoder(attention="dot")),
            "'dot' multiplies .* Received: units=4 in the decoder, a memory of the size 8. Choose units=8",
        ),
        (lambda: (encoder(num_layers=2), decoder(bridge="copy")), "as many layers in the decoder as in the encoder"),
        (lambda: (encoder(), decoder(), [layers.Dense(3)]), "losses must be layers such as .* Received: <Dense"),
        (
            lambda: (encoder(), decoder(), [CoverageLoss()]),
            r"CoverageLoss needs \['attention'\], which this encoder and decoder do not provide. Available: \['decod",
        ),
    ],
)
def test_what_does_not_fit(arguments, message):
    with pytest.raises(ValueError, match=message):
        Seq2Seq(*arguments())


@pytest.mark.parametrize(
    "loss",
    [
        "sparse_categorical_crossentropy",
        "SparseCategoricalCrossentropy",
        keras.losses.sparse_categorical_crossentropy,
        ["sparse_categorical_crossentropy"],
        keras.losses.SparseCategoricalCrossentropy(),
        keras.losses.CategoricalCrossentropy(from_logits=False),
    ],
)
def test_losses_of_probabilities_are_refused(loss):
    model = attention_model()
    model.compile("sgd", loss)
    with pytest.raises(ValueError, match=r"The model returns logits.*MaskedCrossentropy\(\).*Received: loss="):
        model.fit(BATCH, LABELS, verbose=0)


def test_losses_of_logits_are_kept():
    model = attention_model()
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), run_eagerly=True)
    assert np.isfinite(model.fit(BATCH, LABELS, verbose=0).history["loss"]).all()


def test_class_weights_are_refused():
    model = attention_model()
    model.compile("sgd", MaskedCrossentropy())
    with pytest.raises(ValueError, match=r"targets are sequences.*weights=.*Received: class_weight=\{3: 10.0\}"):
        model.fit(BATCH, LABELS, class_weight={3: 10.0})


# === Auxiliary losses ===


def test_losses_are_added():
    """Each with its weight: of the tensors that a call of the parts returns."""
    losses = [DoublyStochasticLoss(0.5, name="spread"), CoverageLoss(2.0, name="coverage"), CTCLoss(9, 0.1, name="ctc")]
    model = Seq2Seq(encoder(), decoder(attention="luong"), losses)
    available = {**model.encode(BATCH), **model.decoder_outputs(BATCH), **BATCH}
    np.testing.assert_array_equal(model(BATCH), available["logits"])
    expected = [float(loss.weight * loss.loss(available)) for loss in losses]
    np.testing.assert_allclose(model.losses, expected, rtol=1e-5)
    assert min(expected) > 0 and model.get_layer("coverage") is model.auxiliary_losses[1] is losses[1]
    # A weight may change before the model is compiled.
    losses[1].weight = 0.0
    model(BATCH)
    np.testing.assert_allclose(model.losses, [expected[0], expected[2]], rtol=1e-5)


# === Weights by name ===


MODELS = {"attention": attention_model, "pointer": pointer_model, "ensemble": ensemble}


@pytest.mark.parametrize("name", MODELS)
def test_weights_by_name(name):
    """Unique, in the order of `model.weights`, and the same in a process that built other models."""
    model = MODELS[name]()
    names = weights_by_name(model)
    assert [id(weight) for weight in names.values()] == [id(weight) for weight in model.weights]
    assert {name.split("/")[0] for name in names} == {"encoder", "decoder"} | (
        {"losses"} if name == "pointer" else set()
    )
    assert list(weights_by_name(MODELS[name]())) == list(names)


def test_names_of_weights():
    assert list(weights_by_name(Seq2Seq(encoder(cell="gru"), decoder(cell="gru", bridge="dense")))) == [
        "encoder/embedding/embeddings",
        "encoder/forward_0/cell/kernel",
        "encoder/forward_0/cell/recurrent_kernel",
        "encoder/forward_0/cell/bias",
        "encoder/forward_0/cell/recurrent_bias",
        "decoder/bridge/hidden_0/kernel",
        "decoder/bridge/hidden_0/bias",
        "decoder/embedding/embeddings",
        "decoder/placement/stack/recurrent_0/cell/kernel",
        "decoder/placement/stack/recurrent_0/cell/recurrent_kernel",
        "decoder/placement/stack/recurrent_0/cell/bias",
        "decoder/placement/stack/recurrent_0/cell/recurrent_bias",
        "decoder/logits/kernel",
        "decoder/logits/bias",
    ]


# === Saving ===


@pytest.mark.parametrize("name", [pytest.param("attention", marks=pytest.mark.slow), "pointer", "ensemble"])
def test_frozen_weights_stay_frozen(name, tmp_path):
    """A whole part, a layer within another part, and a single weight."""
    model = MODELS[name]()
    model.encoder.trainable = False
    member = model.decoder.decoders[1] if name == "ensemble" else model.decoder
    member.embedding.trainable = False
    member.logits.bias.trainable = False
    frozen = {name for name, weight in weights_by_name(model).items() if not weight.trainable}
    assert len(frozen) == len(model.encoder.weights) + 2
    model.save(tmp_path / "model.keras")
    for again in (keras.models.load_model(tmp_path / "model.keras"), Seq2Seq.from_config(model.get_config())):
        assert {name for name, weight in weights_by_name(again).items() if not weight.trainable} == frozen
        assert len(again.trainable_weights) == len(model.trainable_weights)
        # Keras ignores an assignment of the value that a flag already has, so flags must be restored too.
        assert not again.encoder.trainable
        again.encoder.trainable = True
        assert len(again.encoder.trainable_weights) == len(again.encoder.weights)


@pytest.mark.parametrize("name", [pytest.param("attention", marks=pytest.mark.slow), "pointer", "ensemble"])
def test_frozen_parts_can_be_trained_again(name):
    """A decoder, and a whole model."""
    model = MODELS[name]()
    model.decoder.trainable = False
    again = Seq2Seq.from_config(model.get_config())
    assert again.decoder.trainable_weights == []
    again.decoder.trainable = True
    assert len(again.decoder.trainable_weights) == len(again.decoder.weights)
    model.trainable = False
    again = Seq2Seq.from_config(model.get_config())
    assert again.trainable_weights == []
    again.trainable = True
    assert len(again.trainable_weights) == len(again.weights)


def test_the_configuration_is_that_of_the_parts():
    model = pointer_model()
    config = model.get_config()
    assert json.loads(json.dumps(config)) == config
    assert len(json.dumps(config)) < 3_000 and "inbound_nodes" not in json.dumps(config)
    again = Seq2Seq.from_config(config)
    assert again.get_config() == config and again.name == model.name
    assert [loss.weight for loss in again.auxiliary_losses] == [1.0, 0.5]


@pytest.mark.parametrize(
    "name, policy", [("attention", "mixed_float16"), ("pointer", "mixed_bfloat16"), ("ensemble", "mixed_bfloat16")]
)
def test_the_precision_is_kept(name, policy, tmp_path):
    """A model in 16 bits is loaded where single precision is the default, and has the same weights and results."""
    with dtype_policy(policy):
        half = MODELS[name]()
    half.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.encoder.output["memory"].dtype == policy.removeprefix("mixed_")
    np.testing.assert_array_equal(loaded(BATCH), half(BATCH))
    names, loaded_names = weights_by_name(half), weights_by_name(loaded)
    assert list(loaded_names) == list(names)
    for key, weight in names.items():
        np.testing.assert_array_equal(loaded_names[key], weight)
    assert {weight.dtype for weight in loaded.weights} == {"float32"}


def test_copies():
    """By the configuration: `keras.models.clone_model` returns a plain functional model, which cannot decode."""
    model = pointer_model()
    copied = Seq2Seq.from_config(model.get_config())
    copied.set_weights(model.get_weights())
    np.testing.assert_array_equal(copied(BATCH), model(BATCH))
    assert not {id(weight) for weight in copied.weights} & {id(weight) for weight in model.weights}
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    np.testing.assert_array_equal(clone(BATCH), model(BATCH))
    assert not isinstance(clone, Seq2Seq)


def test_a_model_of_a_custom_encoder(tmp_path):
    ids = keras.Input((None,), dtype="int32", name="encoder_token_ids")
    memory = layers.Embedding(9, 4)(ids)
    outputs = {
        "memory": memory,
        "memory_mask": kerasseq.layers.PaddingMask()(ids),
        "states": [{"hidden": layers.GlobalMaxPooling1D()(memory)}],
    }
    model = Seq2Seq(Encoder({"encoder_token_ids": ids}, outputs, vocabulary_size=9), decoder(attention="dot"))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(BATCH), model(BATCH))
    assert type(loaded.encoder) is Encoder and loaded.encoder.vocabulary_size == 9


def test_frozen_weights_of_a_model_built_in_a_name_scope(tmp_path):
    with keras.name_scope("outer"):
        model = kerasseq.models.GRUSeq2Seq(9, 9, embedding_dim=4, units=4)
    model.encoder.get_layer("embedding").trainable = False
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert [weight.trainable for weight in loaded.weights] == [weight.trainable for weight in model.weights]
    assert len(loaded.trainable_weights) == len(model.weights) - 1


@keras.saving.register_keras_serializable(package="test")
class MeanDecoder(kerasseq.decoders.Decoder):
    """The least that the contract asks for: the last token and the mean of the memory, without `build`."""

    def __init__(self, vocabulary_size, **kwargs):
        super().__init__(**kwargs)
        self.vocabulary_size = vocabulary_size
        self.embedding = keras.layers.Embedding(vocabulary_size, 4)
        self.logits = keras.layers.Dense(vocabulary_size)

    def start(self, context):
        return {}, {"mean": keras.ops.mean(context["memory"], axis=1)}

    def step(self, token_ids, state, constants):
        features = keras.ops.concatenate([self.embedding(token_ids), constants["mean"]], axis=-1)
        return {"logits": self.logits(features), "state": state}

    def call(self, decoder_token_ids, context, training=False):
        _, constants = self.start(context)
        embedded = self.embedding(decoder_token_ids)
        mean = keras.ops.repeat(constants["mean"][:, None], keras.ops.shape(embedded)[1], axis=1)
        return {"logits": self.logits(keras.ops.concatenate([embedded, mean], axis=-1))}

    def get_config(self):
        return {**super().get_config(), "vocabulary_size": self.vocabulary_size}


@pytest.mark.parametrize("joined", [False, True])
def test_a_decoder_of_ones_own(joined, tmp_path):
    models = [
        kerasseq.Seq2Seq(kerasseq.encoders.RecurrentEncoder(9, 4, 4, cell="gru"), MeanDecoder(9)) for _ in range(2)
    ]
    model = kerasseq.models.Ensemble(models) if joined else models[0]
    ids = np.array([[5, 6, 3], [7, 3, 0]], "int32")
    inputs = {"encoder_token_ids": ids, "decoder_token_ids": np.array([[2, 4], [2, 5]], "int32")}
    logits = model(inputs)
    state, constants = model.start(model.encode(inputs))
    for step in range(2):
        outputs = model.step(inputs["decoder_token_ids"][:, step], state, constants)
        np.testing.assert_allclose(outputs["logits"], logits[:, step], atol=1e-5)
    model.save(tmp_path / "model.keras")
    np.testing.assert_allclose(keras.models.load_model(tmp_path / "model.keras")(inputs), logits, atol=1e-6)


@pytest.mark.parametrize(
    "x", [[("May 3", "05-03")], ["May 3"], ("May 3", "May 4"), [["May 3", "05-03"]], [b"May 3"]], ids=repr
)
def test_texts_in_the_place_of_batches(x):
    model = AttentionSeq2Seq(20, 20, units=4, embedding_dim=4)
    model.compile("adam", kerasseq.losses.MaskedCrossentropy())
    for method in (model.fit, model.evaluate, model.predict):
        with pytest.raises(ValueError, match="batches of token ids: preprocessor.dataset.*TextGenerator.*Received: x="):
            method(x)
