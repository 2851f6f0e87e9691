"""Convex combinations of a class's rows, after GAMO (Mullick et al. 2019, arXiv 1903.09730).

A shared network maps noise and class to a hidden vector; a unit for each class but the largest
maps that to weights over the rows of its class, which add up to one. A conditional discriminator
keeps the combinations like their class; a classifier learns from real and generated images, and the
generator seeks combinations the classifier gets wrong.

The paper combines features of a network and maps them to pixels by another one; here pixels are
combined, and the losses are ours.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gan.networks import ConditionalDiscriminator, cross_entropy, n_features, one_hot, trunk
from gan.train import GanOversampler, Rows, descend

HIDDEN = 128


class Gamo(GanOversampler):
    """A generator of convex combinations against discriminator and classifier.

    The largest class has no unit, since it needs no images; see `GanOversampler`.
    """

    def _build(self, rows: Rows, steps: int) -> None:
        self.shape = rows.x.shape[1:]
        self.small = torch.nonzero(rows.counts < rows.counts.max())[:, 0]
        if len(self.small) == 0:
            raise ValueError("labels are balanced already: there is no class to make images of")
        self.own = {int(c): rows.x[rows.y == c].flatten(1) for c in self.small}
        self.shared = nn.Sequential(
            nn.Linear(self.latent + rows.n_classes, HIDDEN), nn.LeakyReLU(0.2)
        )
        self.units = nn.ModuleDict(
            {str(label): nn.Linear(HIDDEN, len(own)) for label, own in self.own.items()}
        )
        self.discriminator = ConditionalDiscriminator(
            rows.n_classes, rows.channels, rows.size, self.width
        )
        features = n_features(rows.size, self.width)
        self.classifier = nn.Sequential(
            trunk(rows.channels, self.width), nn.Linear(features, rows.n_classes)
        )
        for name in ("shared", "units", "discriminator", "classifier"):
            self.networks[name] = getattr(self, name)
        self.to_make = self._adam(self.shared, self.units)
        self.to_judge, self.to_classify = (
            self._adam(self.discriminator),
            self._adam(self.classifier),
        )

    def _step(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        wanted = self.small[torch.randint(len(self.small), (len(x),))]
        fake = self._make(wanted)
        told = self.classifier(torch.cat([x, fake.detach()]))
        learned = descend(self.to_classify, F.cross_entropy(told, torch.cat([y, wanted])))
        judge = descend(self.to_judge, self.discriminator.loss(x, y, fake, wanted))
        right = self.classifier(fake).softmax(1).gather(1, wanted[:, None])
        # Squared: a logarithm grows without bound here and drowns the discriminator.
        mistaken = right.square().mean()
        fooled = cross_entropy(self.discriminator(fake, wanted), 1.0)
        made = descend(self.to_make, fooled + mistaken)
        return {"generator": made, "discriminator": judge, "classifier": learned}

    def _make(self, labels: Tensor) -> Tensor:
        inputs = [self._noise(len(labels)), one_hot(labels, self.n_classes)]
        hidden = self.shared(torch.cat(inputs, 1))
        made = torch.empty(len(labels), *self.shape)
        for label in torch.unique(labels).tolist():
            chosen = labels == label
            weights = self.units[str(label)](hidden[chosen]).softmax(1)
            made[chosen] = (weights @ self.own[label]).unflatten(1, self.shape)
        return made

    def _check_label(self, label: int) -> None:
        if label not in self.own:
            raise ValueError(
                f"label must be a class but the largest, {list(self.own)}; got {label}"
            )
