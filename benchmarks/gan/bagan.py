"""A GAN begun from an autoencoder, after BAGAN (Mariani et al. 2018, arXiv 1803.09655).

1. An autoencoder learns all images, whatever their class.
2. Decoder and encoder become generator and discriminator; the codes of each class give a normal
   distribution to draw its latent vectors from.
3. The discriminator tells the classes and "fake" apart; the generator wants its image to be taken
   for its class.

Smaller networks than the paper's, and class-balanced batches in the third stage.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gan.networks import generator, n_features, trunk
from gan.train import GanOversampler, Rows, descend

RIDGE = 1e-3
"""Added to the variances of codes: a class with few rows has a singular covariance."""


class Bagan(GanOversampler):
    """An autoencoder, then a generator against a discriminator of n_classes + 1 outputs.

    Both stages take the steps that `fit` is asked for; see `GanOversampler`.
    """

    def _build(self, rows: Rows, steps: int) -> None:
        self.generator = generator(self.latent, rows.channels, rows.size, self.width)
        body, features = trunk(rows.channels, self.width), n_features(rows.size, self.width)
        to_code = nn.Linear(features, self.latent)
        self.discriminator = nn.Sequential(body, nn.Linear(features, rows.n_classes + 1))
        self.networks["generator"] = self.generator
        self.networks["discriminator"] = self.discriminator
        self.networks["to_code"] = to_code
        encoder = nn.Sequential(body, to_code)
        self._learn_codes(encoder, rows, steps)
        self._measure_codes(encoder, rows)
        self.optimizers = self._adam(self.generator), self._adam(self.discriminator)

    def _learn_codes(self, encoder: nn.Module, rows: Rows, steps: int) -> None:
        optimizer = self._adam(encoder, self.generator)
        for x, _ in rows.batches(steps, self.batch_size, balanced=False):
            loss = descend(optimizer, F.mse_loss(self.generator(encoder(x)), x))
            self._keep({"autoencoder": loss})

    @torch.no_grad()
    def _measure_codes(self, encoder: nn.Module, rows: Rows) -> None:
        """Take mean and Cholesky factor of the covariance of each class's codes."""
        codes = torch.cat([encoder(part) for part in torch.split(rows.x, 512)])
        means, factors = [], []
        for label in range(rows.n_classes):
            own = codes[rows.y == label]
            centred = own - own.mean(0)
            covariance = centred.T @ centred / len(own) + RIDGE * torch.eye(self.latent)
            means.append(own.mean(0))
            factors.append(torch.linalg.cholesky(covariance))
        self.means, self.factors = torch.stack(means), torch.stack(factors)

    def _step(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        # Of the discriminator's n_classes + 1 kinds of images each is as frequent as any other.
        n_fake = max(1, len(x) // self.n_classes)
        fake = self._make(y)
        nothing = torch.full((n_fake,), self.n_classes)
        told = self.discriminator(torch.cat([x, fake[:n_fake].detach()]))
        judge = descend(self.optimizers[1], F.cross_entropy(told, torch.cat([y, nothing])))
        taken = descend(self.optimizers[0], F.cross_entropy(self.discriminator(fake), y))
        return {"generator": taken, "discriminator": judge}

    def _make(self, labels: Tensor) -> Tensor:
        noise = self._noise(len(labels))[:, :, None]
        codes = self.means[labels] + (self.factors[labels] @ noise)[:, :, 0]
        return cast(Tensor, self.generator(codes))
