"""The zoo of problem set 3: right solutions that look unlike each other, and usual mistakes."""

import pytest

from tests.assignments.graded_zoo import Submission, edited, graded_zoo


def edit(cell_id, old, new):
    return edited("ps3", cell_id, old, new)


LOOPS = {
    "solution-1": """
from math import exp, log


def elbo_parts(encoder, decoder, x, epsilon):
    reconstructions, kls = [], []
    for image, noise in zip(x, epsilon):
        mu, v = (np.asarray(head)[0].astype("float64") for head in encoder(image[None]))
        z = [m + exp(s) ** 0.5 * e for m, s, e in zip(mu, v, noise)]
        copy = np.asarray(decoder(np.array([z], "float32")))[0]
        total = 0.0
        for pixel, p in zip(image, copy):
            p = min(max(float(p), 1e-6), 1 - 1e-6)
            total -= float(pixel) * log(p) + (1 - float(pixel)) * log(1 - p)
        reconstructions.append(total)
        kls.append(sum(m * m + exp(s) - 1 - s for m, s in zip(mu, v)) / 2)
    return reconstructions, kls
""",
    "solution-2": """
class StepByStep(keras.Model):
    def __init__(self, encoder, decoder, sampling):
        super().__init__()
        self.encoder, self.decoder, self.sampling = encoder, decoder, sampling

    def reset_metrics(self):
        self.sums, self.images = np.zeros(3), 0

    def negative_elbo(self, x):
        heads = self.encoder(x)
        copies = self.decoder(self.sampling(heads))
        reconstruction = x.shape[1] * keras.losses.binary_crossentropy(x, copies)
        variance = tf.exp(heads[1])
        kl = tf.reduce_sum(heads[0] ** 2 + variance - tf.math.log(variance) - 1, 1) / 2
        return tf.reduce_mean(reconstruction) + tf.reduce_mean(kl), reconstruction, kl

    def logged(self, *numbers):
        n = len(numbers[2])
        self.sums += n * np.array([np.mean(number) for number in numbers])
        self.images += n
        names = ["loss", "reconstruction_loss", "kl_loss"]
        return dict(zip(names, self.sums / self.images))

    def train_step(self, data):
        x = data[0] if isinstance(data, tuple) else data
        with tf.GradientTape(persistent=True) as tape:
            numbers = self.negative_elbo(x)
        for part in (self.decoder, self.encoder):
            for weight in part.trainable_weights:
                weight.assign_sub(self.optimizer.learning_rate * tape.gradient(numbers[0], weight))
        return self.logged(*numbers)

    def test_step(self, data):
        x = data[0] if isinstance(data, tuple) else data
        return self.logged(*self.negative_elbo(x))
""",
    "solution-3": """
def train(x_train, x_watch):
    # All by hand: the gradient of a small network, and Adam.
    encoder, decoder = network(hidden=40)
    rng = np.random.default_rng(0)
    weights = encoder.get_weights() + decoder.get_weights()
    first, second = [0 * w for w in weights], [0 * w for w in weights]
    for step in range(1, 601):
        W, b, M, m, V, v, A, a, P, p = weights
        x = x_train[rng.integers(len(x_train), size=60)]
        h = np.maximum(x @ W + b, 0)
        mu, log_var = h @ M + m, h @ V + v
        noise = np.exp(log_var / 2) * rng.normal(size=mu.shape)
        z = mu + noise
        g = np.maximum(z @ A + a, 0)
        error = (1 / (1 + np.exp(-(g @ P + p))) - x) / 60
        dg = error @ P.T * (g > 0)
        dz = dg @ A.T
        dmu = dz + mu / 60
        dv = dz * noise / 2 + (np.exp(log_var) - 1) / 120
        dh = (dmu @ M.T + dv @ V.T) * (h > 0)
        gradients = [x.T @ dh, dh.sum(0), h.T @ dmu, dmu.sum(0), h.T @ dv, dv.sum(0)]
        gradients += [z.T @ dg, dg.sum(0), g.T @ error, error.sum(0)]
        for i, gradient in enumerate(gradients):
            first[i] = 0.9 * first[i] + 0.1 * gradient
            second[i] = 0.99 * second[i] + 0.01 * gradient**2
            mean, square = first[i] / (1 - 0.9**step), second[i] / (1 - 0.99**step)
            weights[i] = weights[i] - 0.008 * mean / (np.sqrt(square) + 1e-7)
    encoder.set_weights(weights[:6])
    decoder.set_weights(weights[6:])
    return encoder, decoder
""",
}
LIBRARIES = {
    "solution-1": """
def elbo_parts(encoder, decoder, x, epsilon):
    z_mean, z_log_var = encoder(x)
    z = z_mean + tf.exp(z_log_var / 2) * epsilon
    log_p = vaekit.likelihoods.Bernoulli().log_prob(x, decoder(z))
    return [-log_p, vaekit.losses.gaussian_kl(z_mean, z_log_var)]
""",
    "solution-2": """
class StepByStep(vaekit.VAE):
    def __init__(self, encoder, decoder, sampling):
        super().__init__(encoder, decoder)
        self.draw = sampling.__call__

    def call(self, inputs, training=None):
        if not isinstance(inputs, vaekit.models.Draw):
            return super().call(inputs)
        z_mean, z_log_var = self.encoder(inputs.inputs)
        return vaekit.models.Drawn(
            self.decoder(self.draw([z_mean, z_log_var])), z_mean, z_log_var
        )
""",
    # The training of a right solution, written so that it takes little time.
    "solution-3": """
def train(x_train, x_watch):
    encoder, decoder = network()
    weights = encoder.trainable_weights + decoder.trainable_weights
    optimizer = keras.optimizers.Adam(5e-3)
    optimizer.build(weights)
    images = tf.constant(x_train)

    @tf.function
    def epoch():
        order = tf.random.shuffle(tf.range(len(images)))
        for start in tf.range(0, len(images) - 49, 50):
            x = tf.gather(images, order[start : start + 50])
            with tf.GradientTape() as tape:
                z_mean, z_log_var = encoder(x)
                z = z_mean + tf.exp(z_log_var / 2) * tf.random.normal(tf.shape(z_mean))
                reconstruction = 64 * keras.losses.binary_crossentropy(x, decoder(z))
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
    "solution-1": """
def elbo_parts(encoder, decoder, x, epsilon):
    mean, log_var = (np.float64(h) for h in encoder(x, training=False))
    sigma = np.sqrt(np.exp(log_var))
    p = np.float64(decoder(np.float32(mean + sigma * epsilon)))
    p = 1e-8 + (1 - 2e-8) * p
    white, black = x * np.log(p), (1 - x) * np.log1p(-p)
    return -np.einsum("ij->i", white + black), np.sum((mean**2 + sigma**2 - 1) / 2, 1) - np.sum(
        np.log(sigma), 1
    )
""",
    "solution-2": """
class StepByStep(keras.Model):
    def __init__(self, encoder, decoder, sampling):
        super().__init__()
        self.encoder, self.decoder, self.sampling = encoder, decoder, sampling
        self.first = keras.metrics.Mean(name="reconstruction_loss")
        self.second = keras.metrics.Mean(name="kl_loss")

    def call(self, x, training=None):
        mean, log_var = self.encoder(x)
        z = self.sampling([mean, log_var])
        p = self.decoder(z)
        logits = ops.log(p / (1 - p))
        costs = tf.nn.sigmoid_cross_entropy_with_logits(labels=x, logits=logits)
        self.first.update_state(ops.sum(costs, axis=1))
        kl = -0.5 * ops.sum(1 + log_var - mean**2 - ops.exp(log_var), axis=1)
        self.second.update_state(kl)
        return ops.mean(ops.sum(costs, axis=1) + kl)

    def logs(self):
        both = {"reconstruction_loss": self.first.result(), "kl_loss": self.second.result()}
        return {**both, "loss": sum(both.values()), "seen": 1.0}

    def train_step(self, data):
        with tf.GradientTape() as tape:
            loss = self(keras.utils.unpack_x_y_sample_weight(data)[0], training=True)
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply(gradients, self.trainable_variables)
        return self.logs()

    def test_step(self, data):
        self(keras.utils.unpack_x_y_sample_weight(data)[0])
        return self.logs()
""",
}


def train_step(old, new):
    return edit("solution-2", old, new)


def training(old, new):
    """The quick training with one mistake."""
    right = LIBRARIES["solution-3"]
    assert right.count(old) == 1, old
    return {"solution-3": right.replace(old, new)}


MEAN_IMAGE = """
def train(x_train, x_watch):
    encoder, decoder = network()
    encoder.set_weights([0 * weight for weight in encoder.get_weights()])
    weights = [0 * weight for weight in decoder.get_weights()]
    mean = np.clip(x_train.mean(axis=0), 0.005, 0.995)
    decoder.set_weights([*weights[:-1], np.log(mean / (1 - mean))])
    return encoder, decoder
"""

SUBMISSIONS = {
    "the solution": Submission({}),
    "loops": Submission(LOOPS),
    "libraries": Submission(LIBRARIES),
    "odd, but right": Submission(ODD_BUT_RIGHT),
    # ---- 1
    "a mean over the pixels": Submission(
        edit("solution-1", "-ops.sum(log_p", "-ops.mean(log_p"),
        ["test-1"],
        "Expected a reconstruction of",
    ),
    "a mean over the latents": Submission(
        edit("solution-1", "0.5 * ops.sum(terms", "0.5 * ops.mean(terms"),
        ["test-1"],
        "Expected a KL of",
    ),
    "a mean over the batch": Submission(
        edit("solution-1", "return -ops.sum(log_p, axis=1)", "return -ops.mean(ops.sum(log_p, 1))"),
        ["test-1"],
        "Expected a reconstruction of shape (1,), but () came",
    ),
    "a variance for a standard deviation": Submission(
        edit("solution-1", "ops.exp(0.5 * z_log_var)", "ops.exp(z_log_var)"), ["test-1"]
    ),
    "no noise": Submission(
        edit("solution-1", " + ops.exp(0.5 * z_log_var) * epsilon", ""),
        ["test-1"],
        "Expected a reconstruction of",
    ),
    "noise shared by the batch": Submission(
        edit("solution-1", "* epsilon)", "* epsilon[:1])"),
        ["test-1"],
        "Expected a reconstruction of",
    ),
    "noise of its own": Submission(
        edit("solution-1", "* epsilon)", "* np.random.normal(size=epsilon.shape))"), ["test-1"]
    ),
    "white pixels alone": Submission(
        edit("solution-1", " + (1 - x) * ops.log(1 - x_prime)", ""), ["test-1"]
    ),
    "squared errors": Submission(
        edit(
            "solution-1",
            "x * ops.log(x_prime) + (1 - x) * ops.log(1 - x_prime)",
            "-((x - x_prime) ** 2)",
        ),
        ["test-1"],
    ),
    "the likelihood for its negative logarithm": Submission(
        edit("solution-1", "return -ops.sum", "return ops.sum"), ["test-1"]
    ),
    "a logarithm of 0": Submission(
        edit("solution-1", "    x_prime = ops.clip(x_prime, 1e-7, 1 - 1e-7)\n", ""),
        ["test-1"],
        "but nan came",
    ),
    "no factor 1/2": Submission(edit("solution-1", "0.5 * ops.sum", "ops.sum"), ["test-1"]),
    "a log-variance read as log sigma": Submission(
        edit("solution-1", "ops.exp(z_log_var) - 1 - z_log_var", "ops.exp(2 * z_log_var) - 1"),
        ["test-1"],
        "Expected a KL of",
    ),
    "a product for a sum": Submission(
        edit("solution-1", "z_mean**2 + ops.exp(z_log_var)", "z_mean**2 * ops.exp(z_log_var)"),
        ["test-1"],
        "Expected a KL of",
    ),
    "the two added up": Submission(
        edit("solution-1", "axis=1), 0.5 *", "axis=1) + 0.5 *"), ["test-1"], "Expected a tuple"
    ),
    "None": Submission(edit("solution-1", "return -ops", "-ops"), ["test-1"], "a NoneType came"),
    # ---- 2
    "the decoder alone": Submission(
        train_step("weights = self.trainable", "weights = self.decoder.trainable"),
        ["test-2"],
        "Expected a certain weight of the encoder",
    ),
    "a sum over the batch": Submission(
        train_step("loss = tf.reduce_mean(", "loss = tf.reduce_sum("),
        ["test-2"],
        "Expected a certain weight",
    ),
    "a mean over the pixels in the step": Submission(
        train_step("-tf.reduce_sum(log_p", "-tf.reduce_mean(log_p"), ["test-2"], "Expected a loss"
    ),
    "a mean over the latents in the step": Submission(
        train_step("0.5 * tf.reduce_sum(terms", "0.5 * tf.reduce_mean(terms"), ["test-2"]
    ),
    "half the KL in the gradient": Submission(
        train_step("reduce_mean(reconstruction + kl)", "reduce_mean(reconstruction + 0.5 * kl)"),
        ["test-2"],
        "Expected a certain weight of the encoder",
    ),
    "the mean decoded": Submission(
        train_step("z = self.sampling([z_mean, z_log_var])", "z = z_mean"), ["test-2"]
    ),
    "the gradient blocked": Submission(
        train_step("self.decoder(z)", "self.decoder(tf.stop_gradient(z))"),
        ["test-2"],
        "Expected a certain weight of the encoder",
    ),
    "a gradient through the noise": Submission(
        train_step(
            "self.decoder(z)",
            "self.decoder(z * z_mean / tf.stop_gradient(z_mean))",
        ),
        ["test-2"],
        "Expected a certain weight of the encoder",
    ),
    "upwards": Submission(
        train_step(
            "self.optimizer.apply_gradients(zip(gradients,",
            "self.optimizer.apply_gradients(zip([-g for g in gradients],",
        ),
        ["test-2"],
        "Expected a certain weight",
    ),
    "no update": Submission(
        train_step(
            "        self.optimizer.apply_gradients(zip(gradients, weights, strict=True))\n", ""
        ),
        ["test-2"],
        "Expected a certain weight",
    ),
    "beside the tape": Submission(
        train_step(
            "            reconstruction, kl = self.parts(data)\n            loss",
            "            pass\n        if True:\n"
            "            reconstruction, kl = self.parts(data)\n            loss",
        ),
        ["test-2"],
        "Expected that your code runs, but it ended with",
    ),
    "the test trains": Submission(
        train_step(
            "        reconstruction, kl = self.parts(data)\n        return",
            "        return self.train_step(data)\n        return",
        ),
        ["test-2"],
    ),
    "tensors for running means": Submission(
        train_step("        self.loss_mean.update_state(reconstruction + kl)\n", ""),
        ["test-2"],
        "but 0.0000 came",
    ),
    "means that are never reset": Submission(
        train_step("return [self.loss_mean, self.reconstruction_mean, self.kl_mean]", "return []"),
        ["test-2"],
    ),
    "the KL logged as the loss": Submission(
        train_step("update_state(reconstruction + kl)", "update_state(kl)"),
        ["test-2"],
        "Expected a loss of",
    ),
    "another name in the logs": Submission(
        train_step('name="kl_loss"', 'name="kl"'), ["test-2"], "Expected logs with the names"
    ),
    "no test_step": Submission(train_step("def test_step", "def test"), ["test-2"]),
    "nothing returned": Submission(
        train_step("        return self.logs(reconstruction, kl)\n\n", "\n"),
        ["test-2"],
        "Expected that your code runs, but it ended with",
    ),
    # ---- 3
    "not trained": Submission(
        training("range(16)", "range(0)"), ["test-3"], "Expected a negative ELBO below 23 nats"
    ),
    "collapsed: the mean image": Submission(
        {"solution-3": MEAN_IMAGE}, ["test-3"], "Expected a negative ELBO below 23 nats"
    ),
    "an autoencoder": Submission(
        training("reconstruction + kl)", "reconstruction)"),
        ["test-3"],
        "Expected a negative ELBO below 23 nats",
    ),
    "trained on what was to be watched": Submission(
        training("tf.constant(x_train)", "tf.constant(np.concatenate([x_train, x_watch]))"),
        ["test-3"],
        "since nothing like them is in x_train",
    ),
    "sixty digits": Submission(
        training("tf.constant(x_train)", "tf.constant(np.tile(x_train[:60], (20, 1)))"),
        ["test-3"],
        "Expected a negative ELBO below 23 nats",
    ),
    "networks that were swapped": Submission(
        {"solution-3": "def train(x_train, x_watch):\n    return network()[::-1]"}, ["test-3"]
    ),
    "one network": Submission(
        {"solution-3": "def train(x_train, x_watch):\n    return network()[0]"},
        ["test-3"],
        "Expected a tuple of two networks, but a Functional came",
    ),
    "NaN": Submission(
        {
            "solution-3": "def train(x_train, x_watch):\n    encoder, decoder = network()\n"
            "    decoder.set_weights([w * np.nan for w in decoder.get_weights()])\n"
            "    return encoder, decoder"
        },
        ["test-3"],
        "Expected pixels in [0, 1], but",
    ),
    # ---- what breaks
    "an exception": Submission(
        edit(
            "solution-1",
            "    z_mean, z_log_var = encoder(x)\n",
            "    z_mean, z_log_var, z = encoder(x)\n",
        ),
        ["test-1"],
        "ended with ValueError: not enough values to unpack",
    ),
    "not answered": Submission(
        {"solution-3": 'def train(x_train, x_watch):\n    raise NotImplementedError("Write")'},
        ["test-3"],
        "as it was handed out",
    ),
    "a hang": Submission(
        {"solution-3": "def train(x_train, x_watch):\n    while True:\n        pass"},
        ["test-3"],
        "within the time limit",
        seconds=2,
    ),
    "the test printed and deleted": Submission(
        {
            "solution-1": "def elbo_parts(encoder, decoder, x, epsilon):\n"
            "    print(In, 'x' * 1_000_000)\n    return np.zeros(len(x)), np.zeros(len(x))",
            "test-1": None,
        },
        ["test-1"],
        "Expected a reconstruction of",
    ),
    "a test that passes always": Submission(
        {"solution-3": "train = network", "test-3": "print('passed')"}, ["test-3"]
    ),
}
graded = graded_zoo("ps3", SUBMISSIONS)


@pytest.mark.parametrize("name", SUBMISSIONS)
def test_a_submission_gets_its_marks_and_a_sentence_for_each_lost(graded, name):
    graded.judge(name)
