# SPDX-License-Identifier: Apache-2.0
"""`pillion build`: feature views from Parquet, CSV and SQL to releases in a store.

cli      arguments, messages, exit codes
project  the project file, as the C parser hands it over
sources  files and queries to Arrow batches, each with its place
check    a batch's columns to the types of the view; what does not fit, and in which row
builder  one view: reads in one thread, encodes in the other, merges, publishes (the C core does the work)
memory   how much is ours, and how it is shared out
progress one moving line, or one line every ten seconds
"""
import importlib.util
import os

_missing = [name for name in ("pyarrow", "duckdb") if importlib.util.find_spec(name) is None]
if _missing:
    raise ImportError(f"pillion.build needs {' and '.join(_missing)}: install pillion with the extra [build]")

# Arrow's own allocator keeps what was freed: a third of the reader's share of a cap of resident memory. Arrow
# looks at this once, when it is imported.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
