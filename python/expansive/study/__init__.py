"""The study: data x imbalance x backbone x loss x method x seeds; needs the extra ``study``."""
