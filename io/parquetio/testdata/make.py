"""Makes the Parquet files that the tests read, and beside them what reading must give.

Run in this folder with pyarrow and duckdb installed: python3 make.py. Each NAME.parquet is read back as NAME.jsonl
or, for the variants of one table, as the .jsonl of the part of the name before the first dot.
"""

import datetime as dt
import decimal
import json
import uuid

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

D = decimal.Decimal
utc = dt.timezone.utc

# (column, Arrow type, values, the JSON text of each).
TYPES = [
    ("text", pa.string(), ["plain", 'q"\\\n\t\x01é\u2028', None], ['"plain"', '"q\\"\\\\\\n\\t\\u0001é\u2028"', "null"]),
    ("large", pa.large_string(), ["", "x" * 40, None], ['""', '"' + "x" * 40 + '"', "null"]),
    ("label", pa.dictionary(pa.int32(), pa.string()), ["a", "b", "a"], ['"a"', '"b"', '"a"']),
    ("flag", pa.bool_(), [True, False, None], ["true", "false", "null"]),
    ("i8", pa.int8(), [-128, 127, None], ["-128", "127", "null"]),
    ("i16", pa.int16(), [-32768, 32767, None], ["-32768", "32767", "null"]),
    ("i32", pa.int32(), [-2147483648, 2147483647, None], ["-2147483648", "2147483647", "null"]),
    ("i64", pa.int64(), [-(2**63), 2**63 - 1, None], ["-9223372036854775808", "9223372036854775807", "null"]),
    ("u8", pa.uint8(), [0, 255, None], ["0", "255", "null"]),
    ("u16", pa.uint16(), [0, 65535, None], ["0", "65535", "null"]),
    ("u32", pa.uint32(), [0, 4294967295, None], ["0", "4294967295", "null"]),
    ("u64", pa.uint64(), [0, 2**64 - 1, None], ["0", "18446744073709551615", "null"]),
    ("f16", pa.float16(), [1.5, -0.00006103515625, None], ["1.5", "-0.000061035156", "null"]),
    ("f32", pa.float32(), [0.1, 1e20, float("-inf")], ["0.1", "100000000000000000000", '"-Infinity"']),
    ("f64", pa.float64(), [0.1, 1e-7, float("nan")], ["0.1", "0.0000001", '"NaN"']),
    ("dec9", pa.decimal128(9, 3), [D("-12.340"), D("0.001"), None], ["-12.340", "0.001", "null"]),
    ("dec18", pa.decimal128(18, 9), [D("123456789.123456789"), D("0"), None], ["123456789.123456789", "0.000000000", "null"]),
    ("dec38", pa.decimal128(38, 2), [D("-9" * 1 + "9" * 35 + ".99"), D("1.00"), None], ["-" + "9" * 36 + ".99", "1.00", "null"]),
    ("dec76", pa.decimal256(76, 0), [D("9" * 76), D("-1"), None], ["9" * 76, "-1", "null"]),
    ("day", pa.date32(), [dt.date(2026, 11, 22), dt.date(1, 1, 1), None], ['"2026-11-22"', '"0001-01-01"', "null"]),
    ("clock_ms", pa.time32("ms"), [dt.time(13, 45, 7, 123000), dt.time(0), None], ['"13:45:07.123"', '"00:00:00.000"', "null"]),
    ("clock_us", pa.time64("us"), [dt.time(23, 59, 59, 999999), dt.time(0), None], ['"23:59:59.999999"', '"00:00:00.000000"', "null"]),
    ("clock_ns", pa.time64("ns"), [1, 86399999999999, None], ['"00:00:00.000000001"', '"23:59:59.999999999"', "null"]),
    ("at_ms", pa.timestamp("ms"), [dt.datetime(1969, 12, 31, 23, 59, 59, 999000), dt.datetime(9999, 12, 31), None],
     ['"1969-12-31T23:59:59.999"', '"9999-12-31T00:00:00.000"', "null"]),
    ("at_us", pa.timestamp("us", tz="UTC"), [dt.datetime(2000, 2, 29, 1, 2, 3, 4, tzinfo=utc), dt.datetime(1900, 3, 1, tzinfo=utc), None],
     ['"2000-02-29T01:02:03.000004Z"', '"1900-03-01T00:00:00.000000Z"', "null"]),
    ("at_ns", pa.timestamp("ns", tz="Europe/Berlin"), [-(2**63) + 1, 2**63 - 1, None],
     ['"1677-09-21T00:12:43.145224193Z"', '"2262-04-11T23:47:16.854775807Z"', "null"]),
    ("bytes", pa.binary(), [b"\x00\xff\xfe", b"", None], ['"AP/+"', '""', "null"]),
    ("fixed", pa.binary(3), [b"abc", b"\x00\x00\x00", None], ['"YWJj"', '"AAAA"', "null"]),
    ("id", pa.uuid(), [uuid.UUID(int=1).bytes, uuid.UUID("12345678-90ab-cdef-1234-567890abcdef").bytes, None],
     ['"00000000-0000-0000-0000-000000000001"', '"12345678-90ab-cdef-1234-567890abcdef"', "null"]),
    ("doc", pa.json_(pa.string()), ['{"a": [1, 2]}', "17", None], ['{"a": [1, 2]}', "17", "null"]),
    ("nothing", pa.null(), [None, None, None], ["null", "null", "null"]),
    ("ints", pa.list_(pa.int32()), [[1, None, 3], [], None], ["[1,null,3]", "[]", "null"]),
    ("nested", pa.list_(pa.list_(pa.string())), [[["a"], [], None, ["b", None]], [[]], None], ['[["a"],[],null,["b",null]]', "[[]]", "null"]),
    ("pair", pa.struct([("x", pa.int64()), ("y", pa.list_(pa.float64()))]), [{"x": 1, "y": [0.5]}, {"x": None, "y": None}, None],
     ['{"x":1,"y":[0.5]}', '{"x":null,"y":null}', "null"]),
    ("turns", pa.list_(pa.struct([("role", pa.string()), ("tags", pa.list_(pa.string()))])),
     [[{"role": "user", "tags": []}, {"role": None, "tags": ["t", None]}, None], [], None],
     ['[{"role":"user","tags":[]},{"role":null,"tags":["t",null]},null]', "[]", "null"]),
    ("counts", pa.map_(pa.string(), pa.int32()), [[("a", 1), ("b", None)], [], None], ['{"a":1,"b":null}', "{}", "null"]),
    ("by_number", pa.map_(pa.int32(), pa.list_(pa.string())), [[(1, ["x"]), (2, None)], [], None], ['{"1":["x"],"2":null}', "{}", "null"]),
]


