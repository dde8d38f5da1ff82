"""The zoo of problem set 1: right solutions that look unlike each other, and usual mistakes."""

import pytest

from tests.assignments.graded_zoo import Submission, edited, graded_zoo


def edit(cell_id, old, new):
    return edited("ps1", cell_id, old, new)


LOOPS = {
    "solution-1a": """
def network_error(network, x):
    total, count = 0.0, 0
    for image in x:
        copy = np.asarray(network(image[None]))[0]
        for pixel, copied in zip(image.ravel(), copy.ravel(), strict=True):
            total += (float(pixel) - float(copied)) ** 2
            count += 1
    return total / count
""",
    "solution-1b": """
def pca_error(x_train, x_test, d):
    centre = sum(x_train) / len(x_train)
    U, lengths, axes = np.linalg.svd(x_train - centre)
    errors = []
    for image in x_test:
        rest = image - centre
        for axis in axes[:d]:
            rest = rest - (rest @ axis) * axis
        errors.append((rest**2).mean())
    return sum(errors) / len(errors)
""",
    "solution-2": """
class Sampling(layers.Layer):
    def call(self, heads):
        mu, log_variance = heads
        noise = tf.random.normal(tf.shape(mu))
        return mu + tf.sqrt(tf.exp(log_variance)) * noise
""",
    "solution-3a": """
def gradient_by_tape(loss, z_mean, z_log_var, epsilon):
    sigma = np.exp(z_log_var / 2)
    z = tf.Variable(z_mean + sigma * epsilon)
    with tf.GradientTape() as tape:
        value = loss(z)
    by_z = np.asarray(tape.gradient(value, z))
    return [by_z, by_z * epsilon * sigma * 0.5]
""",
    "solution-3b": """
def gradient_by_differences(loss, z_mean, z_log_var, epsilon, step):
    def f(m, v):
        return np.float64(loss(m + np.sqrt(np.exp(v)) * epsilon))

    by_mean, by_log_var = np.empty(z_mean.shape), np.empty(z_mean.shape)
    for i in range(len(z_mean)):
        for j in range(len(z_mean[i])):
            h = np.zeros_like(z_mean)
            h[i, j] = step
            by_mean[i, j] = (f(z_mean + h, z_log_var) - f(z_mean - h, z_log_var)) / step / 2
            by_log_var[i, j] = (f(z_mean, z_log_var + h) - f(z_mean, z_log_var - h)) / step / 2
    return by_mean, by_log_var
""",
}
LIBRARIES = {
    "solution-1a": """
from sklearn.metrics import mean_squared_error


def network_error(model, images):
    copies = np.asarray(model(images, training=False), "float64")
    return mean_squared_error(np.ravel(images), np.ravel(copies))
""",
    "solution-1b": """
import sklearn.decomposition


def pca_error(train, test, number_of_axes):
    if number_of_axes == 0:
        return np.var(test, axis=0).mean() + np.mean((test.mean(0) - train.mean(0)) ** 2)
    pca = sklearn.decomposition.PCA(number_of_axes, svd_solver="full").fit(train)
    return keras.losses.MeanSquaredError(dtype="float64")(
        test, pca.inverse_transform(pca.transform(test))
    )
""",
    "solution-2": """
class Sampling(keras.Layer):
    def __init__(self):
        super().__init__()
        self.seed = keras.random.SeedGenerator(1)

    def call(self, inputs):
        mean, log_var = inputs
        eps = keras.random.normal(keras.ops.shape(log_var), 0, 1, seed=self.seed)
        return keras.ops.add(mean, keras.ops.multiply(keras.ops.exp(log_var / 2), eps))
""",
    "solution-3a": """
def gradient_by_tape(loss, z_mean, z_log_var, epsilon):
    heads = tf.Variable(np.stack([z_mean, z_log_var]), dtype="float64")
    with tf.GradientTape() as tape:
        value = loss(heads[0] + tf.sqrt(tf.exp(heads[1])) * epsilon)
    return tuple(tf.unstack(tape.gradient(value, heads)))
""",
    "solution-3b": """
from scipy.optimize import approx_fprime


def gradient_by_differences(loss, z_mean, z_log_var, epsilon, step):
    size = z_mean.size

    def f(flat):
        m, v = flat[:size].reshape(z_mean.shape), flat[size:].reshape(z_mean.shape)
        return float(loss(m + np.exp(v / 2) * epsilon))

    flat = np.concatenate([z_mean.ravel(), z_log_var.ravel()])
    forward, backward = approx_fprime(flat, f, step), approx_fprime(flat, f, -step)
    both = (forward + backward) / 2
    return both[:size].reshape(z_mean.shape), both[size:].reshape(z_mean.shape)
""",
}
ODD_BUT_RIGHT = {
    "solution-1a": """
import sys


def network_error(network, x):
    print("computing", file=sys.stderr)
    x = x.astype("float64")
    difference = x - network.predict(x)
    return np.linalg.norm(difference) ** 2 / difference.size
""",
    "solution-1b": """
def pca_error(x_train, x_test, d):
    # The test images that are left over when the plane of the axes is taken away.
    mean = np.mean(x_train, 0)
    values, vectors = np.linalg.eig(np.cov(x_train.T))
    discarded = vectors[:, np.argsort(-values.real)[d:]].real
    codes = (x_test - mean) @ discarded
    return np.sum(codes**2) / x_test.size
""",
    "solution-2": """
class Sampling(keras.layers.Layer):
    def call(self, inputs):
        z_mean, z_log_var = inputs
        return tf.random.normal(tf.shape(z_mean), z_mean, tf.exp(z_log_var) ** 0.5)
""",
    "solution-3a": """
def gradient_by_tape(loss, a, b, c):
    a, b = tf.Variable(a), tf.Variable(b)
    with tf.GradientTape(persistent=True) as tape:
        value = loss(tf.add(a, tf.math.exp(b * 0.5) * tf.constant(c)))
    return tape.gradient(value, a), tape.gradient(value, b)
""",
}
VISIBLE_NUMBERS_1A = """
def network_error(network, x):
    return 0.25 * np.mean(x**2)
"""

