"""Keras callbacks for VAEs: KL warm-up."""

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
        layers = [self.model, *self.model._flatten_layers(include_self=False)]
        self.betas = [layer.beta for layer in layers if hasattr(layer, "initial_beta")]
        if not self.betas:
            raise ValueError(
                f"KLWarmup expects a vaekit.VAE or a model with a KLDivergence layer, but "
                f"{self.model.name!r} has neither."
            )

    def on_epoch_begin(self, epoch, logs=None):
        for beta in self.betas:
            beta.assign(self.beta_at(epoch))

    def on_epoch_end(self, epoch, logs=None):
        if logs is not None:
            logs["beta"] = self.beta_at(epoch)
