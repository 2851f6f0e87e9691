"""Generative over-sampling of images: what EOS is compared with, small enough to read."""

from gan.bagan import Bagan
from gan.conditional import ConditionalGan
from gan.gamo import Gamo
from gan.train import GanOversampler, balance

__all__ = ["Bagan", "ConditionalGan", "Gamo", "GanOversampler", "balance"]
