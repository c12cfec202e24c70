// Behave does what the value of a record says, well or badly.
package main

import (
	"errors"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"users/foldrun"
)

func init() {
	foldrun.Configure(configure)
	foldrun.Register(transform)
}

func main() {}

// wanted is a view that configure kept: it must not change.
var wanted []byte

func configure(config []byte) error {
	if foldrun.Field(config, "panic") != nil {
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
	switch verb := string(r.Value()); verb {
	case "record":
		text := []byte(strconv.FormatUint(r.Seq, 10) + " " + strconv.FormatInt(r.Time, 10) + " " + string(r.Subject()))
		for name, value := range r.Headers() {
			text = append(text, " "+string(name)+"="+string(value)...)
		}
		if r.Header("X-Empty") == nil || r.Header("X-None") != nil {
			text = append(text, " wrong"...)
		}
		out.Emit(0, r.Key(), text)
		out.Emit(1, r.Subject(), nil)
	case "stack":
		var key [8]byte
		for i := range 3 {
			key[0] = byte('a' + i)
			out.Emit(0, key[:1], key[:1]) // copied at once
		}
	case "escaped":
		text, _ := foldrun.JSON(`"a\u00fc\n"`).Text()
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

	case "sleep":
		time.Sleep(time.Hour)
		out.Emit(0, []byte("slept"), nil)
	case "channel":
		c := make(chan string)
		go func() { c <- "received" }()
		out.Emit(0, []byte(<-c), nil)
	default:
		out.Emit(0, r.Key(), r.Value())
	}
}

var leaked [][]byte

func recurse(n int) int {
	var room [4096]byte
	room[n%len(room)] = 1
	return recurse(n+1) + int(room[n/2%len(room)])
}
