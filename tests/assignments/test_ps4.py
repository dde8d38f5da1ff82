"""The zoo of problem set 4: right solutions that look unlike each other, and usual mistakes."""

import pytest

from tests.assignments.graded_zoo import Submission, edited, graded_zoo


def edit(cell_id, old, new):
    return edited("ps4", cell_id, old, new)


LOOPS = {
    "solution-1a": """
def whitening(codes):
    # Gram and Schmidt, one latent after the other: another whitening than that of the axes.
    n, d = codes.shape
    mean = sum(codes) / n
    centred = codes - mean
    unwhiten = np.zeros((d, d))
    z = np.zeros((n, d))
    for j in range(d):
        rest = centred[:, j].copy()
        for i in range(j):
            unwhiten[i, j] = z[:, i] @ centred[:, j] / n
            rest -= unwhiten[i, j] * z[:, i]
        unwhiten[j, j] = (rest @ rest / n) ** 0.5
        z[:, j] = rest / unwhiten[j, j]
    return mean, np.linalg.inv(unwhiten), unwhiten
""",
    "solution-1b": """
def converted(file, mean, whiten, unwhiten, sigma):
    # The old layers stay as they are. New ones stand behind the code and before the decoder.
    model = keras.models.load_model(file)
    old_encoder, old_decoder = model.get_layer("encoder"), model.get_layer("decoder")

    class After(layers.Layer):
        def call(self, codes):
            columns = []
            for j in range(len(mean)):
                column = 0.0
                for i in range(len(mean)):
                    column = column + (codes[:, i] - float(mean[i])) * float(whiten[i, j])
                columns.append(column)
            variances = [float(one) ** 2 for one in sigma]
            return ops.stack(columns, axis=1), 0 * codes + np.log(np.float32(variances))

    class Before(layers.Layer):
        def call(self, z):
            return ops.matmul(z, unwhiten.astype("float32")) + mean.astype("float32")

    x, z = keras.Input(old_encoder.input_shape[1:]), keras.Input((len(mean),))
    return keras.Model(x, After()(old_encoder(x))), keras.Model(z, old_decoder(Before()(z)))
""",
    "solution-2": """
from math import log, pi


class LearnedScale(keras.layers.Layer):
    def build(self, shapes):
        self.precision = self.add_weight(shape=(), initializer="ones")

    def scale(self):
        if not self.built:
            return 1.0
        return 1 / ops.sqrt(ops.abs(self.precision))

    def call(self, inputs):
        costs = []
        for image, copied in zip(*inputs):
            squares = ops.sum((image - copied) ** 2) * ops.abs(self.precision)
            log_variances = len(image) * ops.log(1 / ops.abs(self.precision))
            costs.append((squares + log_variances + len(image) * log(2 * pi)) / 2)
        return ops.stack(costs)
""",
    "solution-3": """
from math import log, pi


def two_likelihoods(x_fit, copies_fit, x, copies):
    squares = absolute = 0.0
    for pixel, copied in zip(np.ravel(x_fit), np.ravel(copies_fit)):
        squares += (pixel - copied) ** 2
        absolute += abs(pixel - copied)
    variance, width = squares / np.size(x_fit), absolute / np.size(x_fit)
    gaussian = laplace = 0.0
    for pixel, copied in zip(np.ravel(x), np.ravel(copies)):
        gaussian += (pixel - copied) ** 2 / variance / 2 + log(2 * pi) / 2 + log(variance) / 2
        laplace += abs(pixel - copied) / width + log(width) + log(2)
    return gaussian / len(x), laplace / len(x)
""",
}
LIBRARIES = {
    "solution-1a": """
from scipy.linalg import inv, sqrtm


def whitening(codes):
    # The symmetric whitening.
    root = np.real(sqrtm(np.cov(codes.T, ddof=0)))
    return codes.mean(0), inv(root), root
""",
    "solution-1b": """
def converted(file, mean, whiten, unwhiten, sigma):
    model = keras.saving.load_model(file)
    first, last = model.get_layer("encoder"), model.get_layer("decoder")
    d = len(sigma)
    behind = layers.Dense(d)
    codes = first.output
    z_mean = behind(codes)
    behind.set_weights([whiten, -mean @ whiten])
    z_log_var = layers.Dense(
        d,
        kernel_initializer="zeros",
        bias_initializer=keras.initializers.Constant(np.log(sigma**2)),
    )(codes)
    decoder = keras.Sequential([keras.Input((d,)), layers.Dense(d), last])
    decoder.layers[0].set_weights([unwhiten, mean])
    return [keras.Model(first.inputs, [z_mean, z_log_var]), decoder]
""",
    "solution-2": """
import vaekit


class LearnedScale(keras.layers.Layer):
    def __init__(self):
        super().__init__()
        self.likelihood = vaekit.likelihoods.Gaussian(scale="learned")

    def scale(self):
        return self.likelihood.sigma()

    def call(self, inputs):
        return -self.likelihood.log_prob(*inputs)
""",
    "solution-3": """
from scipy import stats


def two_likelihoods(x_fit, copies_fit, x, copies):
    result = []
    for family in (stats.norm, stats.laplace):
        _, scale = family.fit(np.ravel(x_fit - copies_fit), floc=0)
        result.append(-family(copies, scale).logpdf(x).sum(1).mean())
    return result
""",
}
ODD_BUT_RIGHT = {
    "solution-1a": """
def whitening(codes):
    mean = np.average(codes, axis=0)
    _, lengths, axes = np.linalg.svd(codes - mean, full_matrices=False)
    widths = lengths / np.sqrt(len(codes))
    return [mean, -axes.T / widths, -np.diag(widths) @ axes]
""",
    "solution-1b": """
def converted(file, mean, whiten, unwhiten, sigma):
    # Both changes go into the weights that are there. The decoder gets them through its input.
    model = keras.saving.load_model(file, compile=False)
    encoder, decoder = model.get_layer("encoder"), model.get_layer("decoder")
    kernel, bias = encoder.get_layer("code").get_weights()
    encoder.get_layer("code").set_weights([kernel @ whiten, (bias - mean) @ whiten])
    log_var = layers.Lambda(lambda u: ops.zeros_like(u) + ops.log(ops.cast(sigma, u.dtype)) * 2)
    z = keras.Input(mean.shape)
    entrance = layers.EinsumDense("bi,ij->bj", output_shape=mean.shape, bias_axes="j")
    out = decoder(entrance(z))
    entrance.set_weights([unwhiten, mean])
    heads = [encoder.output, log_var(encoder.output)]
    return keras.Model(encoder.input, heads), keras.Model(z, out)
""",
    "solution-2": """
import tensorflow as tf


class LearnedScale(keras.Layer):
    def __init__(self):
        super().__init__()
        self.raw = self.add_weight(shape=(1,), initializer=keras.initializers.Constant(1.0))

    def scale(self):
        return tf.nn.softplus(self.raw.value)[0]

    def call(self, inputs):
        x, x_prime = inputs
        s = self.scale()
        density = tf.exp(-0.5 * ((x - x_prime) / s) ** 2)
        log_density = tf.math.log(density + 1e-37) - tf.math.log(s * (2 * np.pi) ** 0.5)
        return -tf.reduce_sum(log_density, axis=-1)
""",
    "solution-3": """
def two_likelihoods(x_fit, copies_fit, x, copies):
    D = x.shape[1]
    errors_fit, errors = np.abs(x_fit - copies_fit), np.abs(x - copies)
    s2, b = np.mean(errors_fit**2), errors_fit.mean()
    first = D / 2 * (np.mean(errors**2) / s2 + np.log(2 * np.pi * s2))
    second = D * (errors.mean() / b + np.log(b) + np.log(2))
    return np.array([first, second])
""",
}

