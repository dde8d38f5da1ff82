"""Every autoencoder of the zoo becomes a VAE of the same outputs, or is refused with a way out."""

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

import vaekit
from tests import zoo

# Tied layers and codes as wide as x are converted with a warning.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def outputs(model, x):
    """The one output of a model, of whatever structure."""
    structure = keras.tree.pack_sequence_as(getattr(model, "input", x), [x])
    (output,) = keras.tree.flatten(model(structure, training=False))
    return ops.convert_to_numpy(output).astype("float32")


def reconstructions(autoencoder, x):
    models = autoencoder if isinstance(autoencoder, tuple) else (autoencoder,)
    for model in models:
        x = outputs(model, x)
    return x


def converted(case):
    return vaekit.to_vae(case.autoencoder, case.x, seed=0, verbose=0, **case.options)


@pytest.mark.parametrize("make", zoo.CONVERTED, ids=lambda make: make.__name__)
def test_it_converts(make, tmp_path):
    keras.utils.set_random_seed(0)
    case = make()
    models = case.autoencoder if isinstance(case.autoencoder, tuple) else (case.autoencoder,)
    before = [weight.copy() for model in models for weight in model.get_weights()]
    vae = converted(case)
    after = [weight for model in models for weight in model.get_weights()]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    expected, found = reconstructions(case.autoencoder, case.x), outputs(vae, case.x)
    coarse = {"float16": 0.02, "bfloat16": 0.1, "mixed_float16": 0.02}.get(make.__name__, 1e-4)
    assert np.abs(found - expected).max() <= coarse * np.ptp(expected)
    for z in vae.encode(case.x[:8]):
        assert np.isfinite(ops.convert_to_numpy(z)).all()
    if make.__name__ not in zoo.NOT_RELOADED:
        vae.save(tmp_path / "vae.keras")
        loaded = keras.saving.load_model(tmp_path / "vae.keras", custom_objects=zoo.CUSTOM_OBJECTS)
        assert np.array_equal(outputs(loaded, case.x), found)


@pytest.mark.parametrize("refusal", zoo.REFUSED, ids=lambda r: r.sentence[:24])
def test_it_is_refused_and_its_way_out_works(refusal):
    with pytest.raises((TypeError, ValueError), match=refusal.sentence):
        converted(refusal.refused())
    case = refusal.way_out()
    expected = reconstructions(case.autoencoder, case.x)
    assert outputs(converted(case), case.x) == pytest.approx(expected, abs=1e-4)


def test_the_page_has_a_row_for_each_and_no_other():
    page = (Path(vaekit.__file__).parents[1] / "docs" / "to_vae.md").read_text("utf-8")
    converted_rows, refused_rows = page.split("## What it refuses")
    for part, makes in (
        (converted_rows, zoo.CONVERTED),
        (refused_rows, [refusal.refused for refusal in zoo.REFUSED]),
    ):
        rows = [line.split("|")[1].strip() for line in part.splitlines() if line.startswith("| ")]
        assert sorted(rows[1:]) == sorted(make.__name__.replace("_", " ") for make in makes)


class Offset(keras.layers.Layer):
    """Adds a number that somebody sets later, and that no copy can know of."""

    offset = 0.0

    def call(self, x):
        return x + self.offset


@pytest.mark.parametrize("activation", [None, "sigmoid"])
@pytest.mark.parametrize("name", ["in_the_encoder", "in_the_decoder"])
def test_a_layer_whose_value_is_not_copied_is_named(name, activation):
    x = keras.Input((12,))
    dense = keras.layers.Dense
    h = Offset(name="in_the_encoder")(dense(8)(x))
    h = Offset(name="in_the_decoder")(dense(8)(dense(3, activation=activation)(h)))
    autoencoder = keras.Model(x, dense(12)(h))
    autoencoder.get_layer(name).offset = 5.0
    with pytest.raises(ValueError, match=f"the layer '{name}' computes with a value"):
        vaekit.to_vae(autoencoder, zoo.data((12,), 100), verbose=0)
