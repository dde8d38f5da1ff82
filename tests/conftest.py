"""What all tests share: no window for figures, and no TensorFlow tests elsewhere."""

import keras
import matplotlib
import pytest

# A browser's tests have an environment of their own: make test-browser.
collect_ignore = ["browser"]

matplotlib.use("Agg")  # not MPLBACKEND, which the notebooks' kernels would inherit


def pytest_runtest_setup(item):
    if item.get_closest_marker("tensorflow") and keras.config.backend() != "tensorflow":
        pytest.skip("needs the TensorFlow backend")
