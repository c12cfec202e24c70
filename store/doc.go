// Package store keeps one generation of a fold in Pebble: the rows that a module derived from a source, the lineage
// that says which source key owns which row, and the cursor that says how far the source is folded. It is the only
// package that imports Pebble.
//
// # What the bytes are
//
// A data directory holds
//
//	FORMAT                       the version of this directory, down to the names of generations, in decimal: DirVersion
//	LOCK                         held by the one process that has the directory open
//	folds/NAME/CURRENT           the generation that serves, replaced by an atomic rename
//	folds/NAME/NEXT              the generation that is being built to replace it, which one that is, and who asked for it or why
//	folds/NAME/PREVIOUS          the generation that an upgrade replaced, and until when it is kept as the way back
//	folds/NAME/HELD              an operator went back from this configuration, by its hash
//	folds/NAME/PAUSED            an operator paused the fold, and when
//	folds/NAME/GENERATION/       a Pebble database; GENERATION is the hash of its identity, and -2, -3, … when one of that
//	                             identity was there already
//	folds/NAME/GENERATION/*.run  tables on their way into that database; what a crash leaves of them goes with the next open
//	folds/NAME/GENERATION/module.wasm    the module that makes it
//	folds/NAME/GENERATION/identity.json  its identity and limits, for who has not the lock: what counts is in the database
//	folds/NAME/GENERATION/built.json     what it took to build it
//	folds/NAME/GENERATION/copied         the generation of whose kept records it was begun with
//	folds/NAME/GENERATION.gone/  one that is being removed
//
// and a database holds, one byte of kind first, integers big-endian in keys and little-endian in values:
//
//	meta        0x01 name                                  -> format (FormatVersion) | identity | number | limits | state
//	point       0x02 seq u64                               -> position, expired_to, counts and digests at seq
//	row         0x10 index u16, esc(key), 0x00 0x01, source -> flags u8, [expiry i64], [seq u64], value
//	lineage     0x20 source                                -> flags u8, seq u64, time i64, [expiry i64], [held], [kept u64],
//	                                                          n, n rows of (index, key, hash 16, [expiry i64])
//	quarantine  0x30 source                                -> seq, time, code, message, module digest, update
//	expiry      0x40 time u64, source                      -> ()    one a source key: the earliest of its times
//	aging       0x42 time u64, source                      -> ()    the record's own time: the stream's MaxAge ends it
//	record      0x50 source                                -> seq u64, time i64, expiry i64, the record as the runtime encodes it
//
// Only a store with Identity.KeepSource has records, and it has one for each lineage.
//
// esc doubles a zero byte to 0x00 0xff, so that keys of any bytes sort as themselves and end where 0x00 0x01 stands.
// A key's prefix, in Pebble's sense, ends at that terminator: one bloom filter look-up answers for all claimants of a
// derived key.
//
// Invariants, all of them checked by [DB.Check]:
//   - every row is named by the lineage of its source key with its exact hash, and every row so named exists;
//   - the state's counts and digests are those of the rows, lineages, quarantine, expiry and aging queue that are there;
//   - a source key is in quarantine when its lineage says so, with that seq, time and size (held); it then owns no rows,
//     or those of the older record whose seq its lineage has (kept);
//   - where records are kept, every lineage has its record, of its seq and time, and no other source key has one;
//   - nothing in the expiry queue is due by the state's ExpiredTo, nothing in the aging queue by ExpiredTo - MaxAge;
//   - while the state has a MaxAge, every record is in the aging queue that does not say of itself that it stays;
//   - the state, its cursor included, was written by the batch, or the ingestion, that wrote the last of them.
//
// # Why are the limits not in the identity?
//
// A record that the module transformed under a limit is transformed alike under a higher one, and what failed is in
// quarantine. So a raised limit is adopted in place: [DB.Raise] stores it with the note that quarantine is owed a retry,
// which stays until [DB.Retried]. A lowered one makes another generation of the same identity, and so does another limit of
// memory: a guest that is refused memory need not fail.
//
// # Why is there no way to set the cursor?
//
// Because [DB.Commit] stores the cursor with the rows that it speaks of, in one act of Pebble. A cursor that could be
// moved alone could be wrong alone.
//
// # Why may commits wait, and go in as tables?
//
// While a fold is far behind, nobody waits for a single commit, and most of what one costs is Pebble's log, memtable and
// flush. With Batch.More a commit stays in memory, its rows, lineages, queues and points staged; the next one finds what it
// changed there before it looks into the database. When as much waits as one and a half memtables hold, all of it is sorted,
// written as tables that do not overlap, and ingested together with the state: one act, as a batch is, with the cursor of the
// last of them. Meanwhile commits go on into a second such place, and find in the first what they do not find in theirs: the
// fold does not stand still while tables are written. A third there is not: who is faster than the disk waits. A crash before it leaves the cursor of the act before. Each commit that waited had a state of its own, so the
// points that it passed are kept as if it had been stored alone. What may be due is read from the database, so before
// something expires all that waits is stored.
//
// In an empty store nearly every source key is new. A filter in memory knows those that were seen since; who is not in it
// has no lineage to read, whatever the stream is and whoever resumed it.
//
// # Why is the seq not in the row?
//
// An unchanged row is then not written again although its source's seq moved, and the rows are a function of the live
// source alone. Rows of an index with collisions = "latest" do carry it, because a read must know the newest claimant
// without history; it is never part of the hash, so a rebuild reaches the same digest.
//
// # Why do rows that are due never get written?
//
// What a commit leaves is a function of the records up to its position and of the fold's clock, however the batches
// were cut: due rows of older batches go, and rows of this batch that are already due are not written.
//
// # Why do records that age have a queue of their own?
//
// MaxAge is the stream's configuration, and may change while rows stand: an absolute time that was worked out when the
// record was folded would then be wrong. The aging queue holds the records' own times, and each commit judges them by
// the MaxAge that its batch says the stream has now: raising or lowering it moves one number. A stream without a
// MaxAge pays nothing: its records are queued, in one pass over the lineages, by the first commit that names one.
//
// # Why do kept rows live as long as the record that failed?
//
// A source key has one record, the newest: what ends that one (its expiry, the stream's MaxAge, a removal) ends what the
// source key owns, rows that Batch.Keep left included. When the older record would have gone means nothing any more: a
// put that could be transformed would have replaced that time too. Only what the module said of a row stands: its own
// expiry. Such rows depend on what was folded before, so State.Kept and Point.Kept count the source keys that have any:
// digests of two stores need not agree where one of them does.
//
// # Why does the process end when the disk fails?
//
// Pebble reports a failed write of its log or manifest by Logger.Fatalf and cannot go on: after a Fatalf that returned,
// a synced write that had met ENOSPC reported success, the next rotation panicked, Close hung. What was acknowledged
// is on disk, so a restart resumes at the cursor. What Pebble answers with a panic, or repeats for ever, ends the process
// the same way: see diskFS, maxStuck and [Options].
//
// # What is another format?
//
// Another identity: the format of a database is part of it, so a foldrun that writes another one builds another generation, and
// the one that serves goes on in its own until it is replaced. What the bytes of a database mean is asked of DB.id.Format, by whoever
// reads or writes what differs, for each of the formats that it may be; no store is ever moved from one to another in place. Another
// FormatMajorVersion of Pebble's is another format too. A release that writes a new format reads the one before it.
// A database of any other is not opened, and nothing of it is changed: a format that is newer says so before Pebble looks at it.
package store

// DirVersion is the version of a data directory, down to the names of generations. History:
//
//	1  first
const DirVersion = 1

// FormatVersion is the version of the databases that this package writes. History:
//
//	1  first
const FormatVersion = 1

// formats are those of the databases that this package opens, the last one is what it writes.
var formats = []int{FormatVersion}
