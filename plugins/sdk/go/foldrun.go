// Package foldrun is the SDK for foldrun plugins in Go: this one file, ABI version 1, on the standard library alone.
// Copy it into your plugin, as foldrun/foldrun.go, and import it by your module's name:
//
//	package main
//
//	import "users/foldrun"
//
//	func init() { foldrun.Register(transform) }
//
//	func main() {} // never called
//
//	func transform(r *foldrun.Record, out *foldrun.Out) {
//		email, ok := foldrun.Field(r.Value(), "email").Text()
//		if !ok {
//			out.Skip()
//			return
//		}
//		out.Emit(0, email, r.Key())
//	}
//
// It is built with the Go toolchain, from 1.24 on:
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -buildvcs=false -trimpath -ldflags='-s -w' -o users.wasm .
//
// A transform says what one record yields now; the host compares that with what the record yielded before and stores
// the difference. It must depend on the record and the config alone: a package variable that remembers something from one
// record to the next is a bug, since the host makes and drops instances as it likes. A variable that is only reused,
// such as a buffer, is none.
//
// # Memory
//
// The input lies in one arena, which the host overwrites with the next call; what a record's methods return are views of
// it, to be read and not written, valid until transform returns. What is emitted is copied, unless it is such a view: so
// buffers may be reused at once, and on the stack. The SDK itself allocates nothing for a record once its buffers have grown.
// You may: each call ends by letting the garbage collector run, which nothing else is sure to do.
//
// # Panics
//
// A panic in transform is an error of the record in hand, with CodePanic and the panic's text; the others of its frame go
// on. What Go cannot recover from (os.Exit, runtime.Goexit, a deadlock, out of memory, a stack that is too deep) ends the
// instance: the host tries the record alone on a fresh one, quarantines it if it fails again, and goes on.
//
// # The world
//
// There are no files, network, arguments or environment; the clock stands still and random numbers are the same each
// time, so that every replica computes the same. Output of print and os.Stdout is discarded: use Log. Leaving out fmt and
// encoding/json saves half of the module's size, and time 250 KB: Second, Minute and Hour are here.
package foldrun

import (
	"math"
	"math/bits"
	"runtime"
	"strconv"
	"unsafe"
)

// wasm says that this is a plugin, not its tests: the same file builds for the host, where Try runs a transform.
const wasm = runtime.GOOS == "wasip1"

// Register sets the plugin's transform. Call it in an init function: main is never called.
func Register(transform func(r *Record, out *Out)) { guest.transform = transform }

// Configure sets what takes the fold's config, a JSON object that the manifest's schema allows. It is called once on each
// instance, before any transform. An error stops the fold from starting. The bytes are the function's to keep.
func Configure(configure func(config []byte) error) { guest.configure = configure }

// ---- records

// Op says what happened to a record's key.
type Op uint8

const (
	Put    Op = 1
	Delete Op = 2 // Delete and Purge are shown only if the manifest wants "delete"; their value is empty
	Purge  Op = 3
)

// A Record is one message of the source. Its views are valid until transform returns.
type Record struct {
	Seq  uint64 // the message's stream sequence: what KV calls its revision
	Time int64  // the message's time, nanoseconds since 1970
	Op   Op

	frame []byte   // the in frame
	spans []uint64 // the record in it: its words
	names []uint64 // the frame's headers, two words each
}

// The words of a record; of those that are spans, the low half is the offset, the high one the length.
const (
	wordSeq = iota
	wordTime
	wordKey
	wordValue
	wordSubject
	wordHeaders
	wordOp
	recordWords = 8
)

// Key returns the KV key, or the subject, or, with keying = "message", the seq as 8 bytes big-endian.
func (r *Record) Key() []byte { return r.at(r.spans[wordKey]) }

// Value returns the message's payload.
func (r *Record) Value() []byte { return r.at(r.spans[wordValue]) }

// Subject returns the message's whole subject: $KV.BUCKET.KEY for a KV bucket.
func (r *Record) Subject() []byte { return r.at(r.spans[wordSubject]) }

// Header returns the first value of a header, or nil if there is none; an empty value is not nil. Names are compared as
// NATS does, case included.
func (r *Record) Header(name string) []byte {
	for have, value := range r.Headers() {
		if string(have) == name {
			return value
		}
	}
	return nil
}

// Headers visits all headers in the message's order. A name with two values comes twice.
func (r *Record) Headers() func(yield func(name, value []byte) bool) {
	return func(yield func(name, value []byte) bool) {
		first, n := uint32(r.spans[wordHeaders]), uint32(r.spans[wordHeaders]>>32)
		for i := first; i < first+n; i++ {
			if !yield(r.at(r.names[2*i]), r.at(r.names[2*i+1])) {
				return
			}
		}
	}
}

