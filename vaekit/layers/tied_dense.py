"""Taught in notebooks/12_inverse.ipynb; this file stands alone, copy it as it is."""

import warnings

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="vaekit")
class TiedDense(keras.layers.Layer):
    r"""The dense layer $x' = a(z W^\top + c)$, where $W$ is the kernel of another ``Dense``.

    In a decoder it goes back where a ``Dense`` layer of the encoder came from. The two layers
    share one kernel, which is trained from both sides; only the bias is the layer's own. A
    file keeps the tie of one functional or Sequential model and of a ``vaekit.VAE``. Keras
    shares no layer between models inside a model, nor in ``clone_model``: such a copy computes
    the same and is no longer tied; when it is loaded, a warning says so.

    Args:
        tied_to: a ``keras.layers.Dense``, built when this layer is; its kernel $W$ has shape
            ``(inputs, units)``.
        activation: the function $a$, by name or as a callable; None for none.
        use_bias: bool, whether there is a bias $c$.

    Call arguments:
        inputs: ``z``, a float tensor ``(batch, ..., units)``.

    Returns:
        ``x'``: ``(batch, ..., inputs)``, in the layer's compute dtype.

    Raises:
        ValueError: if ``tied_to`` is not a ``Dense`` layer, is not built, or if the last axis
            of ``z`` is not its ``units``.

    Example:
        >>> encode = keras.layers.Dense(2, use_bias=False)
        >>> z = encode(np.array([[1.0, 2.0, 3.0]]))
        >>> decode = TiedDense(encode)
        >>> W = ops.convert_to_numpy(encode.kernel)
        >>> bool(np.allclose(decode(z), [[1.0, 2.0, 3.0]] @ W @ W.T, atol=1e-5))
        True

    Source: Vincent, Larochelle, Lajoie, Bengio & Manzagol (2010), "Stacked Denoising
    Autoencoders", section 2.2: $W' = W^\top$.
    """

    def __init__(self, tied_to, activation=None, use_bias=True, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(tied_to, keras.layers.Dense):
            raise ValueError(
                f"TiedDense expects tied_to to be a keras.layers.Dense, but got {tied_to!r}. Hand "
                "over the layer itself (not its name, its output or its kernel)."
            )
        # Keras would count the weights of a layer held as an attribute, its bias too, as ours.
        self._tied_to = lambda: tied_to
        self._is_shared_in_file = False
        self.activation = keras.activations.get(activation)
        self.use_bias = use_bias

    @property
    def tied_to(self):
        """The ``Dense`` layer whose kernel is used."""
        return self._tied_to()

    def __dir__(self):
        # Keras saves every layer that it finds here; that one is saved by the model it is part of.
        return [name for name in super().__dir__() if name != "tied_to"]

    def build(self, input_shape):
        self.compute_output_shape(input_shape)
        self.kernel = self.tied_to.kernel
        self.bias = None
        if self.use_bias:
            inputs = self.kernel.shape[0]
            self.bias = self.add_weight(name="bias", shape=(inputs,), initializer="zeros")

    def call(self, inputs):
        outputs = ops.matmul(inputs, ops.transpose(self.kernel))
        if self.bias is not None:
            outputs = outputs + self.bias
        return self.activation(outputs)

    def compute_output_shape(self, input_shape):
        if not self.tied_to.built:
            raise ValueError(
                f"TiedDense expects the layer it is tied to, {self.tied_to.name!r}, to be built, "
                "but it has no kernel yet. Call that layer, or its model, first."
            )
        inputs, units = self.tied_to.kernel.shape
        if input_shape[-1] != units:
            raise ValueError(
                f"TiedDense expects inputs of {units} numbers, the units of the layer "
                f"{self.tied_to.name!r} it is tied to, but got shape {tuple(input_shape)}. Tie "
                "it to the layer whose output it undoes."
            )
        return (*input_shape[:-1], inputs)

    def load_own_variables(self, store):
        super().load_own_variables(store)
        if self._is_shared_in_file and not _is_called(self.tied_to):
            warnings.warn(
                f"TiedDense {self.name!r} was saved with a tie to the layer "
                f"{self.tied_to.name!r} of another model, and Keras gave it a copy of that layer: "
                "the outputs are as saved, but further training changes two kernels. Build "
                "encoder and decoder as one functional model, x -> x', to keep the tie in its "
                "file.",
                stacklevel=2,
            )

    def get_config(self):
        return {
            **super().get_config(),
            "tied_to": keras.saving.serialize_keras_object(self.tied_to),
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
        }

    @classmethod
    def from_config(cls, config):
        tied_to = keras.saving.deserialize_keras_object(config["tied_to"])
        layer = cls(**{**config, "tied_to": tied_to})
        layer._is_shared_in_file = "shared_object_id" in config["tied_to"]
        return layer


def _is_called(layer):
    """Whether the layer is part of a functional model."""
    try:
        return layer.output is not None
    except (AttributeError, ValueError):
        return False
