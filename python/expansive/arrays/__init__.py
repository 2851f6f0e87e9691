"""Arrays in, arrays out: what users pass, as the kernels take it, and back to the same library."""

from expansive.arrays.device import DeviceArray
from expansive.arrays.frames import is_pandas_frame, is_polars, require_number_columns
from expansive.arrays.host import (
    DTYPES,
    empty_aligned,
    host_array,
    is_of,
    is_torch,
    require_collected,
    require_unmasked,
    to_host,
)
from expansive.arrays.labels import (
    Labels,
    as_labels,
    as_row_indices,
    label_array,
    require_one_kind,
)
from expansive.arrays.rows import (
    Rows,
    as_output,
    as_rows,
    device_of,
    dtype_name,
    is_converted,
    require_finite,
)
from expansive.arrays.wording import some_of

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
    "is_converted",
    "is_of",
    "is_pandas_frame",
    "is_polars",
    "is_torch",
    "label_array",
    "require_collected",
    "require_finite",
    "require_number_columns",
    "require_one_kind",
    "require_unmasked",
    "some_of",
    "to_host",
]