def arrow(columns):
    return pa.table({name: pa.array(values, typ) for name, typ, values, _ in columns})


def expected(columns, name):
    with open(name + ".jsonl", "w", encoding="utf-8") as f:
        for row in range(len(columns[0][2])):
            f.write("{" + ",".join(json.dumps(c[0]) + ":" + c[3][row] for c in columns) + "}\n")


def types():
    table = arrow(TYPES)
    expected(TYPES, "types")
    for codec in ["none", "snappy", "gzip", "zstd", "lz4", "brotli"]:
        pq.write_table(table, f"types.{codec}.parquet", compression=codec, store_schema=False)
    pq.write_table(table, "types.v2.parquet", data_page_version="2.0", row_group_size=1, store_schema=False,
                   write_page_checksum=True, compression="zstd")
    pq.write_table(table, "types.plain.parquet", use_dictionary=False, data_page_version="2.0", store_schema=False,
                   compression="snappy")


def encodings():
    rows = 250
    columns = [
        ("n", pa.int64(), [(i * 7919) % 1000 - 500 if i % 5 else None for i in range(rows)], None),
        ("m", pa.int32(), [i * 3 for i in range(rows)], None),
        ("f", pa.float64(), [i / 8 if i % 3 else None for i in range(rows)], None),
        ("g", pa.float32(), [i / 4 for i in range(rows)], None),
        ("s", pa.string(), [f"prefix {i // 10} rest {i}" if i % 7 else None for i in range(rows)], None),
        ("t", pa.string(), ["word" * (i % 4) for i in range(rows)], None),
        ("b", pa.bool_(), [i % 3 == 0 if i % 11 else None for i in range(rows)], None),
        ("l", pa.list_(pa.int64()), [list(range(i % 4)) if i % 13 else None for i in range(rows)], None),
    ]
    def text(v):
        if isinstance(v, float):
            return repr(v)[:-2] if v == int(v) else repr(v)
        return json.dumps(v, separators=(",", ":"))
    columns = [(n, t, v, [text(x) for x in v]) for n, t, v, _ in columns]
    expected(columns, "encodings")
    table = arrow(columns)
    common = dict(use_dictionary=False, store_schema=False, data_page_size=512, write_batch_size=64, compression="zstd",
                  row_group_size=100)
    pq.write_table(table, "encodings.delta.parquet", column_encoding={
        "n": "DELTA_BINARY_PACKED", "m": "DELTA_BINARY_PACKED", "f": "BYTE_STREAM_SPLIT", "g": "BYTE_STREAM_SPLIT",
        "s": "DELTA_BYTE_ARRAY", "t": "DELTA_LENGTH_BYTE_ARRAY", "b": "RLE", "l.list.element": "DELTA_BINARY_PACKED"}, **common)
    pq.write_table(table, "encodings.delta2.parquet", data_page_version="2.0", column_encoding={
        "n": "BYTE_STREAM_SPLIT", "m": "BYTE_STREAM_SPLIT", "f": "PLAIN", "g": "PLAIN",
        "s": "DELTA_LENGTH_BYTE_ARRAY", "t": "DELTA_BYTE_ARRAY", "b": "RLE", "l.list.element": "PLAIN"}, **common)
    common["use_dictionary"] = True
    pq.write_table(table, "encodings.dictionary.parquet", **common)
    # A dictionary that outgrows its page: the column goes on in plain pages.
    pq.write_table(table, "encodings.fallback.parquet", dictionary_pagesize_limit=200, **common)


