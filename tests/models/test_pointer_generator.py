"""The encoder-decoder that copies: against its equations, by other roads, in every configuration."""

import inspect
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import dtype_policy, output_of, randomized, softmax

from kerasseq import Seq2Seq, TextGenerator
from kerasseq.layers.cells import CELLS
from kerasseq.losses import MaskedCrossentropy
from kerasseq.metrics import TokenAccuracy
from kerasseq.models import AttentionSeq2Seq, Ensemble, PointerGeneratorSeq2Seq
from kerasseq.search import BeamSampler, Request, decode
from kerasseq.seq2seq import weights_by_name

VOCABULARY, END = 9, 3
SIZES = {"vocabulary_size": VOCABULARY, "embedding_dim": 3, "units": 4}

# Two sources with a token more than once, and an empty one.
SOURCE = np.array([[5, 4, 5, 5, 3], [6, 6, 3, 0, 0], [3, 0, 0, 0, 0]], dtype="int32")
TARGET = np.array([[2, 7, 4, 5, 6], [2, 5, 0, 0, 0], [2, 4, 4, 6, 0]], dtype="int32")
BATCH = {"encoder_token_ids": SOURCE, "decoder_token_ids": TARGET}
LABELS = np.array([[7, 4, 5, 6, 3], [5, 3, 0, 0, 0], [4, 4, 6, 3, 0]], dtype="int32")


def build(seed=0, **options):
    """A model with random weights of order 1."""
    model = PointerGeneratorSeq2Seq(**{**SIZES, **options})
    return randomized(model, seed)


# === The equations ===


def by_the_paper(model, cell, numpy_cell, source, target):
    """See et al. 2017, a step at a time: log-probabilities, attention, p_gen and the coverage after the last step."""

    def weights(layer):
        return [np.float64(weight) for weight in layer.get_weights()]

    def run(name, embedded):
        states, outputs = [np.zeros(SIZES["units"])] * len(CELLS[cell].state_names), []
        for x in embedded:
            states = numpy_cell(cell, x, states, *weights(encoder.get_layer(name)))
            outputs.append(output_of(cell, states))
        return outputs, states

    encoder, decoder = model.encoder, model.decoder
    (embeddings,) = weights(encoder.get_layer("embedding"))
    forward, forward_states = run("forward_0", embeddings[source])
    backward, backward_states = run("backward_0", embeddings[source][::-1])
    h = np.concatenate([forward, backward[::-1]], axis=-1)  # (source, 2 * units)
    states = []
    for name, *both in zip(CELLS[cell].state_names, forward_states, backward_states, strict=True):
        kernel, bias = weights(decoder.bridge.dense[f"{name}_0"])
        start = np.concatenate(both) @ kernel + bias
        linear = CELLS[cell].state_activations.get(name) == "linear"  # as the cell state of an LSTM
        states.append(start if linear else np.tanh(start))

    (W_h,) = weights(decoder.attention.keys)
    attention = decoder.attention
    W_s, b_attn, v, w_c = (
        np.float64(weight)
        for weight in (attention.query_kernel, attention.bias, attention.score_vector, attention.coverage_vector)
    )
    V, b = weights(decoder.placement.attentional)
    V_prime, b_prime = weights(decoder.logits)
    w, b_ptr = weights(decoder.pointer_generator)
    (embeddings,) = weights(decoder.embedding)
    (recurrent,) = decoder.placement.stack.recurrent
    coverage, steps = np.zeros(len(source)), []
    for x in embeddings[target]:
        states = numpy_cell(cell, x, states, *weights(recurrent))
        s = output_of(cell, states)
        e = [v @ np.tanh(W_h.T @ h[i] + W_s.T @ s + w_c * coverage[i] + b_attn) for i in range(len(source))]  # (11)
        a = softmax(e)  # (2)
        coverage = coverage + a  # (10)
        context = sum(a[i] * h[i] for i in range(len(source)))  # (3)
        p_vocab = softmax(V_prime.T @ (V.T @ np.concatenate([context, s]) + b) + b_prime)  # (4)
        p_gen = 1 / (1 + np.exp(-(w[:, 0] @ np.concatenate([context, s, x]) + b_ptr[0])))  # (8)
        p = p_gen * p_vocab  # (9)
        for i, token in enumerate(source):
            p[token] += (1 - p_gen) * a[i]
        steps.append((np.log(p + 1e-10), a, p_gen))
    return *map(np.stack, zip(*steps, strict=True)), coverage


