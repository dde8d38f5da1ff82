"""What notebook 02 defines, its claims and the usual wrong answers to its exercises."""

import ast
import functools
import textwrap

import keras
import numpy as np
import pytest
from scipy.spatial import Delaunay, cKDTree
from scipy.stats import norm

from tests.notebooks.sketches import cells, claim_cells, definition
from tests.notebooks.test_exercises import after_setup, parts

NOTEBOOK = "02_why_not_generate"
SOURCES = {cell["id"]: cell["source"] for cell in cells(NOTEBOOK)}
CLAIMS = [cell["id"] for cell in claim_cells(NOTEBOOK)]
SQUARE = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])


# ---- the example in one dimension --------------------------------------------------------------


@pytest.fixture
def toy():
    namespace = {"np": np, "norm": norm, "SEED": 1, "POINTS": 4000}
    exec(SOURCES["toy"], namespace)
    exec(SOURCES["toy-three"], namespace)
    return namespace


def test_each_decoder_of_the_example_undoes_its_encoder(toy):
    assert set(toy["autoencoders"]) == {"A", "B", "C"}
    for code_of, place_of in toy["autoencoders"].values():
        np.testing.assert_allclose(place_of(code_of(toy["places"])), toy["places"], atol=1e-12)


def test_only_the_codes_of_c_are_standard_normal(toy):
    for name, (code_of, _) in toy["autoencoders"].items():
        sorted_codes = np.sort(code_of(toy["places"]))
        expected = norm.ppf((np.arange(4000) + 0.5) / 4000)
        assert np.allclose(sorted_codes, expected, atol=0.01) == (name == "C")


def test_shares_are_those_left_of_the_gap_in_it_and_right_of_it():
    shares = definition(NOTEBOOK, "shares", {"np": np})
    np.testing.assert_allclose(shares(np.array([-2, -0.6, 0.4, 0.6])), [0.5, 0.25, 0.25])


# ---- measures ----------------------------------------------------------------------------------


def test_invented_asks_from_the_draws_and_missed_from_the_copies():
    namespace = {"decoder": None, "train_copies": SQUARE, "test_copies": SQUARE}
    namespace["decode"] = lambda z, decoder: z
    namespace["nearest_distance"] = lambda a, b: cKDTree(b).query(a)[0]
    draws = np.array([[0.0, 3.0]])
    invented = definition(NOTEBOOK, "invented", namespace)
    missed = definition(NOTEBOOK, "missed", namespace)
    np.testing.assert_allclose(invented(draws), [2])
    np.testing.assert_allclose(missed(draws), [3, np.sqrt(10), 2, np.sqrt(5)])


def test_the_excess_is_split_at_the_outline():
    namespace = {"np": np, "Delaunay": Delaunay, "z_train": SQUARE}
    definition(NOTEBOOK, "is_beyond", namespace)
    split_at_outline = definition(NOTEBOOK, "split_at_outline", namespace)
    z = np.array([[0.5, 0.5], [0.2, 0.2], [0.9, 0.1], [2.0, 2.0]])
    split = split_at_outline(z, np.array([1.0, 1.0, 4.0, 10.0]), floor=1.0)
    assert split == {
        "beyond": 0.25,
        "inside invents": 2.0,
        "beyond invents": 10.0,
        "excess from beyond": 0.75,
    }


def test_a_way_goes_straight_from_middle_to_middle():
    way = definition(NOTEBOOK, "way", {"np": np, "middles": np.array([[0.0, 0.0], [2.0, 4.0]])})
    np.testing.assert_allclose(way(0, 1, steps=3), [[0, 0], [1, 2], [2, 4]])


def test_the_change_of_an_image_is_per_unit_of_the_code():
    namespace = {"np": np, "decode": lambda z: np.tile(5 * z[:, :1, None, None], (1, 2, 2, 1))}
    image_change = definition(NOTEBOOK, "image_change", namespace)
    assert image_change(np.zeros((3, 2))) == pytest.approx(10)  # the root of 4 times 25


# ---- claims ------------------------------------------------------------------------------------


def toy_places(a_in_gap=0.38, b_right=0.0, c_left=0.49):
    """Places with given shares; 10,000 of each, so that every share is met."""

    def places(left, right):
        numbers = np.zeros(10_000)
        numbers[: round(left * 10_000)] = -1
        numbers[len(numbers) - round(right * 10_000) :] = 1
        return numbers

    return {
        "A": places(0.5 - a_in_gap / 2, 0.5 - a_in_gap / 2),
        "B": places(0.98 - b_right, b_right),
        "C": places(c_left, 0.98 - c_left),
        "data": places(0.49, 0.49),
    }