// at returns the bytes of a span. Their capacity ends with them: no append reaches their neighbours.
func (r *Record) at(span uint64) []byte {
	from, n := uint32(span), uint32(span>>32)
	return r.frame[from : from+n : from+n]
}

// ---- what a record yields

// CodePanic is the code of a record whose transform panicked.
const CodePanic = 0xffff

// Times to live.
const (
	Second int64 = 1e9
	Minute       = 60 * Second
	Hour         = 60 * Minute
)

const (
	statusOK       = 1
	statusFiltered = 2
	statusError    = 3
)

// An Out takes what a record yields.
type Out struct {
	frame   []uint64 // the out frame so far: header, results, entries
	from    int      // where in it the record's entries begin
	status  uint64
	code    uint64
	message uint64 // address | length << 32
	tried   *Answer
}

// The words of the parts of an out frame.
const (
	headerWords = 4
	resultWords = 2
	entryWords  = 4
)

// Emit adds an entry. index is the ordinal of an index in the manifest. Key and value may be empty. A record that emits the
// same key of an index twice must give the same value and ttl.
func (o *Out) Emit(index int, key, value []byte) { o.EmitTTL(index, key, value, 0) }

// EmitTTL adds an entry that goes ttl nanoseconds after the record's time, even if the record stays; 0 is never.
func (o *Out) EmitTTL(index int, key, value []byte, ttl int64) {
	if o.status != statusOK {
		return
	}
	if uint(index) > math.MaxUint16 {
		panic("foldrun: no index " + strconv.Itoa(index))
	}
	if ttl < 0 {
		panic("foldrun: a negative ttl")
	}
	k, v := keep(key), keep(value)
	o.frame = append(o.frame, uint64(index)|uint64(k)<<32, uint64(len(key))|uint64(v)<<32, uint64(len(value)), uint64(ttl))
	if !wasm && o.tried != nil {
		o.tried.Entries = append(o.tried.Entries, Entry{index, string(key), string(value), ttl})
	}
}

// Skip says that the record is filtered out: it yields nothing, on purpose. What it emitted is withdrawn, what it emits
// afterwards is not taken.
func (o *Out) Skip() {
	if o.status == statusOK {
		o.status = statusFiltered
	}
}

// Error says that the record cannot be transformed: it goes to quarantine with the code, which is the plugin's own, and
// the message. Entries are treated as by Skip.
func (o *Out) Error(code uint16, message string) {
	if o.status != statusOK {
		return
	}
	o.status, o.code = statusError, uint64(code)
	text := unsafe.Slice(unsafe.StringData(message), len(message))
	o.message = uint64(keep(text)) | uint64(len(text))<<32
	if !wasm && o.tried != nil {
		o.tried.Message = string(text)
	}
}

// begin makes room for the results; the entries follow.
func (o *Out) begin(records int) {
	n := headerWords + resultWords*records
	if cap(o.frame) < n {
		o.frame = make([]uint64, n, 2*n+4*entryWords)
	}
	o.frame = o.frame[:n]
}

// end writes the result of record i.
func (o *Out) end(i int) {
	if o.status != statusOK {
		o.frame = o.frame[:o.from]
	}
	result := o.frame[headerWords+resultWords*i:]
	result[0] = o.status | o.code<<16 | uint64((len(o.frame)-o.from)/entryWords)<<32
	result[1] = o.message
}

// header completes the out frame and returns it, packed.
func (o *Out) header(records int) uint64 {
	const magic = 'F' | 'R'<<8 | 'O'<<16 | '1'<<24
	entries := (len(o.frame) - headerWords - resultWords*records) / entryWords
	o.frame[0] = magic | 8*headerWords<<32 | 8*resultWords<<48
	o.frame[1] = 8*entryWords | uint64(records)<<32
	o.frame[2] = uint64(entries)
	o.frame[3] = 0
	return uint64(address(unsafe.Pointer(&o.frame[0])))<<32 | uint64(8*len(o.frame))
}

// ---- JSON

// JSON is one raw value in a JSON text: `"Paris"`, `-1.5`, `{…}`, `null`; nil where it is absent.
//
// The scanner finds, it does not validate: it reads well-formed JSON rightly, and ill-formed JSON to some answer or to
// "absent", always the same one. Raw values of a well-formed text may be put into another JSON text as they are. It
// allocates nothing.
type JSON []byte

// Fields are the names of some fields of a JSON object, to be found together in one pass.
type Fields struct {
	names []string
	next  []uint8      // of names that have the same slot: the next one's ordinal + 1
	slots [slots]uint8 // the first one's ordinal + 1; 0 if no name is there
}

const slots = 64

// slot spreads names by their length and first letter.
func slot(n int, first byte) int { return (n ^ int(first)<<2) % slots }

