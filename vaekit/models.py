"""The variational autoencoder as a Keras model; taught in notebooks/06_vae.ipynb."""

import contextlib
import math
from collections import namedtuple

import keras
from keras import ops

from vaekit import data_checks, likelihoods, training
from vaekit.layers import KLDivergence, Sampling
from vaekit.losses import gaussian_kl, gaussian_kl_terms

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

    Conditional, with every distribution given c, if the encoder takes ``[x, c, ...]`` and the
    decoder ``[z, c, ...]``: then ``[x, c]`` stands for x in every method, and x is the target.

    Args:
        encoder: a built Keras model, x -> ``[z_mean, z_log_var]``, both ``(batch, ...)`` of one
            shape; a third output (the z of keras.io) is accepted and not used.
        decoder: a built Keras model, z -> the parameters of p(x | z): of the shape of x, or with
            twice its channels for ``Gaussian("predicted")``.
        likelihood: ``"bernoulli"``, ``"continuous_bernoulli"`` (for both the decoder ends in a
            sigmoid), ``"gaussian"``, ``"laplace"``, or a ``vaekit.likelihoods`` object.
        beta: float >= 0, the weight of the KL; 1 gives the ELBO. Lives on as the non-trainable
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

    def __init__(
        self, encoder, decoder, likelihood="bernoulli", beta=1.0, seed=None, free_bits=0.0, **kwargs
    ):
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
        if not 0 <= free_bits < math.inf:
            raise ValueError(
                f"VAE expects a finite free_bits >= 0, but got {free_bits}. "
                "Give nats per latent dimension, for example 0.1; 0 switches it off."
            )
        likelihood = likelihoods.get(likelihood)
        outputs = getattr(encoder, "outputs", None)
        if outputs is not None:
            _check_posterior(outputs, decoder)
            _check_equal_conditions(encoder, decoder)
        if outputs is not None and len(outputs) == 3:  # a shared-weights view without keras.io's z
            encoder = keras.Model(encoder.input, outputs[:2], name=encoder.name)
        super().__init__(**kwargs)
        self.encoder, self.decoder, self.likelihood = encoder, decoder, likelihood
        self.sampling = Sampling(seed=seed)
        self.initial_beta, self.free_bits = float(beta), float(free_bits)
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
        self._sampling_z, self._epsilon = False, None
        self._asked_jit, self._asked_steps, self._metrics_of_keras = "auto", None, True
        self._xla, self._block_steps, self._missing_steps = False, None, 0  # set by training
        if outputs is not None:
            self(_symbolic(encoder.input_shape))  # export wants a model that was called

    def build(self, input_shape):
        outputs = self.encoder.compute_output_spec(_symbolic(input_shape))
        _check_posterior(outputs, self.decoder)
        self.latent_shape = tuple(outputs[0].shape)[1:]

    # ---- the deterministic model, and sampling by name -------------------------------------

    def call(self, x, training=None):
        # JAX calls this method without Keras' context: layers learn of training from here alone.
        z_mean, z_log_var, *_ = self.encoder(x, training=training)
        z = z_mean
        if self._sampling_z:
            z = self.sampling([z_mean, z_log_var], epsilon=self._epsilon)
        _, conditions = data_checks.parts(x)
        parameters = self.decoder(
            _tensors([z, *conditions]) if conditions else z, training=training
        )
        return SampledPass(parameters, z_mean, z_log_var) if self._sampling_z else parameters

    def encode(self, x):
        """The posterior q(z | x): ``(z_mean, z_log_var)``, each ``(batch, ...)``.

        Example: ``z_mean, z_log_var = vae.encode(x_test)``; conditional, ``vae.encode([x, c])``.
        """
        z_mean, z_log_var, *_ = self.encoder(_tensors(x))
        return z_mean, z_log_var

    def decode(self, z):
        """The parameters of p(x | z) for codes z ``(batch, ...)``; see ``vae.likelihood``.

        Conditional: ``vae.decode([z, c])``.
        """
        return self.decoder(_tensors(z))

    def sample(self, n, seed=None, condition=None):
        """``n`` new examples: the means of p(x | z) for z drawn from the prior N(0, I).

        Args:
            n: int > 0, how many.
            seed: int for the same examples each time, or None.
            condition: for a conditional VAE, an array ``(n, ...)``, or a list of them for
                several conditions: what each example shall be.

        Returns:
            Tensor ``(n, ...)`` of the shape and range of the data.

        Raises:
            ValueError: if the condition is missing, not asked for, or does not fit.
        """
        listed = condition if isinstance(condition, (list, tuple)) else [condition]
        conditions = [] if condition is None else list(listed)
        data_checks.check_conditions(self, conditions, n, "samples")
        z = keras.random.normal((n, *self.latent_shape), seed=seed)
        return self.likelihood.mean(self.decode([z, *conditions] if conditions else z))

    # ---- training --------------------------------------------------------------------------

    def compile(
        self, optimizer="adam", loss=None, jit_compile="auto", steps_per_execution=None, **kwargs
    ):
        """As ``keras.Model.compile``, but the loss is always the negative ELBO.

        Left out, ``jit_compile`` and ``steps_per_execution`` are chosen by ``fit``: on a CPU with
        TensorFlow it runs blocks of up to 32 steps a call, single ones if a callback watches
        batches, and has XLA compile the blocks of dense networks in trainings of 1,000 steps or
        more.
        """
        if loss is not None:
            raise ValueError(
                f"VAE computes its own loss, the negative ELBO, but got loss={loss!r}. Leave it "
                "out and choose VAE(..., likelihood=...): 'gaussian' for mse, 'bernoulli' for bce."
            )
        self._asked_jit, self._asked_steps, self._xla = jit_compile, steps_per_execution, False
        metrics = keras.tree.flatten([kwargs.get("metrics"), kwargs.get("weighted_metrics")])
        self._metrics_of_keras = all(training.of_keras(metric) for metric in metrics)
        super().compile(
            optimizer=optimizer,
            loss=None,
            jit_compile=jit_compile,
            steps_per_execution=steps_per_execution or 1,
            **kwargs,
        )

    def fit(self, x=None, y=None, *args, **kwargs):
        """As ``keras.Model.fit``: ``fit(x)``, ``fit(x, x)``, ``fit(noisy, clean)``, data sets.

        Conditional: ``fit([x, c])``, ``fit([noisy, c], clean)``, data sets of ``((x, c),)``.

        Raises:
            TypeError: if the images are integers, or the batch size is none.
            ValueError: if the data hold NaN, have another shape than the model takes, or lie
                outside the range of the likelihood, if a condition is missing, if data and target
                differ in rows. Nothing has been trained then. Of a data set the first batch is
                looked at.
        """
        call = self._checked(super().fit, x, y, *args, **kwargs)
        validation = call["validation_data"]
        if isinstance(validation, (tuple, list)):
            if data_checks.is_conditional(self) and not isinstance(validation[0], (tuple, list)):
                validation = (validation,)  # [x, c] like the first argument
            call["validation_data"] = _with_target(validation)
            data_checks.check(self, *call["validation_data"][:2], "validation_data")
        elif validation is not None:
            call["validation_data"] = data_checks.check(self, validation, None, "validation_data")
        with training.in_blocks(self, call):
            return super().fit(**call)

    def evaluate(self, x=None, y=None, *args, **kwargs):
        """As ``keras.Model.evaluate``; one draw of z an example. Raises what ``fit`` raises."""
        if kwargs.get("_use_cached_eval_dataset"):  # fit has checked and set up its own
            return super().evaluate(x, y, *args, **kwargs)
        call = self._checked(super().evaluate, x, y, *args, **kwargs)
        with training.in_blocks(self, call):
            return super().evaluate(**call)

    def _checked(self, method, x, y, *args, **kwargs):
        """The arguments of a call by their names, with data that have passed the checks."""
        call = training.named(method, x, y, *args, **kwargs)
        data_checks.check_batch_size(call["batch_size"])
        call["x"] = data_checks.check(self, x, y, "x")
        call["y"] = _weighted_target(call)
        return call

    def predict(self, *args, **kwargs):
        """As ``keras.Model.predict``: the deterministic reconstructions."""
        with training.setting(self, steps_per_execution=self._asked_steps or 1):  # in a callback
            return super().predict(*args, **kwargs)

    def make_train_function(self, force=False):
        if force or self.train_function is None:
            super().make_train_function(force=True)
            if self._runs_blocks():
                xla = self.jit_compile or self._xla
                self.train_function = training.function(
                    self, self.train_step, self.train_function, xla
                )

    def make_test_function(self, force=False):
        if force or self.test_function is None:
            super().make_test_function(force=True)
            if self._runs_blocks():
                self.test_function = training.function(
                    self, self.test_step, self.test_function, self.jit_compile
                )

    def _runs_blocks(self):
        """Whether ``training`` can run the steps: not those that a subclass has rewritten."""
        names = ("train_step", "test_step", "compute_metrics")
        own = all(getattr(type(self), name) is getattr(VAE, name) for name in names)
        return own and training.applies(self)

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
            self._sampling_z = False  # not what it was: threads of replicas trace it at once

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The negative ELBO with one draw of z an example, mean over the batch; nats."""
        if not isinstance(y_pred, SampledPass):
            with self._sampled():
                y_pred = self(x, training=training)
        reconstruction = -self.likelihood.log_prob(_target(x, y), y_pred.parameters)
        kl = charged = gaussian_kl(y_pred.z_mean, y_pred.z_log_var)
        if self.free_bits:
            charged = self._charged_kl(y_pred.z_mean, y_pred.z_log_var)
        kl, charged = (ops.cast(t, reconstruction.dtype) for t in (kl, charged))
        if sample_weight is not None:
            weight = ops.reshape(ops.cast(sample_weight, reconstruction.dtype), (-1,))
            reconstruction, kl, charged = (weight * t for t in (reconstruction, kl, charged))
        self.reconstruction_tracker.update_state(reconstruction)
        self.kl_tracker.update_state(kl)
        nelbo = reconstruction + self.beta * charged
        loss = self.batch_mean(nelbo, nelbo)
        if self.losses:  # regularizers and add_loss of the encoder and the decoder
            loss = loss + super().compute_loss(x, y, y_pred.parameters, sample_weight, training)
        return loss

    def _charged_kl(self, z_mean, z_log_var):
        """``(batch,)``: the KL, with ``free_bits`` for dimensions whose batch mean is below it.

        Its mean over the batch is the sum of the maxima; the gradient of the rest is exactly 0.
        """
        kl = gaussian_kl_terms(z_mean, z_log_var)
        spent = ops.mean(kl, axis=0, keepdims=True) > self.free_bits
        return ops.sum(ops.where(spent, kl, self.free_bits), axis=1)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        if isinstance(y_pred, SampledPass):
            y_pred = y_pred.parameters
        y = _target(x, y)  # Keras builds its metrics with y=None
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
        return config and {
            **config,
            "jit_compile": self._asked_jit,
            "steps_per_execution": self._asked_steps,
            "optimizer_built": self.optimizer.built,
        }

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
            "free_bits": self.free_bits,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        parts = {
            name: keras.saving.deserialize_keras_object(config[name], custom_objects)
            for name in ("encoder", "decoder", "likelihood")
        }
        return cls(**{**config, **parts})


def _target(x, y):
    """What is to be reconstructed: y, or without it the data among the inputs."""
    return data_checks.parts(x)[0] if y is None else y


def _weighted_target(call):
    """Keras drops the weights of data without a target, so these get theirs here."""
    return call["y"] if call["sample_weight"] is None else _target(call["x"], call["y"])


def _with_target(data):
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    return x, _target(x, y), sample_weight


def _tensors(inputs):
    """Lists as tensors: Keras takes no mixture of tensors and arrays."""
    several = isinstance(inputs, (list, tuple))
    return [ops.convert_to_tensor(part) for part in inputs] if several else inputs


def _symbolic(shape):
    """A tensor of that shape, or a list of them for a list of shapes."""
    several = shape and isinstance(shape[0], (list, tuple))
    return [keras.KerasTensor(s) for s in shape] if several else keras.KerasTensor(shape)


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
    taken = (data_checks.input_shapes(decoder) or [None])[0]
    if isinstance(taken, tuple) and taken[1:] != shapes[0][1:]:
        raise ValueError(
            f"VAE expects a decoder that takes the encoder's latent shape {shapes[0]}, but "
            f"{decoder.name!r} takes {taken}. Give the decoder an Input of shape {shapes[0][1:]}."
        )


def _check_equal_conditions(encoder, decoder):
    """Raises a ValueError unless ``[x, c, ...]`` and ``[z, c, ...]`` have the same c, if known."""
    shapes = [data_checks.input_shapes(model) for model in (encoder, decoder)]
    if None in shapes:
        return
    of_encoder, of_decoder = (list(each[1:]) for each in shapes)
    if [shape[1:] for shape in of_encoder] != [shape[1:] for shape in of_decoder]:
        raise ValueError(
            "VAE expects an encoder of [x, c, ...] and a decoder of [z, c, ...] with the same "
            f"conditions c, but after x the encoder takes {of_encoder} and after z the decoder "
            f"{of_decoder}. Give both the same Inputs in the same order, used or not."
        )
