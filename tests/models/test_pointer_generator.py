"""The encoder-decoder that copies: against its equations, by other roads, in every configuration."""

import doctest
import inspect
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasseq import TextGenerator
from kerasseq.joining import decoder_outputs, select_inputs
from kerasseq.layers import CELLS
from kerasseq.layers.kinds import ATTENTIONS, PLACEMENTS
from kerasseq.losses import MaskedCrossentropy
from kerasseq.metrics import TokenAccuracy
from kerasseq.models import AttentionSeq2Seq, Ensemble, PointerGeneratorSeq2Seq
from kerasseq.models import pointer_generator as pointer_generator_module
from kerasseq.samplers import BeamSampler

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
    random = np.random.default_rng(seed)
    model.set_weights([random.normal(scale=0.7, size=weight.shape) for weight in model.get_weights()])
    return model


def parts(model):
    return [model.get_layer(name) for name in ("encoder", "bridge", "decoder")]


def encode(model, source, copied=None):
    """All that the decoder can be given of the sources; with the ids `copied` in the place of what they hold."""
    encoder, bridge, _ = parts(model)
    context = {"encoder_token_ids": tf.constant(source)}
    context |= encoder(context)
    if copied is not None:
        context["encoder_token_ids"] = tf.constant(copied)
    return context | bridge(select_inputs(bridge, context))


def decode(model, context, target):
    decoder = model.get_layer("decoder")
    return decoder(select_inputs(decoder, {**context, "decoder_token_ids": tf.constant(target)}))


# === The equations ===


