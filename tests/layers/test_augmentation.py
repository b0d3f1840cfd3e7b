"""What training does to sounds, against definitions; and nothing without training."""

import keras
import numpy as np
import pytest
from helpers import dtype_policy
from keras import ops

from kerasseq.layers import AdditiveNoise, SpecAugment, SpeedPerturbation

RATE = 8_000


def sounds():
    """A tone of 0.5 s, and one of 0.25 s with padding."""
    time = np.arange(4_000) / RATE
    waveforms = np.stack([np.sin(2 * np.pi * 440 * time)] * 2).astype("float32")
    waveforms[1, 2_000:] = 0
    return ops.array(waveforms), ops.array([4_000, 2_000], dtype="int32")


@pytest.mark.parametrize("layer", [SpeedPerturbation(), AdditiveNoise()])
def test_without_training_nothing_changes(layer):
    waveforms, lengths = sounds()
    for arguments in ({}, {"training": False}):
        after, after_lengths = layer(waveforms, lengths, **arguments)
        np.testing.assert_array_equal(after, waveforms)
        np.testing.assert_array_equal(after_lengths, lengths)
    frames = ops.ones((2, 9, 4))
    np.testing.assert_array_equal(SpecAugment()(frames, ops.ones((2, 9), dtype="bool")), frames)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("kind", [SpeedPerturbation, AdditiveNoise])
def test_half_precision_of_a_model_is_not_that_of_sounds(kind, policy):
    waveforms, lengths = sounds()
    expected, _ = kind(seed=1)(waveforms, lengths, training=True)
    with dtype_policy(policy):
        layer = kind(seed=1)
    np.testing.assert_array_equal(layer(waveforms, lengths, training=True)[0], expected)


@pytest.mark.parametrize("speed", [0.8, 1.25])
def test_speed_moves_the_pitch(speed):
    waveforms, lengths = sounds()
    after, after_lengths = SpeedPerturbation(speed, speed)(waveforms, lengths, training=True)
    assert ops.convert_to_numpy(after_lengths).tolist() == [round(4_000 / speed), round(2_000 / speed)]
    for row, length in enumerate(ops.convert_to_numpy(after_lengths)):
        expected = np.sin(2 * np.pi * 440 * speed * np.arange(length) / RATE)
        np.testing.assert_allclose(after[row, : length - 2], expected[:-2], atol=0.02)
        assert not ops.convert_to_numpy(after[row, length:]).any()


def test_speeds_are_drawn_for_each_sound():
    waveforms, lengths = ops.ones((500, 1_000)), ops.full((500,), 1_000, dtype="int32")
    _, after = SpeedPerturbation(seed=1)(waveforms, lengths, training=True)
    speeds = 1_000 / ops.convert_to_numpy(after)
    # Lengths are rounded up, to at most a thousandth more.
    assert 0.898 < speeds.min() < 0.91 and 1.09 < speeds.max() <= 1.1
    assert speeds.mean() == pytest.approx(1.0, abs=0.01)


def test_noise_is_as_loud_as_the_ratio_says():
    waveforms, lengths = sounds()
    after, _ = AdditiveNoise(20.0, 20.0, seed=1)(waveforms, lengths, training=True)
    noise = ops.convert_to_numpy(after - waveforms)
    for row, length in enumerate([4_000, 2_000]):
        ratio = 10 * np.log10(np.mean(np.square(waveforms[row, :length])) / np.mean(np.square(noise[row, :length])))
        assert ratio == pytest.approx(20.0, abs=0.3)
    assert not noise[1, 2_000:].any()
    silence = ops.zeros((1, 100))
    np.testing.assert_array_equal(AdditiveNoise()(silence, ops.array([100]), training=True)[0], silence)


def test_hidden_parts_are_bands_and_stretches():
    """Each row of the mask is hidden as a whole in time, or in frequency, within the widths and the sound."""
    layer = SpecAugment(frequency_masks=1, frequency_width=3, time_masks=1, time_share=0.2, seed=1)
    frames = ops.ones((400, 60, 20))
    mask = ops.arange(60)[None] < ops.array([50] * 400)[:, None]
    hidden = ops.convert_to_numpy(layer(frames, mask, training=True)) == 0
    stretches, bands = hidden.all(axis=2), hidden.all(axis=1)
    np.testing.assert_array_equal(hidden, stretches[:, :, None] | bands[:, None, :])
    for intervals, most in ((stretches, 10), (bands, 3)):
        counts = intervals.sum(axis=1)
        assert counts.min() == 0 and counts.max() == most
        edges = np.abs(np.diff(np.pad(intervals.astype(int), ((0, 0), (1, 1))), axis=1)).sum(axis=1)
        assert set(edges) <= {0, 2}  # one interval or none
    assert not stretches[:, 50:].any()
    assert bands.any(axis=0).all() and stretches[:, :50].any(axis=0).all()


@pytest.mark.parametrize(
    "layer", [SpeedPerturbation(0.8, 1.3, seed=3), AdditiveNoise(5.0, 6.0), SpecAugment(1, 2, 3, 0.5)]
)
def test_configurations(layer):
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert copy.get_config() == layer.get_config()


def test_a_seed_repeats():
    waveforms, lengths = sounds()
    runs = [AdditiveNoise(seed=5)(waveforms, lengths, training=True)[0] for _ in range(2)]
    np.testing.assert_array_equal(*runs)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SpeedPerturbation(0, 1), "0 < least <= most must hold. Received: least=0"),
        (lambda: SpeedPerturbation(1.1, 0.9), "must hold"),
        (lambda: AdditiveNoise(30, 10), "least_ratio <= most_ratio must hold"),
        (lambda: SpecAugment(frequency_masks=-1), "frequency_masks must be an integer of at least 0"),
        (lambda: SpecAugment(time_masks=1.5), "time_masks must be an integer of at least 0"),
        (lambda: SpecAugment(frequency_width=-1), "frequency_width must be a number of at least 0"),
        (lambda: SpecAugment(time_share=5), r"time_share must be in \[0, 1\]. Received: time_share=5"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()
