"""The zoo of problem set 5: right solutions that look unlike each other, and usual mistakes."""

import pytest

from tests.assignments.graded_zoo import Submission, edited, graded_zoo


def edit(cell_id, old, new):
    return edited("ps5", cell_id, old, new)


LOOPS = {
    "solution-1a": """
from math import exp, log, pi


def log_weights(log_likelihood, z_mean, z_log_var, epsilon):
    n, K, d = epsilon.shape
    z = np.zeros((n, K, d))
    result = np.zeros((n, K))
    for i in range(n):
        for k in range(K):
            for j in range(d):
                m, s, e = z_mean[i, j], exp(z_log_var[i, j]) ** 0.5, epsilon[i, k, j]
                z[i, k, j] = m + s * e
                log_prior = -(z[i, k, j] ** 2) / 2 - log(2 * pi) / 2
                log_q = -(((z[i, k, j] - m) / s) ** 2) / 2 - log(s) - log(2 * pi) / 2
                result[i, k] += log_prior - log_q
    return result + log_likelihood(z)
""",
    "solution-1b": """
def importance_bound(log_w):
    bounds = []
    for row in log_w:
        largest = max(row)
        total = sum(np.exp(one - largest) for one in row)
        bounds.append(largest + np.log(total / len(row)))
    return bounds
""",
    "solution-2": """
def used_latents(z_mean, z_log_var, threshold):
    active, kls = 0, []
    for means, log_vars in zip(z_mean.T, z_log_var.T):
        centre = sum(means) / len(means)
        if sum((m - centre) ** 2 for m in means) / (len(means) - 1) > threshold:
            active += 1
        kls.append(sum(m * m + np.exp(v) - v - 1 for m, v in zip(means, log_vars)) / 2 / len(means))
    return [active, kls]
""",
    "solution-3": """
def conditional(x, c):
    # All by hand: the gradient of a small network, and Adam. The encoder does not use c.
    rng = np.random.default_rng(0)

    def glorot(rows, columns):
        return rng.uniform(-1, 1, (rows, columns)) * np.sqrt(6 / (rows + columns))

    h, d = 64, 3
    weights = [glorot(64, h), np.zeros(h), glorot(h, d), np.zeros(d), glorot(h, d), np.zeros(d)]
    weights += [glorot(d + 10, h), np.zeros(h), glorot(h, 64), np.zeros(64)]
    first, second = [0 * w for w in weights], [0 * w for w in weights]
    for step in range(1, 601):
        W, b, M, m, V, v, A, a, P, p = weights
        rows = rng.integers(len(x), size=60)
        y = np.maximum(x[rows] @ W + b, 0)
        mu, log_var = y @ M + m, y @ V + v
        noise = np.exp(log_var / 2) * rng.normal(size=mu.shape)
        zc = np.concatenate([mu + noise, c[rows]], axis=1)
        g = np.maximum(zc @ A + a, 0)
        error = (1 / (1 + np.exp(-(g @ P + p))) - x[rows]) / 60
        dg = error @ P.T * (g > 0)
        dz = (dg @ A.T)[:, :d]
        dmu = dz + mu / 60
        dv = dz * noise / 2 + (np.exp(log_var) - 1) / 120
        dy = (dmu @ M.T + dv @ V.T) * (y > 0)
        gradients = [x[rows].T @ dy, dy.sum(0), y.T @ dmu, dmu.sum(0), y.T @ dv, dv.sum(0)]
        gradients += [zc.T @ dg, dg.sum(0), g.T @ error, error.sum(0)]
        for i, gradient in enumerate(gradients):
            first[i] = 0.9 * first[i] + 0.1 * gradient
            second[i] = 0.99 * second[i] + 0.01 * gradient**2
            mean, square = first[i] / (1 - 0.9**step), second[i] / (1 - 0.99**step)
            weights[i] = weights[i] - 0.008 * mean / (np.sqrt(square) + 1e-7)
    W, b, M, m, V, v, A, a, P, p = weights

    def encoder(inputs):
        y = np.maximum(inputs[0] @ W + b, 0)
        return y @ M + m, y @ V + v

    def decoder(inputs):
        g = np.maximum(np.concatenate(inputs, axis=1) @ A + a, 0)
        return 1 / (1 + np.exp(-(g @ P + p)))

    return encoder, decoder
""",
}
LIBRARIES = {
    "solution-1a": """
import tensorflow as tf


def log_weights(log_likelihood, z_mean, z_log_var, epsilon):
    mean = tf.expand_dims(z_mean, 1)
    sigma = tf.sqrt(tf.exp(tf.expand_dims(z_log_var, 1)))
    z = (mean + sigma * epsilon).numpy()
    log_ratio = norm.logpdf(z) - norm.logpdf(z, mean.numpy(), sigma.numpy())
    return tf.reduce_sum(log_ratio, -1) + log_likelihood(z)
""",
    "solution-1b": """
from keras import ops


def importance_bound(log_w):
    return ops.logsumexp(ops.convert_to_tensor(log_w), axis=-1) - np.log(log_w.shape[-1])
""",
    "solution-2": """
import tensorflow as tf


def used_latents(z_mean, z_log_var, threshold):
    means, variances = tf.nn.moments(tf.constant(z_mean), axes=[0])
    terms = vaekit.losses.gaussian_kl_terms(tf.constant(z_mean), tf.constant(z_log_var))
    return tf.math.count_nonzero(variances > threshold), tf.reduce_mean(terms, axis=0)
""",
    # The training of a right solution, written so that it takes little time.
    "solution-3": """
import tensorflow as tf


def conditional(x_train, c_train):
    x, c, z = keras.Input((64,)), keras.Input((10,)), keras.Input((4,))
    h = layers.Dense(64, activation="relu")(layers.Concatenate()([x, c]))
    encoder = keras.Model([x, c], [layers.Dense(4)(h), layers.Dense(4)(h)])
    h = layers.Dense(64, activation="relu")(layers.Concatenate()([z, c]))
    decoder = keras.Model([z, c], layers.Dense(64, activation="sigmoid")(h))

    weights = encoder.trainable_weights + decoder.trainable_weights
    optimizer = keras.optimizers.Adam(5e-3)
    optimizer.build(weights)
    images, labels = tf.constant(x_train), tf.constant(c_train)

    @tf.function
    def epoch():
        order = tf.random.shuffle(tf.range(len(images)))
        for start in tf.range(0, len(images) - 49, 50):
            x = tf.gather(images, order[start : start + 50])
            c = tf.gather(labels, order[start : start + 50])
            with tf.GradientTape() as tape:
                z_mean, z_log_var = encoder([x, c])
                z = z_mean + tf.exp(z_log_var / 2) * tf.random.normal(tf.shape(z_mean))
                reconstruction = 64 * keras.losses.binary_crossentropy(x, decoder([z, c]))
                terms = z_mean**2 + tf.exp(z_log_var) - 1 - z_log_var
                kl = tf.reduce_sum(terms, axis=1) / 2
                loss = tf.reduce_mean(reconstruction + kl)
            optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights))

    for _ in range(16):
        epoch()
    return encoder, decoder
""",
}
ODD_BUT_RIGHT = {
    "solution-1a": """
def log_weights(log_likelihood, z_mean, z_log_var, epsilon):
    # The constants of the two Gaussians cancel.
    sigma = np.exp(z_log_var / 2)
    z = np.einsum("nkd,nd->nkd", epsilon, sigma) + z_mean[:, np.newaxis]
    half = (epsilon**2 - z**2) / 2
    return log_likelihood(z) + half.sum(-1) + np.log(sigma).sum(-1, keepdims=True)
""",
    "solution-1b": """
def importance_bound(log_w):
    return np.logaddexp.reduce(np.sort(log_w, axis=1) - np.log(len(log_w[0])), axis=1)
""",
    "solution-2": """
def used_latents(z_mean, z_log_var, threshold):
    covariance = np.cov(z_mean, rowvar=False, bias=True)
    sigma = np.exp(z_log_var) ** 0.5
    kl = (np.square(z_mean) + sigma**2) / 2 - np.log(sigma) - 1 / 2
    return len(np.flatnonzero(np.diag(covariance) > threshold)), kl.sum(0) / len(kl)
""",
}


