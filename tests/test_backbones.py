import h5py
import keras
import numpy as np
import pytest

from kerasseq.backbones import FILE, SqueezeNet
from kerasseq.datasets import load_flickr8k
from kerasseq.encoders import image_features
from kerasseq.preprocessing import ImagePreprocessor

PARTS = ("squeeze1x1", "expand1x1", "expand3x3")


# === NumPy reference: kernels (rows, columns, channels, filters), images (rows, columns, channels) ===


def convolved(image, kernel, bias, stride=1, padded=False):
    size = kernel.shape[0]
    if padded:
        image = np.pad(image, ((size // 2, size // 2), (size // 2, size // 2), (0, 0)))
    rows, columns = ((length - size) // stride + 1 for length in image.shape[:2])
    result = np.zeros((rows, columns, kernel.shape[3]))
    for i in range(size):
        for j in range(size):
            part = image[i : i + stride * rows : stride, j : j + stride * columns : stride][:rows, :columns]
            result += part @ kernel[i, j]
    return np.maximum(result + bias, 0.0)


def pooled(image):
    rows, columns = ((length - 3) // 2 + 1 for length in image.shape[:2])
    parts = [image[i : i + 2 * rows : 2, j : j + 2 * columns : 2][:rows, :columns] for i in range(3) for j in range(3)]
    return np.max(parts, axis=0)


def squeezenet(image, weights):
    """The network as defined by the authors' v1.1. `weights` are kernels and biases by name."""
    features = pooled(convolved(image, *weights["conv1"], stride=2))
    for number in range(2, 10):
        squeezed = convolved(features, *weights[f"fire{number}/squeeze1x1"])
        features = np.concatenate(
            [convolved(squeezed, *weights[f"fire{number}/expand{size}x{size}"], padded=True) for size in (1, 3)],
            axis=-1,
        )
        if number in (3, 5):
            features = pooled(features)
    return features


def test_random_weights_against_numpy():
    model = SqueezeNet((47, 63, 3), weights=None)
    weights = {
        layer.name.replace("_", "/"): layer.get_weights()
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv2D)
    }
    assert len(weights) == 1 + 3 * 8 and model.count_params() == 722_496
    image = np.random.default_rng(0).normal(size=(47, 63, 3)) * 50
    expected = squeezenet(image, weights)
    np.testing.assert_allclose(model(image[None])[0], expected, rtol=1e-3, atol=1e-3)
    assert model.output.shape == (None, *expected.shape) == (None, 2, 3, 512)


def test_imagenet_weights_against_numpy(require_mirror):
    weights = {}
    with h5py.File(require_mirror(FILE) / FILE) as file:
        for layer in ["conv1", *(f"fire{i}/{part}" for i in range(2, 10) for part in PARTS)]:
            arrays = []
            file[layer].visititems(
                lambda _, item, arrays=arrays: arrays.append(item[()]) if isinstance(item, h5py.Dataset) else None
            )
            weights[layer] = sorted(arrays, key=np.ndim, reverse=True)  # The kernel, then the bias.
    image = np.random.default_rng(0).uniform(-120, 130, size=(63, 63, 3))
    np.testing.assert_allclose(
        SqueezeNet((63, 63, 3))(image[None])[0], squeezenet(image, weights), rtol=1e-3, atol=1e-2
    )


@pytest.mark.slow
def test_features_of_similar_photographs(require_mirror):
    """By mean features, the nearest of 300 photographs shares more caption words than a random one."""
    require_mirror(FILE, "flickr8k/Flickr8k_Dataset_160px.tar")
    _, _, test = load_flickr8k()
    test = test[:300]
    preprocessor = ImagePreprocessor(image_size=160)
    extractor = image_features(SqueezeNet((160, 160, 3)), normalization="caffe")
    pairs = preprocessor.feature_pairs(test, extractor)
    means = np.stack([features.astype("float32").mean(axis=(0, 1)) for features, _ in pairs])
    means = (means - means.mean(axis=0)) / (means.std(axis=0) + 1e-6)
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    nearest = np.argmax(means @ means.T - 2 * np.eye(len(means)), axis=1)
    words = [set(" ".join(captions).lower().split()) for _, captions in pairs]

    def common(others):
        return np.mean(
            [len(mine & words[other]) / len(mine | words[other]) for mine, other in zip(words, others, strict=True)]
        )

    assert common(nearest) > 1.2 * common(np.roll(np.arange(len(words)), 7))


@pytest.mark.parametrize("input_shape", [(30, 64, 3), (64, 64, 1), (64, 64), (64, 30, 3)])
def test_bad_shapes(input_shape):
    with pytest.raises(ValueError, match=r"input_shape must be \(height, width, 3\), at least \(31, 31, 3\)"):
        SqueezeNet(input_shape, weights=None)


def test_smallest_and_dynamic_shapes():
    assert SqueezeNet((31, 31, 3), weights=None).output.shape == (None, 1, 1, 512)
    assert SqueezeNet((None, None, 3), weights=None)(np.zeros((2, 160, 96, 3))).shape == (2, 9, 5, 512)


def test_bad_weights():
    with pytest.raises(ValueError, match="weights must be 'imagenet' or None. Received: weights='places'"):
        SqueezeNet(weights="places")