// NewFields makes a set of up to 64 names. Keep it in a package variable.
func NewFields(names ...string) *Fields {
	if len(names) > 64 {
		panic("foldrun: more than 64 fields")
	}
	f := &Fields{names: names, next: make([]uint8, len(names))}
	for i := len(names) - 1; i >= 0; i-- {
		at := 0
		if name := names[i]; name != "" {
			at = slot(len(name), name[0])
		}
		f.next[i], f.slots[at] = f.slots[at], uint8(i+1)
	}
	return f
}

// Scan finds the fields in the top level of an object and puts their raw values into values, which has room for all, nil
// where a field is absent. It returns how many it found, and stops when it has all: 0, too, where the text is no object.
// Of a name that comes twice the first counts.
func (f *Fields) Scan(object []byte, values []JSON) (found int) {
	values = values[:len(f.names)]
	found, seen := f.scan(object, values)
	if found < len(values) {
		for i := range values {
			if seen>>i&1 == 0 {
				values[i] = nil
			}
		}
	}
	return found
}

// scan does not touch the values of what is absent; in seen, what is there has its bit.
func (f *Fields) scan(object []byte, values []JSON) (found int, seen uint64) {
	p := space(object, 0)
	if p == len(object) || object[p] != '{' {
		return 0, 0
	}
	for found < len(values) {
		p = space(object, p+1)
		if p == len(object) || object[p] != '"' {
			return found, seen
		}
		p++
		start, word := p, uint64(0)
		if len(object)-p >= 8 {
			word = load(object, p)
		}
		if marks := zero(word ^ ones*'"'); marks != 0 && zero(word^ones*'\\') == 0 { // most names are short
			p += bits.TrailingZeros64(marks) / 8
		} else {
			p = stop(object, p)
		}
		name := object[start:p]
		if p == len(object) || object[p] == '\\' {
			if name, p = escapedName(object, start-1); p < 0 {
				return found, seen
			}
		} else {
			p++
		}
		p = space(object, p)
		if p == len(object) || object[p] != ':' {
			return found, seen
		}
		start = space(object, p+1)
		if p = valueEnd(object, start); p < 0 {
			return found, seen
		}
		if i := f.find(name); i > 0 && seen>>(i-1)&1 == 0 {
			values[i-1] = object[start:p:p]
			seen |= 1 << (i - 1)
			found++
		}
		p = space(object, p)
		if p == len(object) || object[p] != ',' {
			return found, seen
		}
	}
	return found, seen
}

// find returns the ordinal + 1 of a name, or 0.
func (f *Fields) find(name []byte) int {
	at := 0
	if len(name) > 0 {
		at = slot(len(name), name[0])
	}
	i := int(f.slots[at])
	for i > 0 && string(name) != f.names[i-1] {
		i = int(f.next[i-1])
	}
	return i
}

// Field finds one field: Field(json, "address", "city") is that of an object within the object. It is absent if any
// part of the path is.
func Field(object []byte, path ...string) JSON {
	f := Fields{next: []uint8{0}}
	value := [1]JSON{object}
	for i, name := range path {
		at := 0
		if name != "" {
			at = slot(len(name), name[0])
		}
		f.names = path[i : i+1]
		f.slots[at] = 1
		f.Scan(value[0], value[:])
		f.slots[at] = 0
	}
	return value[0]
}

// Text returns the text of a string: a view of where it stands, or, if it holds escapes, of scratch memory that is valid
// until transform returns. Half of a surrogate pair becomes U+FFFD.
func (v JSON) Text() (text []byte, ok bool) {
	if len(v) < 2 || v[0] != '"' || v[len(v)-1] != '"' {
		return nil, false
	}
	text = v[1 : len(v)-1 : len(v)-1]
	if stop(text, 0) == len(text) {
		return text, true
	}
	to := guest.scratch.take(len(text)) // no escape makes it longer
	n := unescape(to, text)
	if n < 0 {
		guest.scratch.giveBack(len(to))
		return nil, false
	}
	guest.scratch.giveBack(len(to) - n)
	return to[:n:n], true
}

// Int returns a whole number; not ok if it is none, or not within int64. 1.0 and 1e6 are none.
func (v JSON) Int() (n int64, ok bool) {
	i, limit := 0, uint64(math.MaxInt64)
	if len(v) > 0 && v[0] == '-' {
		i, limit = 1, 1<<63
	}
	if i == len(v) {
		return 0, false
	}
	magnitude := uint64(0)
	for _, c := range v[i:] {
		digit := uint64(c - '0')
		if digit > 9 || magnitude > (limit-digit)/10 {
			return 0, false
		}
		magnitude = magnitude*10 + digit
	}
	if i == 1 {
		return int64(-magnitude), true
	}
	return int64(magnitude), true
}