def toy_namespace(**shares):
    drawn_places = toy_places(**shares)
    return {"drawn_places": drawn_places, "places": drawn_places["data"]}


def runs(distance):
    return {"distance_of_means": distance, "run_spreads": {1: 18, 3: 15}}


def split(inside, beyond, excess=0.79):
    return {"inside invents": inside, "beyond invents": beyond, "excess from beyond": excess}


# Of each claim: what holds in the notebook, and numbers under which the claim is false.
CASES = {
    "claim-toy-copies": ({"copy_errors": {"A": 0, "C": 1e-15}}, {"copy_errors": {"A": 0, "C": 1}}),
    "claim-toy-a": (toy_namespace(), toy_namespace(a_in_gap=0.3)),
    "claim-toy-b": (toy_namespace(), toy_namespace(b_right=0.01)),
    "claim-toy-c": (toy_namespace(), toy_namespace(c_left=0.4)),
    "claim-network": ({"test_loss": 153}, {"test_loss": 2 * 153}),
    "claim-blank": (
        {"blank_to_digits": 4.23, "test_to_digits": 4.91},
        {"blank_to_digits": 4.91, "test_to_digits": 4.23},
    ),
    "claim-blurred": (
        {"blurred_to_digits": 4.53, "test_to_digits": 4.91},
        {"blurred_to_digits": 5.20, "test_to_digits": 4.91},
    ),
    "claim-box-fooled": (
        {"draws_to_digits": {"bounding box": 3.6}, "copies_to_digits": 4.29},
        {"draws_to_digits": {"bounding box": 4.29}, "copies_to_digits": 4.29},
    ),
    "claim-normal-missed": (
        {"times_missed": {"N(0, I)": 10.3}},
        {"times_missed": {"N(0, I)": 4.7}},
    ),
    "claim-box-invented": (
        {"times_invented": {"bounding box": 4.8}},
        {"times_invented": {"bounding box": 2.1}},
    ),
    "claim-gaussian-invented": (
        {"times_invented": {"one Gaussian": 3.4}},
        {"times_invented": {"one Gaussian": 1.6}},
    ),
    "claim-blank-invented": ({"blank_invented": 28}, {"blank_invented": 0.9}),
    "claim-foreign-beyond": ({"foreign_beyond": 0.75}, {"foreign_beyond": 0.35}),
    "claim-foreign-inside": ({"foreign_inside": 0.10}, {"foreign_inside": 0.75}),
    "claim-excess": (
        {"splits": {"one Gaussian": split(1.6, 15)}},
        {"splits": {"one Gaussian": split(1.6, 15, excess=0.44)}},
    ),
    "claim-beyond-invents": (
        {"splits": {"one Gaussian": split(1.6, 15)}},
        {"splits": {"one Gaussian": split(1.6, 1.6)}},
    ),
    "claim-inside-invents": (
        {"splits": {"one Gaussian": split(1.6, 15)}},
        {"splits": {"one Gaussian": split(3.2, 14)}},
    ),
    "claim-far-pixels": (
        {"dark_share": {"inside": 0.0002, "beyond": 0.055}},
        {"dark_share": {"inside": 0.03, "beyond": 0.055}},
    ),
    "claim-ways": ({"ways_with_foreign": 5}, {"ways_with_foreign": 40}),
    "claim-steep": (
        {"change_at_draws": 2.0, "change_at_test": 0.8},
        {"change_at_draws": 1.1, "change_at_test": 1.0},
    ),
    "claim-thin": ({"excess_on_the_right": 0.85}, {"excess_on_the_right": 0.48}),
    "claim-labels": (
        {"label_shares": np.array([0.56, 0.23, 0.16, 0.05])},
        {"label_shares": np.full(10, 0.1)},
    ),
    "claim-place": (runs(22.0), runs(11.0)),
    "claim-transfer": (
        {"transferred_missed": {2: 2.2, 3: 6.1}},
        {"transferred_missed": {2: 1.0, 3: 6.1}},
    ),
    "claim-edge-again": (
        {"run_splits": {2: split(1.6, 11), 3: split(1.4, 12)}},
        {"run_splits": {2: split(1.6, 11), 3: split(7, 12)}},
    ),
    "claim-mixture": ({"mixture_invented": 1.1}, {"mixture_invented": 1.6}),
    "claim-mixture-missed": ({"mixture_missed": 1.0}, {"mixture_missed": 1.6}),
    "claim-count": (
        {"missed_by_count": {100: 1.37, 1000: 0.44}},
        {"missed_by_count": {100: 0.7, 1000: 0.44}},
    ),
    "claim-played-back": ({"played_back_missed": 0.98}, {"played_back_missed": 2.0}),
    "claim-one-code-invented": ({"one_code_invented": 0.05}, {"one_code_invented": 1.0}),
    "claim-one-code-missed": ({"one_code_missed": 13}, {"one_code_missed": 1.0}),
}


