import numpy as np
import pytest
from keras import ops
from scipy.spatial import distance

from vaekit.evaluation import nearest_distance

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(7,), (4, 4), (4, 4, 1), (3, 3, 3)])
def test_equals_the_smallest_of_scipys_distances(shape):
    images, references = RNG.uniform(size=(5, *shape)), RNG.uniform(size=(9, *shape))
    expected = distance.cdist(images.reshape(5, -1), references.reshape(9, -1)).min(axis=1)
    np.testing.assert_allclose(nearest_distance(images, references), expected, rtol=1e-9)


def test_images_among_the_references_have_distance_0():
    """Where rounding makes some squared distances negative."""
    references = np.random.default_rng(0).uniform(size=(300, 10, 10)).astype("float32")
    found = nearest_distance(references[3:], references)
    assert np.all(np.isfinite(found))
    np.testing.assert_allclose(found, 0, atol=1e-5)


def test_integers_do_not_overflow():
    images, references = np.full((1, 4), 200, "uint8"), np.full((1, 4), 50, "uint8")
    np.testing.assert_allclose(nearest_distance(images, references), [300])


def test_takes_tensors_and_returns_float64():
    images = ops.convert_to_tensor(RNG.uniform(size=(2, 4)).astype("float32"))
    found = nearest_distance(images, images)
    assert isinstance(found, np.ndarray) and found.dtype == np.float64


def test_images_of_another_shape_are_refused():
    with pytest.raises(ValueError) as caught:
        nearest_distance(np.zeros((2, 28, 28)), np.zeros((3, 28, 28, 1)))
    assert str(caught.value) == (
        "nearest_distance expects images and references of one shape, but got "
        "(28, 28) and (28, 28, 1). Reshape one of them."
    )