// Float returns any number: the nearest float64.
func (v JSON) Float() (x float64, ok bool) {
	if n, ok := v.Int(); ok && n != 0 && n>>53 == n>>63 {
		return float64(n), true
	}
	if !isNumber(v) {
		return 0, false
	}
	x, err := strconv.ParseFloat(unsafe.String(&v[0], len(v)), 64)
	return x, err == nil
}

// Bool returns a true or false.
func (v JSON) Bool() (x, ok bool) {
	return string(v) == "true", string(v) == "true" || string(v) == "false"
}

// AppendJSON appends a text as a JSON string, quotes included. Bytes from 0x80 on are taken as they are.
func AppendJSON(dst, text []byte) []byte {
	const digits = "0123456789abcdef"
	dst = append(dst, '"')
	from := 0
	for i, c := range text {
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, text[from:i]...)
		from = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, `\n`...)
		case '\t':
			dst = append(dst, `\t`...)
		default:
			dst = append(dst, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		}
	}
	return append(append(dst, text[from:]...), '"')
}

// On wasm the compiler makes every jump of a function a dispatch through one table, so loops over bytes are slow. What
// follows looks at eight bytes at a time where it can.

const (
	ones = 0x0101010101010101
	tops = 0x8080808080808080
)

// zero marks the lowest byte of a word that is 0, by its top bit; bits above it mean nothing.
func zero(word uint64) uint64 { return (word - ones) & ^word & tops }

// below marks the lowest byte that is below c, which is at most 0x80.
func below(word uint64, c uint64) uint64 { return (word - ones*c) & ^word & tops }

// load returns the 8 bytes from p on as a little-endian word; they must be there.
func load(b []byte, p int) uint64 {
	at := unsafe.Add(unsafe.Pointer(unsafe.SliceData(b)), p)
	if wasm {
		return *(*uint64)(at)
	}
	c := (*[8]byte)(at)
	return uint64(c[0]) | uint64(c[1])<<8 | uint64(c[2])<<16 | uint64(c[3])<<24 |
		uint64(c[4])<<32 | uint64(c[5])<<40 | uint64(c[6])<<48 | uint64(c[7])<<56
}

// space passes over what JSON takes for space, and the other control characters, too.
func space(b []byte, p int) int {
	if p < len(b) && b[p] <= ' ' {
		return moreSpace(b, p)
	}
	return p
}

func moreSpace(b []byte, p int) int {
	for p < len(b) && b[p] <= ' ' {
		p++
	}
	return p
}

// stop finds the first quote or backslash from p on, or the end.
func stop(b []byte, p int) int {
	for ; len(b)-p >= 8; p += 8 {
		word := load(b, p)
		if marks := zero(word^ones*'"') | zero(word^ones*'\\'); marks != 0 {
			return p + bits.TrailingZeros64(marks)/8
		}
	}
	for p < len(b) && b[p] != '"' && b[p] != '\\' {
		p++
	}
	return p
}

// stringEnd returns what follows the closing quote of the string at p, or -1.
func stringEnd(b []byte, p int) int {
	p = stop(b, p+1)
	for len(b)-p >= 2 && b[p] == '\\' {
		p = stop(b, p+2)
	}
	if p < len(b) && b[p] == '"' {
		return p + 1
	}
	return -1
}

// nestedEnd returns what follows the partner of the { or [ at p, or -1.
func nestedEnd(b []byte, p int) int {
	depth := 0
	for {
		for len(b)-p >= 8 {
			word := load(b, p)
			marks := zero(word^ones*'"') | zero((word|ones*0x26)^ones*0x7f) // [ ] { }, and Y _ y DEL
			if marks != 0 {
				p += bits.TrailingZeros64(marks) / 8
				break
			}
			p += 8
		}
		if p >= len(b) {
			return -1
		}
		switch b[p] {
		case '"':
			if p = stringEnd(b, p); p < 0 {
				return -1
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return p + 1
			}
		}
		p++
	}
}

// valueEnd returns what follows the value at p, or -1.
func valueEnd(b []byte, p int) int {
	if p >= len(b) {
		return -1
	}
	if c := b[p]; c == '"' {
		for q := p + 1; len(b)-q >= 8; q += 8 {
			word := load(b, q)
			if zero(word^ones*'\\') != 0 {
				break
			}
			if marks := zero(word ^ ones*'"'); marks != 0 {
				return q + bits.TrailingZeros64(marks)/8 + 1
			}
		}
		return stringEnd(b, p)
	} else if c|0x20 == '{' {
		return nestedEnd(b, p)
	}
	start := p
	for len(b)-p >= 8 {
		word := load(b, p)
		marks := below(word, '-') | zero((word|ones*0x20)^ones*'}') // ] | 0x20 is }
		if marks == 0 {
			p += 8
			continue
		}
		p += bits.TrailingZeros64(marks) / 8
		if b[p] != '+' {
			break
		}
		p++
	}
	for p < len(b) && (b[p] > ',' || b[p] == '+') && b[p]|0x20 != '}' {
		p++
	}
	if p == start {
		return -1
	}
	return p
}

