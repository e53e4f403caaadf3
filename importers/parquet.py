"""Rows of a parquet file, some thousand at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from importers.counting import Counts, ImportTrouble
from project_types import ConfigurationError

_BATCH = 4000


def parquet_rows(path: Path, needed: Sequence[str], counts: Counts) -> Iterator[Mapping[str, Any]]:
    """Yield each row by column; of two columns of one name the first counts.

    Raises:
        ImportTrouble: the file is damaged, or a needed column is missing.
        ConfigurationError: the library is missing.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError as missing:
        raise ConfigurationError(f"parquet needs {missing.name}; run: pip install pyarrow") from missing
    try:
        file = pq.ParquetFile(path)
        names = list(file.schema_arrow.names)
        if lost := [name for name in needed if name not in names]:
            raise ImportTrouble(f"{path}: has no column {lost[0]!r}; its columns: {', '.join(names)[:300]}")
        for batch in file.iter_batches(_BATCH):
            columns = {
                name: batch.column(place) for place, name in reversed(list(enumerate(batch.schema.names)))
            }
            lists = {name: _plain(column) for name, column in columns.items()}
            counts.lines += batch.num_rows
            for place in range(batch.num_rows):
                yield {name: values[place] for name, values in lists.items()}
    except (pa.ArrowException, OSError) as trouble:
        raise ImportTrouble(f"{path}: is no whole parquet file ({trouble}); download it again") from trouble


def _plain(column: Any) -> list[Any]:
    """Return the values; clocks as nanoseconds since 1970, which a datetime has no room for."""
    import pyarrow as pa

    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("ns", column.type.tz)).cast(pa.int64())
    found: list[Any] = column.to_pylist()
    return found
