"""Backbones of KerasHub as encoders: against the backbone itself, frozen and tuned, saved, and in a model."""

import functools

import keras
import keras_hub
import numpy as np
import pytest

import kerasseq
from kerasseq.encoders import BackboneEncoder, ImageEncoder, from_backbone
from kerasseq.preprocessing import TextPreprocessor, train_vocabulary

KINDS = ["bert", "distil_bert", "roberta", "bart", "t5", "xlm_roberta"]
# The others are of the same kinds, and take as long.
SLOW = {"distil_bert", "roberta", "bart", "xlm_roberta"}
PARAMETERS = [pytest.param(kind, marks=pytest.mark.slow if kind in SLOW else ()) for kind in KINDS]
FAST = [("bert", "recurrent")]  # of those that are fitted
TEXTS = ["one two three", "four", "two one four three two"]


@pytest.fixture(scope="module", params=PARAMETERS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def parts(kind, hub_parts):
    return hub_parts(kind)


@pytest.fixture(scope="module")
def target_vocabulary(number_pairs):
    return train_vocabulary([target for _, target in number_pairs], 280)


@pytest.fixture(scope="module")
def hub_preprocessor(hub_parts, target_vocabulary):
    """A function of a kind that returns the preprocessor of all models with such a backbone."""
    return functools.cache(
        lambda kind: TextPreprocessor(hub_parts(kind)[0], target_vocabulary, max_source_length=24, max_target_length=12)
    )


def hidden_states(tokenizer, backbone, packed):
    """The hidden states of packed ids by the backbone alone, padded as KerasHub pads."""
    mask = np.arange(max(map(len, packed))) < np.array([len(row) for row in packed])[:, None]
    ids = np.full(mask.shape, tokenizer.pad_token_id)
    ids[mask] = np.concatenate(packed)
    prefix = "encoder_" if "encoder_token_ids" in backbone.input else ""
    inputs = {f"{prefix}token_ids": ids, f"{prefix}padding_mask": mask.astype("int32")}
    if "segment_ids" in backbone.input:
        inputs["segment_ids"] = np.zeros_like(ids)
    if prefix:
        inputs |= {"decoder_token_ids": ids[:, :2], "decoder_padding_mask": mask[:, :2].astype("int32")}
    outputs = backbone(inputs)
    return np.asarray(outputs[f"{prefix}sequence_output"] if isinstance(outputs, dict) else outputs), mask


# === Texts ===


def test_memory_is_that_of_the_backbone(kind, parts, hub_preprocessor):
    """The start token's hidden state is the state; the memory has the positions of the source ids."""
    tokenizer, backbone = parts
    start = [] if kind == "t5" else [tokenizer.start_token_id]
    packed = [[*start, *ids, tokenizer.end_token_id] for ids in tokenizer(TEXTS)]
    expected, mask = hidden_states(tokenizer, backbone, packed)
    encoder = from_backbone(backbone, tokenizer)
    source = hub_preprocessor(kind).encode_source(TEXTS)
    outputs = encoder(source)
    memory_mask = np.asarray(outputs["memory_mask"])
    assert memory_mask.tolist() == mask[:, len(start) :].tolist()
    assert outputs["memory"].shape[:2] == source["encoder_token_ids"].shape
    memory = np.asarray(outputs["memory"])
    np.testing.assert_allclose(memory[memory_mask], expected[:, len(start) :][memory_mask], atol=1e-5)
    state = expected[:, 0] if start else [row[own].mean(0) for row, own in zip(expected, mask, strict=True)]
    np.testing.assert_allclose(outputs["states"][0]["hidden"], state, atol=1e-5)


def test_memory_is_that_of_kerashubs_preprocessor(hub_parts, hub_preprocessor):
    tokenizer, backbone = hub_parts("bert")
    packed = keras_hub.models.BertTextClassifierPreprocessor(tokenizer, sequence_length=8)(TEXTS)
    expected = np.asarray(backbone(packed)["sequence_output"])
    outputs = from_backbone(backbone, tokenizer)(hub_preprocessor("bert").encode_source(TEXTS))
    mask = np.asarray(outputs["memory_mask"])
    np.testing.assert_allclose(np.asarray(outputs["memory"])[mask], expected[:, 1 : mask.shape[1] + 1][mask], atol=1e-5)


def test_only_what_encodes_is_part_of_the_encoder(kind, parts):
    """No pooler, and no decoder, which would be saved and get no gradient."""
    tokenizer, backbone = parts
    encoder = from_backbone(backbone, tokenizer)
    names = [weight.path for weight in encoder.weights]
    assert not [name for name in names if "pooled" in name or "decoder" in name]
    assert {id(weight) for weight in encoder.weights} <= {id(weight) for weight in backbone.weights}
    assert encoder.vocabulary_size == tokenizer.vocabulary_size() + 4


def model_of(parts, preprocessor, decoder="recurrent"):
    tokenizer, backbone = parts
    size = preprocessor.target_vocabulary_size
    if decoder == "recurrent":
        decoder = kerasseq.decoders.RecurrentDecoder(size, embedding_dim=8, units=16, cell="gru", attention="luong")
    else:
        decoder = kerasseq.decoders.TransformerDecoder(size, units=16, num_layers=1, num_heads=2)
    return kerasseq.Seq2Seq(from_backbone(backbone, tokenizer), decoder)


@pytest.mark.parametrize("frozen", ["before", "after", None])
def test_frozen_or_tuned(frozen, hub_parts, hub_preprocessor, number_pairs):
    tokenizer, backbone = hub_parts("bert")
    preprocessor = hub_preprocessor("bert")
    backbone.trainable = frozen != "before"
    model = model_of((tokenizer, backbone), preprocessor)
    if frozen == "after":
        backbone.trainable = False
    model.compile(keras.optimizers.Adam(0.01), kerasseq.losses.MaskedCrossentropy(), run_eagerly=True)
    before = [weight.numpy() for weight in model.encoder.weights]
    decoder = model.decoder.embedding.embeddings.numpy()
    model.fit(preprocessor.dataset(number_pairs, batch_size=16), epochs=1, verbose=0, shuffle=False)
    moved = [not np.array_equal(old, new) for old, new in zip(before, model.encoder.weights, strict=True)]
    assert moved == [not frozen] * len(moved)
    assert not np.array_equal(decoder, model.decoder.embedding.embeddings)
    assert bool(model.encoder.trainable_weights) == (not frozen)


def test_flags_are_saved(hub_parts, hub_preprocessor, tmp_path):
    tokenizer, backbone = hub_parts("bert")
    backbone.token_embedding.trainable = False
    model = model_of((tokenizer, backbone), hub_preprocessor("bert"))
    expected = [weight.path for weight in model.encoder.trainable_weights]
    assert len(expected) == len(model.encoder.weights) - 1
    model.save(tmp_path / "model.keras")
    model.encoder.save(tmp_path / "encoder.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras").encoder
    alone = keras.models.load_model(tmp_path / "encoder.keras")
    source = hub_preprocessor("bert").encode_source(TEXTS)
    for encoder in (loaded, alone):
        assert isinstance(encoder, BackboneEncoder)
        assert [weight.path for weight in encoder.trainable_weights] == expected
        np.testing.assert_array_equal(encoder(source)["memory"], model.encoder(source)["memory"])


@pytest.mark.parametrize("owner", ["encoder", "backbone"])
def test_frozen_first_and_tuned_later(owner, hub_parts, hub_preprocessor):
    """By either flag, also in a copy."""
    tokenizer, backbone = hub_parts("bert")
    backbone.trainable = False
    model = model_of((tokenizer, backbone), hub_preprocessor("bert"))
    for encoder in (model.encoder, kerasseq.Seq2Seq.from_config(model.get_config()).encoder):
        part = encoder if owner == "encoder" else encoder.backbone
        assert not encoder.trainable and not encoder.backbone.trainable and encoder.trainable_weights == []
        part.trainable = True
        assert encoder.trainable and len(encoder.trainable_weights) == len(encoder.weights)
        part.trainable = False
        assert not encoder.trainable and encoder.trainable_weights == []
    # The flags of the backbone's own layers alone.
    model = model_of(hub_parts("bert"), hub_preprocessor("bert"))
    for layer in model.encoder.backbone.layers:
        layer.trainable = False
    assert not model.encoder.trainable
    model.encoder.trainable = True
    assert len(model.encoder.trainable_weights) == len(model.encoder.weights)


@pytest.mark.parametrize(
    "kind, decoder",
    [
        pytest.param(kind, decoder, marks=() if (kind, decoder) in FAST else pytest.mark.slow)
        for kind in KINDS
        for decoder in ("recurrent", "transformer")
    ],
    indirect=["kind"],
)
def test_fit_search_and_save(decoder, kind, parts, hub_preprocessor, number_pairs, tmp_path):
    preprocessor = hub_preprocessor(kind)
    model = model_of(parts, preprocessor, decoder)
    model.compile(keras.optimizers.Adam(0.01), kerasseq.losses.MaskedCrossentropy())
    data = preprocessor.dataset(number_pairs, batch_size=16)
    losses = model.fit(data, epochs=2, verbose=0, shuffle=False).history["loss"]
    assert losses[-1] < losses[0]
    generator = kerasseq.TextGenerator(model, preprocessor, sampler=kerasseq.search.BeamSampler(beam_width=2))
    generations = generator.generate(TEXTS, details=True)
    # The axes of plots: the backbone's tokens and END.
    tokens = preprocessor.source_tokenizer.tokenize(TEXTS[:1])
    expected = [*map(bytes.decode, preprocessor.source_tokenizer.id_to_string(tokens).to_list()[0]), "</s>"]
    assert generations[0].source_tokens == expected and generations[0].attention.shape[1] == len(expected)
    generator.save(tmp_path / "generator.keras")
    loaded = kerasseq.TextGenerator.load(tmp_path / "generator.keras")
    assert loaded.generate(TEXTS) == [generation.text for generation in generations]


def test_ensemble(hub_parts, hub_preprocessor):
    """The distribution is the mean of the members', each with a backbone of its own."""
    preprocessor = hub_preprocessor("bert")
    models = [model_of(hub_parts("bert"), preprocessor, decoder) for decoder in ("recurrent", "transformer")]
    ensemble = kerasseq.models.Ensemble(models)
    assert ensemble.encoder.max_source_length == 29
    inputs = next(iter(preprocessor.dataset([("one two", "eins")], batch_size=1)))[0]
    expected = sum(keras.ops.softmax(model(inputs)) for model in models) / 2
    np.testing.assert_allclose(keras.ops.exp(ensemble(inputs)), expected, atol=1e-5)
    generator = kerasseq.TextGenerator(ensemble, preprocessor, "greedy", long_sources="cut")
    assert len(generator.generate(TEXTS)) == len(TEXTS)


def test_precision():
    """A backbone with a precision of its own keeps it."""
    options = {"num_layers": 1, "num_heads": 2, "hidden_dim": 8, "intermediate_dim": 8}
    backbone = keras_hub.models.DistilBertBackbone(vocabulary_size=8, dtype="bfloat16", **options)
    encoder = BackboneEncoder(backbone, 12, padding_id=0, end_id=1)
    again = BackboneEncoder.from_config(encoder.get_config())
    assert again.output["memory"].dtype == encoder.output["memory"].dtype == "bfloat16"


# === Limits and errors ===


def test_the_backbones_positions_limit_the_source(hub_parts, hub_preprocessor, target_vocabulary):
    """30 positions, one for the start token."""
    tokenizer = hub_preprocessor("bert").source_tokenizer
    at_limit, beyond = (TextPreprocessor(tokenizer, target_vocabulary, max_source_length=size) for size in (29, 30))
    model = model_of(hub_parts("bert"), at_limit)
    assert model.encoder.max_source_length == 29
    assert model.encoder(at_limit.encode_source(["one " * 40]))["memory"].shape[1] == 29
    kerasseq.TextGenerator(model, at_limit)
    with pytest.raises(ValueError, match="max_source_length must be at most 29.* Received: .*=30. Build .*=29 or less"):
        kerasseq.TextGenerator(model, beyond)
    assert from_backbone(*reversed(hub_parts("t5"))).max_source_length is None


def f_net():
    return keras_hub.models.FNetBackbone(vocabulary_size=30, num_layers=1, hidden_dim=8, intermediate_dim=8)


def images():
    pictures = keras.Input((8, 8, 3))
    return keras.Model(pictures, keras.layers.Conv2D(4, 3)(pictures))


def pooled():
    names = {name: keras.Input((None,), dtype="int32", name=name) for name in ("token_ids", "padding_mask")}
    embedded = keras.layers.Embedding(30, 4)(names["token_ids"])
    return keras.Model(names, keras.layers.GlobalAveragePooling1D()(embedded) + names["padding_mask"][:, :1])


@pytest.mark.parametrize(
    "build, options, message",
    [
        (lambda: "bert_base_en", {}, "must be a functional keras.Model.*Received: backbone='bert_base_en'"),
        (f_net, {}, r"padding would change the outputs. Received: a FNetBackbone that reads \['segment_ids', 'token_"),
        (f_net, {"tokenizer": None}, "needs its tokenizer of KerasHub"),
        (f_net, {"tokenizer": "bert"}, "needs its tokenizer of KerasHub.*Received: tokenizer='bert'"),
        (f_net, {"tokenizer": bytes(10_000)}, r"^.{,300}Received: tokenizer=b'.{,40}\(bytes\).{,80}$"),
        (f_net, {"image_size": 8}, "are for backbones of images"),
        (pooled, {}, "must return hidden states"),
        (images, {}, "tokenizer is for backbones of texts"),
    ],
)
def test_errors(build, options, message, hub_parts):
    options = {"tokenizer": hub_parts("bert")[0], **options}
    with pytest.raises(ValueError, match=message):
        from_backbone(build(), **options)


def test_a_tokenizer_of_another_backbone(hub_parts):
    tokenizer, backbone = hub_parts("roberta")[0], hub_parts("bert")[1]
    with pytest.raises(ValueError, match="tokens, the backbone embeds 12. Load both from one preset"):
        from_backbone(backbone, tokenizer)


# === Images ===


def res_net():
    return keras_hub.models.ResNetBackbone(
        input_conv_filters=[64], input_conv_kernel_sizes=[3], stackwise_num_filters=[64], stackwise_num_blocks=[1],
        stackwise_num_strides=[1], block_type="basic_block",
    )  # fmt: skip


def vision_transformer():
    return keras_hub.models.ViTBackbone(
        image_shape=(16, 24, 3), patch_size=8, num_layers=1, num_heads=2, hidden_dim=8, mlp_dim=8
    )


def test_convolutional_backbone(tmp_path):
    encoder = from_backbone(res_net(), image_size=(16, 24), normalization="tf")
    assert isinstance(encoder, ImageEncoder)
    pictures = np.random.default_rng(0).integers(0, 256, (2, 16, 24, 3)).astype("float32")
    outputs = encoder({"encoder_images": pictures})
    rows, columns, channels = encoder.extractor.output_shape[1:]
    assert outputs["memory"].shape == (2, rows * columns, channels)
    encoder.save(tmp_path / "encoder.keras")
    loaded = keras.models.load_model(tmp_path / "encoder.keras")
    np.testing.assert_allclose(loaded({"encoder_images": pictures})["memory"], outputs["memory"], atol=1e-6)


def test_patches_become_a_grid(tmp_path):
    """Row by row, without the class token."""
    backbone = vision_transformer()
    encoder = from_backbone(backbone)
    pictures = np.random.default_rng(0).integers(0, 256, (2, 16, 24, 3)).astype("float32")
    grid = np.asarray(encoder.extractor(pictures))
    assert grid.shape == (2, 2, 3, 8)
    np.testing.assert_allclose(grid.reshape(2, 6, 8), np.asarray(backbone(pictures))[:, 1:], atol=1e-5)
    encoder.save(tmp_path / "encoder.keras")
    loaded = keras.models.load_model(tmp_path / "encoder.keras")
    np.testing.assert_allclose(loaded.extractor(pictures), grid, atol=1e-6)


def test_named_images_and_registers():
    """DINOv2 reads a dict of images, and returns a class token and its registers before the patches."""
    backbone = keras_hub.models.DINOV2Backbone(
        patch_size=4, num_layers=1, hidden_dim=8, num_heads=2, intermediate_dim=16, image_shape=(16, 16, 3),
        num_register_tokens=2,
    )  # fmt: skip
    encoder = from_backbone(backbone)
    pictures = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3)).astype("float32")
    grid = np.asarray(encoder.extractor(pictures))
    np.testing.assert_allclose(grid.reshape(2, 16, 8), np.asarray(backbone({"images": pictures}))[:, 3:], atol=1e-5)
    loaded = ImageEncoder.from_config(encoder.get_config())
    assert loaded.output["memory"].shape == (None, 16, 8)


def test_merged_patches_are_refused():
    with pytest.raises(ValueError, match="one vector for each of its 64 patches. Received: .* 16 vectors"):
        images = keras.Input((32, 32, 3))
        patches = keras.layers.Conv2D(8, 8, strides=8)(images)
        backbone = keras.Model(images, keras.layers.Reshape((16, 8))(patches))
        backbone.patch_size = 4
        from_backbone(backbone)


def test_captions_from_patches(preprocessor):
    model = kerasseq.Seq2Seq(
        from_backbone(vision_transformer()),
        kerasseq.decoders.RecurrentDecoder(preprocessor.target_vocabulary_size, 8, 12, cell="gru", attention="luong"),
    )
    model.compile("adam", kerasseq.losses.MaskedCrossentropy(), run_eagerly=True)
    decoder_token_ids, labels = preprocessor.encode_target(["eins zwei", "drei"])
    inputs = {"encoder_images": keras.ops.ones((2, 16, 24, 3)), "decoder_token_ids": decoder_token_ids}
    assert np.isfinite(model.train_on_batch(inputs, labels))
