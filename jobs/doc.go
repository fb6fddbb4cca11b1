// Package jobs is the domain of batchwright: the job file, the record, the request made of it, the result it
// ends with, and how an answer becomes columns. It promises to be pure: it reads files that a job names, and
// otherwise touches neither network, queue nor clock, and it imports no other package of this module.
package jobs
