# SPDX-License-Identifier: Apache-2.0
"""`python -m pillion.build` is the same as `pillion-build`."""
import sys

from pillion.build.cli import main

sys.exit(main())
