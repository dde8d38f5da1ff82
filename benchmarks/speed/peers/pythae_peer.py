"""Peer: pythae, a library of VAEs in PyTorch, with its own VAE and its own trainer.

    python peers/pythae_peer.py pythae D --mnist mnist.npz

Runs in the environment of requirements-torch.txt.
"""

import contextlib
import os
import sys
import tempfile
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from data import images
from protocol import BATCH, gate, options, report
from pythae.models import VAE, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.pipelines import TrainingPipeline
from pythae.trainers import BaseTrainerConfig
from pythae.trainers.training_callbacks import TrainingCallback
from torch_networks import LATENTS, Encoder, decoder


class PythaeEncoder(BaseEncoder):
    def __init__(self, kind):
        super().__init__()
        self.layers = Encoder(kind)

    def forward(self, x):
        z_mean, z_log_var = self.layers(x)
        return ModelOutput(embedding=z_mean, log_covariance=z_log_var)


class PythaeDecoder(BaseDecoder):
    def __init__(self, kind):
        super().__init__()
        self.layers = decoder(kind)

    def forward(self, z):
        return ModelOutput(reconstruction=torch.sigmoid(self.layers(z)))


class Gate(TrainingCallback):
    """Waits for the benchmark before each epoch but the first, and reports after each."""

    def __init__(self, images):
        self.images = images

    def on_epoch_begin(self, training_config, epoch=None, **kwargs):
        if epoch > 1:
            gate()

    def on_log(self, training_config, logs, **kwargs):  # the end of an epoch, with its loss
        report(logs["train_epoch_loss"], self.images)


def train(kind, x):
    if kind == "C":
        x = np.moveaxis(x, -1, 1)
    config = VAEConfig(x.shape[1:], LATENTS[kind], reconstruction_loss="bce")
    vae = VAE(config, PythaeEncoder(kind), PythaeDecoder(kind))
    with (
        tempfile.TemporaryDirectory() as folder,
        open(os.devnull, "w") as nowhere,
        contextlib.redirect_stderr(nowhere),  # the progress bar, which is drawn but not shown
    ):
        training = BaseTrainerConfig(
            output_dir=folder,
            num_epochs=1000,
            per_device_train_batch_size=BATCH,
            learning_rate=1e-3,
            no_cuda=True,
        )
        TrainingPipeline(vae, training)(x, callbacks=[Gate(len(x))])


if __name__ == "__main__":
    chosen = options(["pythae"])
    torch.set_num_threads(os.cpu_count())
    torch.manual_seed(1)
    train(chosen.workload, images(chosen.workload, chosen.mnist, chosen.images))
