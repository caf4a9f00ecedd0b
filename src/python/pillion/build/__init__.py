# SPDX-License-Identifier: Apache-2.0
"""`pillion build`: feature views from Parquet, CSV and SQL to releases in a store.

cli      arguments, messages, exit codes
project  the project file, as the C parser returns it
sources  files and queries to Arrow batches, each with its place
csv_dialect, csv_lines, csv_values  how CSV is written: options and bytes; lines; spellings of values
check    a batch's columns to the types of the view; which values do not fit, and in which rows
builder  one view: reads in one thread, encodes in the other, merges, publishes (the C core does the work)
memory   the memory that a build may use, and its distribution; parquet_memory: what reading a file takes
terminal text from outside, shown safely
progress one moving line, or one line every ten seconds
"""
import importlib.util
import os

_missing = [name for name in ("pyarrow", "duckdb") if importlib.util.find_spec(name) is None]
if _missing:
    raise ImportError(f"pillion.build needs {' and '.join(_missing)}: install pillion with the extra [build]")

# Arrow's own allocator keeps freed memory: a third of the reader's share of a cap on resident memory. Arrow reads this
# variable once, on import.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
