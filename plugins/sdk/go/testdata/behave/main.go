// Behave does what the value of a record says, well or badly.
package main

import (
	"encoding/binary"
	"errors"
	"math"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"tried/foldrun"
)

func init() {
	foldrun.Configure(configure)
	foldrun.Register(transform)
}

func main() {}

var (
	wanted   []byte // a view that configure kept: it must not change
	describe bool
)

func configure(config []byte) error {
	describe = foldrun.Field(config, "describe") != nil
	if foldrun.Field(config, "throw") != nil {
		panic("configure")
	}
	wanted, _ = foldrun.Field(config, "wanted").Text()
	if refused, ok := foldrun.Field(config, "refuse").Text(); ok {
		return errors.New(string(refused))
	}
	return nil
}

type badError struct{}

func (badError) Error() string { panic("again") }

type named string

func (n named) String() string { return "named " + string(n) }

func transform(r *foldrun.Record, out *foldrun.Out) {
	verb := string(r.Value())
	switch {
	case describe:
		all(r, out)
	case strings.HasPrefix(verb, "json:"):
		json(r.Value()[5:], out)
	case strings.HasPrefix(verb, "tupl:"):
		tuple(r.Value()[5:], out)
	default:
		do(verb, r, out)
	}
}

func do(verb string, r *foldrun.Record, out *foldrun.Out) {
	if !emits(verb, r, out) && !breaks(verb, r, out) && !ends(verb, out) && !waits(verb, out) {
		out.Emit(0, r.Key(), r.Value())
	}
}

// emits yields, skips or refuses, as it is asked; false: that is no verb of it.
func emits(verb string, r *foldrun.Record, out *foldrun.Out) bool {
	switch verb {
	case "record":
		record(r, out)
	case "kinds":
		array := [2]byte{'a', 0xff}
		out.Emit(0, []byte("string ü"), array[:])
		array[0] = 'b' // what was emitted is a copy
		out.Emit(0, array[:], []byte("cönst"))
		numbers := strconv.FormatInt(math.MinInt64, 10) + " " + strconv.FormatUint(math.MaxUint64, 10) + " -7 0"
		out.Emit(0, []byte("numbers"), []byte(numbers))
		out.Emit(0, []byte("json"), foldrun.AppendJSON(nil, []byte("\"\\\n\t\x01ü")))
		out.Emit(0, foldrun.Tuple(nil).String("t").Int(1), []byte(verb))
	case "stack":
		var key [8]byte
		for i := range 3 {
			key[0] = byte('a' + i)
			out.Emit(0, key[:1], key[:1]) // copied at once
		}
	case "escaped":
		text, _ := foldrun.Field([]byte(`{"k\u0065y":"a\u00fc\n"}`), "key").Text()
		out.Emit(0, text, text[1:])
	case "ttl":
		out.EmitTTL(0, r.Key(), nil, foldrun.Hour)
	case "config":
		out.Emit(0, []byte("config"), wanted)
	case "large":
		for i := range 250 {
			out.Emit(0, []byte(strconv.Itoa(i)), make([]byte, 4000))
		}
	case "waste":
		text := strings.Repeat("waste", 1<<18)
		out.Emit(0, []byte(text[:5]), nil)
	case "skip":
		out.Emit(0, r.Key(), nil)
		out.Skip()
		out.Emit(0, r.Key(), nil)
		out.Error(9, "too late")
	case "error":
		out.Emit(0, r.Key(), nil)
		out.Error(7, "text of "+verb)
		out.Skip()
	case "log":
		foldrun.Log(foldrun.Warn, "a line")
	default:
		return false
	}
	return true
}

// breaks panics, or does what Go does not allow; false: that is no verb of it.
func breaks(verb string, r *foldrun.Record, out *foldrun.Out) bool {
	switch verb {
	case "panic string":
		out.Emit(0, r.Key(), nil)
		panic("text")
	case "panic error":
		out.Skip()
		panic(errors.New("an error"))
	case "panic stringer":
		panic(named("stringer"))
	case "panic int":
		panic(42)
	case "panic other":
		panic(struct{}{})
	case "panic nil":
		panic(nil)
	case "panic again":
		panic(badError{})
	case "panic long":
		panic(strings.Repeat("x", 5000))
	case "panic after error":
		out.Error(7, "lost")
		panic("text")
	case "index":
		_ = verb[len(r.Key())+100]
	case "map":
		var m map[string]int
		m[verb] = 1
	case "nil":
		var p *foldrun.Record
		out.Emit(0, p.Key(), nil)
	case "divide":
		zero := len(verb) - 6
		out.Emit(zero/zero, nil, nil)
	case "length":
		out.Emit(0, make([]byte, uint64(len(verb))<<58), nil)
	case "bad index":
		out.Emit(1<<16, nil, nil)
	case "bad ttl":
		out.EmitTTL(0, nil, nil, -1)
	case "unknown index":
		out.Emit(7, nil, nil)
	default:
		return false
	}
	return true
}

// ends does what a module should not, of which nothing comes back; false: that is no verb of it.
func ends(verb string, out *foldrun.Out) bool {
	switch verb {
	case "exit":
		os.Exit(3)
	case "exit 0":
		os.Exit(0)
	case "goexit":
		runtime.Goexit()
	case "deadlock":
		<-make(chan int)
	case "memory":
		out.Emit(0, make([]byte, 1<<30), nil)
	case "leak":
		for {
			leaked = append(leaked, make([]byte, 1<<20))
		}
	case "recurse":
		out.Emit(recurse(1), nil, nil)
	case "goroutine":
		go func() { panic("in a goroutine") }()
		runtime.Gosched()
	default:
		return false
	}
	return true
}