@pytest.mark.parametrize("cell", CELLS)
def test_equations(cell, numpy_cell):
    model = build(cell=cell)
    log_probabilities = model(BATCH)
    outputs = model.decoder_outputs(BATCH)
    _, state = model.decoder.run(TARGET, *model.start(model.encode(BATCH)))
    np.testing.assert_array_equal(outputs["logits"], log_probabilities)
    p_gens = []
    for row in range(len(SOURCE)):
        source, target = SOURCE[row][SOURCE[row] != 0], TARGET[row][TARGET[row] != 0]
        expected, attention, p_gen, coverage = by_the_paper(model, cell, numpy_cell, source, target)
        np.testing.assert_allclose(log_probabilities[row, : len(target)], expected, atol=1e-5)
        np.testing.assert_allclose(outputs["attention"][row, : len(target), : len(source)], attention, atol=1e-5)
        np.testing.assert_allclose(outputs["generation_probability"][row, : len(target)], p_gen, atol=1e-5)
        if len(target) == TARGET.shape[1]:
            np.testing.assert_allclose(state["attention"]["alignment"][row, : len(source)], coverage, atol=1e-5)
        p_gens.extend(p_gen)
    assert np.ptp(p_gens) > 0.1


def test_tied_embeddings_read_out_in_their_size():
    """The projection of equation 4 is then to the size of the embeddings, and theirs is the second matrix."""
    tied = build(tie_embeddings=True)
    decoder = tied.decoder
    kernel, bias = decoder.placement.attentional.get_weights()
    assert (kernel.shape, bias.shape) == ((12, 3), (3,)) and decoder.logits is None
    outputs = tied.decoder_outputs(BATCH)
    readout = decoder.placement(decoder.embedding(TARGET), *decoder.start(tied.encode(BATCH))).readout
    (matrix,) = decoder.embedding.get_weights()
    p_vocab = softmax((np.concatenate(readout, axis=-1) @ kernel + bias) @ matrix.T)
    p_gen = outputs["generation_probability"].numpy()[:, :, None]
    copied = np.einsum("bts,bsv->btv", outputs["attention"], np.eye(VOCABULARY)[SOURCE])
    expected = p_gen * p_vocab + (1 - p_gen) * copied
    np.testing.assert_allclose(np.exp(tied(BATCH)), expected, atol=1e-6)


# === Copying ===


def test_other_source_ids_change_what_is_copied_alone():
    """The memory depends on the tokens of the source, but what is copied is what the constants hold."""
    model = build()
    others = np.where(SOURCE > 0, (SOURCE + 1) % VOCABULARY, 0)
    state, constants = model.start(model.encode(BATCH))
    np.testing.assert_array_equal(constants["source_token_ids"], SOURCE)
    (before, state_before), (after, state_after) = (
        model.decoder.run(TARGET, state, {**constants, "source_token_ids": ids}) for ids in (SOURCE, others)
    )
    for name in ("attention", "generation_probability"):
        np.testing.assert_array_equal(before[name], after[name])
    keras.tree.map_structure(np.testing.assert_array_equal, state_before, state_after)
    moved = np.eye(VOCABULARY)[others] - np.eye(VOCABULARY)[SOURCE]  # (batch, source, vocabulary)
    share = 1 - before["generation_probability"].numpy()[:, :, None]
    expected = share * np.einsum("bts,bsv->btv", before["attention"], moved)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(np.exp(after["logits"]) - np.exp(before["logits"]), expected, atol=1e-6)


