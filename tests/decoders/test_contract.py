"""The contract of `kerasseq.decoders.Decoder`, for scores in every placement, for Transformers, and for ensembles."""

import itertools
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import dtype_policy, randomized

import kerasseq
from kerasseq.decoders import EnsembleDecoder, RecurrentDecoder, TransformerDecoder
from kerasseq.decoders.placements import PLACEMENTS
from kerasseq.encoders import EnsembleEncoder, RecurrentEncoder, TransformerEncoder
from kerasseq.layers.attention import SCORES
from kerasseq.layers.cells import CELLS
from kerasseq.losses import MaskedCrossentropy
from kerasseq.search.request import map_rows
from kerasseq.seq2seq import weights_by_name

VOCABULARY = 9
SOURCE = np.array([[5, 4, 5, 3], [6, 3, 0, 0], [3, 0, 0, 0]], dtype="int32")
TARGET = np.array([[2, 7, 4, 5], [2, 5, 0, 0], [2, 4, 6, 0]], dtype="int32")
LABELS = np.array([[7, 4, 5, 3], [5, 3, 0, 0], [4, 6, 3, 0]], dtype="int32")
BATCH = {"encoder_token_ids": SOURCE, "decoder_token_ids": TARGET}

# Axes of time of what a decoder returns for a whole target.
TIME = {"logits": 1, "attention": 1, "generation_probability": 1, "attention_heads": 2}

# === Cases: each score in each placement, and the other options so that all pairs of them meet ===


def options_of(variant, attention, placement, cell):
    bits = [int(bit) for bit in f"{variant // 2 * 7 % 16:04b}"]
    return {
        "attention": attention,
        "placement": placement,
        "cell": cell,
        "num_layers": 1 + bits[3],
        "tie_embeddings": bool(bits[2]),
        "copy": bool(bits[1]),
        "residual": bool(bits[0]),
        "bridge": [None, "zero", "dense"][variant % 3],
        "num_heads": 2,
    }


