package runtime

import (
	"strings"
	"testing"
	"time"
)

// TestGateQueries has generations built that do not answer a gate query: each is held with its name, serves by itself once it
// answers, or by an operator's word.
func TestGateQueries(t *testing.T) {
	value := func(s string) *string { return &s }
	c := newClinic(t, 1, func(o *FoldOptions) { o.Collisions, o.Rollback = nil, time.Hour })
	c.run()
	c.put("k1", "ax=1;ay=2;bx=1")
	c.fine(c.put("k2", "ax=2"))
	for i, x := range []struct {
		query GateQuery
		says  string // why it fails, "" where it does not
		mend  string // what is put that mends it
	}{
		{GateQuery{Name: "q", Index: "a", Key: "x", ByKey: true, AtLeast: 2, AtMost: 2, Value: value("2")}, "", ""},
		{GateQuery{Name: "q", Index: "b", AtLeast: 1, AtMost: 1}, "", ""},
		{GateQuery{Name: "q", Index: "a", Prefix: "z", AtMost: 0}, "", ""},
		{GateQuery{Name: "q", Index: "a", Key: "", ByKey: true, AtMost: 0}, "", ""},
		{GateQuery{Name: "q", Index: "a", Key: "x", ByKey: true, AtLeast: 3, AtMost: AnyNumber}, `gate q: key "x" of index a has 2 rows, at least 3 are to be there`, "ax=3"},
		{GateQuery{Name: "q", Index: "a", Key: "x", ByKey: true, AtLeast: 1, AtMost: AnyNumber, Value: value("4")}, `gate q: key "x" of index a has no row with the value "4"`, "ax=4"},
		{GateQuery{Name: "q", Index: "a", Prefix: "x", AtMost: 1}, `gate q: prefix "x" of index a has more rows than 1`, ""},
		{GateQuery{Name: "q", Index: "b", AtLeast: 9, AtMost: AnyNumber}, `gate q: index b has `, ""},
	} {
		was := c.Status().Generation
		another(&c.o, i)
		c.o.Gates = []GateQuery{{Name: "fine", Index: "b", AtLeast: 1, AtMost: AnyNumber}, x.query}
		c.configure()
		if x.says != "" {
			c.await("a hold", func(st Status) bool { return st.State == StateHeld })
			if st := c.Status(); st.Code != CodeGate || st.Generation != was || !strings.Contains(st.Reason, x.says) {
				t.Errorf("%d: held: %+v", i, st)
			}
			if serves, built := c.yields(); serves || !built {
				t.Errorf("%d: what serves yields: %v; what is built: %v", i, serves, built)
			}
			if x.mend != "" {
				c.put("mend", x.mend)
			} else {
				check(t, c.Apply(t.Context(), true))
			}
		}
		c.await("the switch", func(st Status) bool { return st.Generation != was && st.Generation != "" && st.State != StateHeld })
	}
	if serves, _ := c.yields(); serves {
		t.Error("what was built yields when it serves")
	}
	is := c.Status().Generation
	check(t, c.Rollback(t.Context())) // which asks nothing
	c.await("back", func(st Status) bool { return st.Generation != is && st.Code == CodeRolledBack })
	c.stop()
}

// yields says whether what serves, and what is built, leave a core to others.
func (f *Fold) yields() (serves, built bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.cur.db.Yields(), f.next != nil && f.next.db.Yields()
}

// TestGateOfNoIndex: a query of an index that the module has not is refused before anything is built.
func TestGateOfNoIndex(t *testing.T) {
	c := newClinic(t, 1, func(o *FoldOptions) { o.Gates = []GateQuery{{Name: "q", Index: "c"}} })
	_, err := Try(t.Context(), c.o)
	if code, text := Describe(err); code != CodeModule || !strings.Contains(text, `gate q: its module has no index "c"`) {
		t.Errorf("%s: %s", code, text)
	}
}