def test_a_token_that_was_never_generated_is_copied():
    """Of a token that is not in the source, and is never generated, there is nothing but the floor."""
    model = build()
    model.decoder.logits.bias.assign(np.where(np.isin(range(VOCABULARY), [5, 8]), -1e4, 0.0))
    log_probabilities = model(BATCH).numpy()
    np.testing.assert_allclose(log_probabilities[:, :, 8], np.log(1e-10), rtol=1e-6)
    np.testing.assert_allclose(log_probabilities[1:, :, 5], np.log(1e-10), rtol=1e-6)
    assert (log_probabilities[0, :, 5] > np.log(0.05)).all()


def test_copying_teaches_the_attention():
    """Where nothing else depends on the context: the gradient against the difference that a step along it makes."""
    model = build()
    decoder = model.decoder
    for kernel in (decoder.logits.kernel, decoder.pointer_generator.kernel):
        kernel.assign(np.zeros(kernel.shape))
    weight = decoder.attention.keys.kernel
    start = weight.numpy()

    def loss():
        return -tf.reduce_sum(model(BATCH)[0, :, 5])

    with tf.GradientTape() as tape:
        value = loss()
    gradient = tape.gradient(value, weight.value).numpy()
    slope = np.linalg.norm(gradient)
    assert slope > 0.01
    sides = []
    for step in (0.02, -0.02):
        weight.assign(start + step / slope * gradient)
        sides.append(float(loss()))
    assert (sides[0] - sides[1]) / 0.04 == pytest.approx(slope, rel=1e-2)


# === The builder ===


def test_losses_train_the_encoder_too():
    """The coverage loss reaches the attention, and that of the content selector what it shares with the decoder."""
    model = build(coverage_loss=1.0, content_selection_loss=0.5)
    weights = weights_by_name(model)
    for loss, reached in (("coverage_loss", "decoder/placement/attention/coverage_vector"),
                          ("content_selection_loss", "losses/content_selection_loss/hidden/kernel")):  # fmt: skip
        with tf.GradientTape() as tape:
            model(BATCH, training=True)
            value = sum(model.get_layer(loss).losses)
        names = [reached, "encoder/embedding/embeddings", "encoder/forward_0/cell/kernel"]
        for gradient in tape.gradient(value, [weights[name].value for name in names]):
            assert np.abs(tf.convert_to_tensor(gradient)).max() > 0


def test_training_and_its_metrics(tmp_path):
    """In a compiled graph, with both losses; a loaded model goes on with the same loss."""
    model = build(coverage_loss=1.0, content_selection_loss=0.5, cell="gru", bidirectional=False)
    model.compile(keras.optimizers.Adam(0.01), MaskedCrossentropy(), metrics=[TokenAccuracy()])
    losses = model.fit(BATCH, LABELS, epochs=4, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(BATCH), model(BATCH))
    np.testing.assert_allclose(loaded.losses, model.losses, rtol=1e-6)
    assert len(model.losses) == 2


def test_the_default_is_that_of_the_paper():
    model = PointerGeneratorSeq2Seq(20, units=4, embedding_dim=3)
    assert type(model.decoder.attention).__name__ == "CoverageAttention"
    assert type(model.decoder.placement).__name__ == "AttentionAfter"
    assert model.encoder.options["cell"] == model.decoder.options["cell"] == "lstm"
    assert model.encoder.memory_dim == 8
    assert model.get_layer("coverage_loss").weight == 0.0
    assert [loss.name for loss in model.auxiliary_losses] == ["coverage_loss"]


# === Half precision ===


