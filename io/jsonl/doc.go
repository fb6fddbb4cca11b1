// Package jsonl reads and writes JSON Lines: one JSON object a line. It promises to account for every line: each
// that is not blank becomes exactly one record, a broken one with a reason that names the byte and never the
// text; to take values over byte for byte; and to hold one line at a time, of at most 32 MiB.
package jsonl
