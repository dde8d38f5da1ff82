"""What all tests share: no window for figures, and no TensorFlow tests elsewhere."""

import keras
import matplotlib
import pytest

# These have environments of their own: make test-browser, and the teacher's.
collect_ignore = ["browser", "assignments/grade_zoo.py"]

matplotlib.use("Agg")  # not MPLBACKEND, which the notebooks' kernels would inherit


def pytest_runtest_setup(item):
    if item.get_closest_marker("tensorflow") and keras.config.backend() != "tensorflow":
        pytest.skip("needs the TensorFlow backend")
