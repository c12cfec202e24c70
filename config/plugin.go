package config

import (
	"fmt"
	"regexp"
	"strings"
	"sync"

	"github.com/foldrun/foldrun/abi"
)

// PluginFile is the name of the file that stands beside a plugin's source and says what the module is. Its keys are the
// manifest's, one for one; the limits that are sizes are written as in a fold.
const PluginFile = "foldrun.plugin.toml"

// LoadPlugin reads a PluginFile, as strictly as Load. The error is nil or a *Problems, all of them fatal; then the
// manifest is of no use.
func LoadPlugin(path string) (abi.Manifest, error) {
	f := open(path, true)
	f.schema = pluginKeys
	var m abi.Manifest
	if f.values != nil {
		m = f.readPlugin(f.table(nil, "", f.values))
	}
	if len(f.problems) == 0 {
		return m, nil
	}
	p := &Problems{All: f.problems}
	p.sort(path)
	return m, p
}

// pluginKeys is schemaKeys for a PluginFile.
func pluginKeys() []string {
	pluginSchema.Do(func() {
		f := &file{main: true, describing: true}
		f.readPlugin(f.table(nil, "", nil))
		pluginSchema.keys = f.keys
	})
	return pluginSchema.keys
}

var pluginSchema struct {
	sync.Once
	keys []string
}

// readPlugin reads abi first: of a file for a later version nothing else is known, so that nothing else is judged.
func (f *file) readPlugin(t *table) (m abi.Manifest) {
	if m.ABI = readABI(t); m.ABI > abi.Version {
		return m
	}
	t.text("name", &m.Name, manifestNameRule)
	t.text("version", &m.Version, printableRule)
	t.text("sdk", &m.SDK, printableRule)
	t.list("indexes", func(_ int, s string) { m.Indexes = append(m.Indexes, s) }, manifestNameRule, onceRule("an index"))
	if len(m.Indexes) > abi.MaxIndexes {
		t.problem("indexes", fmt.Sprintf("has %d names, more than %d", len(m.Indexes), abi.MaxIndexes), "split the module into several")
	}
	t.list("wants", func(_ int, s string) { m.Wants = append(m.Wants, s) }, wantRule, onceRule("a want"))
	t.json("config_schema", &m.ConfigSchema)
	t.checkSchema(m.ConfigSchema)
	m.Limits = readAsked(t.sub("limits"))
	t.done()
	t.needs("name", `"…"`)
	t.needs("abi", fmt.Sprint(abi.Version))
	return m
}

// checkSchema judges config_schema itself.
func (t *table) checkSchema(schema []byte) {
	if len(schema) == 0 {
		return
	}
	_, defects := compileSchema(schema)
	for _, d := range defects {
		t.faulted["config_schema"] = true
		t.file.problem(append(t.pathOf("config_schema"), d.path...), d.text, d.hint)
	}
}

func readABI(t *table) int {
	v, ok := t.take("abi")
	if !ok {
		return 0
	}
	mend := fmt.Sprintf("write abi = %d", abi.Version)
	n, isInt := v.(int64)
	switch {
	case !isInt:
		t.problem("abi", "wants a whole number, has "+kind(v), mend)
	case n > abi.Version:
		t.problem("abi", fmt.Sprintf("version %d is newer than this foldrun, which knows version %d", n, abi.Version),
			"use a newer foldrun, or "+mend+" with an SDK for it")
		return abi.Version + 1
	case n < abi.Version:
		t.problem("abi", fmt.Sprintf("there is no version %d", n), mend)
	}
	return int(n)
}

// readAsked reads the limits that a module asks for, judged as those of a fold: what it leaves out would be the default.
func readAsked(t *table) (asked abi.ManifestLimits) {
	l := DefaultFold("").Limits
	readLimits(t, &l)
	for _, x := range []struct {
		key string
		has int64
		to  *int64
	}{
		{"memory", l.Memory, &asked.Memory},
		{"fuel_per_record", l.FuelPerRecord, &asked.FuelPerRecord},
		{"entries_per_record", int64(l.EntriesPerRecord), &asked.EntriesPerRecord},
		{"bytes_per_record", l.BytesPerRecord, &asked.BytesPerRecord},
	} {
		if _, ok := t.values[x.key]; ok {
			*x.to = x.has
		}
	}
	return asked
}

// needs reports that key is missing or empty, unless another key was meant to be it.
func (t *table) needs(key, form string) {
	if v := t.values[key]; (v == nil || v == "") && !t.faulted[key] && !t.file.describing {
		t.lacks("needs "+key, fmt.Sprintf("write %s = %s", key, form))
	}
}

var (
	manifestNameForm = regexp.MustCompile(fmt.Sprintf(`^[a-z0-9_-]{1,%d}$`, abi.MaxNameBytes))
	printableForm    = regexp.MustCompile(fmt.Sprintf(`^[ -~]{0,%d}$`, abi.MaxNameBytes))

	manifestNameRule = like(manifestNameForm, fmt.Sprintf("1 to %d of a-z 0-9 _ -", abi.MaxNameBytes))
	printableRule    = like(printableForm, fmt.Sprintf("up to %d printable ASCII characters", abi.MaxNameBytes))
)

func wantRule(v string) (text, hint string) {
	if v == abi.WantDelete {
		return "", ""
	}
	return quote(v) + " is nothing that a module can want", fmt.Sprintf("write %q, or leave it out", abi.WantDelete)
}

// onceRule refuses what it has seen before.
func onceRule(what string) rule {
	seen := map[string]bool{}
	return func(v string) (text, hint string) {
		if seen[v] {
			return quote(v) + " stands twice", "name " + what + " once"
		}
		seen[v] = true
		return "", ""
	}
}

// CheckPluginName judges a name before there is a file. It is stricter than the manifest's rule, for the name is that of a
// directory and of commands' arguments too.
func CheckPluginName(name string) (text, hint string) {
	if manifestNameForm.MatchString(name) && !strings.ContainsAny(name[:1], "-_") {
		return "", ""
	}
	hint = fmt.Sprintf("a small letter or digit, then those, dash and underscore, at most %d", abi.MaxNameBytes)
	better := strings.Trim(notInName.ReplaceAllString(strings.ToLower(name), "-"), "-_")
	if manifestNameForm.MatchString(better) {
		hint = fmt.Sprintf("write %s: %s", better, hint)
	}
	return quote(name) + " cannot name a plugin", hint
}
