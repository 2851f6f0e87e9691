"""The conditional GAN (Mirza and Osindero 2014, arXiv 1411.1784), with networks of DCGAN's kind.

Batches are drawn class-balanced; the generator takes noise and the class as an indicator.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from gan.networks import ConditionalDiscriminator, cross_entropy, generator, one_hot
from gan.train import GanOversampler, Rows, descend


class ConditionalGan(GanOversampler):
    """One generator and one discriminator, both told the class; see `GanOversampler`."""

    def _build(self, rows: Rows, steps: int) -> None:
        inputs = self.latent + rows.n_classes
        self.generator = generator(inputs, rows.channels, rows.size, self.width)
        self.discriminator = ConditionalDiscriminator(
            rows.n_classes, rows.channels, rows.size, self.width
        )
        self.networks["generator"] = self.generator
        self.networks["discriminator"] = self.discriminator
        self.optimizers = self._adam(self.generator), self._adam(self.discriminator)

    def _step(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        fake = self._make(y)
        judge = descend(self.optimizers[1], self.discriminator.loss(x, y, fake, y))
        # The loss that does not saturate: be judged real (Goodfellow et al. 2014, section 3).
        fooled = descend(self.optimizers[0], cross_entropy(self.discriminator(fake, y), 1.0))
        return {"generator": fooled, "discriminator": judge}

    def _make(self, labels: Tensor) -> Tensor:
        inputs = [self._noise(len(labels)), one_hot(labels, self.n_classes)]
        return cast(Tensor, self.generator(torch.cat(inputs, 1)))
