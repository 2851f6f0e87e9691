"""The cosine head that margin losses are made for."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from expansive.train.embedding import find_head
from expansive.train.models.parts import require_least


class NormedLinear(nn.Module):
    """Cosines between an embedding and the weight of each class, times a scale.

    The head of LDAM (Cao et al. 2019, arXiv 1906.07413). The lengths of embeddings and weights play
    no part; that of the weights, as the report shows it, says nothing either.

    Parameters
    ----------
    in_features, out_features : int
        Features of the embedding; number of classes.
    scale : float
        Factor on the cosines. `LDAM` has its own, so 1; for other losses, which need logits
        further apart than cosines are, such as 30.

    Raises
    ------
    ValueError
        For a number below 1, or a scale that is not above 0.

    Notes
    -----
    Computes in float32 or wider also under autocast: times 30, the rounding of bfloat16 would be
    0.1 in a logit.
    """

    def __init__(self, in_features: int, out_features: int, scale: float = 1.0) -> None:
        super().__init__()
        require_least(in_features=(in_features, 1), out_features=(out_features, 1))
        if not scale > 0:
            raise ValueError(f"scale must be above 0, not {scale}")
        self.in_features, self.out_features, self.scale = in_features, out_features, scale
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights of length 1 in uniform boxes, as the authors' code does."""
        with torch.no_grad():
            self.weight.copy_(F.normalize(self.weight.uniform_(-1, 1)))

    def forward(self, embeddings: Tensor) -> Tensor:
        """Map embeddings [batch, in_features] to logits [batch, out_features]."""
        kind = torch.promote_types(embeddings.dtype, torch.float32)
        with torch.autocast(embeddings.device.type, enabled=False):
            directions = F.normalize(embeddings.to(kind)), F.normalize(self.weight.to(kind))
            return self.scale * F.linear(*directions)

    def extra_repr(self) -> str:
        """Describe the head in the printed model."""
        return f"{self.in_features}, {self.out_features}, scale={self.scale}"


def norm_head(model: nn.Module, head: str = "fc", scale: float = 1.0) -> nn.Module:
    """Put a new `NormedLinear` in the place of a linear head.

    Parameters
    ----------
    model : Module
        Changed in place.
    head : str
        Dotted name of its head, a `torch.nn.Linear`.
    scale : float
        As for `NormedLinear`.

    Returns
    -------
    Module
        `model`.

    Raises
    ------
    ValueError
        When there is no such module, or it is not linear.
    """
    linear = find_head(model, head)
    if not isinstance(linear, nn.Linear):
        raise ValueError(
            f"head {head!r} must be a Linear to be replaced by a NormedLinear, not a "
            f"{type(linear).__name__}"
        )
    parent, _, name = head.rpartition(".")
    normed = NormedLinear(linear.in_features, linear.out_features, scale)
    setattr(model.get_submodule(parent), name, normed.to(linear.weight.device))
    return model