// escapedName reads the string at p, which holds an escape: its text, and what follows it, or -1.
func escapedName(b []byte, p int) (text []byte, after int) {
	after = stringEnd(b, p)
	if after < 0 {
		return nil, -1
	}
	text, ok := JSON(b[p:after]).Text()
	if !ok {
		return nil, -1
	}
	return text, after
}

// unescape writes the text between the quotes to to and returns its length, or -1.
func unescape(to, text []byte) int {
	n := 0
	for i := 0; i < len(text); {
		if text[i] != '\\' {
			to[n] = text[i]
			n++
			i++
			continue
		}
		if len(text)-i < 2 {
			return -1
		}
		c := text[i+1]
		i += 2
		switch c {
		case '"', '\\', '/':
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'u':
			r, used := escapedRune(text[i:])
			if used == 0 {
				return -1
			}
			i += used
			n += copy(to[n:], string(r))
			continue
		default:
			return -1
		}
		to[n] = c
		n++
	}
	return n
}

// escapedRune reads what follows \u, twice if it is a pair, and says how many bytes that took.
func escapedRune(b []byte) (r rune, used int) {
	if r = hex4(b); r < 0 {
		return 0, 0
	}
	if r < 0xd800 || r >= 0xe000 {
		return r, 4
	}
	if r < 0xdc00 && len(b) >= 6 && b[4] == '\\' && b[5] == 'u' {
		if low := hex4(b[6:]); low >= 0xdc00 && low < 0xe000 {
			return 0x10000 + (r-0xd800)<<10 + (low - 0xdc00), 10
		}
	}
	return 0xfffd, 4
}

func hex4(b []byte) (r rune) {
	if len(b) < 4 {
		return -1
	}
	for _, c := range b[:4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return -1
		}
		r = r<<4 | rune(c)
	}
	return r
}

// isNumber reports whether v is digits with a sign, a fraction and an exponent, or some of these. ParseFloat takes more.
func isNumber(v []byte) bool {
	digits := func() bool {
		n := len(v)
		for len(v) > 0 && v[0]-'0' <= 9 {
			v = v[1:]
		}
		return len(v) < n
	}
	if len(v) > 0 && v[0] == '-' {
		v = v[1:]
	}
	if !digits() {
		return false
	}
	if len(v) > 0 && v[0] == '.' {
		if v = v[1:]; !digits() {
			return false
		}
	}
	if len(v) > 0 && v[0]|0x20 == 'e' {
		if v = v[1:]; len(v) > 0 && (v[0] == '-' || v[0] == '+') {
			v = v[1:]
		}
		if !digits() {
			return false
		}
	}
	return len(v) == 0
}

// ---- tuple keys

// A Tuple is a key made of typed elements, whose bytes sort as the tuples do: abi/TUPLE.md has them. Each method appends
// one element and returns the longer key, as append does. Keep one and use it again:
//
//	key = key[:0].Text(country).IntDesc(population)
//	out.Emit(0, key, value)
//
// In one place of a tuple, null is before false, true, integers, floats, bytes and strings. Integers and floats are not one
// order: decide for one. The methods whose names end in Desc sort the other way round.
type Tuple []byte

func (t Tuple) Null() Tuple { return append(t, 0x04) }

func (t Tuple) Bool(v bool) Tuple {
	if v {
		return append(t, 0x09)
	}
	return append(t, 0x08)
}

// Int appends an integer. Int and Uint of the same number are the same element.
func (t Tuple) Int(v int64) Tuple {
	if v >= 0 {
		return t.Uint(uint64(v))
	}
	n := size(-uint64(v))
	return appendLow(append(t, byte(0x18-n)), ^-uint64(v), n)
}

func (t Tuple) Uint(v uint64) Tuple {
	n := size(v)
	return appendLow(append(t, byte(0x18+n)), v, n)
}

// Float appends a float. There is one zero, and one NaN, which is above all numbers.
func (t Tuple) Float(v float64) Tuple {
	const sign = 1 << 63
	word := math.Float64bits(v)
	switch {
	case v != v:
		word = 0x7ff8000000000000 | sign
	case v == 0:
		word = sign
	case word&sign != 0:
		word = ^word
	default:
		word |= sign
	}
	return appendLow(append(t, 0x30), word, 8)
}

// Bytes appends bytes that are no text. For those of a string use Text, so that readers find them as one.
func (t Tuple) Bytes(v []byte) Tuple { return escape(append(t, 0x40), v) }

// Text appends a string.
func (t Tuple) Text(v []byte) Tuple { return escape(append(t, 0x50), v) }

