"""The two networks of the benchmark in PyTorch, with the layers and sizes of keras_networks.py."""

from torch import nn

LATENTS = {"D": 16, "C": 2}
# What Keras calls padding="same", for kernels of 3.
HALVE = {"kernel_size": 3, "stride": 2, "padding": 1}
DOUBLE = HALVE | {"output_padding": 1}


class Encoder(nn.Module):
    """x -> (z_mean, z_log_var), each (batch, latents)."""

    def __init__(self, kind):
        super().__init__()
        if kind == "D":
            self.body = nn.Sequential(
                nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU()
            )
        else:
            self.body = nn.Sequential(
                *(nn.Conv2d(1, 32, **HALVE), nn.ReLU()),
                *(nn.Conv2d(32, 64, **HALVE), nn.ReLU()),
                *(nn.Flatten(), nn.Linear(7 * 7 * 64, 16), nn.ReLU()),
            )
        features = 256 if kind == "D" else 16
        self.z_mean = nn.Linear(features, LATENTS[kind])
        self.z_log_var = nn.Linear(features, LATENTS[kind])
        self.apply(begin_as_keras)

    def forward(self, x):
        features = self.body(x)
        return self.z_mean(features), self.z_log_var(features)


def decoder(kind):
    """z -> logits of the pixels, of the shape of x."""
    if kind == "D":
        layers = nn.Sequential(
            *(nn.Linear(16, 256), nn.ReLU()),
            *(nn.Linear(256, 512), nn.ReLU()),
            nn.Linear(512, 784),
        )
    else:
        layers = nn.Sequential(
            *(nn.Linear(2, 7 * 7 * 64), nn.ReLU(), nn.Unflatten(1, (64, 7, 7))),
            *(nn.ConvTranspose2d(64, 64, **DOUBLE), nn.ReLU()),
            *(nn.ConvTranspose2d(64, 32, **DOUBLE), nn.ReLU()),
            nn.ConvTranspose2d(32, 1, kernel_size=3, padding=1),
        )
    return layers.apply(begin_as_keras)


def begin_as_keras(layer):
    """The initial weights of Keras, so that the losses can be compared from the first epoch."""
    if hasattr(layer, "weight"):
        nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)
