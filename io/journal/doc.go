// Package journal keeps a durable, append-only log of entries in one file. It promises that an entry whose Commit
// returned nil is read back whole after a crash or a power cut, that a torn tail is recognised and cut off, and that
// a file damaged anywhere else is refused and never silently shortened.
//
// # Format
//
// A file starts with the line "batchwright journal 1\n". Entries and barriers follow, with nothing in between:
//
//	entry:    length uint32 LE (1 to 256 Mi) · CRC-32C uint32 LE of the payload · payload
//	barrier:  the 8 bytes FF "bwsync" FF · its own offset in the file uint64 LE · CRC-32C uint32 LE of those 16 bytes
//
// A barrier says that all bytes before it had been synced before it was written. File systems write pages back in
// any order, so a power cut can leave whole entries behind a hole in the last, unsynced group; only damage that
// lies before a barrier is certain to be no crash.
package journal