SUBMISSIONS = {
    "the solution": Submission({}),
    "loops": Submission(LOOPS),
    "libraries": Submission(LIBRARIES),
    "odd, but right": Submission(ODD_BUT_RIGHT),
    # ---- 1a
    "each latent by itself": Submission(
        {
            "solution-1a": "def whitening(codes):\n    spread = codes.std(axis=0)\n"
            "    return codes.mean(axis=0), np.diag(1 / spread), np.diag(spread)"
        },
        ["test-1a"],
        "Expected the covariance I",
    ),
    "not centred": Submission(
        edit("solution-1a", "mean = codes.mean(axis=0)", "mean = np.zeros(codes.shape[1])"),
        ["test-1a"],
        "Expected whitened codes with the mean 0",
    ),
    "divided by the variance": Submission(
        edit("solution-1a", "np.sqrt(variances)", "variances"),
        ["test-1a"],
        "Expected the covariance I",
    ),
    "turned, not whitened": Submission(
        edit("solution-1a", "np.sqrt(variances)", "np.ones_like(variances)"),
        ["test-1a"],
        "Expected the covariance I",
    ),
    "widened, not whitened": Submission(
        edit("solution-1a", "axes / widths, (axes * widths).T", "axes * widths, (axes / widths).T"),
        ["test-1a"],
        "Expected the covariance I",
    ),
    "divided by n - 1": Submission(
        edit("solution-1a", "bias=True", "bias=False"), ["test-1a"], "Expected the covariance I"
    ),
    "not turned back": Submission(
        edit("solution-1a", "(axes * widths).T", "axes * widths"),
        ["test-1a"],
        "Expected the same codes after unwhitening",
    ),
    "rows for columns": Submission(
        edit("solution-1a", "axes / widths,", "(axes / widths).T,"), ["test-1a"]
    ),
    "whiten alone": Submission(
        edit(
            "solution-1a", "return mean, axes / widths, (axes * widths).T", "return axes / widths"
        ),
        ["test-1a"],
        "Expected a tuple of three arrays, but a ndarray came",
    ),
    "the covariance over the images": Submission(
        edit("solution-1a", "rowvar=False", "rowvar=True"), ["test-1a"]
    ),
    # ---- 1b
    "log sigma for the log-variance": Submission(
        edit("solution-1b", "2 * np.log(sigma)", "np.log(sigma)"),
        ["test-1b"],
        "Expected a z_log_var of",
    ),
    "sigma for the log-variance": Submission(
        edit("solution-1b", "2 * np.log(sigma)", "sigma"), ["test-1b"], "Expected a z_log_var of"
    ),
    "the variance for its logarithm": Submission(
        edit("solution-1b", "2 * np.log(sigma)", "sigma**2"), ["test-1b"], "Expected a z_log_var of"
    ),
    "a log-variance that depends on the image": Submission(
        edit("solution-1b", "[0 * kernel,", "[kernel,"), ["test-1b"], "Expected a z_log_var of"
    ),
    "the mean is not whitened": Submission(
        edit("solution-1b", "(bias - mean) @ whiten", "bias @ whiten - mean"),
        ["test-1b"],
        "Expected a z_mean of",
    ),
    "the mean is added": Submission(
        edit("solution-1b", "(bias - mean)", "(bias + mean)"), ["test-1b"], "Expected a z_mean of"
    ),
    "the bias is forgotten": Submission(
        edit("solution-1b", "(bias - mean)", "-mean"), ["test-1b"], "Expected a z_mean of"
    ),
    "codes that are not whitened": Submission(
        edit("solution-1b", "[kernel @ whiten, (bias - mean) @ whiten]", "[kernel, bias]"),
        ["test-1b"],
        "Expected a z_mean of",
    ),
    "not undone before the decoder": Submission(
        edit("solution-1b", "[unwhiten, mean]", "[np.eye(d), 0 * mean]"),
        ["test-1b"],
        "Expected the pixels of the autoencoder",
    ),
    "the mean is not undone": Submission(
        edit("solution-1b", "[unwhiten, mean]", "[unwhiten, 0 * mean]"),
        ["test-1b"],
        "Expected the pixels of the autoencoder",
    ),
    "undone in the wrong order": Submission(
        edit("solution-1b", "[unwhiten, mean]", "[unwhiten, mean @ unwhiten]"),
        ["test-1b"],
        "Expected the pixels of the autoencoder",
    ),
    "whitened once more": Submission(
        edit("solution-1b", "[unwhiten, mean]", "[whiten, mean]"), ["test-1b"]
    ),
    "new weights in the decoder": Submission(
        edit(
            "solution-1b",
            'old_decoder = autoencoder.get_layer("decoder")',
            'old_decoder = keras.models.clone_model(autoencoder.get_layer("decoder"))',
        ),
        ["test-1b"],
        "Expected the pixels of the autoencoder",
    ),
    "the network of the setup": Submission(
        edit("solution-1b", "keras.saving.load_model(file)", "globals()['autoencoder']"),
        ["test-1b"],
    ),
    "one head": Submission(
        edit(
            "solution-1b",
            "keras.Model(old_encoder.input, heads)",
            "keras.Model(old_encoder.input, heads[0])",
        ),
        ["test-1b"],
        "Expected a list of two heads",
    ),
    # ---- 2
    "a mean over the pixels": Submission(
        edit("solution-2", "ops.sum(", "ops.mean("), ["test-2"], "nats for an image"
    ),
    "a sum over the batch, too": Submission(
        edit("solution-2", ", axis=1)", ")"), ["test-2"], "Expected one number for each image"
    ),
    "one number for the batch": Submission(
        edit(
            "solution-2",
            "        return squares / (2 * ops.exp(2 * self.log_s)) + constant",
            "        return ops.mean(squares / (2 * ops.exp(2 * self.log_s)) + constant)",
        ),
        ["test-2"],
        "Expected one number for each image",
    ),
    "no constant": Submission(
        edit("solution-2", " + 0.5 * ops.log(2 * np.pi))", ")"), ["test-2"], "nats for an image"
    ),
    "no term with log s": Submission(
        edit("solution-2", "self.log_s + 0.5 * ops", "0.5 * ops"), ["test-2"]
    ),
    "the term with log s once for all pixels": Submission(
        edit(
            "solution-2",
            "x.shape[1] * (self.log_s + 0.5 * ops.log(2 * np.pi))",
            "self.log_s + x.shape[1] * 0.5 * ops.log(2 * np.pi)",
        ),
        ["test-2"],
        "Expected a training that ends at",
    ),
    "log s^2 where log s stands": Submission(
        edit("solution-2", "(self.log_s + 0.5", "(2 * self.log_s + 0.5"), ["test-2"]
    ),
    "s for its square": Submission(
        edit("solution-2", "(2 * ops.exp(2 * self.log_s))", "(2 * ops.exp(self.log_s))"), ["test-2"]
    ),
    "a variance returned as s": Submission(
        edit("solution-2", "return ops.exp(self.log_s)", "return ops.exp(2 * self.log_s)"),
        ["test-2"],
    ),
    "squares without 1/2": Submission(
        edit("solution-2", "squares / (2 * ops", "squares / (1 * ops"), ["test-2"]
    ),
    "the log-density": Submission(
        edit("solution-2", "return squares / (2", "return -1 * squares / (2"), ["test-2"]
    ),
    "a frozen scale": Submission(
        edit("solution-2", 'name="log_s"', 'name="log_s", trainable=False'),
        ["test-2"],
        "Expected one weight to train, but 0 came",
    ),
    "the gradient blocked by NumPy": Submission(
        edit(
            "solution-2",
            "(self.log_s + 0.5 * ops.log(2 * np.pi))",
            "(0.5 * np.log(2 * np.pi) + self.log_s)",
        ),
        ["test-2"],
        "Expected a training that ends at s = 0.400",
    ),
    "a stopped gradient": Submission(
        edit(
            "solution-2",
            "        x, x_prime = inputs",
            "        x, x_prime = inputs\n"
            "        return ops.stop_gradient(self.nats(x, x_prime))\n\n"
            "    def nats(self, x, x_prime):",
        ),
        ["test-2"],
        "Expected a gradient of the loss by the weight",
    ),
    "a scale for each pixel": Submission(
        edit("solution-2", "shape=()", "shape=(30,)"), ["test-2"], "Expected one number as s"
    ),
    "the weight itself": Submission(
        edit("solution-2", "return ops.exp(self.log_s)", "return self.log_s"),
        ["test-2"],
        "Expected a standard deviation above 0",
    ),
    "a scale that is not learned": Submission(
        {
            "solution-2": """
class LearnedScale(keras.layers.Layer):
    def scale(self):
        return 1.0

    def call(self, inputs):
        x, x_prime = inputs
        return ops.sum((x - x_prime) ** 2, axis=1) / 2 + x.shape[1] * 0.5 * np.log(2 * np.pi)
"""
        },
        ["test-2"],
        "Expected one weight to train, but 0 came",
    ),
    # ---- 3
    "scales of the images to be judged": Submission(
        edit(
            "solution-3",
            "s = np.sqrt(np.mean((x_fit - copies_fit) ** 2))",
            "s = np.sqrt(np.mean((x - copies) ** 2))",
        ),
        ["test-3"],
        "for the Gaussian, but",
    ),
    "the standard deviation about the mean": Submission(
        edit(
            "solution-3",
            "b = np.mean(np.abs(x_fit - copies_fit))",
            "b = np.std(x_fit - copies_fit)",
        ),
        ["test-3"],
        "for the Laplace, but",
    ),
    "b of the same variance": Submission(
        edit("solution-3", "b = np.mean(np.abs(x_fit - copies_fit))", "b = s / np.sqrt(2)"),
        ["test-3"],
    ),
    "a variance for s": Submission(
        edit(
            "solution-3",
            "np.sqrt(np.mean((x_fit - copies_fit) ** 2))",
            "np.mean((x_fit - copies_fit) ** 2)",
        ),
        ["test-3"],
    ),
    "a mean over pixels": Submission(
        edit("solution-3", "gaussian.sum(axis=1)", "gaussian.mean(axis=1)"), ["test-3"], "Gaussian"
    ),
    "a sum over images": Submission(
        edit("solution-3", "laplace.sum(axis=1).mean()", "laplace.sum()"), ["test-3"], "Laplace"
    ),
    "no log 2b": Submission(edit("solution-3", " + np.log(2 * b)", ""), ["test-3"], "Laplace"),
    "no log s": Submission(
        edit("solution-3", "np.log(2 * np.pi * s**2)", "np.log(2 * np.pi)"), ["test-3"]
    ),
    "a log of the sum of densities": Submission(
        edit(
            "solution-3",
            "return gaussian.sum(axis=1).mean()",
            "return -np.log(np.exp(-gaussian).sum(axis=1)).mean()",
        ),
        ["test-3"],
    ),
    "the wrong order": Submission(
        edit(
            "solution-3",
            "return gaussian.sum(axis=1).mean(), laplace.sum(axis=1).mean()",
            "return laplace.sum(axis=1).mean(), gaussian.sum(axis=1).mean()",
        ),
        ["test-3"],
    ),
    "log p": Submission(
        edit("solution-3", "return gaussian.sum(", "return -gaussian.sum("), ["test-3"]
    ),
    "one number for each image": Submission(
        edit(
            "solution-3",
            "gaussian.sum(axis=1).mean(), laplace.sum(axis=1).mean()",
            "gaussian.sum(axis=1), laplace.sum(axis=1)",
        ),
        ["test-3"],
        "Expected two numbers",
    ),
    "the winner alone": Submission(
        edit(
            "solution-3",
            "return gaussian.sum(axis=1).mean(), laplace.sum(axis=1).mean()",
            "return 'Laplace'",
        ),
        ["test-3"],
        "ValueError",
    ),
    "NaN": Submission(
        edit("solution-3", "s = np.sqrt(", "s = np.nan * np.sqrt("), ["test-3"], "but nan came"
    ),
    # ---- what breaks
    "an exception": Submission(
        edit("solution-1b", 'get_layer("code")', 'get_layer("codes")'),
        ["test-1b"],
        "Expected that your code runs, but it ended with ValueError",
    ),
    "None": Submission(
        {"solution-1a": "def whitening(codes):\n    codes - codes.mean(axis=0)"},
        ["test-1a"],
        "a NoneType came",
    ),
    "a hang": Submission(
        {"solution-3": "def two_likelihoods(a, b, c, d):\n    while True:\n        pass"},
        ["test-3"],
        "within the time limit",
        seconds=2,
    ),
    "a deleted and a tampered test": Submission(
        {
            "solution-1a": "def whitening(codes):\n    return 0, 1, 1",
            "test-1a": None,
            "solution-2": "LearnedScale = layers.Dropout",
            "test-2": "assert True",
        },
        ["test-1a", "test-2"],
        "Expected",
    ),
}
graded = graded_zoo("ps4", SUBMISSIONS)


@pytest.mark.parametrize("name", SUBMISSIONS)
def test_a_submission_gets_its_marks_and_a_sentence_for_each_lost(graded, name):
    graded.judge(name)
