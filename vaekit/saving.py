"""What Keras leaves out of the file of a model: random states, and layers that two networks share.

Keras saves weights, but no random state of the layers in a model. A training that is saved, loaded
and continued would repeat the noise it began with. A layer that encoder and decoder share would
be loaded as two. This file stands alone, copy it as it is.
"""

import keras
from keras import ops


class SavedRandomState:
    """For the bases of a Keras model: its files, ``.keras`` and ``.weights.h5``, hold all seeds."""

    def save_own_variables(self, store):
        super().save_own_variables(store)
        for number, state in enumerate(random_states(self)):
            store[f"seed_state_{number}"] = ops.convert_to_numpy(state)

    def load_own_variables(self, store):
        weights = {name: store[name] for name in store.keys() if "seed_state" not in name}  # noqa: SIM118, a store is no dict
        super().load_own_variables(weights)
        for number, state in enumerate(random_states(self)):
            # The order alone tells the states apart. A file of a model with fewer of them has
            # none for the last ones, which then stay.
            if f"seed_state_{number}" in store.keys():  # noqa: SIM118
                state.assign(store[f"seed_state_{number}"])


def random_states(model):
    """The variables of all ``keras.random.SeedGenerator`` within a model, in a fixed order."""
    return [v for v in model.non_trainable_variables if v.name == "seed_generator_state"]


def serialize_pair(encoder, decoder):
    """The configs of two models, in which a layer of the encoder that the decoder uses is one.

    Keras marks the configs of a shared layer with one ``shared_object_id``, but not the one in
    the first of two models, of whose config it keeps a copy alone.
    """
    encoder = keras.saving.serialize_keras_object(encoder)
    decoder = keras.saving.serialize_keras_object(decoder)
    of_encoder = {(c["class_name"], c["config"]["name"]): c for c in layer_configs(encoder)}
    shared = [config for config in layer_configs(decoder) if "shared_object_id" in config]
    ids = [config["shared_object_id"] for config in shared]
    for shared_id, config in zip(ids, shared, strict=True):
        partner = of_encoder.get((config["class_name"], config["config"]["name"]))
        # An id that comes twice has its partner in the decoder itself.
        if partner and ids.count(shared_id) == 1:
            partner["shared_object_id"] = shared_id
    return encoder, decoder


def layer_configs(config):
    """The configs of all layers within a config, however deep they lie in it."""
    if isinstance(config, dict) and "build_config" in config and "name" in config["config"]:
        yield config
    if isinstance(config, (dict, list, tuple)):
        for part in config.values() if isinstance(config, dict) else config:
            yield from layer_configs(part)