@pytest.fixture(params=[("mixed_float16", "coverage", "after"), ("mixed_bfloat16", "luong", "input_feeding")])
def single_and_half(request):
    """Two models of the same weights, the second of which computes in 16 bits."""
    policy, attention, placement = request.param
    options = {"attention": attention, "placement": placement, "coverage_loss": 1.0}
    model = build(**options)
    with dtype_policy(policy):
        half = build(**options)
    assert half.encoder.output["memory"].dtype == policy.removeprefix("mixed_")
    return model, half


def test_half_precision(single_and_half):
    model, half = single_and_half
    log_probabilities = half(BATCH)
    assert log_probabilities.dtype == tf.float32
    difference = np.abs(np.exp(log_probabilities) - np.exp(model(BATCH))).max()
    assert 0 < difference < 2e-2
    np.testing.assert_allclose(np.exp(log_probabilities).sum(axis=-1), np.ones((3, 5)), atol=1e-5)
    np.testing.assert_allclose(half.losses, model.losses, atol=2e-2)


@pytest.mark.slow
def test_training_in_half_precision(single_and_half):
    losses = []
    for model in single_and_half:
        model.compile(keras.optimizers.SGD(0.1), MaskedCrossentropy())
        losses.append(model.fit(BATCH, LABELS, epochs=5, verbose=0).history["loss"])
    np.testing.assert_allclose(losses[1], losses[0], rtol=2e-2)
    assert losses[1][-1] < losses[1][0]


# === Search ===


def test_wide_beams_find_what_brute_force_finds():
    """Every sequence of up to three tokens, scored by teacher forcing."""
    vocabulary, length = 5, 3
    model = build(seed=3, vocabulary_size=vocabulary)
    source = np.array([[4, 1, 4, 3], [4, 3, 0, 0]], "int32")
    every = np.array(list(itertools.product(range(vocabulary), repeat=length)), "int32")  # (sequences, length)
    starts = np.full((len(every), 1), 2, "int32")
    request = Request(batch_size=2, max_length=length, start_id=2, end_id=END)
    found = decode(model, model.encode({"encoder_token_ids": source}), BeamSampler(80, length_penalty=0.7), request)
    for row in range(2):
        inputs = {
            "encoder_token_ids": np.repeat(source[row : row + 1], len(every), axis=0),
            "decoder_token_ids": np.concatenate([starts, every[:, :-1]], axis=1),
        }
        log_probabilities = np.take_along_axis(np.float64(model(inputs)), every[:, :, None], axis=2)[:, :, 0]
        scores = {}
        for ids, values in zip(every.tolist(), log_probabilities, strict=True):
            tokens = ids.index(END) + 1 if END in ids else length
            scores[(*ids[:tokens], *[0] * (length - tokens))] = values[:tokens].sum() / ((5 + tokens) / 6) ** 0.7
        ranked = sorted(scores, key=lambda ids: (END not in ids, -scores[ids]))  # Those that end come first.
        ids = list(map(tuple, found["token_ids"][row].numpy().tolist()))
        assert ids[:21] == ranked[:21] and len(set(ids)) == 80
        np.testing.assert_allclose(found["scores"][row], [scores[one] for one in ids], atol=1e-4)


# === Ensembles ===


@pytest.mark.parametrize("other", ["copying", "attention"])
def test_ensembles(other, tmp_path):
    members = [build(1), build(2, attention="luong", cell="gru")]
    if other == "attention":
        members[1] = AttentionSeq2Seq(VOCABULARY, VOCABULARY, units=4, embedding_dim=3)
        randomized(members[1], 2, scale=1.0)
    ensemble = Ensemble(members)
    expected = np.mean([softmax(member(BATCH)) for member in members], axis=0)
    assert np.abs(softmax(members[0](BATCH)) - expected).max() > 0.1
    np.testing.assert_allclose(np.exp(ensemble(BATCH)), expected, atol=1e-6)
    of_members = [member.decoder_outputs(BATCH) for member in members]
    attention = [each["attention"] for each in of_members]
    outputs = ensemble.decoder_outputs(BATCH)
    np.testing.assert_allclose(outputs["attention"], np.mean(attention, axis=0), atol=1e-6)
    assert ("generation_probability" in outputs) is (other == "copying")
    if other == "copying":
        p_gen = [each["generation_probability"] for each in of_members]
        np.testing.assert_allclose(outputs["generation_probability"], np.mean(p_gen, axis=0), atol=1e-6)
    else:
        ensemble.save(tmp_path / "ensemble.keras")
        np.testing.assert_array_equal(keras.models.load_model(tmp_path / "ensemble.keras")(BATCH), ensemble(BATCH))


