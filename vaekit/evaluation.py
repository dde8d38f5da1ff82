"""Numbers that say how good a generative model is; taught in notebooks/02 and 06."""

import numpy as np
from keras import ops


def nearest_distance(images, references):
    """The Euclidean distance of each image to the nearest of the reference images.

    Args:
        images: array ``(n, ...)``.
        references: array ``(m, ...)`` of images of the same shape.

    Returns:
        NumPy array ``(n,)``, float64, in the unit of the pixels.

    Raises:
        ValueError: if the images differ in shape.

    Example:
        >>> print(nearest_distance(np.array([[3.0, 4.0]]), np.array([[0.0, 0.0], [9.0, 9.0]])))
        [5.]
    """
    images, references = ops.convert_to_numpy(images), ops.convert_to_numpy(references)
    if images.shape[1:] != references.shape[1:]:
        raise ValueError(
            "nearest_distance expects images and references of one shape, but got "
            f"{images.shape[1:]} and {references.shape[1:]}. Reshape one of them."
        )
    a = images.reshape(len(images), -1).astype("float64")
    b = references.reshape(len(references), -1).astype("float64")
    squared = (a**2).sum(1)[:, None] - 2 * a @ b.T + (b**2).sum(1)
    return np.sqrt(np.maximum(squared, 0).min(axis=1))
