# SPDX-License-Identifier: Apache-2.0
"""The memory that reading a Parquet file takes, from its metadata: all columns of a row group are open at once."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

import pyarrow.parquet as pq

MIB = 1 << 20
STREAMS_BYTES = 32 * MIB        # all read buffers together
STREAM_BYTES_MIN = 16 << 10
STREAM_BYTES_MAX = MIB
PAGE_BYTES = MIB                # what writers aim at …
PAGE_VALUES = 1024              # … but they look only after so many values
COLUMN_BYTES = 8 << 10          # decoder and builder of an open column
BATCHES = 4                     # one is read, one waits, one is encoded, and a copy of one while it is converted


@dataclass(frozen=True)
class Needs:
    reader: int = 0     # for open columns: buffers and pages
    row: int = 0        # bytes of an average row, of the row group where that is most

    def most(self, other: Needs) -> Needs:
        return Needs(max(self.reader, other.reader), max(self.row, other.row))


def stream_bytes(columns: int) -> int:
    """The read buffer of each column."""
    return max(STREAM_BYTES_MIN, min(STREAM_BYTES_MAX, STREAMS_BYTES // max(columns, 1)))


def needs(metadata: pq.FileMetaData, leaves: Sequence[int]) -> Needs:
    """What reading the columns with these indices takes."""
    result = Needs()
    buffer = stream_bytes(len(leaves))
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        reader = total = 0
        for index in leaves:
            column = group.column(index)
            full, packed = column.total_uncompressed_size, column.total_compressed_size
            page = min(full, max(PAGE_BYTES, PAGE_VALUES * full // max(column.num_values, 1)))
            dictionary = min(full - page, PAGE_BYTES) if column.has_dictionary_page else 0
            reader += page + dictionary + min(packed, page) + min(packed, buffer) + COLUMN_BYTES
            total += full
        result = result.most(Needs(reader, total // max(group.num_rows, 1)))
    return result
