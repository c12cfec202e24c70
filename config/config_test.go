package config

import (
	"bytes"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
)

// TestExample holds config.example.toml to the defaults: it is Default, and one fold that is DefaultFold.
func TestExample(t *testing.T) {
	got, err := Load("../config.example.toml")
	if err != nil {
		t.Fatal(err)
	}
	module, err := filepath.Abs("../plugins/examples/by-country/by-country.wasm")
	if err != nil {
		t.Fatal(err)
	}
	fold := DefaultFold("cities")
	fold.Source.Bucket, fold.Module.Path, fold.File = "cities", module, "../config.example.toml"
	want := Default()
	want.Path, want.Folds = "../config.example.toml", []Fold{fold}
	want.lines, want.Folds[0].lines = got.lines, got.lines
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// TestExampleHasEveryKey: each key stands in the example, as a setting or as a comment of the same form, and
// the comments are settings without a mistake of their own.
func TestExampleHasEveryKey(t *testing.T) {
	src, err := os.ReadFile("../config.example.toml")
	if err != nil {
		t.Fatal(err)
	}
	open := regexp.MustCompile(`(?m)^# (\[|[a-z0-9_]+ = )`).ReplaceAll(src, []byte("$1"))
	f := &file{name: "example", main: true, dir: "/"}
	if !f.parse(string(open)) {
		t.Fatal(f.problems)
	}
	f.readMain(f.table(nil, "", f.values), Default())
	for _, p := range f.problems {
		if !strings.Contains(p.Text, "exclude") && !strings.Contains(p.Text, "beside") {
			t.Error(p)
		}
	}
	for _, key := range schemaKeys() {
		path := strings.Split(strings.NewReplacer("nats.*", "nats.default", "fold.*", "fold.cities", "index.*", "index.main", "gate.*", "gate.zurich").Replace(key), ".")
		if f.lines[lineKey(path)] == 0 {
			t.Errorf("%s is not in the example", key)
		}
	}
}

// TestSecretsAreNotShown: whatever is wrong around a secret, no problem and no Config repeats it.
func TestSecretsAreNotShown(t *testing.T) {
	ar, err := txtar.ParseFile("testdata/secrets.txtar")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	for _, f := range ar.Files {
		if f.Name == "want" {
			continue
		}
		write(t, f.Name, f.Data)
		c, err := Load(f.Name)
		all := fmt.Sprintf("%v %+v %#v %+v", err, err, err, c)
		if bytes.Contains(bytes.ToLower([]byte(all)), []byte("hunter")) {
			t.Errorf("%s: %s", f.Name, all)
		}
	}
}

func TestSecretRead(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("CONFIG_TEST_SECRET", "from the environment")
	write(t, filepath.Join(dir, "good"), []byte("from a file\r\n"))
	write(t, filepath.Join(dir, "empty"), []byte("\n"))
	write(t, filepath.Join(dir, "large"), make([]byte, maxSecret+1))
	for _, c := range []struct {
		secret    Secret
		want, err string
	}{
		{Secret{}, "", ""},
		{Secret{Env: "CONFIG_TEST_SECRET"}, "from the environment", ""},
		{Secret{Env: "CONFIG_TEST_UNSET"}, "", "config: empty secret: env:CONFIG_TEST_UNSET"},
		{Secret{File: filepath.Join(dir, "good")}, "from a file", ""},
		{Secret{File: filepath.Join(dir, "empty")}, "", "config: empty secret: file:"},
		{Secret{File: filepath.Join(dir, "absent")}, "", "config: secret: open "},
		{Secret{File: filepath.Join(dir, "large")}, "", "is larger than 64KiB"},
	} {
		got, err := c.secret.Read()
		if got != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%v: %q, %v", c.secret, got, err)
		}
	}
}

func TestCanonicalJSON(t *testing.T) {
	const want = `{"a":[1,1000,0.1],"b":{"c":"<&>","d":{}},"e":[{"x":1,"y":2}]}`
	for _, src := range []string{
		"a = [1, 1000, 0.1]\nb.c = '<&>'\nb.d = {}\n[[fold.f.config.e]]\nx = 1\ny = 2",
		"e = [{y = 2.0, x = 0x1}]\nb = {d = {}, c = \"\\u003C&>\"}\na = [1.0, 1e3, 1e-1]",
	} {
		c, p := read("fold.f.source.bucket = 'b'\nfold.f.module.path = 'p'\n[fold.f.config]\n" + src)
		if len(p.All) > 0 {
			t.Fatal(p)
		}
		if got := string(c.Folds[0].Config); got != want {
			t.Errorf("%s\n got %s\nwant %s", src, got, want)
		}
	}
}

