// Package coordinator owns a run: it reads the input, hands out records, journals their results, keeps the spend
// within its budget, and writes the output part by part.
//
// It promises that a result which it acknowledged is on disk, that the output a reader can see is whole and in
// input order, that memory is bounded by the window of records handed out and never by the input, and that a run
// which was stopped at any moment continues from what its state folder holds.
package coordinator