// String appends a string: the same element as Text.
func (t Tuple) String(v string) Tuple {
	return escape(append(t, 0x50), unsafe.Slice(unsafe.StringData(v), len(v)))
}

func (t Tuple) NullDesc() Tuple           { return t.Null().flip(len(t)) }
func (t Tuple) BoolDesc(v bool) Tuple     { return t.Bool(v).flip(len(t)) }
func (t Tuple) IntDesc(v int64) Tuple     { return t.Int(v).flip(len(t)) }
func (t Tuple) UintDesc(v uint64) Tuple   { return t.Uint(v).flip(len(t)) }
func (t Tuple) FloatDesc(v float64) Tuple { return t.Float(v).flip(len(t)) }
func (t Tuple) BytesDesc(v []byte) Tuple  { return t.Bytes(v).flip(len(t)) }
func (t Tuple) TextDesc(v []byte) Tuple   { return t.Text(v).flip(len(t)) }
func (t Tuple) StringDesc(v string) Tuple { return t.String(v).flip(len(t)) }

func (t Tuple) flip(from int) Tuple {
	for i := from; i < len(t); i++ {
		t[i] = ^t[i]
	}
	return t
}

// size returns how many bytes v needs; 0 needs none.
func size(v uint64) int { return (bits.Len64(v) + 7) / 8 }

// appendLow appends the n low bytes of v, the highest first.
func appendLow(b []byte, v uint64, n int) []byte {
	end := len(b) + n
	v <<= 64 - 8*n
	return append(b, byte(v>>56), byte(v>>48), byte(v>>40), byte(v>>32), byte(v>>24), byte(v>>16), byte(v>>8), byte(v))[:end]
}

func escape(b, text []byte) []byte {
	from := 0
	for i, c := range text {
		if c == 0 {
			b = append(append(b, text[from:i+1]...), 0xff)
			from = i + 1
		}
	}
	return append(append(b, text[from:]...), 0, 1)
}

// ---- log

// Level is how much a line of the log matters.
type Level uint32

const (
	Debug Level = iota
	Info
	Warn
	Error
)

// Log writes a line to the host's log, up to 1 KiB of it. It is for finding mistakes: a line costs more than most records.
func Log(level Level, text string) {
	if wasm {
		hostLog(level, unsafe.StringData(text), uint32(len(text)))
	} else {
		println("foldrun:", level, text)
	}
}

// The linkname lets the file compile for other systems than wasm, where an import without a body is refused.
//
//go:wasmimport foldrun_v1 log
//go:linkname hostLog foldrun_v1.log
func hostLog(level Level, text *byte, n uint32)

// ---- the calls

// guest is all that an instance has. What the host has an address of is reachable from here, so it is not collected.
var guest struct {
	transform func(*Record, *Out)
	configure func([]byte) error

	arena              []uint64 // the host writes in frames and the config here
	arenaAt, arenaSize uintptr
	scratch            scratch // what a call emitted, and the texts it unescaped
	failure            []byte  // what foldrun_error says

	record  Record
	out     Out
	table   []uint64 // the frame's records
	stride  int      // words from one to the next
	records int
	at      int // the one in hand
}

// yieldEvery is after how many records of a call the garbage collector may run, besides at its end.
const yieldEvery = 32

//lint:ignore U1000 the host looks whether it is there
//go:wasmexport foldrun_abi_v1
func exportABI() {}

//go:wasmexport foldrun_buffer
func exportBuffer(min uint32) uint32 {
	const least, most = 64<<10 + 64, 1 << 30
	if min > most {
		return 0
	}
	if words := (max(int(min), least) + 7) / 8; words > len(guest.arena) {
		guest.arena = nil // so that the old one may be collected for the new one
		guest.arena = make([]uint64, words+words/4)
		guest.arenaAt, guest.arenaSize = uintptr(unsafe.Pointer(&guest.arena[0])), uintptr(8*len(guest.arena))
	}
	return uint32(guest.arenaAt)
}

//go:wasmexport foldrun_init
func exportInit(ptr, n uint32) uint32 {
	defer runtime.Gosched()
	if guest.transform == nil {
		return refuse("the plugin has no transform: call foldrun.Register in an init function, since main is never called")
	}
	config, ok := input(ptr, n)
	if !ok {
		return refuse("the config is not in the arena")
	}
	if guest.configure == nil {
		return 0
	}
	if why, ok := configure(append([]byte(nil), config...)); !ok {
		return refuse(why)
	}
	guest.scratch = scratch{} // texts of the config stay as they are
	return 0
}

