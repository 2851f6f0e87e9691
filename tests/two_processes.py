"""Run under torchrun by test_trainer: train as one of several processes, print what came out."""

import json
import sys
from pathlib import Path

import torch

from training import blobs, trainer

fitted = trainer(val_fraction=0.0, select="last", log_path=Path(sys.argv[1])).fit(blobs())
found = fitted.evaluate(blobs((21, 20, 20), seed=1))
result = {
    "processes": fitted.accelerator().num_processes,
    "in_order": torch.equal(fitted.embeddings.y, blobs().tensors[1]),
    "confusion": found.after.confusion.tolist(),
    "gap": found.gap_after.tolist(),
    "weight": fitted.model.classifier[1].weight.tolist(),
}
Path(sys.argv[1]).with_name(f"rank-{fitted.accelerator().process_index}.json").write_text(
    json.dumps(result)
)
