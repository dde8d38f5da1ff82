"""The variational autoencoder as a Keras model; taught in notebooks/06_vae.ipynb."""

import contextlib
from collections import namedtuple

import keras
from keras import ops

from vaekit import data_checks, likelihoods
from vaekit.layers import KLDivergence, Sampling
from vaekit.losses import gaussian_kl

SampledPass = namedtuple("SampledPass", ["parameters", "z_mean", "z_log_var"])


@keras.saving.register_keras_serializable(package="vaekit")
class BatchMean(keras.losses.Loss):
    """The mean over the batch of losses that are already one an example.

    A ``keras.losses.Loss`` only because Keras then divides by the number of replicas
    under ``tf.distribute``, and not twice.
    """

    def call(self, y_true, y_pred):
        return y_pred


@keras.saving.register_keras_serializable(package="vaekit")
class VAE(keras.Model):
    r"""A variational autoencoder, trained on the negative ELBO.

    .. math:: -E_{q(z|x)}[\log p(x|z)] + \beta \, KL(q(z|x) \,\|\, p(z)), \qquad p(z) = N(0, I)

    ``vae(x)`` and ``vae.predict(x)`` are the deterministic reconstruction, decoded from
    ``z_mean``; ``fit`` and ``evaluate`` sample z. Logs: ``loss``, ``reconstruction_loss``
    and ``kl_loss``, each summed over pixels or latents, mean over the batch, in nats;
    ``loss = reconstruction_loss + beta * kl_loss`` plus regularizers.

    Args:
        encoder: a built Keras model, x -> ``[z_mean, z_log_var]``, both ``(batch, ...)`` of one
            shape; a third output (the z of keras.io) is accepted and not used.
        decoder: a built Keras model, z -> the parameters of p(x | z), of the shape of x.
        likelihood: ``"bernoulli"`` (the decoder ends in a sigmoid), ``"gaussian"``, or a
            ``vaekit.likelihoods`` object.
        beta: float >= 0, the weight of the KL; 1 gives the ELBO. Lives on as the non-trainable
            variable ``vae.beta``, which callbacks change and files keep.
        seed: int or None, for the noise of z.

    Raises:
        TypeError: if encoder or decoder is not a Keras model, likelihood not a likelihood.
        ValueError: if a model is not built, the encoder has other outputs, the decoder takes
            another latent shape, a latent axis is 0, beta is negative, or the encoder holds a
            ``KLDivergence`` layer.

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

    Source: Kingma & Welling (2014), equations 3 and 10; beta: Higgins et al. (2017), equation 4.
    """

    def __init__(self, encoder, decoder, likelihood="bernoulli", beta=1.0, seed=None, **kwargs):
        for role, model in (("encoder", encoder), ("decoder", decoder)):
            if not isinstance(model, keras.Model):
                raise TypeError(
                    f"VAE expects {role} to be a built Keras model, but got {model!r} of type "
                    f"{type(model).__name__}. To use a file, load it with keras.saving.load_model."
                )
            if not model.built:
                raise ValueError(
                    f"VAE expects a built {role}, but {model.name!r} has no weights yet. "
                    "Begin it with a keras.Input, or call it once on a batch."
                )
        if any(isinstance(layer, KLDivergence) for layer in getattr(encoder, "layers", ())):
            raise ValueError(
                f"VAE adds the KL itself, but {encoder.name!r} holds a KLDivergence layer, which "
                "would count it twice. Build the encoder without that layer."
            )
        if not beta >= 0:
            raise ValueError(f"VAE expects beta >= 0, but got {beta}. 1 gives the ELBO.")
        likelihood = likelihoods.get(likelihood)
        outputs = getattr(encoder, "outputs", None)
        if outputs is not None:
            _check_posterior(outputs, decoder)
        if outputs is not None and len(outputs) == 3:  # a shared-weights view without keras.io's z
            encoder = keras.Model(encoder.input, outputs[:2], name=encoder.name)
        super().__init__(**kwargs)
        self.encoder, self.decoder, self.likelihood = encoder, decoder, likelihood
        self.sampling = Sampling(seed=seed)
        self.initial_beta = float(beta)
        self.beta = self.add_weight(
            name="beta",
            initializer=keras.initializers.Constant(beta),
            trainable=False,
            dtype="float32",
            autocast=False,
        )
        self.batch_mean = BatchMean()
        self.reconstruction_tracker = keras.metrics.Mean(name="reconstruction_loss")
        self.kl_tracker = keras.metrics.Mean(name="kl_loss")
        self._sampling_z = False
        if outputs is not None:
            self(keras.KerasTensor(encoder.input_shape))  # export wants a model that was called

    def build(self, input_shape):
        outputs = self.encoder.compute_output_spec(keras.KerasTensor(input_shape))
        _check_posterior(outputs, self.decoder)
        self.latent_shape = tuple(outputs[0].shape)[1:]

    # ---- the deterministic model, and sampling by name -------------------------------------

    def call(self, x, training=None):
        # JAX calls this method without Keras' context: layers learn of training from here alone.
        z_mean, z_log_var, *_ = self.encoder(x, training=training)
        if not self._sampling_z:
            return self.decoder(z_mean, training=training)
        z = self.sampling([z_mean, z_log_var])
        return SampledPass(self.decoder(z, training=training), z_mean, z_log_var)

    def encode(self, x):
        """The posterior q(z | x): ``(z_mean, z_log_var)``, each ``(batch, ...)``.

        Example: ``z_mean, z_log_var = vae.encode(x_test)``.
        """
        z_mean, z_log_var, *_ = self.encoder(x)
        return z_mean, z_log_var

    def decode(self, z):
        """The parameters of p(x | z) for codes z ``(batch, ...)``; see ``vae.likelihood``."""
        return self.decoder(z)

    def sample(self, n, seed=None):
        """``n`` new examples: the means of p(x | z) for z drawn from the prior N(0, I).

        Args:
            n: int > 0, how many.
            seed: int for the same examples each time, or None.

        Returns:
            Tensor ``(n, ...)`` of the shape and range of the data.
        """
        z = keras.random.normal((n, *self.latent_shape), seed=seed)
        return self.likelihood.mean(self.decode(z))

    # ---- training --------------------------------------------------------------------------

    def compile(self, optimizer="adam", loss=None, **kwargs):
        """As ``keras.Model.compile``, but the loss is always the negative ELBO."""
        if loss is not None:
            raise ValueError(
                f"VAE computes its own loss, the negative ELBO, but got loss={loss!r}. Leave it "
                "out and choose VAE(..., likelihood=...): 'gaussian' for mse, 'bernoulli' for bce."
            )
        super().compile(optimizer=optimizer, loss=None, **kwargs)

    def fit(self, x=None, y=None, *args, **kwargs):
        """As ``keras.Model.fit``: ``fit(x)``, ``fit(x, x)``, ``fit(noisy, clean)``, data sets.

        Raises:
            TypeError: if the images are integers.
            ValueError: if the data hold NaN, have another shape than the model takes, or lie
                outside the range of the likelihood. Nothing has been trained then.
        """
        x = data_checks.check(self, x, y, "x")
        validation = kwargs.get("validation_data")
        if isinstance(validation, (tuple, list)):
            kwargs["validation_data"] = _with_target(validation)
            data_checks.check(self, *kwargs["validation_data"][:2], "validation_data")
        elif validation is not None:
            kwargs["validation_data"] = data_checks.check(self, validation, None, "validation_data")
        return super().fit(x, _weighted_target(x, y, kwargs), *args, **kwargs)

    def evaluate(self, x=None, y=None, *args, **kwargs):
        """As ``keras.Model.evaluate``; one draw of z an example. Raises what ``fit`` raises."""
        if not kwargs.get("_use_cached_eval_dataset"):  # fit has checked its validation_data
            x = data_checks.check(self, x, y, "x")
        return super().evaluate(x, _weighted_target(x, y, kwargs), *args, **kwargs)

    # On JAX a step is called as (state, data), elsewhere as (data).
    def train_step(self, *args):
        with self._sampled():
            return super().train_step(*args[:-1], _with_target(args[-1]))

    def test_step(self, *args):
        with self._sampled():
            return super().test_step(*args[:-1], _with_target(args[-1]))

    @contextlib.contextmanager
    def _sampled(self):
        """While a step is traced, ``call`` samples z and returns all that the loss needs."""
        self._sampling_z = True
        try:
            yield
        finally:
            self._sampling_z = False

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The negative ELBO with one draw of z an example, mean over the batch; nats."""
        if not isinstance(y_pred, SampledPass):
            with self._sampled():
                y_pred = self(x, training=training)
        reconstruction = -self.likelihood.log_prob(x if y is None else y, y_pred.parameters)
        kl = gaussian_kl(y_pred.z_mean, y_pred.z_log_var)
        if sample_weight is not None:
            weight = ops.reshape(ops.cast(sample_weight, reconstruction.dtype), (-1,))
            reconstruction, kl = weight * reconstruction, weight * kl
        self.reconstruction_tracker.update_state(reconstruction)
        self.kl_tracker.update_state(kl)
        nelbo = reconstruction + self.beta * kl
        loss = self.batch_mean(nelbo, nelbo)
        if self.losses:  # regularizers and add_loss of the encoder and the decoder
            loss = loss + super().compute_loss(x, y, y_pred.parameters, sample_weight, training)
        return loss

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        if isinstance(y_pred, SampledPass):
            y_pred = y_pred.parameters
        y = x if y is None else y  # Keras builds its metrics with y=None
        return super().compute_metrics(x, y, self.likelihood.mean(y_pred), sample_weight)

    # ---- shapes and files ------------------------------------------------------------------

    # As functional models have them, so that a VAE can stand where an autoencoder stood.
    @property
    def input_shape(self):
        return self.encoder.input_shape

    @property
    def output_shape(self):
        return self.decoder.output_shape

    @property
    def output_names(self):
        return self.decoder.output_names

    def save_own_variables(self, store):
        super().save_own_variables(store)
        for i, state in enumerate(self._seed_states()):
            store[f"seed_state_{i}"] = ops.convert_to_numpy(state)

    def load_own_variables(self, store):
        own = [key for key in store.keys() if "seed_state" not in key]  # noqa: SIM118, no dict
        super().load_own_variables({key: store[key] for key in own})
        for i, state in enumerate(self._seed_states()):
            state.assign(store[f"seed_state_{i}"])

    def _seed_states(self):
        """Keras saves no random state; without it Dropout would repeat its noise on resuming."""
        return [v for v in self.non_trainable_variables if v.name == "seed_generator_state"]

    def get_compile_config(self):
        config = super().get_compile_config()
        return config and {**config, "optimizer_built": self.optimizer.built}

    def compile_from_config(self, config):
        config = keras.saving.deserialize_keras_object(config)
        built = config.pop("optimizer_built")
        self.compile(**config)
        if built:  # the file holds the optimizer's state only then
            self.optimizer.build(self.trainable_variables)

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "encoder": serialize(self.encoder),
            "decoder": serialize(self.decoder),
            "likelihood": serialize(self.likelihood),
            "beta": self.initial_beta,
            "seed": self.sampling.seed,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        parts = {
            name: keras.saving.deserialize_keras_object(config[name], custom_objects)
            for name in ("encoder", "decoder", "likelihood")
        }
        return cls(**{**config, **parts})


def _weighted_target(x, y, kwargs):
    """Keras drops the weights of data without a target, so these get theirs here."""
    return x if y is None and kwargs.get("sample_weight") is not None else y


def _with_target(data):
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    return x, x if y is None else y, sample_weight


def _check_posterior(outputs, decoder):
    """Raises a ValueError unless outputs are [z_mean, z_log_var(, z)] of the decoder's input."""
    shapes = [tuple(output.shape) for output in outputs]
    if len(shapes) not in (2, 3):
        raise ValueError(
            f"VAE expects an encoder with the outputs [z_mean, z_log_var], but got {len(shapes)} "
            f"of shape {shapes}. Add a second Dense layer for z_log_var beside the one for z_mean."
        )
    if shapes[0][1:] != shapes[1][1:]:
        raise ValueError(
            f"VAE expects z_mean and z_log_var of one shape, but got {shapes[0]} and {shapes[1]}. "
            "Give both heads the same number of units."
        )
    if 0 in shapes[0][1:]:
        raise ValueError(
            f"VAE expects at least one latent dimension, but z_mean has shape {shapes[0]}. "
            "Give both heads one unit or more."
        )
    taken = getattr(decoder, "input_shape", None)
    if isinstance(taken, tuple) and taken[1:] != shapes[0][1:]:
        raise ValueError(
            f"VAE expects a decoder that takes the encoder's latent shape {shapes[0]}, but "
            f"{decoder.name!r} takes {taken}. Give the decoder an Input of shape {shapes[0][1:]}."
        )
