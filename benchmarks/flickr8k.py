"""Captions of Flickr8k's photographs: BLEU-1 to 4 and CIDEr, against the captions of the nearest training image.

SqueezeNet v1.1 looks at images of 160 x 160 pixels. It is frozen at first, so its features are computed once; then it
is tuned with the rest. Epochs, search and the better of the two models were chosen on validation; the test is scored
once for each row.

    python benchmarks/flickr8k.py
"""

import pathlib

import numpy as np
import timing
from fitting import fit

import kerasseq
from kerasseq.search import BeamSampler, NoRepeatNGram

SEED = 1
BATCH_SIZE = 64
# Frozen, then tuned.
EPOCHS, TUNING_EPOCHS = 8, 2
PEAK_LEARNING_RATE, TUNING_LEARNING_RATE = 1e-3, 1e-4
VOCABULARY_SIZE = 4_000
IMAGE_SIZE = 160
SAMPLERS = {
    "greedy": "greedy",
    "beam 5": BeamSampler(5, length_penalty=1.0),
    "beam 5, no repeated pair": BeamSampler(5, length_penalty=1.0, constraints=[NoRepeatNGram(2)]),
}


def build(preprocessor, feature_shape):
    return kerasseq.models.CaptioningSeq2Seq(
        preprocessor.target_vocabulary_size, backbone=None, feature_shape=feature_shape, attention="multi_head",
        units=512, embedding_dim=256, dropout=0.3, tie_embeddings=True, doubly_stochastic_loss=0.02,
    )  # fmt: skip


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
    captions = [
        [(source, caption) for source, several in pairs for caption in several] for pairs in (features[1], validation)
    ]

    def frozen_data(shuffle):
        batches = preprocessor.dataset(features[0], BATCH_SIZE, shuffle=shuffle, too_long="truncate")
        return batches, preprocessor.dataset(captions[0], BATCH_SIZE)

    def tuning_data(shuffle):
        batches = preprocessor.dataset(train, BATCH_SIZE, shuffle=shuffle, too_long="truncate")
        return batches, preprocessor.dataset(captions[1], BATCH_SIZE)

    def thawed():
        backbone.trainable = True
        return kerasseq.models.with_backbone(model, extractor)

    data_settings = [len(train), BATCH_SIZE, IMAGE_SIZE]
    model, minutes = fit(
        work / "frozen", lambda: build(preprocessor, extractor.output_shape[1:]), frozen_data,
        1 if quick else EPOCHS, PEAK_LEARNING_RATE, SEED, data_settings,
    )  # fmt: skip
    frozen = kerasseq.models.with_backbone(model, extractor)
    results, rows, captioners = {}, [], {}
    (images, references), (test_images, test_references) = (zip(*pairs, strict=True) for pairs in (validation, test))

    def validate(name, model, minutes):
        captioners[name] = kerasseq.TextGenerator(model, preprocessor, max_length=30)
        captioners[name].save(work / f"{name}.keras")
        found = {
            search: scores(captioners[name].generate(images, sampler), references)
            for search, sampler in SAMPLERS.items()
        }
        results[name] = {"minutes": minutes, "parameters": model.count_params(), "validation": found}

    validate("frozen", frozen, minutes)  # Before tuning changes the weights that they share.
    tuned, minutes = fit(
        work / "tuned", thawed, tuning_data, 1 if quick else TUNING_EPOCHS, TUNING_LEARNING_RATE, SEED,
        [*data_settings, EPOCHS, PEAK_LEARNING_RATE],
    )  # fmt: skip
    validate("tuned", tuned, minutes)
    best, search = max(
        ((name, search) for name in captioners for search in SAMPLERS),
        key=lambda choice: results[choice[0]]["validation"][choice[1]]["cider"],
    )
    captioner = kerasseq.TextGenerator.load(work / f"{best}.keras")
    results["test"] = {
        "nearest image": scores(nearest_captions(features[2], features[0]), test_references),
        f"{best}, {search}": scores(captioner.generate(test_images, SAMPLERS[search]), test_references),
    }
    names = ["bleu1", "bleu2", "bleu3", "bleu4", "cider"]
    for name in captioners:
        for search, found in results[name]["validation"].items():
            rows.append([f"validation: {name}, {search}", *(found[key] for key in names)])
    rows += [[f"test: {name}", *(found[key] for key in names)] for name, found in results["test"].items()]
    settings = {"seed": SEED, "epochs": [EPOCHS, TUNING_EPOCHS], "batch_size": BATCH_SIZE, "image_size": IMAGE_SIZE}
    timing.report(arguments, settings, results, ["", *names], rows)


if __name__ == "__main__":
    main()
