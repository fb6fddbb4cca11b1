"""Reads FILE with pyarrow and DuckDB, prints the types that they see, and writes it to AGAIN with pyarrow.

The values must equal those of ORIGINAL, where the types do: python3 interop.py FILE AGAIN ORIGINAL
"""

import sys

import duckdb
import pyarrow.parquet as pq

path, again, original = sys.argv[1:]
table = pq.read_table(path)
source = pq.read_table(original)
assert table.num_rows == source.num_rows
for field in table.schema:
    print("arrow", field.name, field.type)
    was = source.schema.field(field.name).type
    if was == field.type:
        same = table[field.name].equals(source[field.name])
        nan = table[field.name].to_string() == source[field.name].to_string()
        assert same or nan, f"{field.name} differs"
for row in duckdb.sql(f"DESCRIBE SELECT * FROM '{path}'").fetchall():
    print("duckdb", row[0], row[1])
rows = duckdb.sql(f"SELECT * FROM '{path}'").to_arrow_table()
assert rows.num_rows == source.num_rows
assert rows["i64"].to_pylist() == source["i64"].to_pylist()
assert rows["dec38"].to_pylist() == source["dec38"].to_pylist()
assert rows["turns"].to_pylist() == source["turns"].to_pylist()
pq.write_table(table, again, compression="snappy", store_schema=False)
