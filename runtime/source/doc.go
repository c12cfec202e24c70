// Package source reads a NATS JetStream stream for a fold: everything after a position, in stream order, in batches
// that carry the position they reach. The position is the client's: it is committed with what the batch becomes, and
// the server keeps nothing for us.
//
//	for each session:
//	    prove that the stream is the one that the position came from
//	    make a consumer that starts at Seq+1
//	    pull; put each message into the current batch; hand the batch on
//	    at any doubt: end the session, begin the next one at the position reached
//
// Starting, reconnecting and recovering are this one path. A session ends on a gap in the consumer's sequence, a
// heartbeat that counts messages we never got, silence, any status that is not the normal end of a pull, and every
// reconnect. What ends Run is a *Stop: the stream is provably another one than the position's (or cannot be folded).
//
// # Why not nats.go's ordered consumer, or KV.Watch?
//
// The ordered consumer resumes at cursor+1 on a stream that was deleted and made again, without a word: what the new
// stream holds below that is never seen. It also cannot see that the last message was lost while the stream is idle,
// because it throws away the sequences in the server's heartbeats. KV.Watch adds a push consumer, 256 entries of
// buffer and recoveries that take seconds. The loop here owns the reset, so it can check before each one.
//
// # Why is a batch handed on at once when nothing else is in flight?
//
// An idle fold then commits each update by itself, within the time of a commit. Once a commit is under way, what
// arrives fills the next batch, which leaves when the pipeline is idle again or when it is full. So batches grow with
// the load and nothing has to be tuned.
//
// # Why does a source tell the time?
//
// Records expire by the server's clock. While updates come, theirs is the time, the same wherever the stream is folded.
// While none comes the server's clock goes on: STREAM.INFO has it, and this machine counts on from there, so a machine
// whose own clock is wrong expires nothing early. It stays some seconds behind, so that an update that is under way is
// not older than the clock.
//
// # Why is the subject's hash enough for an anchor?
//
// An anchor is compared by seq, time in nanoseconds and subject. It guards against another history of the stream, not
// against somebody who forges one.
package source
