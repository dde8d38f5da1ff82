"""Keras callbacks for VAEs: KL warm-up, and a warning when the posterior collapses.

How often callbacks are called: see ``BlockTraining.fit`` in training.py.
"""

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
            raise ValueError(f"KLWarmup expects start >= 0 and end >= 0, but got {start}, {end}.")
        self.epochs, self.start, self.end = epochs, start, end

    def beta_at(self, epoch):
        """The beta of that epoch, counted from 0."""
        return self.start + (self.end - self.start) * min(1.0, epoch / self.epochs)

    def on_train_begin(self, logs=None):
        self._betas = _kl_weights(self.model)
        if not self._betas:
            raise ValueError(
                "KLWarmup expects a vaekit.VAE or a model with a KLDivergence layer, "
                f"but {self.model.name!r} has neither."
            )

    def on_epoch_begin(self, epoch, logs=None):
        for beta in self._betas:
            beta.assign(self.beta_at(epoch))

    def on_epoch_end(self, epoch, logs=None):
        if logs is not None:
            logs["beta"] = self.beta_at(epoch)


def _kl_weights(layer):
    """The weights of the KL in this layer or model, and in all models inside it."""
    betas = []
    # Keras' normalisation layers call their offset beta, but have no attribute initial_beta.
    if hasattr(layer, "initial_beta"):
        betas.append(layer.beta)
    for inner in getattr(layer, "layers", []):
        betas.extend(_kl_weights(inner))
    return betas


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
        self._last_beta = None
        self._low_epochs_in_a_row = 0
        self._has_warned = False

    def on_epoch_end(self, epoch, logs=None):
        beta = float(self.model.beta.numpy())
        kl = logs["kl_loss"]
        beta_explains_a_low_kl = beta == 0 or beta != self._last_beta
        self._last_beta = beta
        if kl < self.threshold and not beta_explains_a_low_kl:
            self._low_epochs_in_a_row += 1
        else:
            self._low_epochs_in_a_row = 0
        if self._low_epochs_in_a_row < self.patience or self._has_warned:
            return
        self._has_warned = True
        warnings.warn(
            f"The posterior has collapsed: kl_loss is {kl:.2g} nats in epoch {epoch + 1}, with "
            f"beta = {beta:g}, so z tells the decoder nothing about x. Sum the reconstruction "
            "loss over pixels instead of averaging it, lower beta, begin with "
            "callbacks.KLWarmup, or set VAE(..., free_bits=0.1).",
            stacklevel=2,
        )
