import io
import itertools
import re
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from kerasseq.datasets import drawn_scenes, load_drawn_scenes
from kerasseq.datasets.drawn_scenes import Thing, describe, draw

COLOURS = drawn_scenes.COLOURS
SIZES = {"small": (0.1, 0.12), "large": (0.18, 0.21)}  # smallest and largest radius
SHAPES = ("circle", "square", "triangle")
ABOVE, LEFT = "above", "to the left of"
THING = r"a (small|large) (\w+) (circle|square|triangle)"
DESCRIPTION = re.compile(rf"{THING}(?: (above|to the left of) {THING})?")


def pixels(image):
    return np.asarray(Image.open(io.BytesIO(image)))


def covered(image, colour):
    """Rows and columns of the pixels that have exactly this colour."""
    return np.argwhere(np.all(image == COLOURS[colour], axis=-1))


def test_split_sizes():
    splits = load_drawn_scenes(210)
    assert [len(split) for split in splits] == [190, 10, 10]
    for image, description in splits[0]:
        assert pixels(image).shape == (64, 64, 3) and DESCRIPTION.fullmatch(description)
    singles = Counter(" of " in text or "above" in text for _, text in splits[0])
    assert 0.2 < singles[False] / 190 < 0.5


def test_seeds():
    assert load_drawn_scenes(40, image_size=24) == load_drawn_scenes(40, image_size=24)
    assert load_drawn_scenes(40, image_size=24) != load_drawn_scenes(40, image_size=24, seed=1)


def test_descriptions_of_two_shapes_are_in_one_split_under_all_seeds():
    training, testing = set(), set()
    for seed in (0, 1):
        train, *others = load_drawn_scenes(1_500, 24, seed)
        training |= relations(train)
        testing |= relations(itertools.chain(*others))
    assert len(training) > 900 and len(testing) > 90 and not training & testing


def relations(pairs):
    return {text for _, text in pairs if DESCRIPTION.fullmatch(text)[4]}


def test_images_match_descriptions():
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
    """pi r^2 for circles, (1.76 r)^2 for squares, base and height 1.9 r for triangles."""
    image = draw(np.random.default_rng(0), (Thing(size, "blue", shape),), None, 400)
    area = {"circle": np.pi, "square": 1.76**2, "triangle": 1.9 * 1.9 / 2}[shape]
    radius = np.sqrt(len(covered(image, "blue")) / 400**2 / area)
    smallest, largest = SIZES[size]
    assert smallest * 0.97 < radius < largest * 1.01


def test_shapes_never_touch():
    """A line of background separates two shapes of the same colour, and a margin surrounds them."""
    random = np.random.default_rng(0)
    for things, relation in drawn_scenes.DOUBLES[::37]:
        image = draw(random, [thing._replace(colour="blue") for thing in things], relation, 100)
        painted = np.any(image != image[0, 0], axis=-1)
        assert not painted[[0, -1]].any() and not painted[:, [0, -1]].any()
        lines = painted.any(axis=1 if relation == ABOVE else 0)
        assert np.count_nonzero(np.diff(lines.astype(int)) == 1) == 2


def test_all_scenes():
    assert len(drawn_scenes.SINGLES) == 36
    descriptions = {describe(*scene) for scene in drawn_scenes.DOUBLES}
    assert len(descriptions) == len(drawn_scenes.DOUBLES) == 2 * 36**2
    assert {DESCRIPTION.fullmatch(text)[4] for text in descriptions} == {ABOVE, LEFT}


@pytest.mark.parametrize(
    "arguments", [{"num_examples": 19}, {"num_examples": 2.5}, {"image_size": 8}, {"image_size": "64"}]
)
def test_bad_arguments(arguments):
    (name,) = arguments
    with pytest.raises(ValueError, match=rf"{name} must be an integer from .*Received: {name}="):
        load_drawn_scenes(**arguments)


def test_example(run_examples):
    run_examples(drawn_scenes)
