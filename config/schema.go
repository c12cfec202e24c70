package config

import (
	"math"
	"sync"
)

// The functions of this file are the schema: what they ask a table for is what a file may hold. They run over each file,
// and once over an empty one, so that schemaKeys knows every key there is.

// schemaKeys returns all keys of the main file, tables included, with * for names: "fold.*.source.bucket".
func schemaKeys() []string {
	schema.Do(func() {
		f := &file{main: true, describing: true}
		f.readMain(f.table(nil, "", nil), Default())
		schema.keys = f.keys
	})
	return schema.keys
}

func (f *file) schemaKeys() []string {
	if f.schema != nil {
		return f.schema()
	}
	return schemaKeys()
}

var schema struct {
	sync.Once
	keys []string
}

func (f *file) readMain(t *table, c *Config) {
	t.filePath("data_dir", &c.DataDir)
	t.text("instance", &c.Instance, instanceRule)
	t.list("include", func(i int, s string) { c.Include = append(c.Include, f.pattern(i, s)) }, pathRule, globRule)
	t.list("trusted_keys", func(_ int, s string) { c.TrustedKeys = append(c.TrustedKeys, s) }, keyRule)
	keys, isList := t.values["trusted_keys"].([]any)
	f.trusting = len(keys) > 0 || !isList && t.faulted["trusted_keys"]
	t.named("nats", func(name string, t *table) {
		t.checkName("a connection", name)
		c.NATS[name] = readNATS(t)
	})
	f.connections = c.NATS
	readStore(t.sub("store"), &c.Store)
	readHTTP(t.sub("http"), &c.HTTP)
	f.readQuery(t.sub("query"), &c.Query)
	f.readFolds(t)
	t.done()
}

// readIncluded is readMain for an included file: folds, nothing else.
func (f *file) readIncluded(t *table) {
	f.readFolds(t)
	t.done()
}

func readNATS(t *table) NATS {
	var n NATS
	t.text("url", &n.URL, urlRule)
	t.text("context", &n.Context, contextRule)
	t.text("domain", &n.Domain, tokenRule)
	t.secret("creds", &n.Creds, secretFile)
	t.secret("nkey", &n.NKey, secretFile)
	t.text("user", &n.User)
	t.secret("password", &n.Password, secretReference)
	t.secret("token", &n.Token, secretReference)
	t.filePath("tls_ca", &n.TLSCA)
	t.filePath("tls_cert", &n.TLSCert)
	t.filePath("tls_key", &n.TLSKey)
	t.flag("tls_first", &n.TLSFirst)
	t.done()
	checkNATS(t, n)
	return n
}

func readStore(t *table, s *Store) {
	t.autoSize("memory", &s.Memory, 64<<20, math.MaxInt64)
	t.autoSize("cache_size", &s.CacheSize, 8<<20, math.MaxInt64)
	t.enum("sync", &s.Sync, "always", "1s", "never")
	t.size("min_free_disk", &s.MinFreeDisk, 16<<20, math.MaxInt64)
	t.flag("module_cache", &s.ModuleCache)
	t.done()
	if s.Memory > 0 && s.CacheSize >= s.Memory {
		t.problem("cache_size", "leaves nothing of store.memory for the rest", `write cache_size = "auto"`)
	}
}

func readHTTP(t *table, h *HTTP) {
	t.text("listen", &h.Listen, addressRule)
	t.filePath("tls_cert", &h.TLSCert)
	t.filePath("tls_key", &h.TLSKey)
	t.filePath("tokens", &h.Tokens)
	t.text("ops_listen", &h.OpsListen, addressRule)
	t.done()
	checkHTTP(t, h)
}

func (f *file) readQuery(t *table, q *Query) {
	if t.values != nil {
		*q = Query{NATS: "default", Subject: "foldrun"}
	}
	t.text("nats", &q.NATS)
	t.text("subject", &q.Subject, prefixRule)
	t.done()
	f.checkConnection(t, q.NATS)
}