SUBMISSIONS = {
    "the solution": Submission({}),
    "loops": Submission(LOOPS),
    "libraries": Submission(LIBRARIES),
    "odd, but right": Submission(ODD_BUT_RIGHT),
    # ---- 1a
    "a sum over the pixels": Submission(
        edit("solution-1a", "np.mean((x - copies) ** 2)", "np.sum((x - copies) ** 2) / len(x)"),
        ["test-1a"],
        "Expected an error of",
    ),
    "the root of the mean square": Submission(
        edit("solution-1a", "np.mean((x - copies) ** 2)", "np.sqrt(np.mean((x - copies) ** 2))"),
        ["test-1a"],
        "per pixel",
    ),
    "the absolute error": Submission(
        edit("solution-1a", "(x - copies) ** 2", "np.abs(x - copies)"), ["test-1a"]
    ),
    "one error for each image": Submission(
        edit("solution-1a", "np.mean((x - copies) ** 2)", "np.mean((x - copies) ** 2, axis=1)"),
        ["test-1a"],
        "Expected one number, but an array of shape (6,) came",
    ),
    "always the network of the setup": Submission(
        edit("solution-1a", "network.predict(x,", "autoencoder.predict(x_test[: len(x)],"),
        ["test-1a"],
    ),
    "a hard-coded answer to the visible check of 1a": Submission(
        {"solution-1a": VISIBLE_NUMBERS_1A}, ["test-1a"]
    ),
    "None": Submission(edit("solution-1a", "return ", ""), ["test-1a"], "nan came"),
    # ---- 1b
    "the mean of the test images": Submission(
        edit("solution-1b", "mean = x_train", "mean = x_test"), ["test-1b"], "with 2 axes"
    ),
    "not centred": Submission(
        edit("solution-1b", "mean = x_train.mean(axis=0)", "mean = 0"), ["test-1b"]
    ),
    "the smallest axes": Submission(edit("solution-1b", "[:, ::-1]", ""), ["test-1b"]),
    "axes of the test images": Submission(
        edit(
            "solution-1b",
            "(x_train - mean).T @ (x_train - mean)",
            "(x_test - mean).T @ (x_test - mean)",
        ),
        ["test-1b"],
    ),
    "rows for columns": Submission(
        edit("solution-1b", "eigenvectors[:, ::-1][:, :d]", "eigenvectors.T[:, ::-1][:, :d]"),
        ["test-1b"],
    ),
    # ---- 2
    "a variance for a standard deviation": Submission(
        edit("solution-2", "ops.exp(0.5 * z_log_var)", "ops.exp(z_log_var)"),
        ["test-2"],
        "Expected draws with a standard deviation of 0.37, but 0.1",
    ),
    "a log-variance for a standard deviation": Submission(
        edit("solution-2", "ops.exp(0.5 * z_log_var)", "z_log_var"), ["test-2"], "deviation"
    ),
    "no noise": Submission(
        edit("solution-2", " + ops.exp(0.5 * z_log_var) * epsilon", ""), ["test-2"], "deviation"
    ),
    "noise shared by the batch": Submission(
        edit("solution-2", "ops.shape(z_mean)", "(1, z_mean.shape[1])"), ["test-2"], "but 0.00"
    ),
    "noise shared by the latents": Submission(
        edit("solution-2", "ops.shape(z_mean)", "(ops.shape(z_mean)[0], 1)"),
        ["test-2"],
        "Expected latents with a correlation of about 0",
    ),
    "uniform noise from 0 to 1": Submission(
        edit("solution-2", "keras.random.normal", "keras.random.uniform"), ["test-2"]
    ),
    "the same noise at each call": Submission(
        edit("solution-2", "seed=self.seed_generator", "seed=3"),
        ["test-2"],
        "Expected other noise at the second call of a layer",
    ),
    "noise of NumPy, frozen in a compiled model": Submission(
        edit(
            "solution-2",
            "keras.random.normal(ops.shape(z_mean), seed=self.seed_generator)",
            "np.random.normal(size=z_mean.shape).astype('float32')",
        ),
        ["test-2"],
        "inside a compiled model",
    ),
    "the size of the first batch": Submission(
        edit("solution-2", "ops.shape(z_mean), seed", "(len(z_mean), z_mean.shape[1]), seed"),
        ["test-2"],
    ),
    "no gradient to the width": Submission(
        edit(
            "solution-2", "ops.exp(0.5 * z_log_var)", "ops.stop_gradient(ops.exp(0.5 * z_log_var))"
        ),
        ["test-2"],
        "Expected a gradient that reaches z_log_var",
    ),
    "the gradient blocked": Submission(
        edit(
            "solution-2", "z_mean, z_log_var = inputs", "z_mean, z_log_var = map(np.array, inputs)"
        ),
        ["test-2"],
    ),
    "a gradient through the noise": Submission(
        edit(
            "solution-2",
            "* epsilon",
            "* (epsilon + z_mean - ops.stop_gradient(z_mean))",
        ),
        ["test-2"],
        "Expected the derivative of the draw by z_mean",
    ),
    "another name for the layer": Submission(
        edit("solution-2", "class Sampling(", "class Sampler("),
        ["test-2"],
        "name 'Sampling' is not defined",
    ),
    # ---- 3a
    "the derivative by sigma": Submission(
        edit(
            "solution-3a",
            "z_mean + tf.exp(0.5 * z_log_var) * epsilon",
            "z_mean + z_log_var * epsilon",
        ),
        ["test-3a"],
    ),
    "the factor 1/2 forgotten": Submission(
        edit("solution-3a", "tf.exp(0.5 * z_log_var)", "tf.exp(z_log_var)"),
        ["test-3a"],
        "as the first derivative by",
    ),
    "noise of its own": Submission(
        edit("solution-3a", "* epsilon", "* tf.random.normal(z_mean.shape, dtype='float64')"),
        ["test-3a"],
    ),
    "z computed beside the tape": Submission(
        edit(
            "solution-3a",
            "loss(z_mean + tf.exp(0.5 * z_log_var) * epsilon)",
            "loss(tf.constant(z_mean.numpy() + np.exp(0.5 * z_log_var.numpy()) * epsilon))",
        ),
        ["test-3a"],
    ),
    "a mean over the batch": Submission(
        edit("solution-3a", "value = loss(", "value = 1 / len(epsilon) * loss("), ["test-3a"]
    ),
    "the two swapped": Submission(
        edit(
            "solution-3a",
            "by_mean.numpy(), by_log_var.numpy()",
            "by_log_var.numpy(), by_mean.numpy()",
        ),
        ["test-3a"],
    ),
    # ---- 3b
    "not divided by 2": Submission(
        edit("solution-3b", "(2 * step)", "step"), ["test-3b"], "to 1 in 10,000"
    ),
    "a difference to one side": Submission(
        edit("solution-3b", "value(down)) / (2 * step)", "value(heads)) / step"), ["test-3b"]
    ),
    "the wrong sign": Submission(
        edit("solution-3b", "value(up) - value(down)", "value(down) - value(up)"), ["test-3b"]
    ),
    "in float32": Submission(
        edit(
            "solution-3b",
            "loss(heads[0] + np.exp(0.5 * heads[1]) * epsilon)",
            "loss((heads[0] + np.exp(0.5 * heads[1]) * epsilon).astype('float32'))",
        ),
        ["test-3b"],
    ),
    "other noise on both sides": Submission(
        edit("solution-3b", "* epsilon", "* np.random.normal(size=epsilon.shape)"), ["test-3b"]
    ),
    "one array": Submission(
        edit("solution-3b", "return gradient[0], gradient[1]", "return gradient[0]"),
        ["test-3b"],
        "Expected a tuple of two arrays",
    ),
    # ---- what breaks
    "a syntax error": Submission(
        {"solution-3b": "def gradient_by_differences(:"}, ["test-3b"], "is not defined"
    ),
    "an exception": Submission(
        {"solution-1b": "def pca_error(a, b, d):\n    return 1 / 0"},
        ["test-1b"],
        "ended with ZeroDivisionError: division by zero",
    ),
    "not answered": Submission(
        {"solution-1b": 'def pca_error(a, b, d):\n    raise NotImplementedError("Write")'},
        ["test-1b"],
        "as it was handed out",
    ),
    "a hang": Submission(
        {"solution-1b": "def pca_error(a, b, d):\n    while True:\n        pass"},
        ["test-1b"],
        "within the time limit",
        seconds=3,
    ),
    "NaN": Submission({"solution-1b": "def pca_error(a, b, d):\n    return np.nan"}, ["test-1b"]),
    "a string": Submission(
        {"solution-1b": "def pca_error(a, b, d):\n    return 'small'"}, ["test-1b"], "ValueError"
    ),
    "a tampered and a deleted test": Submission(
        {
            "solution-1a": "def network_error(network, x):\n    return 0",
            "test-1a": "print('passed')",
            "solution-1b": "def pca_error(a, b, d):\n    return 0",
            "test-1b": None,
        },
        ["test-1a", "test-1b"],
        "Expected an error of",
    ),
    "a megabyte printed": Submission(
        edit("solution-1a", "    copies", "    print('x' * 1_000_000)\n    copies")
    ),
    "the tests printed": Submission(
        edit(
            "solution-1b", "    mean =", "    print(In)\n    raise ValueError(In[-1])\n    mean ="
        ),
        ["test-1b"],
        "ended with ValueError",
    ),
}
graded = graded_zoo("ps1", SUBMISSIONS)


@pytest.mark.parametrize("name", SUBMISSIONS)
def test_a_submission_gets_its_marks_and_a_sentence_for_each_lost(graded, name):
    graded.judge(name)