//go:wasmexport foldrun_transform
func exportTransform(ptr, n uint32) uint64 {
	guest.scratch.reset()
	if !openFrame(ptr, n) {
		refuse("the in frame is none of ABI version 1")
		return 0
	}
	if guest.transform == nil {
		refuse("the plugin has no transform: call foldrun.Register in an init function")
		return 0
	}
	guest.out.begin(guest.records)
	for guest.at < guest.records {
		run()
	}
	packed := guest.out.header(guest.records)
	// The collector's work is done by goroutines, which run when this one lets them. A call that returned at once,
	// each time, could leave them waiting while garbage grows.
	runtime.Gosched()
	return packed
}

//go:wasmexport foldrun_error
func exportError() uint64 {
	if len(guest.failure) == 0 {
		return 0
	}
	return uint64(address(unsafe.Pointer(&guest.failure[0])))<<32 | uint64(len(guest.failure))
}

// configure gives the config to the plugin and returns the reason for which it is refused.
func configure(config []byte) (why string, ok bool) {
	defer func() {
		if p := recover(); p != nil {
			why, ok = panicText(p), false
		}
	}()
	if err := guest.configure(config); err != nil {
		return err.Error(), false
	}
	return "", true
}

func refuse(why string) uint32 {
	guest.failure = []byte(why)
	return 1
}

// input returns what the host has put into the arena.
func input(ptr, n uint32) (bytes []byte, ok bool) {
	if len(guest.arena) == 0 || ptr != uint32(guest.arenaAt) || uintptr(n) > guest.arenaSize {
		return nil, false
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&guest.arena[0])), n), true
}

// The words of an in frame's header.
const (
	wordSizes    = 0 // magic, header size, record size
	wordCounts   = 1 // records, headers
	wordLength   = 2 // where the headers are, the frame's length
	wordProgress = 3 // progress, flags
)

// openFrame makes the frame in the arena the one at hand. A later minor version of the ABI may have longer headers and
// records, so both are stepped over by the sizes that the frame states.
func openFrame(ptr, n uint32) bool {
	const magic = 'F' | 'R'<<8 | 'I'<<16 | '1'<<24
	guest.at, guest.records = 0, 0
	frame, ok := input(ptr, n)
	if !ok || n < 32 {
		return false
	}
	w := guest.arena
	header, stride := w[wordSizes]>>32&0xffff, w[wordSizes]>>48
	records, names := w[wordCounts]&0xffffffff, w[wordCounts]>>32
	namesAt, length := w[wordLength]&0xffffffff, w[wordLength]>>32
	if w[wordSizes]&0xffffffff != magic || length != uint64(n) ||
		header < 32 || header%8 != 0 || stride < 8*recordWords || stride%8 != 0 ||
		header+stride*records > uint64(n) || namesAt%8 != 0 || namesAt+16*names > uint64(n) {
		return false
	}
	r := &guest.record
	r.frame = frame
	r.names = w[namesAt/8 : namesAt/8+2*names]
	guest.table, guest.stride, guest.records = w[header/8:(header+stride*records)/8], int(stride/8), int(records)
	return true
}

// run transforms the records from the one in hand on, until the end or a panic.
func run() {
	defer caught()
	r, o, header := &guest.record, &guest.out, guest.arena
	for ; guest.at < guest.records; guest.at++ {
		header[wordProgress] = header[wordProgress]&^0xffffffff | uint64(guest.at)
		r.spans = guest.table[guest.stride*guest.at:][:recordWords]
		r.Seq, r.Time, r.Op = r.spans[wordSeq], int64(r.spans[wordTime]), Op(r.spans[wordOp])
		o.status, o.code, o.message, o.from = statusOK, 0, 0, len(o.frame)
		guest.transform(r, o)
		o.end(guest.at)
		if guest.at%yieldEvery == yieldEvery-1 {
			runtime.Gosched()
		}
	}
}

// caught, deferred by run, makes a panic the error of the record in hand.
func caught() {
	if p := recover(); p != nil {
		guest.out.status = statusOK // a panic wins over what was said before it
		guest.out.Error(CodePanic, panicText(p))
		guest.out.end(guest.at)
		guest.at++
	} else if guest.at < guest.records {
		Log(Error, "foldrun: transform called runtime.Goexit, which ends the instance")
	}
}

// panicText says what a panic was about, in up to 1 KiB.
func panicText(p any) (text string) {
	defer func() {
		if recover() != nil {
			text = "panic: its value panicked when it was asked for its text"
		}
	}()
	switch p := p.(type) {
	case error:
		text = p.Error()
	case interface{ String() string }:
		text = p.String()
	case string:
		text = p
	case int:
		text = strconv.Itoa(p)
	default:
		text = "a value that is no error, string or int"
	}
	text = "panic: " + text
	return text[:min(len(text), 1<<10)]
}

// scratch is memory for what a call emits. It is never moved while the call lasts: the host gets addresses.
type scratch struct {
	chunk []byte   // its length is what is taken
	full  [][]byte // the chunks before it, in this call
}