// readFolds keeps the folds, and the names of all.
func (f *file) readFolds(t *table) {
	t.named("fold", func(name string, t *table) {
		before := len(f.problems)
		fold := f.readFold(name, t)
		f.claims, f.uses = append(f.claims, name), append(f.uses, fold.Source.NATS)
		if len(f.problems) == before {
			f.folds = append(f.folds, fold)
		} else {
			f.faulty = append(f.faulty, fold)
		}
	})
}

func (f *file) readFold(name string, t *table) Fold {
	fold := DefaultFold(name)
	fold.File, fold.lines = f.name, f.lines
	t.checkName("a fold", name)
	t.enum("on_error", &fold.OnError, "quarantine", "keep_last_good", "halt")
	t.budget("error_budget", &fold.ErrorBudget)
	t.enum("on_divergence", &fold.OnDivergence, "rebuild", "reconcile", "halt")
	t.enum("upgrade", &fold.Upgrade, "auto", "manual")
	t.size("disk_quota", &fold.DiskQuota, 64<<20, math.MaxInt64)
	t.duration("build_jitter", &fold.BuildJitter, 1e9)
	t.duration("rollback_window", &fold.RollbackWindow, 1e9)
	t.duration("max_staleness", &fold.MaxStaleness, 1e9)
	source := t.sub("source")
	module := t.sub("module")
	f.readSource(source, &fold.Source)
	readModule(module, &fold.Module)
	t.named("index", func(name string, t *table) {
		t.checkName("an index", name)
		fold.Index[name] = readIndex(t)
	})
	t.named("gate", func(name string, t *table) {
		t.checkName("a gate", name)
		fold.Gates[name] = readGate(t)
	})
	readLimits(t.sub("limits"), &fold.Limits)
	t.json("config", &fold.Config)
	t.done()
	checkFold(t, source, module, fold)
	return fold
}

func (f *file) readSource(t *table, s *Source) {
	t.text("nats", &s.NATS)
	t.text("bucket", &s.Bucket, bucketRule)
	t.text("stream", &s.Stream, tokenRule)
	t.text("filter", &s.Filter, filterRule)
	t.enum("keying", &s.Keying, "subject", "message")
	t.enum("on_evict", &s.OnEvict, "remove", "keep")
	t.flag("keep_source", &s.Keep)
	t.done()
	f.checkConnection(t, s.NATS)
}

func readModule(t *table, m *Module) {
	t.filePath("path", &m.Path)
	t.text("object", &m.Object, objectRule)
	t.text("sha256", &m.SHA256, sha256Rule)
	t.done()
}

func readIndex(t *table) Index {
	x := DefaultIndex()
	t.enum("collisions", &x.Collisions, "all", "latest")
	t.done()
	return x
}

func readGate(t *table) Gate {
	g := Gate{Index: "main", AtLeast: 1, AtMost: -1}
	t.text("index", &g.Index)
	optional := func(key string) *string {
		if s, ok := t.str(key, true); ok {
			return &s
		}
		return nil
	}
	g.Key, g.Value = optional("key"), optional("value")
	t.text("prefix", &g.Prefix)
	count(t, "at_least", &g.AtLeast, 0, 1e9)
	count(t, "at_most", &g.AtMost, 0, 1e9)
	if _, said := t.values["at_least"]; !said && g.AtMost == 0 {
		g.AtLeast = 0
	}
	t.done()
	checkGate(t, g)
	return g
}

func readLimits(t *table, l *Limits) {
	t.size("memory", &l.Memory, 64<<10, 4<<30)
	count(t, "fuel_per_record", &l.FuelPerRecord, 1000, 1e15)
	count(t, "entries_per_record", &l.EntriesPerRecord, 1, 1<<20)
	t.size("bytes_per_record", &l.BytesPerRecord, 1<<10, 1<<30)
	t.done()
	if l.BytesPerRecord > l.Memory && !t.faulted["memory"] && !t.faulted["bytes_per_record"] {
		t.lacks("bytes_per_record, "+formatSize(l.BytesPerRecord)+", does not fit into memory, "+formatSize(l.Memory),
			"raise memory or lower bytes_per_record")
	}
}
