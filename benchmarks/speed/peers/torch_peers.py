"""Peers on PyTorch: a training loop written by hand, as it is and with ``torch.compile``.

    python peers/torch_peers.py torch D --mnist mnist.npz

Runs in the environment of requirements-torch.txt.
"""

import os
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

import torch
from data import images
from protocol import BATCH, options, serve
from torch import nn
from torch.nn import functional as F
from torch_networks import Encoder, decoder


class NegativeELBO(nn.Module):
    """x -> the loss: summed over pixels and latents, mean over the batch."""

    def __init__(self, kind):
        super().__init__()
        self.encoder, self.decoder = Encoder(kind), decoder(kind)

    def forward(self, x):
        z_mean, z_log_var = self.encoder(x)
        z = z_mean + torch.exp(0.5 * z_log_var) * torch.randn_like(z_mean)
        reconstruction = F.binary_cross_entropy_with_logits(self.decoder(z), x, reduction="sum")
        kl = 0.5 * (z_mean.square() + z_log_var.exp() - 1 - z_log_var).sum()
        return (reconstruction + kl) / len(x)


def train(kind, x, compiled):
    x, model = torch.from_numpy(x), NegativeELBO(kind)
    if kind == "C":  # the channel goes before the pixels in the shape, not in memory
        x = x.movedim(-1, 1)
        model = model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    loss_of = torch.compile(model) if compiled else model
    n = len(x) // BATCH * BATCH if compiled else len(x)  # compiled code is for one batch size

    def train_epoch():
        losses = []
        for batch in torch.randperm(len(x))[:n].split(BATCH):
            loss = loss_of(x[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        return torch.stack(losses).mean().item()

    serve(train_epoch, n)


PEERS = ["torch", "torch compile"]

if __name__ == "__main__":
    chosen = options(PEERS)
    torch.set_num_threads(os.cpu_count())
    torch.manual_seed(1)
    x = images(chosen.workload, chosen.mnist, chosen.images)
    train(chosen.workload, x, compiled=chosen.name == "torch compile")