# === What the builder returns, and refuses ===


def test_contract():
    model = PointerGeneratorSeq2Seq(**SIZES)
    assert type(model) is Seq2Seq and model.decoder.copies
    inputs = {name: (tensor.shape, tensor.dtype) for name, tensor in model.input.items()}
    assert inputs == {name: ((None, None), "int32") for name in ("encoder_token_ids", "decoder_token_ids")}
    assert (model.output.shape, model.output.dtype) == ((None, None, VOCABULARY), "float32")
    assert model.name == "pointer_generator_seq2seq" and PointerGeneratorSeq2Seq(**SIZES, name="other").name == "other"


def test_arguments_are_those_of_attention():
    ours = inspect.signature(PointerGeneratorSeq2Seq).parameters
    theirs = inspect.signature(AttentionSeq2Seq).parameters
    assert set(ours) - set(theirs) == {"vocabulary_size", "coverage_loss", "content_selection_loss"}
    assert set(theirs) - set(ours) == {"source_vocabulary_size", "target_vocabulary_size"}
    assert next(iter(ours)) == "vocabulary_size"


def test_predict():
    model = build()
    log_probabilities = model.predict(BATCH, batch_size=2, verbose=0)
    assert (log_probabilities.shape, log_probabilities.dtype) == ((3, 5, VOCABULARY), np.float32)
    np.testing.assert_allclose(log_probabilities, model(BATCH), atol=1e-6)


def test_dropout_in_training_alone():
    model = build(dropout=0.5)
    np.testing.assert_array_equal(model(BATCH), model(BATCH))
    assert not np.array_equal(model(BATCH, training=True), model(BATCH, training=True))


@pytest.mark.parametrize("argument", ["vocabulary_size", "embedding_dim", "units", "num_layers", "num_heads"])
def test_bad_sizes(argument):
    for value in (0, 2.5, None):
        with pytest.raises(ValueError, match=f"{argument} must be a positive integer. Received: {argument}={value!r}."):
            PointerGeneratorSeq2Seq(**{**SIZES, argument: value})


def test_other_bad_arguments():
    with pytest.raises(ValueError, match=r"dropout must be in \[0, 1\). Received: dropout=1.0."):
        PointerGeneratorSeq2Seq(**SIZES, dropout=1.0)
    with pytest.raises(ValueError, match="attention must be one of 'luong', 'dot', .* Received: attention='self'."):
        PointerGeneratorSeq2Seq(**SIZES, attention="self")
    with pytest.raises(ValueError, match="placement must be one of 'after', .*'top'"):
        PointerGeneratorSeq2Seq(**SIZES, placement="top")
    with pytest.raises(ValueError, match="'dot' multiplies .* Received: units=4 .* of the size 8. Choose units=8"):
        PointerGeneratorSeq2Seq(**SIZES, attention="dot")


def test_two_vocabularies_are_refused(preprocessor):
    """The ids of the source would mean other tokens in the target."""
    size = preprocessor.source_vocabulary_size
    model = PointerGeneratorSeq2Seq(**{**SIZES, "vocabulary_size": size})
    with pytest.raises(ValueError, match="joint=True"):
        TextGenerator(model, preprocessor)
