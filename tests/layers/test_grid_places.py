import doctest
import sys

import keras
import numpy as np

from kerasseq.layers import GridPlaces


def test_places_go_row_by_row():
    places = GridPlaces()(np.zeros((2, 3, 4, 5)))
    assert places.dtype == "int32"
    np.testing.assert_array_equal(places, [[[row, column] for row in range(3) for column in range(4)]] * 2)
    symbolic = GridPlaces()(keras.Input((3, 4, 5)))
    assert symbolic.shape == (None, 12, 2) and symbolic.dtype == "int32"


def test_example():
    result = doctest.testmod(sys.modules[GridPlaces.__module__])
    assert result.attempted and not result.failed
