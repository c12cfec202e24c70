// Package golden runs golden tests of modules: files that hold updates, and what must come of each. The module is run by
// the real thing: package runtime transforms, compares and commits into a store, one commit an update.
//
// A test is a txtar archive. What stands before the first section is comment, and in a section so is a line that starts
// with #.
//
//	Cities move between countries.
//	-- config.json --
//	{"min_population": 500000}
//	-- updates --
//	put 1 {"name":"Nice","country":"FR"}
//	+ main FR/Nice {"id":1}
//	put 1 {"name":"Nice","country":"IT"}
//	+ main IT/Nice {"id":1}
//	- main FR/Nice
//	put 2 {"country":5}
//	! module 2: not a string: 5
//	delete 1
//	- main IT/Nice
//	-- rows --
//	-- quarantine --
//	2 module 2: not a string: 5
//
// An update is "put KEY VALUE", "delete KEY" or "purge KEY". Lines that are indented say more of it:
//
//	header NAME: VALUE     any number of them
//	subject SUBJECT        default $KV.test.KEY
//	seq N                  default the last one's and one more, from 1
//	time 2026-01-01T00:00:00Z   the message's; default the last one's and a second more, from this
//
// "clock TIME" stands for time that passes without an update: what expires by then goes.
//
// Below an update stands all that it changes, in any order:
//
//   - INDEX KEY VALUE        the row stands so now
//   - INDEX KEY              the row is gone
//     ! REASON                 the update is in quarantine, as "foldrun quarantine ls" says it
//
// with, where that is so,
//
//	expires TIME           of a row: when it goes by itself
//	source KEY             the row is not of the update's source key
//
// An update that changes nothing has nothing below it. "rows" is every row after the updates above, as "INDEX KEY SOURCE
// VALUE", and "quarantine" every source key in it, as "KEY REASON"; both may be left out, and both may stand between two
// sections of updates. "refused" is the text with which a config is refused, and such a test has no updates.
//
// A key or value that is no plain text is a Go string in quotation marks; so is one that is empty, starts with a quotation
// mark, or, for a key, holds a space. A VALUE of @NAME is what the section NAME holds, without the last line's end. The
// section "keying" with the word message makes each update a record of its own: then KEY is the subject, and a source key
// is written as its seq.
//
// # Why does each update have a commit of its own?
//
// In one commit only the newest update of a source key is transformed, and what the others would have changed is not
// seen.
package golden
