# SPDX-License-Identifier: Apache-2.0
"""Pillion for Python: the builder (pillion.build) over the C core."""
from pillion._core import VERSION as __version__

__all__ = ["__version__"]
