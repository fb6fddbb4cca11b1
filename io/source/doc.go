// Package source turns what a job names as its input into an ordered list of files, and reads their records as one
// sequence from any position on. It promises the same order for the same files everywhere: inputs as the job lists
// them, files within a glob or a folder by name, byte by byte; that no file is read twice; and that a file that
// cannot be read to its end is an error that names it.
package source