PLAIN = {"attention": None, "placement": None, "copy": False}
CASES = [
    options_of(variant, *pair, list(CELLS)[(variant // 2 + variant // 6) % 3])
    for variant, pair in enumerate(itertools.product(SCORES, PLACEMENTS))
]
# A case in each placement for each further cell. Even variants differ in every option.
FURTHER = [
    options_of(2 * index, "luong", placement, cell)
    for cell in list(CELLS)[3:]
    for index, placement in enumerate(PLACEMENTS)
]
CASES += [
    {**PLAIN, "cell": "gru", "num_layers": 2, "tie_embeddings": True, "residual": True, "bridge": "copy"},
    {**PLAIN, "cell": "lstm", "num_layers": 1, "tie_embeddings": False, "residual": False, "bridge": "dense"},
]
# With `sides`, the encoder and the decoder are chosen one by one.
TRANSFORMERS = {
    "transformer": {"sides": (TransformerEncoder, TransformerDecoder), "num_layers": 2},
    "transformer, tied, on recurrent": {"sides": (RecurrentEncoder, TransformerDecoder), "tie_embeddings": True},
    "transformer with ssru": {"sides": (TransformerEncoder, TransformerDecoder), "num_layers": 2, "cell": "ssru"},
    "transformer with lstm": {"sides": (TransformerEncoder, TransformerDecoder), "cell": "lstm"},
    "recurrent on transformer": {
        "sides": (TransformerEncoder, RecurrentDecoder), "cell": "lstm", "attention": "luong", "num_layers": 2,
    },
    "recurrent ssru on transformer": {
        "sides": (TransformerEncoder, RecurrentDecoder), "cell": "ssru", "attention": "multi_head", "num_heads": 2,
    },
}  # fmt: skip
ENSEMBLES = {
    "ensemble with a transformer": [TRANSFORMERS["transformer"], {"attention": "luong", "cell": "gru"}],
    "ensemble": [
        {"attention": "luong", "cell": "gru"},
        {"attention": "location", "placement": "input_feeding", "cell": "lstm", "num_layers": 2, "copy": True},
    ],
    "ensemble that copies": [
        {"attention": "coverage", "copy": True},
        {"attention": "multi_head", "num_heads": 2, "placement": "inside", "copy": True, "cell": "gru"},
    ],
}


def label(options):
    words = [str(options["attention"]), str(options["placement"]), options["cell"], f"{options['num_layers']} layers"]
    return " ".join([*words, *(name for name in ("tie_embeddings", "copy", "residual") if options[name])])


def parts(options, units=4):
    """An encoder and a decoder that fit."""
    options = dict(options)
    encoder_type, decoder_type = options.pop("sides", (RecurrentEncoder, RecurrentDecoder))
    if TransformerEncoder in (encoder_type, decoder_type) or decoder_type is TransformerDecoder:
        recurrent = {"embedding_dim": 3, "units": units}
        heads = {"units": units, "num_heads": 2, "feedforward_dim": 5}
        encoder = encoder_type(VOCABULARY, **(recurrent if encoder_type is RecurrentEncoder else heads))
        return encoder, decoder_type(
            VOCABULARY, **(recurrent if decoder_type is RecurrentDecoder else heads), **options
        )
    bidirectional = options.get("attention") != "dot" and options.get("bridge") != "copy"
    sizes = {"embedding_dim": 3, "units": units, "cell": options.get("cell", "lstm")}
    encoder = RecurrentEncoder(
        VOCABULARY, bidirectional=bidirectional, num_layers=options.get("num_layers", 1), **sizes
    )
    return encoder, RecurrentDecoder(VOCABULARY, **{**sizes, **options})


def build(case):
    """A model with random weights of order 1."""
    if isinstance(case, list):
        encoders, decoders = zip(*(parts(options, 4 + 2 * index) for index, options in enumerate(case)), strict=True)
        model = kerasseq.Seq2Seq(EnsembleEncoder(list(encoders)), EnsembleDecoder(list(decoders)))
    else:
        model = kerasseq.Seq2Seq(*parts(case))
    return randomized(model)


# Half of the cases, in which all pairs of options meet, are fast tests.
FAST = [options for index, options in enumerate(CASES) if index % 2 == 0 or options["attention"] is None]
# One of each score, placement, cell and kind of Transformer, for what takes long: building again, saving and loading.
SELECTED = [CASES[index] for index in (0, 4, 8, 10, 12, 16, 20, 22)]
SELECTED += [FURTHER[0], TRANSFORMERS["transformer"], TRANSFORMERS["transformer with ssru"]]
FAST, CASES = FAST + FURTHER, CASES + FURTHER
NAMED = {label(options): options for options in CASES} | TRANSFORMERS | ENSEMBLES
FAST_NAMES = (
    "transformer", "transformer with ssru", "transformer with lstm", "recurrent on transformer",
    "ensemble with a transformer", "ensemble that copies",
)  # fmt: skip


def parameters(fast):
    """All cases; those that are not in `fast` are slow tests."""
    return [
        pytest.param(options, id=name, marks=() if options in fast else pytest.mark.slow)
        for name, options in NAMED.items()
    ]


@pytest.fixture(scope="module", params=parameters([*FAST, *(NAMED[name] for name in FAST_NAMES)]))
def case(request):
    return request.param


@pytest.fixture(scope="module")
def model(case):
    return build(case)


@pytest.fixture(scope="module")
def outputs(model):
    """All results under teacher forcing, as arrays."""
    return arrays(model.decoder_outputs(BATCH))


@pytest.fixture(scope="module")
def context(model):
    return model.encode(BATCH)


@pytest.fixture(scope="module")
def steps(model, context):
    """The results of every step, as arrays."""
    state, constants = model.start(context)
    steps = []
    for token_ids in TARGET.T:
        steps.append(model.step(token_ids, state, constants))
        state = steps[-1]["state"]
    return arrays(steps)


def arrays(nest):
    return keras.tree.map_structure(keras.ops.convert_to_numpy, nest)


def joined(steps, name):
    """The results of single steps as a call has them."""
    return np.stack([step[name] for step in steps], axis=TIME[name])


def signature(nest):
    return keras.tree.map_structure(
        lambda tensor: (tuple(tensor.shape), keras.backend.standardize_dtype(tensor.dtype)), nest
    )


def spec(tensor):
    return keras.KerasTensor(tuple(tensor.shape), dtype=keras.backend.standardize_dtype(tensor.dtype))


def test_all_pairs_of_options_meet():
    values = {"cell": CELLS, "num_layers": (1, 2), "tie_embeddings": (0, 1), "copy": (0, 1), "placement": PLACEMENTS}
    with_attention = [options for options in FAST if options["attention"]]
    for one, other in itertools.combinations(values, 2):
        met = {(options[one], options[other]) for options in with_attention}
        assert met == set(itertools.product(values[one], values[other])), (one, other)


def test_each_option_is_selected():
    selected = [options for options in SELECTED if options in CASES]
    for name, values in {"attention": SCORES, "placement": PLACEMENTS, "cell": CELLS}.items():
        assert {options[name] for options in selected} == set(values)


# === Step by step, and whole ===


def test_steps_equal_a_call(outputs, steps):
    assert outputs["logits"].std() > 0.1
    assert {*outputs, "state"} == set(steps[0])
    for name, whole in outputs.items():
        np.testing.assert_allclose(joined(steps, name), whole, atol=1e-5, err_msg=name)


def test_several_steps_at_once_lead_to_the_same_state(case, model, context, steps):
    if isinstance(case, list):
        pytest.skip("members are tested alone")
    _, state = model.decoder.run(TARGET, *model.start(context))
    keras.tree.map_structure(
        lambda one, other: np.testing.assert_allclose(one, other, atol=1e-5), arrays(state), steps[-1]["state"]
    )


def test_what_is_returned(case, model, context, outputs):
    """As `compute_output_spec` and the attributes say."""
    decoder, members = model.decoder, case if isinstance(case, list) else [case]
    assert decoder.has_attention is all(options.get("attention") or "sides" in options for options in members)
    assert decoder.copies is any(options.get("copy", False) for options in members)
    names = {"logits"} | ({"attention"} if decoder.has_attention else set())
    if all(options.get("copy") for options in members):
        names.add("generation_probability")
    transformer = not isinstance(case, list) and TransformerDecoder in case.get("sides", ())
    if transformer or (len(members) == 1 and case.get("attention") == "multi_head"):
        names.add("attention_heads")
    assert set(outputs) == names
    specification = decoder.compute_output_spec(
        keras.KerasTensor(TARGET.shape, dtype="int32"), keras.tree.map_structure(spec, context)
    )
    assert signature(specification) == signature(outputs)
    assert all(dtype == "float32" for _, dtype in signature(outputs).values())


def check_state(model, context):
    """The state has one structure, and one dtype each, before and after a step; all of it is batch first.

    Only what a Transformer keeps of each past step grows, along axis 1.
    """
    state, constants = model.start(context)
    rows = []
    map_rows(lambda tensor: rows.append(tensor.shape[0]), [state, constants])
    assert rows and set(rows) == {len(SOURCE)}
    after = model.step(TARGET[:, 0], state, constants)["state"]
    keras.tree.assert_same_structure(state, after)
    before, after = (keras.tree.flatten(keras.tree.map_structure(spec, nest)) for nest in (state, after))
    assert len(before) == len(after)
    for old, new in zip(before, after, strict=True):
        grows = old.shape[1:2] == (0,)
        assert new.shape == ((*old.shape[:1], 1, *old.shape[2:]) if grows else old.shape)
        assert new.dtype == old.dtype


def test_the_state_keeps_its_structure(model, context):
    check_state(model, context)


@pytest.mark.parametrize("case", parameters([*SELECTED, ENSEMBLES["ensemble with a transformer"]]), indirect=True)
def test_the_state_keeps_its_dtypes_under_mixed_precision(case, model, outputs):
    policy = "mixed_float16" if model.count_params() % 2 else "mixed_bfloat16"
    with dtype_policy(policy):
        half = build(case)
    half.set_weights(model.get_weights())
    check_state(half, half.encode(BATCH))
    assert half.encoder.output["memory"].dtype == policy.removeprefix("mixed_")
    results, atol = arrays(half.decoder_outputs(BATCH)), {"mixed_float16": 0.02, "mixed_bfloat16": 0.1}[policy]
    for name, whole in outputs.items():
        assert results[name].dtype == "float32"
        # Log-probabilities of tokens that are neither likely nor copied are at the floor, or far from it.
        values = np.exp if name == "logits" and half.decoder.copies else np.asarray
        np.testing.assert_allclose(
            values(results[name]), values(whole), atol=atol * max(1, np.abs(values(whole)).max())
        )


# === What a result depends on ===


def test_rows_do_not_depend_on_padding_or_on_other_rows(model, outputs):
    padded = {name: np.pad(ids, ((0, 0), (0, 2))) for name, ids in BATCH.items()}
    alone = {"encoder_token_ids": SOURCE[1:2, :2], "decoder_token_ids": TARGET[1:2, :2]}
    results = model.decoder_outputs(padded)
    np.testing.assert_allclose(results["logits"][:, :4], outputs["logits"], atol=1e-5)
    np.testing.assert_allclose(model(alone), outputs["logits"][1:2, :2], atol=1e-5)
    if "attention" in outputs:
        attention = results["attention"][:, :4]
        np.testing.assert_allclose(attention[:, :, :4], outputs["attention"], atol=1e-5)
        assert not np.any(attention[:, :, 4:])


def test_rows_can_be_repeated_and_reordered(model, context, steps):
    """As a search does: constants and state are batch first, whatever they hold, but for what rows share."""
    order = [2, 0, 0, 1, 2]
    state, constants = model.start(context)
    state, constants = (map_rows(lambda t: tf.gather(t, order), nest) for nest in (state, constants))
    for index in range(2):
        step = model.step(TARGET[order, index], state, constants)
        state = step["state"]
        expected = keras.tree.map_structure(lambda array: array[order], steps[index])
        keras.tree.map_structure(
            lambda one, other: np.testing.assert_allclose(one, other, atol=1e-5), arrays(step), expected
        )


def test_later_tokens_change_nothing_before(model, outputs):
    later = TARGET.copy()
    later[:, 3] = [1, 7, 1]
    changed = model({**BATCH, "decoder_token_ids": later}).numpy()
    np.testing.assert_allclose(changed[:, :3], outputs["logits"][:, :3], atol=1e-6)
    assert (np.abs(changed[:, 3] - outputs["logits"][:, 3]).max(axis=-1) > 1e-4).all()


def test_the_source_matters(model, outputs):
    source = SOURCE.copy()
    source[:, 0] = [6, 7, 8]
    changed = model({"encoder_token_ids": source, "decoder_token_ids": TARGET[:, :1]}) - outputs["logits"][:, :1]
    assert (np.abs(changed[:, 0]).max(axis=-1) > 1e-4).all()


def test_attention_weights(case, outputs):
    """Within the source; they sum to 1, but for monotonic attention, which never moves back."""
    if "attention" not in outputs:
        pytest.skip("no attention")
    weights = outputs["attention"]
    assert weights.shape == (3, 4, 4) and (weights >= 0).all()
    assert not weights[np.broadcast_to(SOURCE[:, None] == 0, weights.shape)].any()
    if "attention_heads" in outputs:
        assert outputs["attention_heads"].shape == (3, 2, 4, 4)
        np.testing.assert_allclose(outputs["attention_heads"].mean(axis=1), weights, atol=1e-6)
    totals = weights.sum(axis=-1)
    if not isinstance(case, list) and case.get("attention") == "monotonic":
        assert (totals < 1 + 1e-5).all() and totals.min() < 0.99
        assert (np.diff(np.cumsum(weights, axis=-1), axis=1) < 1e-5).all()
    else:
        np.testing.assert_allclose(totals, 1, atol=1e-5)


def test_probabilities(model, outputs):
    """Where tokens are copied, and of ensembles, logits are log-probabilities."""
    if isinstance(model.decoder, EnsembleDecoder) or model.decoder.copies:
        np.testing.assert_allclose(np.exp(np.float64(outputs["logits"])).sum(axis=-1), 1, atol=1e-5)
    if "generation_probability" in outputs:
        p_gen = outputs["generation_probability"]
        assert ((p_gen > 0) & (p_gen < 1)).all() and p_gen.std() > 0.01


# === Configuration, training, saving ===


def test_configuration(case, model):
    """JSON of a few hundred bytes for each decoder, and no graph in it."""
    config = model.decoder.get_config()
    text = json.dumps(config)
    assert len(text) < 900 * (len(case) if isinstance(case, list) else 1) and "inbound_nodes" not in text
    assert json.loads(text) == config
    again = type(model.decoder).from_config(json.loads(text))
    assert again.get_config() == config


def test_every_weight_learns(model, outputs):
    """Keras tracks no layer in a list of dicts: such weights would neither learn nor be saved."""
    weights = weights_by_name(model)
    assert {id(weight) for weight in model.trainable_variables} == {id(weight) for weight in weights.values()}
    with tf.GradientTape() as tape:
        logits = model(BATCH)
        loss = MaskedCrossentropy()(LABELS, logits)
    np.testing.assert_array_equal(logits, outputs["logits"])
    gradients = tape.gradient(loss, [weight.value for weight in weights.values()])
    for name, gradient in zip(weights, gradients, strict=True):
        assert np.abs(tf.convert_to_tensor(gradient)).max() > 0, name


@pytest.mark.parametrize("case", parameters(SELECTED), indirect=True)
def test_saving(model, outputs, tmp_path):
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded) is kerasseq.Seq2Seq and loaded.get_config() == model.get_config()
    assert list(weights_by_name(loaded)) == list(weights_by_name(model))
    np.testing.assert_array_equal(loaded(BATCH), outputs["logits"])


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(CASES[0], id="single"),
        pytest.param(ENSEMBLES["ensemble that copies"], id="ensemble that copies"),
        *(pytest.param(ENSEMBLES[name], id=name, marks=pytest.mark.slow) for name in list(ENSEMBLES)[:2]),
    ],
)
def test_a_step_changes_every_weight_and_the_optimizer_is_saved(case, tmp_path):
    model = build(case)
    before = {name: weight.numpy() for name, weight in weights_by_name(model).items()}
    model.compile(keras.optimizers.Adam(0.01), MaskedCrossentropy(), run_eagerly=True)
    model.train_on_batch(BATCH, LABELS)
    for name, weight in weights_by_name(model).items():
        assert np.abs(weight.numpy() - before[name]).max() > 0, name
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.get_config() == model.get_config() and list(weights_by_name(loaded)) == list(before)
    np.testing.assert_array_equal(loaded(BATCH), model(BATCH))
    assert len(loaded.optimizer.variables) > 2 * len(model.trainable_variables) - 1
    for ours, theirs in zip(model.optimizer.variables, loaded.optimizer.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)