def int96():
    columns = [("at", pa.timestamp("ns"), [0, -1, 1700000000123456789, None],
                ['"1970-01-01T00:00:00.000000000"', '"1969-12-31T23:59:59.999999999"', '"2023-11-14T22:13:20.123456789"', "null"])]
    expected(columns, "int96")
    pq.write_table(arrow(columns), "int96.parquet", use_deprecated_int96_timestamps=True, store_schema=False)


def duck():
    duckdb.sql("""
        COPY (SELECT i::INTEGER AS i, CASE WHEN i % 2 = 0 THEN 'even' END AS s, (i / 4)::DECIMAL(18, 4) AS d,
            DATE '2026-11-22' + i::INTEGER AS day, TIMESTAMP '2026-11-22 13:45:07.5' AS at,
            TIME '01:02:03' AS clock, [i, i + 1] AS l, {'a': i, 'b': 'x'} AS st, MAP {'k': i} AS m,
            '00000000-0000-0000-0000-00000000000a'::UUID AS u, 'ok'::ENUM('ok', 'no') AS e, ('x' || i)::BLOB AS raw,
            '{"a":1}'::JSON AS j, i % 2 = 0 AS b, i::UTINYINT AS tiny
        FROM range(4) t(i)) TO 'duckdb.parquet' (FORMAT parquet, COMPRESSION zstd)""")
    with open("duckdb.jsonl", "w", encoding="utf-8") as f:
        for i in range(4):
            f.write(f'{{"i":{i},"s":{json.dumps("even") if i % 2 == 0 else "null"},"d":{i / 4:.4f},"day":"2026-11-{22 + i}",'
                    f'"at":"2026-11-22T13:45:07.500000","clock":"01:02:03.000000","l":[{i},{i + 1}],"st":{{"a":{i},"b":"x"}},'
                    f'"m":{{"k":{i}}},"u":"00000000-0000-0000-0000-00000000000a","e":"ok","raw":"{ {0: "eDA=", 1: "eDE=", 2: "eDI=", 3: "eDM="}[i] }",'
                    f'"j":{{"a":1}},"b":{json.dumps(i % 2 == 0)},"tiny":{i}}}\n')


types()
encodings()
int96()
duck()