def run_claim(name, numbers):
    namespace = {"np": np, **numbers}
    definition(NOTEBOOK, "shares", namespace)
    exec(SOURCES[name], namespace)


def test_every_claim_is_tried():
    assert set(CLAIMS) == set(CASES)


@pytest.mark.parametrize("name", CLAIMS)
def test_a_claim_is_one_sentence_and_one_assert(name):
    assert SOURCES[name].startswith("# Claim: ")
    nodes = ast.walk(ast.parse(SOURCES[name]))
    assert sum(isinstance(node, ast.Assert) for node in nodes) == 1


@pytest.mark.parametrize("name", CLAIMS)
def test_a_claim_holds_for_the_numbers_of_the_notebook_and_fails_for_others(name):
    right, wrong = CASES[name]
    run_claim(name, right)
    with pytest.raises(AssertionError):
        run_claim(name, wrong)


# ---- exercises ---------------------------------------------------------------------------------


def copy_of(model):
    new = keras.models.clone_model(model)
    new.set_weights(model.get_weights())
    return new


def change(encoder, decoder, mean, factor, decoder_mean):
    """Gives the codes (z - mean) / factor, and lets the decoder undo it with its own mean."""
    kernel, bias = encoder.layers[-1].get_weights()
    inverse = np.linalg.inv(factor)
    encoder.layers[-1].set_weights([kernel @ inverse.T, (bias - mean) @ inverse.T])
    kernel, bias = decoder.layers[0].get_weights()
    decoder.layers[0].set_weights([factor.T @ kernel, bias + decoder_mean @ kernel])
    return encoder, decoder


def whiten_the_given_models(encoder, decoder, codes):
    mean, factor = codes.mean(axis=0), np.linalg.cholesky(np.cov(codes.T))
    return change(encoder, decoder, mean, factor, mean)


def scale_each_axis_alone(encoder, decoder, codes):
    mean, factor = codes.mean(axis=0), np.diag(codes.std(axis=0))
    return change(copy_of(encoder), copy_of(decoder), mean, factor, mean)


def do_not_shift(encoder, decoder, codes):
    factor = np.linalg.cholesky(np.cov(codes.T))
    return change(copy_of(encoder), copy_of(decoder), np.zeros(2), factor, np.zeros(2))


def leave_the_decoder_where_it_was(encoder, decoder, codes):
    mean, factor = codes.mean(axis=0), np.linalg.cholesky(np.cov(codes.T))
    return change(copy_of(encoder), copy_of(decoder), mean, factor, np.zeros(2))


def play_back(codes, n, rng):
    return codes[rng.integers(len(codes), size=n)]


def noise_of_one_size(codes, n, rng):
    return play_back(codes, n, rng) + 0.3 * rng.normal(size=(n, 2))


def one_gaussian(codes, n, rng):
    return rng.multivariate_normal(codes.mean(axis=0), np.cov(codes.T), size=n)


def around_one_code(codes, n, rng):
    size = cKDTree(codes).query(codes[0], k=6)[0][5]
    return codes[0] + size * rng.normal(size=(n, 2))


MISTAKES = [
    (1, 0.175, "You encoded z"),
    (1, 0.383, "Which z decode"),
    (2, whiten_the_given_models, "has changed"),
    (2, scale_each_axis_alone, "covariance is not I"),
    (2, do_not_shift, "mean is not 0"),
    (2, leave_the_decoder_where_it_was, "copies have changed"),
    (3, play_back, "played back"),
    (3, noise_of_one_size, "played back"),
    (3, one_gaussian, "Too much is invented"),
    (3, around_one_code, "Too much is missed"),
]


@functools.cache
def check_of(number):
    """Names and source of a check. That of exercise 3 trains first, once for all answers."""
    namespace, (_, check, _) = after_setup(NOTEBOOK), parts(NOTEBOOK, number)
    if number == 3:
        trains, asks = check.split("    new_3 = answer_3(")
        namespace["answer_3"] = "given"
        exec(trains, namespace)
        check = textwrap.dedent("    new_3 = answer_3(" + asks)
    return namespace, check


@pytest.mark.parametrize(("number", "answer", "message"), MISTAKES)
def test_the_usual_wrong_answers_are_caught(number, answer, message):
    namespace, check = check_of(number)
    with pytest.raises(AssertionError, match=message):
        exec(check, {**namespace, f"answer_{number}": answer})
