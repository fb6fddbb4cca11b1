// Package store keeps files durably on the local disk, and objects in a store that other machines reach.
//
// For files it promises that a reader sees one whole, as it was before or as it is after a write, also when the power
// fails: what is written goes to a hidden temporary file in the same folder, which is synced, renamed over the old
// file, and made to last by a sync of the folder. A Bucket promises the same of its objects, and that of several
// processes that create one object exactly one succeeds.
//
// Errors wrap their cause, so that errors.Is finds syscall.ENOSPC on a full disk.
package store
