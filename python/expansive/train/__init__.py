"""Three-phase training of networks on imbalanced data; needs the extra ``train``."""

from expansive.extras import import_extra

for _module in ("torch", "accelerate", "safetensors", "rich"):
    import_extra(_module, "train")

from expansive.train.rebalance import rebalance_head  # noqa: E402
from expansive.train.trainer import ThreePhaseTrainer  # noqa: E402

__all__ = ["ThreePhaseTrainer", "rebalance_head"]
