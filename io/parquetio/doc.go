// Package parquetio reads and writes Parquet files as records of JSON values.
//
// It promises that values survive: what Open reads, Writer writes back with the same types and the same JSON
// texts. It promises that a broken file ends in one error that names it, never in a panic, a wrong number of
// records or unbounded memory: reading needs one page of each column at a time, and no page may be larger than
// maxPageBytes.
//
// The reader decodes pages itself, because it has to bound what a hostile header can make it allocate and to
// keep going from any row; the writer and Concat stand on parquet-go. The format is specified at
// https://github.com/apache/parquet-format.
package parquetio
