"""The affine map between the codes of an autoencoder and z."""

import numpy as np
import pytest

from vaekit import latent_map

CURVATURE = np.array([100.0, 4.0, 0.0])


def fitted(n=3000, curvature=CURVATURE):
    """Codes of standard deviation 1, 2 and 0.5 that a decoder feels as ``curvature`` says."""
    codes = np.random.default_rng(0).normal(size=(n, 1, 3)) * [1.0, 2.0, 0.5] + [3.0, 0.0, -1.0]
    rows = codes[:1000]
    return codes, *latent_map.fit(codes, rows, lambda c: curvature * (c - rows[: len(c)]))


def test_what_the_decoder_feels_gets_variance_one_with_its_posterior():
    codes, found, h = fitted()
    total = found.to_z(codes).var(axis=(0, 1)) + 1 / (1 + h.mean(axis=(0, 1)))
    assert total == pytest.approx(np.ones(3), abs=0.05)


def test_what_the_decoder_does_not_feel_becomes_the_prior():
    codes, found, h = fitted()
    z, sigma2 = found.to_z(codes), 1 / (1 + h.mean(axis=(0, 1)))
    unfelt = np.argmax(sigma2)
    assert z[..., unfelt].var() < 0.01 and sigma2[unfelt] > 0.99
    assert np.abs(found.inverse()[:, unfelt]).max() < 1  # nothing is amplified


def test_the_map_is_undone_exactly():
    codes, found, _ = fitted()
    assert found.mean + found.step(found.to_z(codes)) == pytest.approx(codes, abs=1e-9)


def test_the_width_is_the_best_for_the_negative_elbo():
    """The closed form against a search over widths."""
    _, found, _ = fitted()
    for variance, curvature in ((1.0, 100.0), (4.0, 4.0)):
        squared = np.exp(np.linspace(-6, 6, 20001))
        best = squared[np.argmin(variance / squared + np.log1p(curvature * squared))]
        widths = (found.axes**2).sum(axis=1)
        assert np.abs(widths / best - 1).min() < 0.1


def test_many_channels_get_one_scale_each():
    codes = np.random.default_rng(0).normal(size=(60, 1, 500))
    found, _ = latent_map.fit(codes, codes, lambda c: 0 * c)
    assert found.axes.shape == (500,)
