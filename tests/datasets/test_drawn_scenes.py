import doctest
import io
import re
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from kerasseq.datasets import drawn_scenes, load_drawn_scenes
from kerasseq.datasets.drawn_scenes import (
    ABOVE,
    COLOURS,
    DOUBLES,
    LEFT,
    SHAPES,
    SINGLES,
    SIZES,
    THINGS,
    Thing,
    describe,
    draw,
)

THING = r"a (small|large) (\w+) (circle|square|triangle)"
DESCRIPTION = re.compile(rf"{THING}(?: (above|to the left of) {THING})?")


def pixels(image):
    return np.asarray(Image.open(io.BytesIO(image)))


def covered(image, colour):
    """Where the paint lies thick: the places of pixels that have the colour itself, rows and columns."""
    return np.argwhere(np.all(image == COLOURS[colour], axis=-1))


def test_sizes_of_the_sides():
    sides = load_drawn_scenes(210)
    assert [len(side) for side in sides] == [190, 10, 10]
    for image, description in sides[0]:
        assert pixels(image).shape == (64, 64, 3) and DESCRIPTION.fullmatch(description)
    singles = Counter(" of " in text or "above" in text for _, text in sides[0])
    assert 0.2 < singles[False] / 190 < 0.5


def test_the_same_seed_draws_the_same():
    assert load_drawn_scenes(40, image_size=24) == load_drawn_scenes(40, image_size=24)
    assert load_drawn_scenes(40, image_size=24) != load_drawn_scenes(40, image_size=24, seed=1)


def test_descriptions_of_two_shapes_are_on_one_side_whatever_the_seed():
    training = {text for seed in (0, 1) for text in texts(load_drawn_scenes(2_000, 24, seed)[0])}
    testing = {text for seed in (0, 1) for side in load_drawn_scenes(2_000, 24, seed)[1:] for text in texts(side)}
    assert len(training) > 1_000 and len(testing) > 100 and not training & testing


def texts(side):
    return [text for _, text in side if DESCRIPTION.fullmatch(text)[4]]


def test_what_is_described_is_drawn():
    for image, description in load_drawn_scenes(300)[0]:
        things = re.split(f" (?:{ABOVE}|{LEFT}) ", description)
        colours = [thing.split()[2] for thing in things]
        image = pixels(image)
        assert {colour for colour in COLOURS if len(covered(image, colour)) > 30} == set(colours)
        assert all(len(covered(image, colour)) == 0 for colour in set(COLOURS) - set(colours))
        if len(set(colours)) == 2:
            (top, left), (bottom, right) = (covered(image, colour).mean(axis=0) for colour in colours)
            down, across = bottom - top, right - left
            assert (down > abs(across)) if ABOVE in description else (across > abs(down))


@pytest.mark.parametrize(("size", "shape"), [(size, shape) for size in SIZES for shape in SHAPES])
def test_areas(size, shape):
    """Of a circle pi r^2, of a square of half a side 0.88 r, of a triangle of base 1.9 r and height 1.9 r."""
    image = draw(np.random.default_rng(0), (Thing(size, "blue", shape),), None, 400)
    area = {"circle": np.pi, "square": 1.76**2, "triangle": 1.9 * 1.9 / 2}[shape]
    radius = np.sqrt(len(covered(image, "blue")) / 400**2 / area)
    least, most = SIZES[size]
    assert least * 0.97 < radius < most * 1.01


def test_shapes_never_touch():
    """Between two things of one colour there is a line of paper, and there is a margin around them."""
    random = np.random.default_rng(0)
    for things, relation in DOUBLES[::37]:
        image = draw(random, [thing._replace(colour="blue") for thing in things], relation, 100)
        painted = np.any(image != image[0, 0], axis=-1)
        assert not painted[[0, -1]].any() and not painted[:, [0, -1]].any()
        lines = painted.any(axis=1 if relation == ABOVE else 0)
        assert np.count_nonzero(np.diff(lines.astype(int)) == 1) == 2


def test_all_scenes():
    assert len(THINGS) == len(SINGLES) == 36
    assert len(DOUBLES) == 2 * 36**2 and {relation for _, relation in DOUBLES} == {ABOVE, LEFT}
    assert len({describe(*scene) for scene in DOUBLES}) == len(DOUBLES)


@pytest.mark.parametrize(
    "arguments", [{"num_examples": 19}, {"num_examples": 2.5}, {"image_size": 8}, {"image_size": "64"}]
)
def test_bad_arguments(arguments):
    (name,) = arguments
    with pytest.raises(ValueError, match=rf"{name} must be a whole number from .*Received: {name}="):
        load_drawn_scenes(**arguments)


def test_examples_of_the_documentation():
    assert doctest.testmod(drawn_scenes).failed == 0