func (s *scratch) reset() {
	s.chunk = s.chunk[:0]
	clear(s.full)
	s.full = s.full[:0]
}

// take returns n bytes, not cleared.
func (s *scratch) take(n int) []byte {
	if n > cap(s.chunk)-len(s.chunk) {
		if cap(s.chunk) > 0 {
			s.full = append(s.full, s.chunk)
		}
		s.chunk = make([]byte, 0, max(n, 2*cap(s.chunk), 64<<10))
	}
	at := len(s.chunk)
	s.chunk = s.chunk[:at+n]
	return s.chunk[at : at+n : at+n]
}

// giveBack returns the last n bytes that were taken.
func (s *scratch) giveBack(n int) { s.chunk = s.chunk[:len(s.chunk)-n] }

// keep returns an address at which the bytes stay until the next call: that of a copy, unless they lie in the arena or in
// scratch already.
func keep(b []byte) uint32 {
	if len(b) == 0 {
		return 0
	}
	at := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	if at-guest.arenaAt < guest.arenaSize {
		return uint32(at)
	}
	c := guest.scratch.chunk
	if at-uintptr(unsafe.Pointer(unsafe.SliceData(c))) < uintptr(len(c)) {
		return uint32(at)
	}
	kept := guest.scratch.take(len(b))
	copy(kept, b)
	return address(unsafe.Pointer(unsafe.SliceData(kept)))
}

// address is where p points to in the guest's memory.
func address(p unsafe.Pointer) uint32 { return uint32(uintptr(p)) }

// ---- tests

// A Message is a record to try a transform with. No Subject is as Key, no Op is Put.
type Message struct {
	Key, Value, Subject string
	Headers             [][2]string
	Seq                 uint64
	Time                int64
	Op                  Op
}

// An Answer is what a record yields: entries, or none, or an error.
type Answer struct {
	Entries  []Entry
	Filtered bool
	Failed   bool
	Code     uint16
	Message  string
}

// An Entry is one of the entries that a record yields.
type Entry struct {
	Index      int
	Key, Value string
	TTL        int64
}

// Try runs the registered transform on one record, for a plugin's own tests: go test, on any system but wasm.
func Try(m Message) Answer {
	frame := m.frame()
	ptr := exportBuffer(uint32(len(frame)))
	arena, _ := input(ptr, uint32(len(frame)))
	copy(arena, frame)
	var answer Answer
	guest.out.tried = &answer
	defer func() { guest.out.tried = nil }()
	if exportTransform(ptr, uint32(len(frame))) == 0 {
		panic(string(guest.failure))
	}
	result := guest.out.frame[headerWords]
	answer.Filtered, answer.Failed = result&0xff == statusFiltered, result&0xff == statusError
	answer.Code = uint16(result >> 16)
	if answer.Filtered || answer.Failed {
		answer.Entries = nil
	}
	return answer
}

// TryConfig gives a config to the function that Configure registered, for a plugin's own tests. The error's text is what
// the operator is shown.
func TryConfig(config string) error {
	ptr := exportBuffer(uint32(len(config)))
	arena, _ := input(ptr, uint32(len(config)))
	copy(arena, config)
	if exportInit(ptr, uint32(len(config))) != 0 {
		packed := exportError()
		return configError(guest.failure[:uint32(packed)])
	}
	return nil
}

type configError string

func (e configError) Error() string { return string(e) }

// frame returns the in frame that holds m alone.
func (m Message) frame() []byte {
	if m.Subject == "" {
		m.Subject = m.Key
	}
	if m.Op == 0 {
		m.Op = Put
	}
	words := make([]uint64, 4+recordWords+2*len(m.Headers))
	var heap []byte
	span := func(text string) uint64 {
		at := 8*len(words) + len(heap)
		heap = append(heap, text...)
		return uint64(at) | uint64(len(text))<<32
	}
	record, names := words[4:], words[4+recordWords:]
	record[wordSeq], record[wordTime], record[wordOp] = m.Seq, uint64(m.Time), uint64(m.Op)
	record[wordSubject], record[wordKey], record[wordValue] = span(m.Subject), span(m.Key), span(m.Value)
	record[wordHeaders] = uint64(len(m.Headers)) << 32
	for i, h := range m.Headers {
		names[2*i], names[2*i+1] = span(h[0]), span(h[1])
	}
	words[wordSizes] = 'F' | 'R'<<8 | 'I'<<16 | '1'<<24 | 32<<32 | 8*recordWords<<48
	words[wordCounts] = 1 | uint64(len(m.Headers))<<32
	words[wordLength] = 8*(4+recordWords) | uint64(8*len(words)+len(heap))<<32
	words[wordProgress] = 0xffffffff
	return append(unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), 8*len(words)), heap...)
}
