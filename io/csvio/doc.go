// Package csvio reads CSV and TSV files with a header row, as RFC 4180 has them. It promises that no text is lost
// without a record that says so: a row that cannot be read becomes a record with a problem, and when its quotes
// are wrong it ends with its first line, so that a stray quote never swallows the rows after it. Every column is
// text, an empty field the empty string; memory is bounded by one row of at most 32 MiB.
package csvio
