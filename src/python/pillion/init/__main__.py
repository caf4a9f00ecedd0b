# SPDX-License-Identifier: Apache-2.0
"""`python -m pillion.init` is the same as `pillion-init`."""
import sys

from pillion.init.cli import main

sys.exit(main())
