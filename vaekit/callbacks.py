"""Keras callbacks for VAEs: KL warm-up, and a warning when the posterior collapses."""

import warnings

import keras


class KLWarmup(keras.callbacks.Callback):
    """Raises beta in a straight line from ``start`` to ``end`` over the first ``epochs`` epochs.

    Epoch 0 trains with ``start``, epoch ``epochs`` and all later ones with ``end``. Depends on
    the number of the epoch alone, so that an interrupted and resumed training gets the same
    values. The beta used is added to the logs. Works on a ``VAE`` and on any model with
    ``KLDivergence`` layers.

    Args:
        epochs: int > 0, how many epochs the rise takes.
        start: float >= 0, the beta of epoch 0.
        end: float >= 0, the beta from epoch ``epochs`` on.

    Raises:
        ValueError: if an argument is out of range, or the model has no beta.

    Example:
        >>> print([KLWarmup(epochs=4).beta_at(epoch) for epoch in range(6)])
        [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]

    Source: Bowman et al. (2016), section 3.1; Sønderby et al. (2016), section 2.3.
    """

    def __init__(self, epochs, start=0.0, end=1.0):
        super().__init__()
        if not epochs > 0:
            raise ValueError(f"KLWarmup expects epochs > 0, but got {epochs}.")
        if not (start >= 0 and end >= 0):
            name = type(self).__name__
            raise ValueError(f"{name} expects start >= 0 and end >= 0, but got {start}, {end}.")
        self.epochs, self.start, self.end = epochs, start, end

    def beta_at(self, epoch):
        """The beta of that epoch, counted from 0."""
        return self.start + (self.end - self.start) * min(1.0, epoch / self.epochs)

    def on_train_begin(self, logs=None):
        layers = [self.model, *self.model._flatten_layers(include_self=False)]
        self.betas = [layer.beta for layer in layers if hasattr(layer, "initial_beta")]
        if not self.betas:
            raise ValueError(
                f"{type(self).__name__} expects a vaekit.VAE or a model with a KLDivergence layer, "
                f"but {self.model.name!r} has neither."
            )

    def on_epoch_begin(self, epoch, logs=None):
        for beta in self.betas:
            beta.assign(self.beta_at(epoch))

    def on_epoch_end(self, epoch, logs=None):
        if logs is not None:
            logs["beta"] = self.beta_at(epoch)


class CyclicalKLWarmup(KLWarmup):
    """Repeats a KL warm-up: beta climbs from ``start``, stays at ``end``, and falls back.

    Each cycle climbs in a straight line over its first ``rise`` and then trains with ``end``, as
    does everything after the last cycle. A new cycle begins with the encoder that the one before
    has taught, which is a way out of a collapsed posterior. Otherwise as ``KLWarmup``.

    Args:
        cycle: int > 0, the length of a cycle in epochs.
        cycles: int > 0, how many there are.
        rise: float in (0, 1], the part of a cycle that the rise takes.
        start: float >= 0, the beta at the beginning of a cycle.
        end: float >= 0, the beta from the end of the rise on.

    Raises:
        ValueError: if an argument is out of range, or the model has no beta.

    Example:
        >>> warmup = CyclicalKLWarmup(cycle=4, cycles=2)
        >>> print([warmup.beta_at(epoch) for epoch in range(9)])
        [0.0, 0.5, 1.0, 1.0, 0.0, 0.5, 1.0, 1.0, 1.0]

    Source: Fu et al. (2019), their cyclical schedule, with epochs for iterations.
    """

    def __init__(self, cycle, cycles=4, rise=0.5, start=0.0, end=1.0):
        if not (cycle > 0 and cycles > 0 and 0 < rise <= 1):
            raise ValueError(
                "CyclicalKLWarmup expects cycle > 0, cycles > 0 and rise in (0, 1], but got "
                f"{cycle}, {cycles} and {rise}."
            )
        super().__init__(cycle * rise, start, end)
        self.cycle, self.cycles = cycle, cycles

    def beta_at(self, epoch):
        """The beta of that epoch, counted from 0."""
        return super().beta_at(epoch % self.cycle) if epoch < self.cycle * self.cycles else self.end


class CollapseWarning(keras.callbacks.Callback):
    """Warns, once a training, when the KL of a ``VAE`` stays near 0: the decoder ignores z.

    Judges the ``kl_loss`` of whole epochs, and only where nothing else explains a small one:
    the first epoch does not count, nor one whose beta is 0 or has changed since the epoch before,
    as it does during a warm-up. Single dead dimensions are not seen: ``evaluation.active_units``.

    Args:
        threshold: float > 0, nats an example; z tells the decoder no more than this about x.
        patience: int > 0, how many epochs in a row must lie below it.

    Raises:
        ValueError: if an argument is out of range, or the model logs no ``kl_loss``.

    Example:
        >>> import types
        >>> callback = CollapseWarning(patience=1)
        >>> callback.set_model(types.SimpleNamespace(beta=keras.Variable(784.0)))
        >>> callback.on_train_begin()
        >>> with warnings.catch_warnings(record=True) as caught:
        ...     warnings.simplefilter("always")
        ...     for epoch in range(3):
        ...         callback.on_epoch_end(epoch, {"kl_loss": 0.01})
        >>> print(len(caught))
        1

    Source: the collapse: Bowman et al. (2016), section 3; He et al. (2019).
    """

    def __init__(self, threshold=0.1, patience=2):
        super().__init__()
        if not (threshold > 0 and patience > 0):
            raise ValueError(
                "CollapseWarning expects threshold > 0 and patience > 0, but got "
                f"{threshold} and {patience}."
            )
        self.threshold, self.patience = threshold, patience

    def on_train_begin(self, logs=None):
        if not hasattr(self.model, "beta"):
            raise ValueError(
                "CollapseWarning expects a vaekit.VAE, whose logs have kl_loss, but got "
                f"{self.model.name!r} of type {type(self.model).__name__}."
            )
        self.last_beta, self.low_epochs, self.warned = None, 0, False

    def on_epoch_end(self, epoch, logs=None):
        beta, kl = float(self.model.beta.numpy()), logs["kl_loss"]
        judged = beta > 0 and beta == self.last_beta and kl < self.threshold
        self.last_beta, self.low_epochs = beta, self.low_epochs + 1 if judged else 0
        if self.low_epochs < self.patience or self.warned:
            return
        self.warned = True
        warnings.warn(
            f"The posterior has collapsed: kl_loss is {kl:.2g} nats in epoch {epoch + 1}, with "
            f"beta = {beta:g}, so z tells the decoder nothing about x. Sum the reconstruction "
            "loss over pixels instead of averaging it, lower beta, begin with "
            "callbacks.KLWarmup, or set VAE(..., free_bits=0.1).",
            stacklevel=2,
        )
