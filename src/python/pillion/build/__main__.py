# SPDX-License-Identifier: Apache-2.0
"""`python -m pillion.build` is `pillion-build`."""
import sys

from pillion.build.cli import main

sys.exit(main())