func TestLoadUnreadable(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "large.toml"), bytes.Repeat([]byte("#"), maxFile+1))
	write(t, filepath.Join(dir, "deep.toml"), []byte("\na = "+strings.Repeat("[", maxFile-10)))
	for name, want := range map[string]string{
		"absent.toml": "absent.toml: cannot be read: no such file or directory",
		"large.toml":  "large.toml: cannot be read: larger than 1MiB",
		"deep.toml":   "deep.toml:2: nests deeper than 64 tables and lists",
		"":            "is a directory",
	} {
		c, err := Load(filepath.Join(dir, name))
		p, _ := err.(*Problems)
		if c == nil || p == nil || !p.Fatal() || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestIncludeFromOddDirectory: wildcards in the directory's own name are none.
func TestIncludeFromOddDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), `a[b]*?\c`)
	write(t, filepath.Join(dir, "main.toml"), []byte(`include = ["d/*.toml"]`))
	write(t, filepath.Join(dir, "d/x.toml"), []byte("fold.x.source.bucket = 'b'\nfold.x.module.path = 'p'"))
	c, err := Load(filepath.Join(dir, "main.toml"))
	if err != nil || len(c.Folds) != 1 || c.Folds[0].Module.Path != filepath.Join(dir, "d/p") {
		t.Errorf("%+v, %v", c.Folds, err)
	}
}

func TestParseSize(t *testing.T) {
	for s, want := range map[string]int64{
		"1B": 1, "1kB": 1000, "1KB": 1000, "512KiB": 512 << 10, "64MiB": 64 << 20, "100MB": 1e8, "1GiB": 1 << 30,
		"2GB": 2e9, "3TiB": 3 << 40, "4TB": 4e12, "0B": 0, "8388607TiB": math.MaxInt64 >> 40 << 40,
		"": -1, "1": -1, "MiB": -1, "1 MiB": -1, "1mib": -1, "1.5GiB": -1, "-1B": -1, "+1B": -1, "1_000B": -1,
		"8388608TiB": -1, "99999999999999999999B": -1, "1PiB": -1, "0x1B": -1,
	} {
		n, ok := parseSize(s)
		if ok != (want >= 0) || ok && n != want {
			t.Errorf("%q: %d, %t", s, n, ok)
		}
		if ok {
			if back, _ := parseSize(formatSize(n)); back != n {
				t.Errorf("%q is %s, which is %d", s, formatSize(n), back)
			}
		}
	}
}

