"""The names that every doctest of vaekit may use; imported only where a test runs."""

import pytest


@pytest.fixture(autouse=True)
def doctest_names(doctest_namespace):
    import keras
    import numpy as np

    import vaekit

    doctest_namespace.update(keras=keras, np=np, ops=keras.ops, vaekit=vaekit)