def training(old, new):
    """The quick training with one mistake."""
    right = LIBRARIES["solution-3"]
    assert right.count(old) == 1, old
    return {"solution-3": right.replace(old, new)}


MEAN_IMAGES = """
def conditional(x, c):
    means = np.clip(c.T @ x / c.sum(axis=0)[:, None], 0.003, 0.997)

    def encoder(inputs):
        return np.zeros((len(inputs[0]), 2)), np.zeros((len(inputs[0]), 2))

    def decoder(inputs):
        return inputs[1] @ means

    return encoder, decoder
"""
STORED_DIGITS = """
def conditional(x, c):
    def encoder(inputs):
        return np.zeros((len(inputs[0]), 2)), np.zeros((len(inputs[0]), 2))

    def decoder(inputs):
        z, labels = inputs
        numbers = np.int32(1000 * np.abs(z[:, 0])) % 100
        return x[[np.flatnonzero(c @ label)[k] for k, label in zip(numbers, labels)]]

    return encoder, decoder
"""

SUBMISSIONS = {
    "the solution": Submission({}),
    "loops": Submission(LOOPS),
    "libraries": Submission(LIBRARIES),
    "odd, but right": Submission(ODD_BUT_RIGHT),
    # ---- 1a
    "q added": Submission(
        edit("solution-1a", "log_prior - log_q", "log_prior + log_q"),
        ["test-1a"],
        "Expected a log weight of",
    ),
    "no q": Submission(
        edit("solution-1a", " - log_q", ""), ["test-1a"], "Expected a log weight of"
    ),
    "no prior": Submission(edit("solution-1a", " + log_prior", ""), ["test-1a"]),
    "the prior N(0, 4)": Submission(
        edit("solution-1a", "norm.logpdf(z)", "norm.logpdf(z, 0, 2)"), ["test-1a"]
    ),
    "the weight turned over": Submission(
        edit(
            "solution-1a",
            "log_likelihood(z) + log_prior - log_q",
            "log_q - log_prior - log_likelihood(z)",
        ),
        ["test-1a"],
    ),
    "the density of the noise for that of z": Submission(
        edit("solution-1a", "norm.logpdf(epsilon) - 0.5 * z_log_var", "norm.logpdf(epsilon)"),
        ["test-1a"],
    ),
    "a variance for a standard deviation": Submission(
        edit("solution-1a", "np.exp(0.5 * z_log_var)", "np.exp(z_log_var)"), ["test-1a"]
    ),
    "a log-variance read as log sigma": Submission(
        edit("solution-1a", "- 0.5 * z_log_var)", "- z_log_var)"), ["test-1a"]
    ),
    "a mean over the latents": Submission(
        edit("solution-1a", "norm.logpdf(z).sum(axis=2)", "norm.logpdf(z).mean(axis=2)"),
        ["test-1a"],
    ),
    "a product of densities": Submission(
        edit("solution-1a", "norm.logpdf(z).sum(axis=2)", "norm.pdf(z).prod(axis=2)"), ["test-1a"]
    ),
    "the closed form for the draw": Submission(
        edit(
            "solution-1a",
            "log_likelihood(z) + log_prior - log_q",
            "log_likelihood(z) - 0.5 * np.sum(z_mean**2 + np.exp(z_log_var) - 1 - z_log_var, 2)",
        ),
        ["test-1a"],
    ),
    "noise shared by the draws": Submission(
        edit("solution-1a", "* epsilon", "* (0 * epsilon + epsilon[:, :1])"), ["test-1a"]
    ),
    "one weight for each image": Submission(
        edit("solution-1a", "log_prior - log_q", "np.sum(log_prior - log_q, axis=1)"),
        ["test-1a"],
    ),
    # ---- 1b
    "a log of a sum of exponentials that overflows": Submission(
        edit("solution-1b", "logsumexp(log_w, axis=1)", "np.log(np.sum(np.exp(log_w), axis=1))"),
        ["test-1b"],
        "Expected a bound of",
    ),
    "one maximum for all images": Submission(
        edit(
            "solution-1b",
            "logsumexp(log_w, axis=1)",
            "np.max(log_w) + np.log(np.sum(np.exp(log_w - np.max(log_w)), axis=1))",
        ),
        ["test-1b"],
        "but -inf came",
    ),
    "the mean outside of the log": Submission(
        edit("solution-1b", "logsumexp(log_w, axis=1) - np.log(log_w.shape[1])", "log_w.mean(1)"),
        ["test-1b"],
        "Expected a bound of",
    ),
    "a sum for a mean": Submission(
        edit("solution-1b", " - np.log(log_w.shape[1])", ""), ["test-1b"]
    ),
    "divided by K": Submission(
        edit("solution-1b", "- np.log(log_w.shape[1])", "/ log_w.shape[1]"), ["test-1b"]
    ),
    "the log of the number of images": Submission(
        edit("solution-1b", "log_w.shape[1]", "log_w.shape[0]"), ["test-1b"]
    ),
    "the largest weight": Submission(
        edit("solution-1b", "logsumexp(log_w, axis=1)", "np.max(log_w, axis=1)"), ["test-1b"]
    ),
    "over the images": Submission(
        edit("solution-1b", "logsumexp(log_w, axis=1)", "logsumexp(log_w, axis=0)"),
        ["test-1b"],
        "Expected one bound for each image",
    ),
    "one number for all": Submission(
        edit("solution-1b", "logsumexp(log_w, axis=1)", "logsumexp(log_w)"), ["test-1b"]
    ),
    "clipped": Submission(
        edit("solution-1b", "logsumexp(log_w,", "logsumexp(np.clip(log_w, -700, 700),"), ["test-1b"]
    ),
    "the visible check by heart": Submission(
        {"solution-1b": "def importance_bound(log_w):\n    return [np.log(2.0)] * len(log_w)"},
        ["test-1b"],
        "nats, but 0.6931 came",
    ),
    "None": Submission(
        {"solution-1b": "def importance_bound(log_w):\n    logsumexp(log_w, axis=1)"},
        ["test-1b"],
        "but () came",
    ),
    # ---- 2
    "a standard deviation for a variance": Submission(
        edit("solution-2", "np.var(", "np.std("), ["test-2"], "active latents of"
    ),
    "the mean square": Submission(
        edit("solution-2", "np.var(z_mean, axis=0)", "np.mean(z_mean**2, axis=0)"), ["test-2"]
    ),
    "the variance of q": Submission(
        edit("solution-2", "np.var(z_mean, axis=0)", "np.exp(z_log_var).mean(axis=0)"), ["test-2"]
    ),
    "the variance of draws": Submission(
        edit(
            "solution-2",
            "np.var(z_mean, axis=0)",
            "np.var(z_mean + np.exp(z_log_var / 2) * np.random.normal(size=z_mean.shape), axis=0)",
        ),
        ["test-2"],
        "active latents of",
    ),
    "the latents that pay": Submission(
        edit(
            "solution-2",
            "np.var(z_mean, axis=0) > threshold",
            "np.mean(z_mean**2 + np.exp(z_log_var) - 1 - z_log_var, axis=0) > 2 * threshold",
        ),
        ["test-2"],
    ),
    "the variance over the latents": Submission(
        edit("solution-2", "np.var(z_mean, axis=0)", "np.var(z_mean, axis=1)"), ["test-2"]
    ),
    "a threshold of 0.01 for ever": Submission(
        edit("solution-2", "> threshold", "> 0.01"), ["test-2"], "active latents of 3, but 3 came"
    ),
    "the passive ones": Submission(edit("solution-2", "> threshold", "< threshold"), ["test-2"]),
    "which latents, not how many": Submission(
        edit("solution-2", "active = np.sum(", "active = ("),
        ["test-2"],
        "Expected one number of active latents",
    ),
    "a KL without 1/2": Submission(edit("solution-2", "0.5 * np.mean", "np.mean"), ["test-2"]),
    "a sum over the images": Submission(
        edit("solution-2", "0.5 * np.mean", "0.5 * np.sum"), ["test-2"], "Expected a KL of"
    ),
    "a KL for each image": Submission(
        edit("solution-2", "z_log_var, axis=0)", "z_log_var, axis=1)"),
        ["test-2"],
        "Expected a KL for each of 2 latents",
    ),
    "a KL of a log sigma": Submission(
        edit("solution-2", "np.exp(z_log_var) - 1 - z", "np.exp(2 * z_log_var) - 1 - 2 * z"),
        ["test-2"],
    ),
    # ---- 3
    "a decoder that is not told the label": Submission(
        training("layers.Concatenate()([z, c])", "layers.Concatenate()([z, 0 * c])"),
        ["test-3"],
        "judged the digit asked for, but",
    ),
    "a decoder that ignores z": Submission(
        {"solution-3": MEAN_IMAGES}, ["test-3"], "with a spread above 0.004, but 0.0000 came"
    ),
    "stored training digits": Submission(
        {"solution-3": STORED_DIGITS}, ["test-3"], "Expected a negative ELBO below 18.5 nats"
    ),
    "no KL": Submission(training("reconstruction + kl)", "reconstruction)"), ["test-3"]),
    "a mean over the pixels": Submission(
        training("64 * keras.losses", "keras.losses"), ["test-3"], "with a spread above 0.004"
    ),
    "not trained": Submission(
        training("range(16)", "range(0)"), ["test-3"], "judged the digit asked for, but"
    ),
    "one input": Submission(
        {
            "solution-3": "def conditional(x, c):\n"
            "    encoder = keras.Sequential([layers.Dense(8)])\n    return encoder, encoder"
        },
        ["test-3"],
        "Expected",
    ),
    "the trained model": Submission(
        {"solution-3": "def conditional(x, c):\n    return keras.Sequential([layers.Dense(64)])"},
        ["test-3"],
        "Expected a tuple of two networks, but a Sequential came",
    ),
    "NaN": Submission(
        {"solution-3": MEAN_IMAGES.replace("inputs[1] @ means", "np.nan * inputs[1] @ means")},
        ["test-3"],
        "Expected probabilities in [0, 1], but 64000 other numbers came",
    ),
    "logits": Submission(
        {
            "solution-3": MEAN_IMAGES.replace(
                "inputs[1] @ means", "np.log(inputs[1] @ (means / (1 - means)))"
            )
        },
        ["test-3"],
        "Expected probabilities in [0, 1], but",
    ),
    # ---- what breaks
    "a syntax error": Submission(
        {"solution-1a": "def log_weights(log_likelihood, z_mean, z_log_var, epsilon)\n    pass"},
        ["test-1a"],
        "is not defined",
    ),
    "a hang": Submission(
        {"solution-2": "def used_latents(a, b, c):\n    while True:\n        pass"},
        ["test-2"],
        "within the time limit",
        seconds=2,
    ),
    "a deleted and a tampered test": Submission(
        {
            "solution-1a": "log_weights = print",
            "test-1a": None,
            "solution-1b": "importance_bound = 'log_w'",
            "test-1b": "print('passed')",
        },
        ["test-1a", "test-1b"],
    ),
    "a megabyte printed": Submission(
        edit("solution-1b", "    return", "    print('x' * 1_000_000)\n    return")
    ),
}
graded = graded_zoo("ps5", SUBMISSIONS)


@pytest.mark.parametrize("name", SUBMISSIONS)
def test_a_submission_gets_its_marks_and_a_sentence_for_each_lost(graded, name):
    graded.judge(name)
