package foldrun

import (
	"errors"
	"reflect"
	"strconv"
	"testing"
)

// with registers a transform for one test.
func with(t *testing.T, transform func(*Record, *Out)) {
	t.Helper()
	before, configure := guest.transform, guest.configure
	t.Cleanup(func() { guest.transform, guest.configure = before, configure })
	Register(transform)
}

// TestTry runs a transform on the host, as a plugin's own tests do.
func TestTry(t *testing.T) {
	var minimum int64
	Configure(func(config []byte) error {
		n, ok := Field(config, "min").Int()
		if !ok {
			return errors.New("min is no whole number")
		}
		minimum = n
		return nil
	})
	with(t, func(r *Record, out *Out) {
		n, ok := JSON(r.Value()).Int()
		switch {
		case !ok:
			out.Error(7, "no number: "+string(r.Value()))
		case n == 13:
			out.Emit(0, r.Key(), nil)
			panic("unlucky")
		case n < minimum:
			out.Emit(0, r.Key(), nil)
			out.Skip()
		default:
			out.Emit(0, r.Key(), r.Header("X"))
			out.EmitTTL(1, []byte(strconv.FormatInt(n, 10)), r.Subject(), Minute)
		}
	})
	if err := TryConfig(`{}`); err == nil || err.Error() != "min is no whole number" {
		t.Error(err)
	}
	if err := TryConfig(`{"min":5}`); err != nil {
		t.Error(err)
	}
	for _, x := range []struct {
		in   Message
		want Answer
	}{
		{Message{Key: "k", Value: "6", Headers: [][2]string{{"X", "x"}}, Subject: "s.k"},
			Answer{Entries: []Entry{{0, "k", "x", 0}, {1, "6", "s.k", 60e9}}}},
		{Message{Key: "k", Value: "7"}, Answer{Entries: []Entry{{0, "k", "", 0}, {1, "7", "k", 60e9}}}},
		{Message{Key: "k", Value: "4"}, Answer{Filtered: true}},
		{Message{Key: "k", Value: "x"}, Answer{Failed: true, Code: 7, Message: "no number: x"}},
		{Message{Key: "k", Value: "13"}, Answer{Failed: true, Code: CodePanic, Message: "panic: unlucky"}},
		{Message{Key: "k", Op: Delete}, Answer{Failed: true, Code: 7, Message: "no number: "}},
	} {
		if got := Try(x.in); !reflect.DeepEqual(got, x.want) {
			t.Errorf("%+v: got %+v, want %+v", x.in, got, x.want)
		}
	}
}

// TestAllocations: once the buffers have grown, a call allocates nothing of its own.
func TestAllocations(t *testing.T) {
	fields := NewFields("name", "id")
	var key Tuple
	with(t, func(r *Record, out *Out) {
		var raw [2]JSON
		fields.Scan(r.Value(), raw[:])
		name, _ := raw[0].Text()
		id, _ := raw[1].Int()
		x, _ := raw[1].Float()
		key = key[:0].Text(name).IntDesc(id).Float(x).String("x")
		out.Emit(0, key, Field(r.Value(), "id"))
		var onStack [16]byte
		out.Emit(1, onStack[:], r.Header("X"))
		if id == 7 {
			out.Error(1, "seven")
		}
	})
	for _, value := range []string{`{"name":"M\u00fcnchen","id":5}`, `{"name":"Bonn","id":7}`} {
		frame := Message{Key: "k", Value: value, Headers: [][2]string{{"X", "x"}}}.frame()
		ptr := exportBuffer(uint32(len(frame)))
		arena, _ := input(ptr, uint32(len(frame)))
		copy(arena, frame)
		if n := testing.AllocsPerRun(100, func() { exportTransform(ptr, uint32(len(frame))) }); n != 0 {
			t.Errorf("%v allocations", n)
		}
	}
}
