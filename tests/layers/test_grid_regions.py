import keras
import numpy as np

from kerasseq.layers.grid_regions import GridRegions


def test_regions_go_row_by_row():
    regions = GridRegions()(np.zeros((2, 3, 4, 5)))
    assert regions.dtype == "int32"
    np.testing.assert_array_equal(regions, [[[row, column] for row in range(3) for column in range(4)]] * 2)
    symbolic = GridRegions()(keras.Input((3, 4, 5)))
    assert symbolic.shape == (None, 12, 2) and symbolic.dtype == "int32"
