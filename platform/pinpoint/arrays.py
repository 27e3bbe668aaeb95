"""Types of arrays that many packages use.

Shapes are stated where a value is used, such as `Floats` `[B, 3]`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
"""Double precision numbers of any shape."""
Floats32 = NDArray[np.float32]
"""Single precision numbers of any shape."""
Flags = NDArray[np.bool_]
"""Truth values of any shape."""