// waits waits for what comes, or does not; false: that is no verb of it.
func waits(verb string, out *foldrun.Out) bool {
	switch verb {
	case "sleep":
		time.Sleep(time.Hour)
		out.Emit(0, []byte("slept"), nil)
	case "channel":
		c := make(chan string)
		go func() { c <- "received" }()
		out.Emit(0, []byte(<-c), nil)
	default:
		return false
	}
	return true
}

var leaked [][]byte

func recurse(n int) int {
	var room [4096]byte
	room[n%len(room)] = 1
	return recurse(n+1) + int(room[n/2%len(room)])
}

// all emits all that there is of a record.
func all(r *foldrun.Record, out *foldrun.Out) {
	numbers := binary.LittleEndian.AppendUint64(nil, r.Seq)
	out.Emit(0, binary.LittleEndian.AppendUint64(numbers, uint64(r.Time)), []byte{byte(r.Op)})
	out.Emit(1, r.Subject(), nil)
	out.Emit(2, r.Key(), r.Value())
	for name, value := range r.Headers() {
		out.Emit(3, name, value)
	}
}

func record(r *foldrun.Record, out *foldrun.Out) {
	op := map[foldrun.Op]string{foldrun.Put: "put"}[r.Op]
	text := []byte(strconv.FormatUint(r.Seq, 10) + " " + strconv.FormatInt(r.Time, 10) + " " + string(r.Subject()) + " " + op)
	for name, value := range r.Headers() {
		text = append(text, " "+string(name)+"="+string(value)...)
	}
	if r.Header("X-Empty") == nil || r.Header("X-None") != nil {
		text = append(text, " wrong"...)
	}
	if tag := r.Header("X-Tag"); tag != nil {
		text = append(text, " "+string(tag)...)
	}
	out.Emit(0, r.Key(), text)
	out.Emit(1, r.Subject(), nil)
}

var (
	names  = []string{"a", "b", "c", "", "b\n", "long name of a field that nobody asks for"}
	fields = foldrun.NewFields(names...)
)

// json emits what is found in a JSON text: the raw value, and all that it can be read as.
func json(text []byte, out *foldrun.Out) {
	values := make([]foldrun.JSON, len(names))
	out.Emit(0, []byte("found"), []byte(strconv.Itoa(fields.Scan(text, values))))
	for i, v := range values {
		alone := foldrun.Field(text, names[i])
		if (alone == nil) != (v == nil) || string(alone) != string(v) {
			out.Error(1, "alone and together differ")
			return
		}
		if v != nil {
			read([]byte(strconv.Itoa(i)), v, out)
		}
	}
}

func read(key []byte, v foldrun.JSON, out *foldrun.Out) {
	out.Emit(0, key, v)
	if text, ok := v.Text(); ok {
		out.Emit(1, key, text)
	}
	if n, ok := v.Int(); ok {
		out.Emit(2, key, []byte(strconv.FormatInt(n, 10)))
	}
	if x, ok := v.Float(); ok {
		out.Emit(3, key, []byte(strconv.FormatUint(math.Float64bits(x), 10)))
	}
	if x, ok := v.Bool(); ok {
		out.Emit(4, key, []byte(strconv.FormatBool(x)))
	}
	if string(v) == "null" {
		out.Emit(5, key, nil)
	}
	if inner := foldrun.Field(v, "x", "x"); inner != nil {
		out.Emit(6, key, inner)
	}
}

// tuple reads elements, each a kind, a direction, a length and bytes, and emits their tuple.
func tuple(rest []byte, out *foldrun.Out) {
	var t foldrun.Tuple
	for len(rest) > 0 {
		n := 6 + binary.LittleEndian.Uint32(rest[2:])
		t = element(t, rest[0], rest[1] != 0, rest[6:n])
		rest = rest[n:]
	}
	out.Emit(0, t, nil)
}

func element(t foldrun.Tuple, kind byte, desc bool, text []byte) foldrun.Tuple {
	var number uint64
	if len(text) == 8 {
		number = binary.LittleEndian.Uint64(text)
	}
	switch kind {
	case 0:
		if desc {
			return t.NullDesc()
		}
		return t.Null()
	case 1:
		return one(t, number != 0, desc, foldrun.Tuple.Bool, foldrun.Tuple.BoolDesc)
	case 2:
		return one(t, int64(number), desc, foldrun.Tuple.Int, foldrun.Tuple.IntDesc)
	case 3:
		return one(t, number, desc, foldrun.Tuple.Uint, foldrun.Tuple.UintDesc)
	case 4:
		return one(t, math.Float64frombits(number), desc, foldrun.Tuple.Float, foldrun.Tuple.FloatDesc)
	case 5:
		return one(t, text, desc, foldrun.Tuple.Bytes, foldrun.Tuple.BytesDesc)
	}
	if len(text)%2 == 0 {
		return one(t, text, desc, foldrun.Tuple.Text, foldrun.Tuple.TextDesc)
	}
	return one(t, string(text), desc, foldrun.Tuple.String, foldrun.Tuple.StringDesc)
}

func one[V any](t foldrun.Tuple, v V, desc bool, up, down func(foldrun.Tuple, V) foldrun.Tuple) foldrun.Tuple {
	if desc {
		return down(t, v)
	}
	return up(t, v)
}