func TestMendSize(t *testing.T) {
	for s, want := range map[string]string{
		"64": "64MiB", "64 mib": "64MiB", "64m": "64MiB", "2g": "2GiB", "1.5GiB": "1536MiB", "100 kb": "100kB",
		"1.5": "1536KiB", "many": "64MiB", "1 furlong": "64MiB", "999999999999999T": "64MiB",
	} {
		got := mendSize(s)
		if _, ok := parseSize(got); !ok || got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
}

func TestParseDuration(t *testing.T) {
	const day = 24 * time.Hour
	for s, want := range map[string]time.Duration{
		"250ms": 250 * time.Millisecond, "1h30m": 90 * time.Minute, "7d": 7 * day, "1d12h": 36 * time.Hour, "0s": 0,
		"": -1, "5": -1, "0": -1, "1D": -1, "1d24h": -1, "1d-1h": -1, "1dd": -1, "999999d": -1, "1.5d": -1, "d": -1,
	} {
		d, ok := parseDuration(s)
		if ok != (want >= 0) || ok && d != want {
			t.Errorf("%q: %s, %t", s, d, ok)
		}
	}
}

func TestNearest(t *testing.T) {
	known := []string{"bucket", "stream", "filter", "keying", "on_evict", "nats"}
	for word, want := range map[string]string{
		"buckte": "bucket", "Bucket": "bucket", "onEvict": "on_evict", "on-evict": "on_evict", "steam": "stream",
		"nast": "nats", "fliter": "filter", "x": "", "subject": "", "": "", "buckets_of_nats": "",
	} {
		if got := Nearest(word, known); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
}

func TestBudget(t *testing.T) {
	const none = "9223372036854771712"
	machine := func(files ...string) fs.FS {
		m := fstest.MapFS{}
		for i := 0; i < len(files); i += 2 {
			m[files[i]] = &fstest.MapFile{Data: []byte(files[i+1] + "\n")}
		}
		return m
	}
	meminfo := "MemFree: 1 kB\nMemTotal:       16777216 kB"
	for name, c := range map[string]struct {
		root fs.FS
		want int64
		from string
	}{
		"unknown": {machine(), 256 << 20, "a quarter of the 1GiB of a machine that tells no memory"},
		"machine": {machine("proc/meminfo", meminfo), 4 << 30, "a quarter of the 16GiB of the machine"},
		"large":   {machine("proc/meminfo", "MemTotal: 1073741824 kB"), 8 << 30, "a quarter of the 1TiB of the machine, at most 8GiB"},
		"v2": {machine("proc/meminfo", meminfo, "proc/self/cgroup", "0::/", "sys/fs/cgroup/memory.max", "2147483648"),
			512 << 20, "a quarter of the 2GiB of /sys/fs/cgroup/memory.max"},
		"v2 above": {machine("proc/meminfo", meminfo, "proc/self/cgroup", "0::/a.slice/b c.service",
			"sys/fs/cgroup/a.slice/b c.service/memory.max", "max", "sys/fs/cgroup/a.slice/memory.max", "1073741824"),
			256 << 20, "a quarter of the 1GiB of /sys/fs/cgroup/a.slice/memory.max"},
		"v2 space": {machine("proc/self/cgroup", "0::/b c", "sys/fs/cgroup/b c/memory.max", "536870912"),
			128 << 20, "a quarter of the 512MiB of /sys/fs/cgroup/b c/memory.max"},
		"v2 of the host": {machine("proc/meminfo", meminfo, "proc/self/cgroup", "0::/../../pod/abc", "sys/fs/cgroup/memory.max", "1073741824"),
			256 << 20, "a quarter of the 1GiB of /sys/fs/cgroup/memory.max"},
		"v1": {machine("proc/meminfo", meminfo, "proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/docker/x\n0::/",
			"sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes", "134217728", "sys/fs/cgroup/memory/memory.limit_in_bytes", none),
			64 << 20, "a quarter of the 128MiB of /sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes, at least 64MiB"},
		"v1 unlimited": {machine("proc/meminfo", meminfo, "proc/self/cgroup", "4:memory:/",
			"sys/fs/cgroup/memory/memory.limit_in_bytes", none), 4 << 30, "a quarter of the 16GiB of the machine"},
		"odd": {machine("proc/meminfo", "?", "proc/self/cgroup", "x\n::\n0::"), 256 << 20, "a quarter of the 1GiB of a machine that tells no memory"},
	} {
		if got, from := autoBudget(c.root); got != c.want || from != c.from {
			t.Errorf("%s: %d, %s", name, got, from)
		}
	}
	if got, from := (Store{Memory: 5}).Budget(); got != 5 || from != "store.memory" {
		t.Errorf("%d, %s", got, from)
	}
	if got, from := (Store{}).Budget(); got < autoMin || got > autoMax || from == "" {
		t.Errorf("%d, %s", got, from)
	}
}

// read is Load of one file that exists only as text.
func read(src string) (*Config, *Problems) {
	c, f := Default(), &file{name: "text.toml", dir: "/text", main: true}
	if f.parse(src) {
		f.readMain(f.table(nil, "", f.values), c)
	}
	return c, gather(c, []*file{f})
}

// FuzzLoad: no text makes Load panic; each problem has a line of the file, and a text; the folds that are left are good.
func FuzzLoad(f *testing.F) {
	for _, file := range archived(f) {
		f.Add(string(file.Data))
	}
	f.Fuzz(func(t *testing.T, src string) {
		c, p := read(src)
		last := 1 + strings.Count(src, "\n")
		for _, one := range p.All {
			if one.Line < 1 || one.Line > last || one.Text == "" || !one.Fatal {
				t.Errorf("%q: %+v", src, one)
			}
		}
		for _, fold := range c.Folds {
			if !nameForm.MatchString(fold.Name) || fold.Source.Bucket+fold.Source.Stream == "" || (fold.Module.Path == "") == (fold.Module.Object == "") {
				t.Errorf("%q: %+v", src, fold)
			}
		}
	})
}
