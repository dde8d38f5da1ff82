"""The variational autoencoder as a Keras model; taught in notebooks/06_vae.ipynb.

``checks.py`` has what it refuses, ``training.py`` how fit runs on a CPU, and ``saving.py`` how the
random state is saved.
"""

from typing import NamedTuple

import keras
from keras import ops

from vaekit import checks, likelihoods
from vaekit.layers import Sampling
from vaekit.losses import gaussian_kl, gaussian_kl_terms
from vaekit.saving import SavedRandomState, serialize_pair
from vaekit.training import BlockTraining


class Draw(NamedTuple):
    """Asks ``call`` to draw z from q(z | x). For plain inputs z is the mean of q(z | x)."""

    inputs: object


class Drawn(NamedTuple):
    """What ``call`` returns for a ``Draw``: all that the loss needs."""

    parameters: object  # of p(x | z)
    z_mean: object
    z_log_var: object


# ``fit`` and ``compile`` go on to BlockTraining, the random state in files to SavedRandomState, and
# everything else to keras.Model.
@keras.saving.register_keras_serializable(package="vaekit")
class VAE(SavedRandomState, BlockTraining, keras.Model):
    r"""A variational autoencoder, trained on the negative ELBO.

    .. math:: -E_{q(z|x)}[\log p(x|z)] + \beta \, KL(q(z|x) \,\|\, p(z)), \qquad p(z) = N(0, I)

    ``vae(x)`` and ``vae.predict(x)`` are the deterministic reconstruction, decoded from
    ``z_mean``; ``fit`` and ``evaluate`` draw z. Logs: ``loss``, ``reconstruction_loss``
    and ``kl_loss``, each summed over pixels or latents, mean over the batch, in nats;
    ``loss = reconstruction_loss + beta * kl_loss`` plus regularizers.

    It is conditional if the encoder takes ``[x, c, ...]`` and the decoder ``[z, c, ...]``. Then
    pass ``[x, c]`` wherever x is expected; the target is still x.

    Args:
        encoder: a built Keras model, x -> ``[z_mean, z_log_var]``, both ``(batch, ...)`` of one
            shape; a third output (keras.io's example also returns z) is not used.
        decoder: a built Keras model, z -> the parameters of p(x | z): of the shape of x, or with
            twice its channels for ``Gaussian("predicted")``.
        likelihood: ``"bernoulli"``, ``"continuous_bernoulli"`` (for both the decoder ends in a
            sigmoid), ``"gaussian"``, ``"laplace"``, or a ``vaekit.likelihoods`` object.
        beta: float >= 0, the weight of the KL; 1 gives the ELBO. Stored as the non-trainable
            variable ``vae.beta``, which callbacks change and files keep.
        seed: int or None, for the noise of z.
        free_bits: float >= 0, nats. The loss charges each latent dimension at least this much,
            :math:`\sum_d \max(free\_bits, KL_d)` with :math:`KL_d` the mean over the batch, so
            that a KL below it has no gradient. ``kl_loss`` remains the KL itself.

    Raises:
        TypeError: if encoder or decoder is not a Keras model, likelihood not a likelihood.
        ValueError: if a model is not built, the encoder has other outputs, the decoder takes
            another latent shape or other conditions than the encoder, a latent axis is 0, beta
            or free_bits is negative, or the encoder holds a ``KLDivergence`` layer.

    Example:
        >>> x = keras.Input((4,))
        >>> encoder = keras.Model(x, [keras.layers.Dense(2)(x), keras.layers.Dense(2)(x)])
        >>> z = keras.Input((2,))
        >>> decoder = keras.Model(z, keras.layers.Dense(4, activation="sigmoid")(z))
        >>> vae = VAE(encoder, decoder)
        >>> vae.compile("adam")
        >>> logs = vae.evaluate(np.ones((8, 4), "float32"), verbose=0, return_dict=True)
        >>> print(sorted(logs))
        ['kl_loss', 'loss', 'reconstruction_loss']

    Source: Kingma & Welling (2014), equations 3 and 10; beta: Higgins et al. (2017), equation 4;
    free bits: Kingma et al. (2016), equation 15; conditions: Sohn, Lee & Yan (2015).
    The conditional model is taught in notebooks/11_conditional.ipynb.
    """

    layers_worth_compiling = (
        *BlockTraining.layers_worth_compiling,
        Sampling,
        *likelihoods.BY_NAME.values(),
    )

    def __init__(
        self, encoder, decoder, likelihood="bernoulli", beta=1.0, seed=None, free_bits=0.0, **kwargs
    ):
        checks.check_networks(encoder, decoder)
        checks.check_weights_of_the_loss(beta, free_bits)
        likelihood = likelihoods.get(likelihood)
        super().__init__(**kwargs)
        self.encoder = without_third_output(encoder)
        self.decoder = decoder
        self.likelihood = likelihood
        self.sampling = Sampling(seed=seed)
        self.free_bits = float(free_bits)
        self.initial_beta = float(beta)  # for get_config, since callbacks change ``beta``
        self.beta = self.add_weight(
            name="beta",
            initializer=keras.initializers.Constant(beta),
            trainable=False,
            dtype="float32",
            autocast=False,  # stays float32 under mixed precision
        )
        self.mean_over_batch = MeanOverBatch()
        self.reconstruction_tracker = keras.metrics.Mean(name="reconstruction_loss")
        self.kl_tracker = keras.metrics.Mean(name="kl_loss")
        if getattr(encoder, "inputs", None):
            # One symbolic call builds the VAE, so that vae.input, vae.output and export work.
            self(encoder.input)
        elif checks.input_shapes(encoder) is not None:
            self(to_symbolic(encoder.input_shape))

    def build(self, input_shape):
        outputs = self.encoder.compute_output_spec(to_symbolic(input_shape))
        checks.check_posterior(outputs, self.decoder)
        self.latent_shape = tuple(outputs[0].shape)[1:]

    # ---- the two networks: x -> q(z | x) -> z -> p(x | z) ----------------------------------

    def call(self, inputs, training=None):
        """For x: the parameters of p(x | z) with z = z_mean, the same at every call.

        For ``Draw(x)``, which only the steps of training and of evaluation ask for: a ``Drawn``,
        with z drawn. Keras hands what ``call`` returns to ``compute_loss`` as ``y_pred``, and so
        the KL gets its ``z_mean`` and ``z_log_var``.
        """
        is_draw = isinstance(inputs, Draw)
        x = inputs.inputs if is_draw else inputs
        z_mean, z_log_var, *_ = self.encoder(x, training=training)
        z = self.sampling([z_mean, z_log_var]) if is_draw else z_mean
        _, conditions = checks.input_and_conditions(x)
        z_and_conditions = to_tensors([z, *conditions]) if conditions else z
        parameters = self.decoder(z_and_conditions, training=training)
        return Drawn(parameters, z_mean, z_log_var) if is_draw else parameters

    # ---- the loss: the negative ELBO -------------------------------------------------------

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The negative ELBO with one draw of z per example, mean over the batch; nats.

        ``reconstruction_loss + beta * kl_loss``, plus the regularizers of the two networks.
        """
        if not isinstance(y_pred, Drawn):  # called by hand, as compute_loss(x)
            draw, *_ = self._as_draw((x,))
            y_pred = self(draw, training=training)
        parameters, z_mean, z_log_var = y_pred
        example_weight, element_weight = split_sample_weight(sample_weight)
        reconstruction_loss = -self.likelihood.log_prob(target(x, y), parameters, element_weight)
        kl_loss = ops.cast(gaussian_kl(z_mean, z_log_var), "float32")
        charged_kl = self.kl_with_free_bits(z_mean, z_log_var) if self.free_bits else kl_loss
        self.reconstruction_tracker.update_state(example_weight * reconstruction_loss)
        self.kl_tracker.update_state(example_weight * kl_loss)
        negative_elbo = example_weight * (reconstruction_loss + self.beta * charged_kl)
        # A loss of Keras takes (y_true, y_pred); this one does not use the first.
        loss = self.mean_over_batch(negative_elbo, negative_elbo)
        if self.losses:  # Keras was given no loss in compile, and so it adds regularizers alone.
            loss = loss + super().compute_loss(x, y, parameters, sample_weight, training)
        return loss

    def kl_with_free_bits(self, z_mean, z_log_var):
        """The KL of each example, ``(batch,)``, where each latent costs ``free_bits`` at least.

        Each latent is compared with ``free_bits`` by its mean over the batch. So the mean of the
        result is the sum of max(free_bits, KL_d), and a latent below ``free_bits`` has gradient 0.
        """
        kl = ops.cast(gaussian_kl_terms(z_mean, z_log_var), "float32")
        is_above = ops.mean(kl, axis=0, keepdims=True) > self.free_bits
        charged = ops.where(is_above, kl, self.free_bits)
        return ops.sum(charged, axis=tuple(range(1, len(charged.shape))))

    # ---- one step --------------------------------------------------------------------------

    def train_step(self, *args):
        """Keras' own step on ``Draw(x)``: ``call``, ``compute_loss``, gradients, optimizer, logs.

        The same in ``notebooks/06_vae.ipynb``, written out with a ``tf.GradientTape``.
        """
        *state, data = args  # Keras calls train_step(data), on JAX train_step(state, data).
        return super().train_step(*state, self._as_draw(data))

    def test_step(self, *args):
        """As ``train_step``, without gradients and optimizer."""
        *state, data = args
        return super().test_step(*state, self._as_draw(data))

    def _as_draw(self, data):
        """``(Draw(x), y, sample_weight)``, made from the data that Keras passes to a step."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        if not self.built:  # The shapes of a subclassed encoder are known once a batch arrives.
            self.build(keras.tree.map_structure(lambda part: tuple(part.shape), x))
        return Draw(x), y, sample_weight

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """The logs. Metrics given to ``compile`` compare the target with the mean of p(x | z)."""
        parameters = y_pred.parameters if isinstance(y_pred, Drawn) else y_pred
        reconstruction = self.likelihood.mean(parameters)
        return super().compute_metrics(x, target(x, y), reconstruction, sample_weight)

    # ---- what a user calls -----------------------------------------------------------------

    def encode(self, x):
        """The posterior q(z | x): ``(z_mean, z_log_var)``, each ``(batch, ...)``.

        Example: ``z_mean, z_log_var = vae.encode(x_test)``; conditional, ``vae.encode([x, c])``.
        """
        z_mean, z_log_var, *_ = self.encoder(to_tensors(checks.as_arrays(self, x)))
        return z_mean, z_log_var

    def decode(self, z):
        """The parameters of p(x | z) for codes z ``(batch, ...)``; see ``vae.likelihood``.

        Conditional: ``vae.decode([z, c])``.
        """
        return self.decoder(to_tensors(z))

    def sample(self, n, seed=None, condition=None):
        """``n`` new examples: the means of p(x | z) for z drawn from the prior N(0, I).

        Args:
            n: int > 0, how many.
            seed: int for the same examples each time, or None.
            condition: for a conditional VAE, an array ``(n, ...)``, or a list of them for
                several conditions: what each example should show.

        Returns:
            Tensor ``(n, ...)`` of the shape and range of the data.

        Raises:
            ValueError: if the condition is missing or does not fit, or the VAE takes none.
        """
        if condition is None:
            conditions = []
        elif isinstance(condition, (list, tuple)):
            conditions = list(condition)
        else:
            conditions = [condition]
        checks.check_conditions(self, conditions, n, "samples")
        checks.check_latent_shape_is_known(self)
        z = keras.random.normal((n, *self.latent_shape), seed=seed)
        return self.likelihood.mean(self.decode([z, *conditions] if conditions else z))

    def compile(self, optimizer="adam", loss=None, **kwargs):
        """As ``keras.Model.compile``, but the loss is always the negative ELBO."""
        checks.check_no_loss(loss)
        super().compile(optimizer=optimizer, loss=None, **kwargs)
        if self.built:  # so that a model saved before training has an optimizer state to load
            self.optimizer.build(self.trainable_variables)
        self.loss = self.mean_over_batch  # Keras' scikit-learn wrappers refuse a model without one

    def fit(self, x=None, y=None, batch_size=None, *args, **kwargs):
        """As ``keras.Model.fit``: ``fit(x)``, ``fit(x, x)``, ``fit(noisy, clean)``, data sets.

        Conditional: ``fit([x, c])``, ``fit([noisy, c], clean)``, data sets of ``((x, c),)``.
        ``sample_weight`` of shape ``(n,)`` weighs whole examples, KL included. Of the target's
        shape or its first axes, ``(n, time)`` or ``(n, features)``, it weighs elements in
        log p(x | z) alone, where 0 means not observed: missing values and padding. Fill missing
        values with any finite number first; NaN is refused even where its weight is 0.
        Raises what ``checks.check_data`` raises, before anything is trained. How the steps are
        run, and which networks XLA compiles: see ``BlockTraining.fit``.
        """
        weight = kwargs.get("sample_weight")
        x, y = checks.check_data(self, x, y, "x", weight, batch_size)
        if kwargs.get("validation_data") is not None:
            validation_data = checks.check_validation_data(self, kwargs["validation_data"])
            kwargs["validation_data"] = validation_data
        return super().fit(x, y, batch_size, *args, **kwargs)

    def evaluate(self, x=None, y=None, batch_size=None, *args, **kwargs):
        """As ``keras.Model.evaluate``; one draw of z per example. Raises what ``fit`` raises."""
        if isinstance(kwargs.get("callbacks"), keras.callbacks.CallbackList):
            # Keras' fit evaluates the validation data this way; VAE.fit has checked them.
            return super().evaluate(x, y, batch_size, *args, **kwargs)
        weight = kwargs.get("sample_weight")
        x, y = checks.check_data(self, x, y, "x", weight, batch_size)
        return super().evaluate(x, y, batch_size, *args, **kwargs)

    def predict(self, x, *args, **kwargs):
        """As ``keras.Model.predict``: the deterministic reconstructions."""
        if not checks.is_made_of_batches(x):
            x = checks.as_arrays(self, x)
        return super().predict(x, *args, **kwargs)

    # ---- shapes and configuration ----------------------------------------------------------

    # The attributes of a functional model, so that a VAE can replace an autoencoder.
    @property
    def inputs(self):
        return self.encoder.inputs

    @property
    def outputs(self):
        return [self.output]

    @property
    def input_shape(self):
        return self.encoder.input_shape

    @property
    def output_shape(self):
        return self.decoder.output_shape

    @property
    def output_names(self):
        return self.decoder.output_names

    def save(self, filepath, *args, **kwargs):
        """As ``keras.Model.save``, to a ``.keras`` file.

        Raises:
            ValueError: for a ``.h5`` file, from which Keras could not load a VAE again.
        """
        checks.check_file(filepath)
        return super().save(filepath, *args, **kwargs)

    def get_config(self):
        encoder, decoder = serialize_pair(self.encoder, self.decoder)
        return {
            **super().get_config(),
            "encoder": encoder,
            "decoder": decoder,
            "likelihood": keras.saving.serialize_keras_object(self.likelihood),
            "beta": self.initial_beta,
            "seed": self.sampling.seed,
            "free_bits": self.free_bits,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        parts = {
            name: keras.saving.deserialize_keras_object(config[name], custom_objects)
            for name in ("encoder", "decoder", "likelihood")
        }
        return cls(**{**config, **parts})


@keras.saving.register_keras_serializable(package="vaekit")
class MeanOverBatch(keras.losses.Loss):
    """The mean over the batch of losses that are already one number per example.

    It is a ``keras.losses.Loss`` because Keras divides such losses by the number of replicas:
    ``tf.distribute`` adds up the gradients of the replicas.
    """

    def call(self, y_true, y_pred):
        return y_pred


def target(x, y):
    """What is to be reconstructed: y, or without it the data among the inputs."""
    if y is not None:
        return y
    x = x.inputs if isinstance(x, Draw) else x
    return checks.input_and_conditions(x)[0]


def split_sample_weight(sample_weight):
    """``(example_weight, element_weight)``: the given one is one of them, the other 1.0 or None."""
    if sample_weight is None:
        return 1.0, None
    if checks.is_weight_of_elements(sample_weight.shape):
        return 1.0, sample_weight
    return ops.reshape(ops.cast(sample_weight, "float32"), (-1,)), None


def without_third_output(encoder):
    """The encoder with the same weights, without the third output z of keras.io's encoders."""
    outputs = getattr(encoder, "outputs", None)
    if outputs is None or len(outputs) == 2:
        return encoder
    return keras.Model(encoder.input, outputs[:2], name=encoder.name)


def to_tensors(inputs):
    """The arrays of a list as tensors, since Keras takes no mixture; anything else unchanged."""
    if isinstance(inputs, (list, tuple)):
        return [ops.convert_to_tensor(part) for part in inputs]
    return inputs


def to_symbolic(shape):
    """A tensor without values of that shape, or a list of them for a list of shapes."""
    if shape and isinstance(shape[0], (list, tuple)):
        return [keras.KerasTensor(each) for each in shape]
    return keras.KerasTensor(shape)
