// Package store keeps files durably on the local disk. It promises that a reader sees a file whole, as it was
// before or as it is after a write, also when the power fails: what is written goes to a hidden temporary file in the
// same folder, which is synced, renamed over the old file, and made to last by a sync of the folder.
//
// Errors wrap their cause, so that errors.Is finds syscall.ENOSPC on a full disk.
package store