def softmax(scores):
    exponentials = np.exp(np.float64(scores) - np.max(scores, axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def by_the_paper(model, cell, numpy_cell, source, target):
    """See et al. 2017, a step at a time: log-probabilities, attention, p_gen and the coverage after the last step."""

    def weights(part, layer):
        return [np.float64(weight) for weight in model.get_layer(part).get_layer(layer).get_weights()]

    def run(name, embedded):
        states, outputs = [np.zeros(SIZES["units"])] * CELLS[cell].num_states, []
        for x in embedded:
            states = numpy_cell(cell, x, states, *weights("encoder", name))
            outputs.append(states[0])
        return outputs, states

    (embeddings,) = weights("encoder", "embedding")
    forward, forward_states = run("forward_0", embeddings[source])
    backward, backward_states = run("backward_0", embeddings[source][::-1])
    h = np.concatenate([forward, backward[::-1]], axis=-1)  # (source, 2 * units)
    states = []
    for index, both in enumerate(zip(forward_states, backward_states, strict=True)):
        kernel, bias = weights("bridge", f"start_state_{index}")
        start = np.concatenate(both) @ kernel + bias
        states.append(start if index else np.tanh(start))

    (W_h,) = weights("bridge", "attention_keys")
    W_s, b_attn, v, w_c = weights("decoder", "attention")
    V, b = weights("decoder", "attentional")
    V_prime, b_prime = weights("decoder", "logits")
    w, b_ptr = weights("decoder", "pointer_generator")
    (embeddings,) = weights("decoder", "embedding")
    coverage, steps = np.zeros(len(source)), []
    for x in embeddings[target]:
        states = numpy_cell(cell, x, states, *weights("decoder", "recurrent_0"))
        s = states[0]
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
    outputs = decoder_outputs(model)(BATCH)
    np.testing.assert_array_equal(outputs["logits"], log_probabilities)
    p_gens = []
    for row in range(len(SOURCE)):
        source, target = SOURCE[row][SOURCE[row] != 0], TARGET[row][TARGET[row] != 0]
        expected, attention, p_gen, coverage = by_the_paper(model, cell, numpy_cell, source, target)
        np.testing.assert_allclose(log_probabilities[row, : len(target)], expected, atol=1e-5)
        np.testing.assert_allclose(outputs["attention"][row, : len(target), : len(source)], attention, atol=1e-5)
        np.testing.assert_allclose(outputs["generation_probability"][row, : len(target)], p_gen, atol=1e-5)
        if len(target) == TARGET.shape[1]:
            np.testing.assert_allclose(outputs["states"][-1][row, : len(source)], coverage, atol=1e-5)
        p_gens.extend(p_gen)
    assert np.ptp(p_gens) > 0.1


def test_tied_embeddings_read_out_in_their_size():
    """The projection of equation 4 is then to the size of the embeddings, and theirs is the second matrix."""
    tied = build(tie_embeddings=True)
    matrices = {
        layer: tied.get_layer("decoder").get_layer(layer).get_weights() for layer in ("embedding", "attentional")
    }
    assert [weight.shape for weight in matrices["attentional"]] == [(12, 3), (3,)]
    assert tied.get_layer("decoder").get_layer("logits").weights == []
    context = encode(tied, SOURCE)
    outputs = decode(tied, context, TARGET)
    opened = keras.Model(tied.get_layer("decoder").input, tied.get_layer("decoder").get_layer("readout").output)
    readout = opened(select_inputs(opened, {**context, "decoder_token_ids": tf.constant(TARGET)})).numpy()
    kernel, bias = matrices["attentional"]
    p_vocab = softmax((readout @ kernel + bias) @ matrices["embedding"][0].T)
    p_gen = outputs["generation_probability"].numpy()[:, :, None]
    copied = np.einsum("bts,bsv->btv", outputs["attention"], np.eye(VOCABULARY)[SOURCE])
    expected = p_gen * p_vocab + (1 - p_gen) * copied
    np.testing.assert_allclose(np.exp(tied(BATCH)), expected, atol=1e-6)


# === Copying ===


def test_other_source_ids_change_what_is_copied_alone():
    """The memory knows which tokens the source holds, but what is copied is what the bridge was given."""
    model = build()
    others = np.where(SOURCE > 0, (SOURCE + 1) % VOCABULARY, 0)
    context, swapped = encode(model, SOURCE), encode(model, SOURCE, copied=others)
    np.testing.assert_array_equal(swapped["source_token_ids"], others)
    before, after = decode(model, context, TARGET), decode(model, swapped, TARGET)
    for name in ("attention", "generation_probability", "states"):
        for one, other in zip(tf.nest.flatten(before[name]), tf.nest.flatten(after[name]), strict=True):
            np.testing.assert_array_equal(one, other)
    moved = np.eye(VOCABULARY)[others] - np.eye(VOCABULARY)[SOURCE]  # (batch, source, vocabulary)
    share = 1 - before["generation_probability"].numpy()[:, :, None]
    expected = share * np.einsum("bts,bsv->btv", before["attention"], moved)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(np.exp(after["logits"]) - np.exp(before["logits"]), expected, atol=1e-6)


def test_a_token_that_was_never_generated_is_copied():
    """Of a token that is not in the source, and is never generated, there is nothing but the floor."""
    model = build()
    logits = model.get_layer("decoder").get_layer("logits")
    logits.bias.assign(np.where(np.isin(range(VOCABULARY), [5, 8]), -1e4, 0.0))
    log_probabilities = model(BATCH).numpy()
    np.testing.assert_allclose(log_probabilities[:, :, 8], np.log(1e-10), rtol=1e-6)
    np.testing.assert_allclose(log_probabilities[1:, :, 5], np.log(1e-10), rtol=1e-6)
    assert (log_probabilities[0, :, 5] > np.log(0.05)).all()


def test_copying_teaches_the_attention():
    """Where nothing else depends on the context: the gradient against the difference that a step along it makes."""
    model = build()
    decoder = model.get_layer("decoder")
    for kernel in (decoder.get_layer("logits").kernel, decoder.get_layer("pointer_generator").kernel):
        kernel.assign(np.zeros(kernel.shape))
    weight = model.get_layer("bridge").get_layer("attention_keys").kernel
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


# === Every configuration: other roads give the same ===


def build_variant(attention, placement, cell, variant):
    """The other options walk along with `variant`, so that all of them meet."""
    return build(
        seed=variant,
        attention=attention,
        placement=placement,
        cell=cell,
        num_heads=2,
        num_layers=1 + variant % 2,
        bidirectional=attention != "dot" and variant % 5 < 3,
        bridge=[None, "zero", "dense"][variant % 3],
        residual=variant % 5 < 3,
        layer_normalization=variant % 4 == 1,
        tie_embeddings=variant % 3 == 1,
        dropout=0.1,
        coverage_loss=variant % 2,
        content_selection_loss=variant % 3,
    )


def check(attention, placement, cell, variant):
    model = build_variant(attention, placement, cell, variant)
    log_probabilities = model(BATCH).numpy()
    assert log_probabilities.shape == (3, 5, VOCABULARY) and log_probabilities.dtype == np.float32
    assert log_probabilities.std() > 0.1

    # === Step by step ===
    context = encode(model, SOURCE)
    whole, states, steps = decode(model, context, TARGET), context["states"], []
    for position in range(TARGET.shape[1]):
        steps.append(decode(model, {**context, "states": states}, TARGET[:, position : position + 1]))
        states = steps[-1]["states"]
    heads = {"attention_heads"} if attention == "multi_head" else set()
    assert set(whole) == {"logits", "states", "attention", "generation_probability"} | heads
    for name, axis in {"logits": 1, "attention": 1, "generation_probability": 1, "attention_heads": 2}.items():
        if name in whole:
            joined = np.concatenate([step[name] for step in steps], axis=axis)
            np.testing.assert_allclose(joined, whole[name], atol=1e-5)
    np.testing.assert_array_equal(whole["logits"], log_probabilities)
    for state, expected in zip(states, whole["states"], strict=True):
        np.testing.assert_allclose(state, expected, atol=1e-5)

    # === What is generated and what is copied adds up to 1, though monotonic attention may look nowhere ===
    p_gen = whole["generation_probability"].numpy()
    assert p_gen.shape == (3, 5) and ((p_gen > 0) & (p_gen < 1)).all() and p_gen.std() > 0.01
    np.testing.assert_allclose(np.exp(np.float64(log_probabilities)).sum(axis=-1), 1, atol=1e-5)
    assert (whole["attention"].numpy().sum(axis=-1).min() < 0.99) == (attention == "monotonic")

    # === Padding of source and target ===
    padded = model({name: np.pad(ids, ((0, 0), (0, 3))) for name, ids in BATCH.items()})
    np.testing.assert_allclose(padded[:, :5], log_probabilities, atol=1e-5)
    alone = model({"encoder_token_ids": SOURCE[1:2, :3], "decoder_token_ids": TARGET[1:2, :2]})
    np.testing.assert_allclose(alone, log_probabilities[1:2, :2], atol=1e-5)


@pytest.mark.parametrize("variant", range(len(ATTENTIONS)), ids=ATTENTIONS)
def test_kinds(variant):
    """Placement, cell and the other options change from one attention to the next."""
    check(list(ATTENTIONS)[variant], PLACEMENTS[variant % 3], list(CELLS)[variant // 3], variant)


@pytest.mark.slow
@pytest.mark.parametrize("attention, placement, cell", list(itertools.product(ATTENTIONS, PLACEMENTS, CELLS)))
def test_kinds_in_every_placement_with_every_cell(attention, placement, cell):
    numbers = [
        list(names).index(name) for names, name in ((ATTENTIONS, attention), (PLACEMENTS, placement), (CELLS, cell))
    ]
    check(attention, placement, cell, variant=1 + 7 * numbers[0] + 3 * numbers[1] + numbers[2])


@pytest.mark.parametrize(
    "attention, placement, cell",
    [
        ("coverage", "after", "lstm"),
        pytest.param("location", "inside", "gru", marks=pytest.mark.slow),
        pytest.param("multi_head", "input_feeding", "simple_rnn", marks=pytest.mark.slow),
    ],
)
def test_trained_and_saved(attention, placement, cell, tmp_path):
    """Every weight learns, through both losses, and comes back with the optimizer's state."""
    model = build(attention=attention, placement=placement, cell=cell, num_heads=2, coverage_loss=1.0)
    model.compile(keras.optimizers.Adam(0.01), MaskedCrossentropy(), metrics=[TokenAccuracy()])
    before = model.get_weights()
    model.fit(BATCH, LABELS, verbose=0)
    for weight, old in zip(model.weights, before, strict=True):
        assert np.abs(weight.numpy() - old).max() > 0, weight.path
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(BATCH), model(BATCH))
    assert len(loaded.optimizer.variables) > 2 * len(model.trainable_variables) - 1
    for ours, theirs in zip(model.optimizer.variables, loaded.optimizer.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_allclose(loaded.losses, model.losses, rtol=1e-6)


def test_the_default_is_that_of_the_paper():
    model = PointerGeneratorSeq2Seq(20, units=4, embedding_dim=3)
    encoder, _, decoder = parts(model)
    kinds = [type(layer).__name__ for layer in decoder.layers]
    assert "CoverageAttention" in kinds and "RecurrentAttention" not in kinds
    assert encoder.get_layer("forward_0").cell == decoder.get_layer("recurrent_0").cell == "lstm"
    assert encoder.output["memory"].shape == (None, None, 8)
    assert model.get_layer("coverage_loss").weight == 0.0


# === Half precision ===


@pytest.fixture(params=[("mixed_float16", "coverage", "after"), ("mixed_bfloat16", "luong", "input_feeding")])
def single_and_half(request):
    """Two models of the same weights, the second of which computes in 16 bits."""
    policy, attention, placement = request.param
    options = {"attention": attention, "placement": placement, "coverage_loss": 1.0}
    model, default = build(**options), keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        half = build(**options)
    finally:
        keras.config.set_dtype_policy(default)
    assert half.get_layer("encoder").output["memory"].dtype == policy.removeprefix("mixed_")
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
    context = encode(model, source)
    decoder, sampler = model.get_layer("decoder"), BeamSampler(80, length_penalty=0.7)
    repeated = keras.tree.map_structure(lambda tensor: tf.repeat(tensor, 80, 0), context)

    def step(token_ids, states):
        outputs = decoder(select_inputs(decoder, {**repeated, "decoder_token_ids": token_ids, "states": states}))
        return {"logits": outputs["logits"][:, 0], "states": outputs["states"]}

    found = sampler(step, repeated["states"], 2, 2, END, length)
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
        random = np.random.default_rng(2)
        members[1].set_weights([random.normal(size=weight.shape) for weight in members[1].get_weights()])
    ensemble = Ensemble(members)
    expected = np.mean([softmax(member(BATCH)) for member in members], axis=0)
    assert np.abs(softmax(members[0](BATCH)) - expected).max() > 0.1
    np.testing.assert_allclose(np.exp(ensemble(BATCH)), expected, atol=1e-6)
    of_members = [decoder_outputs(member)(BATCH) for member in members]
    attention = [each["attention"] for each in of_members]
    outputs = decoder_outputs(ensemble)(BATCH)
    np.testing.assert_allclose(outputs["attention"], np.mean(attention, axis=0), atol=1e-6)
    assert ("generation_probability" in outputs) is (other == "copying")
    if other == "copying":
        p_gen = [each["generation_probability"] for each in of_members]
        np.testing.assert_allclose(outputs["generation_probability"], np.mean(p_gen, axis=0), atol=1e-6)
    ensemble.save(tmp_path / "ensemble.keras")
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "ensemble.keras")(BATCH), ensemble(BATCH))


# === What the builder returns, and refuses ===


def test_contract():
    model = PointerGeneratorSeq2Seq(**SIZES)
    assert type(model).__name__ == "Functional"
    inputs = {name: (tensor.shape, tensor.dtype) for name, tensor in model.input.items()}
    assert inputs == {name: ((None, None), "int32") for name in ("encoder_token_ids", "decoder_token_ids")}
    assert (model.output.shape, model.output.dtype) == ((None, None, VOCABULARY), "float32")
    encoder, bridge, decoder = parts(model)
    assert [encoder.name, bridge.name, decoder.name] == ["encoder", "bridge", "decoder"]
    tensor = bridge.output["source_token_ids"]
    assert (tensor.shape, tensor.dtype) == ((None, None), "int32")
    assert set(decoder.input) == {
        "decoder_token_ids", "states", "keys", "memory", "memory_mask", "source_token_ids",
    }  # fmt: skip
    probability = decoder.output["generation_probability"]
    assert (probability.shape, probability.dtype) == ((None, None), "float32")
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
    with pytest.raises(ValueError, match="'dot' multiplies .* Received: 4 units, a memory of 8. Choose an encoder"):
        PointerGeneratorSeq2Seq(**SIZES, attention="dot")


def test_two_vocabularies_are_refused(preprocessor):
    """The ids of the source would mean other tokens in the target."""
    size = preprocessor.source_vocabulary_size
    model = PointerGeneratorSeq2Seq(**{**SIZES, "vocabulary_size": size})
    with pytest.raises(ValueError, match="joint=True"):
        TextGenerator(model, preprocessor)


def test_example():
    result = doctest.testmod(pointer_generator_module)
    assert result.attempted and not result.failed
