"""Files that hold the state of every random generator of a model: those of Dropout too.

Keras saves weights, but no random state of the layers in a model. A training that is saved, loaded
and continued would repeat the noise it began with. This file stands alone, copy it as it is.
"""

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
