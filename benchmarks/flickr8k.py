"""Captions of Flickr8k's photographs: BLEU-1 to 4 and CIDEr, against the captions of the nearest training image.

SqueezeNet v1.1 looks at images of 160 x 160 pixels; it is frozen, so its features are computed once. The search was
chosen on validation; the test is scored once for each row.

    python benchmarks/flickr8k.py
"""

import os
import pathlib
import time

import keras
import numpy as np
import timing

import kerasseq

SEED = 1
BATCH_SIZE = 64
EPOCHS = 10
PEAK_LEARNING_RATE = 2e-3
VOCABULARY_SIZE = 4_000
IMAGE_SIZE = 160
SAMPLERS = {
    "greedy": "greedy",
    "beam 5": kerasseq.samplers.BeamSampler(5, length_penalty=1.0),
    "beam 5, no repeated pair": kerasseq.samplers.BeamSampler(5, length_penalty=1.0, no_repeat_ngram_size=2),
}


def build(preprocessor, feature_shape):
    return kerasseq.models.CaptioningSeq2Seq(
        preprocessor.target_vocabulary_size, backbone=None, feature_shape=feature_shape, units=384, embedding_dim=192,
        dropout=0.3, tie_embeddings=True, doubly_stochastic_loss=0.002,
    )  # fmt: skip


def train_model(work, preprocessor, feature_shape, train, validation, epochs):
    """Fits on features, or loads what an earlier call has fitted: a model, and the minutes that it took."""
    finished, minutes = work / "finished.keras", work / "minutes.txt"
    if finished.exists():
        return keras.models.load_model(finished), float(minutes.read_text())
    work.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(SEED)
    shuffle = kerasseq.preprocessing.EpochShuffle(SEED)
    batches = preprocessor.dataset(train, BATCH_SIZE, shuffle=shuffle, too_long="truncate")
    model = build(preprocessor, feature_shape)
    steps = epochs * len(batches)
    schedule = keras.optimizers.schedules.CosineDecay(
        PEAK_LEARNING_RATE / 10, steps, warmup_target=PEAK_LEARNING_RATE, warmup_steps=steps // 20, alpha=0.02
    )
    model.compile(
        keras.optimizers.Adam(schedule, clipnorm=1.0),
        kerasseq.losses.MaskedCrossentropy(label_smoothing=0.1),
        metrics=[kerasseq.metrics.TokenAccuracy()],
    )
    begin = time.perf_counter()
    model.fit(
        batches,
        validation_data=preprocessor.dataset(validation, BATCH_SIZE),
        epochs=epochs,
        shuffle=False,  # The data set shuffles itself.
        verbose=2,
        callbacks=[shuffle, keras.callbacks.BackupAndRestore(work / "backup")],
    )
    minutes.write_text(f"{(time.perf_counter() - begin) / 60:.1f}")
    model.save(work / "unfinished.keras")
    os.replace(work / "unfinished.keras", finished)
    return model, float(minutes.read_text())


def nearest_captions(features, train):
    """For each image the first caption of the training image whose mean features have the greatest cosine."""

    def unit(pairs):
        means = np.stack([grid.mean(axis=(0, 1), dtype="float32") for grid, _ in pairs])
        return means / np.linalg.norm(means, axis=1, keepdims=True)

    first = train[::5]
    nearest = np.argmax(unit(features) @ unit(first).T, axis=1)
    return [first[index][1] for index in nearest]


def scores(predictions, references):
    return {
        **kerasseq.evaluation.caption_bleu(predictions, references),
        "cider": kerasseq.evaluation.cider(predictions, references)["score"],
    }


def main():
    arguments = timing.parse_arguments(__file__, __doc__)
    quick = arguments.quick
    work = pathlib.Path("runs/flickr8k_quick" if quick else "runs/flickr8k")
    train, validation, test = kerasseq.datasets.load_flickr8k()
    if quick:
        train, validation, test = train[:200], validation[:20], test[:20]
    preprocessor = kerasseq.preprocessing.ImagePreprocessor.from_pairs(
        train, vocabulary_size=VOCABULARY_SIZE, image_size=IMAGE_SIZE, max_target_length=40
    )
    backbone = kerasseq.backbones.SqueezeNet((IMAGE_SIZE, IMAGE_SIZE, 3))
    backbone.trainable = False
    extractor = kerasseq.encoders.image_features(backbone, normalization="caffe")
    features = [preprocessor.feature_pairs(pairs, extractor) for pairs in (train, validation, test)]
    captions = [(grid, caption) for grid, several in features[1] for caption in several]
    model, minutes = train_model(
        work, preprocessor, extractor.output_shape[1:], features[0], captions, 1 if quick else EPOCHS
    )
    model = kerasseq.models.with_backbone(model, backbone, normalization="caffe")
    captioner = kerasseq.TextGenerator(model, preprocessor, max_length=30)
    captioner.save(work / "captioner.keras")

    (images, references), (test_images, test_references) = (zip(*pairs, strict=True) for pairs in (validation, test))
    on_validation = {
        name: scores(captioner.generate(images, sampler), references) for name, sampler in SAMPLERS.items()
    }
    search = max(SAMPLERS, key=lambda name: on_validation[name]["cider"])
    on_test = {
        "nearest image": scores(nearest_captions(features[2], features[0]), test_references),
        f"this model, {search}": scores(captioner.generate(test_images, SAMPLERS[search]), test_references),
    }
    results = {
        "minutes": minutes, "parameters": model.count_params(), "validation": on_validation, "test": on_test,
    }  # fmt: skip
    names = ["bleu1", "bleu2", "bleu3", "bleu4", "cider"]
    rows = [[f"{name}, validation", *(values[key] for key in names)] for name, values in on_validation.items()]
    rows += [[f"{name}, test", *(values[key] for key in names)] for name, values in on_test.items()]
    settings = {"seed": SEED, "epochs": EPOCHS, "batch_size": BATCH_SIZE, "image_size": IMAGE_SIZE}
    timing.report(arguments, settings, results, ["", *names], rows)


if __name__ == "__main__":
    main()
