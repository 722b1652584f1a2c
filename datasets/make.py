#!/usr/bin/env python3
"""Makes the three real streams of this folder from their original files.

    pip install polars==2.1.0
    python datasets/make.py DIRECTORY_WITH_THE_ORIGINALS

Rows stay in stream order, and every number is the f64 nearest to what the original says: the script reads each
file it wrote again and compares it, bit for bit, with Python's own parse of the original.
"""

import csv
import struct
import sys
from pathlib import Path

import polars as pl

HERE = Path(__file__).parent
# name here, original file, columns (None: the file has a header), columns that are not measured
STREAMS = [
    ("electricity", "electricity.csv", None, ["class"]),
    ("arabic_digits", "ArabicDigit_Shuffled_With_Sex.csv", None, ["sex", "digit"]),
    ("insects", "AbruptInsects.data", [f"f{i}" for i in range(49)] + ["class"], ["class"]),
]


def read(original, names):
    """The rows of a file as text, and the names of their columns."""
    with open(original, newline="") as file:
        rows = [row for row in csv.reader(file) if row]
    return (names, rows) if names else (rows[0], rows[1:])


def make(name, original, names, labels):
    names, rows = read(original, names)
    columns = {}
    for i, column in enumerate(names):
        values = [row[i].strip() for row in rows]
        columns[column] = pl.Series(values) if column in labels else pl.Series(map(float, values), dtype=pl.Float64)
    target = HERE / f"{name}.parquet"
    pl.DataFrame(columns).write_parquet(target, compression="zstd", compression_level=19, statistics=False)
    again = pl.read_parquet(target)
    for i, column in enumerate(names):
        for row, value in zip(rows, again[column]):
            expected = row[i].strip()
            same = value == expected if column in labels else struct.pack("d", value) == struct.pack("d", float(expected))
            assert same, f"{name}.{column}: {value} is not {expected}"
    print(f"{target.name}: {again.height} rows, {again.width} columns, {target.stat().st_size} bytes")


if __name__ == "__main__":
    for name, file, names, labels in STREAMS:
        make(name, Path(sys.argv[1]) / file, names, labels)
