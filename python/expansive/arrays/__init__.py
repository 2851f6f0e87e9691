"""Arrays in, arrays out: what users pass, as the kernels take it, and back to the same library."""

from expansive.arrays.device import DeviceArray
from expansive.arrays.host import DTYPES, empty_aligned, host_array, is_torch, to_host
from expansive.arrays.labels import Labels, as_labels, as_row_indices, label_array
from expansive.arrays.rows import Rows, as_output, as_rows, device_of, dtype_name, require_finite

__all__ = [
    "DTYPES",
    "DeviceArray",
    "Labels",
    "Rows",
    "as_labels",
    "as_output",
    "as_row_indices",
    "as_rows",
    "device_of",
    "dtype_name",
    "empty_aligned",
    "host_array",
    "is_torch",
    "label_array",
    "require_finite",
    "to_host",
]
