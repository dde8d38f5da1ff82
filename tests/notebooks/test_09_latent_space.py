"""What notebook 09 sketches is what vaekit does, and its sliders move a picture."""

import types

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import pytest

from tests.notebooks.sketches import cells, definition
from vaekit import likelihoods, plots


@pytest.mark.parametrize("t", [0.0, 0.25, 1.0])
def test_spherical_sketch_equals_the_packaged_path(t):
    slerp_sketch = definition("09_latent_space", "slerp_sketch", {"np": np})
    a, b = np.random.default_rng(0).normal(size=(2, 4, 5))
    decoded = []
    vae = types.SimpleNamespace(
        latent_shape=(5,),
        likelihood=likelihoods.Bernoulli(),
        decode=lambda z: decoded.append(z) or np.zeros((len(z), 28, 28, 1)),
    )
    plots.interpolation(vae, a, b, steps=5, spherical=True)
    plt.close("all")
    expected = decoded[0].reshape(4, 5, 5)[:, round(4 * t)]
    np.testing.assert_allclose(slerp_sketch(a, b, t), expected, rtol=1e-5, atol=1e-6)


def test_sliders_draw_the_point_that_they_stand_at(monkeypatch):
    (cell,) = (cell for cell in cells("09_latent_space") if cell["id"] == "slider")
    assert cell["source"].count("LIVE = False") == 1
    seen, made = [], []
    plane = types.SimpleNamespace(
        likelihood=likelihoods.Bernoulli(),
        decode=lambda z: seen.append(z) or np.zeros((1, 28, 28, 1)),
    )
    monkeypatch.setattr(plt, "show", lambda: plt.close("all"))
    monkeypatch.setattr(
        ipywidgets, "interact", lambda *args, **sliders: made.append(_built(*args, **sliders))
    )
    source = cell["source"].replace("LIVE = False", "LIVE = True")
    exec(source, {"plane": plane, "plt": plt, "np": np, "ipywidgets": ipywidgets})
    z_1, z_2 = made[0].children[:2]
    z_1.value, z_2.value = 1.5, -0.5
    made[0].update()
    np.testing.assert_allclose(seen[-1], [[1.5, -0.5]])


def _built(function, **sliders):
    """What ``interact`` shows, without a page to show it on."""
    return ipywidgets.interactive(function, {"manual": True}, **sliders)
