// Package config reads the TOML file that tells foldrun what to fold.
//
// It is strict: an unknown key, a key in the wrong case, a bare number for a size or a duration, a value that is none
// of the legal ones, a setting that this version does not have yet: each is a Problem with file, line, key and mend,
// and Load reports all of them at once, those of included files too.
//
// # Why a map, and not toml's own decoding into structs?
//
// That stops at the first type error, has no lines for unknown keys, takes DATA_DIR for data_dir, and reads a bare
// `timeout = 5` as 5 ns. So a file is parsed into a map, and the functions of schema.go walk it: what they ask a table
// for is the schema, and what is left over is unknown. toml keeps the lines of keys to itself; lines.go finds them.
//
// # Why is a Config free of secrets?
//
// Every secret is given by reference (a Secret: a file, or a variable of the environment) and read when it is used, so
// no printing, logging or encoding of a Config can show one. A secret written into the file itself is refused, in words
// that do not repeat it.
//
// # Why does Load return a Config beside its Problems?
//
// Teams own included files, one each; the mistake of one must not stop the folds of the others. See Problem.Fatal.
package config

import (
	"encoding/json"
	"os"
	"time"
)

// A Config is a configuration file with its includes. Paths in it are absolute. It holds no secrets.
type Config struct {
	DataDir     string          // directory of the stores, the lock and the admin socket; default /var/lib/foldrun
	Instance    string          // this process's name in logs, metrics and comparisons; default the host name
	Include     []string        // glob patterns of files with [fold.NAME] tables; default none
	TrustedKeys []string        // public nkeys, one of which must have signed each module; default none: any module runs
	NATS        map[string]NATS // connections by name; "default" may be absent: the zero NATS then stands for it
	Store       Store
	HTTP        HTTP
	Query       Query
	Folds       []Fold // sorted by name
	Path        string // the main file, as it was named to Load

	lines lines // of the main file
}

// A NATS is one connection. Its zero value is the environment's: the context named by $NATS_CONTEXT, else the selected
// context, else $NATS_URL, else nats://127.0.0.1:4222. At most one of Creds, NKey, User and Token is set.
type NATS struct {
	URL      string // one or more servers, comma-separated, without credentials
	Context  string // the name of a context of the nats CLI; stands alone
	Domain   string // JetStream domain; default none
	Creds    Secret // a credentials file: user JWT and seed; read it again at each reconnect
	NKey     Secret // an nkey seed
	User     string // goes with Password
	Password Secret
	Token    Secret
	TLSCA    string // file of PEM certificates to trust; default the system's
	TLSCert  string // file of the client's certificate, PEM; goes with TLSKey
	TLSKey   string // file of the client's key, PEM
	TLSFirst bool   // TLS handshake before the server's INFO; default false
}

// A Store says what all stores of the process may use together.
type Store struct {
	Memory      int64  // bytes for caches, memtables, batches and instances; 0 = "auto", see Budget
	CacheSize   int64  // bytes of Memory for the block cache; 0 = "auto": the store's own split
	Sync        string // "always" (default), "1s" (WAL synced at that interval) or "never"; each survives kill -9
	MinFreeDisk int64  // bytes free on data_dir's file system below which folds pause; default 1 GiB
	ModuleCache bool   // compiled modules are kept in data_dir/cache; default true
}

// An HTTP is the door for queries, status and metrics.
type HTTP struct {
	Listen    string // host:port, default 127.0.0.1:8480; port 0 picks one
	TLSCert   string // file, PEM; read again when it changes
	TLSKey    string // file, PEM; read again when it changes
	Tokens    string // file of token hashes, scopes and folds; read again when it changes
	OpsListen string // host:port for /healthz, /readyz and /metrics apart from the rest; default none
}

// A Query is the NATS micro service. The zero value is off.
type Query struct {
	NATS    string // the name of a connection
	Subject string // the prefix of its subjects
}

// A Fold is one derived index.
type Fold struct {
	Name           string        // [a-z0-9][a-z0-9_-]{0,62}: it names a directory
	OnError        string        // "quarantine" (default), "keep_last_good" or "halt"
	ErrorBudget    Budget        // source keys that may be in quarantine; default 1 % of the live ones
	OnDivergence   string        // "rebuild" (default), "reconcile" or "halt"
	Upgrade        string        // "auto" (default) or "manual"
	DiskQuota      int64         // bytes that all its generations may take on disk; 0 (default) = no bound
	BuildJitter    time.Duration // a build that no operator asked for begins within so long; default 10s, 0 = at once
	RollbackWindow time.Duration // how long a generation that an upgrade replaced is kept; default 1h, 0 = not at all
	MaxStaleness   time.Duration // NATS away for longer: not ready; 0 (default) = never
	Source         Source
	Module         Module
	Index          map[string]Index // policies of the indexes named in the file; others have DefaultIndex
	Gates          map[string]Gate  // queries that a generation must answer before it replaces another one, by name
	Limits         Limits
	Config         json.RawMessage // [fold.NAME.config] as canonical JSON (sorted keys, no spaces), {} when absent
	File           string          // the file it stands in

	lines lines // of that file
}

// A Budget is a number of source keys: a share of the live ones, 0 to 1, but so many in any case. "1%" is at least 100;
// "500" has no share.
type Budget struct {
	Share float64
	Keys  uint64
}

// A Source is what a fold follows. Exactly one of Bucket and Stream is set.
type Source struct {
	NATS    string // the name of a connection; default "default", which Config.NATS need not hold
	Bucket  string // a KV bucket, without its stream's KV_
	Stream  string
	Filter  string // one server-side filter: below the bucket's keys, or of the stream's subjects; default ">"
	Keying  string // "subject" (default) or, of a stream, "message"
	OnEvict string // "remove" (default) or "keep"
	Keep    bool   // keep_source: the store keeps the records; default false
}

// A Module is where the wasm comes from. Exactly one of Path and Object is set.
type Module struct {
	Path   string // a file
	Object string // bucket/name of a NATS object store
	SHA256 string // what its bytes must hash to, 64 lower-case hex digits; default: whatever; an object needs it, or TrustedKeys
}

// An Index is the policy of one index.
type Index struct {
	Collisions string // "all" (default): a read gives each source's row; "latest": that of the highest seq
}

// A Gate is a query and what its answer must be: of one key, of those with a prefix, or of the whole index.
type Gate struct {
	Index   string // default "main"
	Key     *string
	Prefix  string
	Value   *string // one of the key's rows must have it
	AtLeast int64   // rows; default 1, or 0 where AtMost is 0
	AtMost  int64   // rows; -1 (default) = any number
}

// Limits bound what a module may use for one record.
type Limits struct {
	Memory           int64 // bytes of guest memory, used in whole pages of 64 KiB; default 64 MiB
	FuelPerRecord    int64 // what one record may cost, about an instruction each (runtime/plugin/fuel); default 120,000,000
	EntriesPerRecord int   // default 1024
	BytesPerRecord   int64 // bytes of all keys and values emitted; default 4 MiB
}

// Default returns the configuration of an empty file.
func Default() *Config {
	return &Config{
		DataDir:  "/var/lib/foldrun",
		Instance: hostname(),
		NATS:     map[string]NATS{},
		Store:    Store{Sync: "always", MinFreeDisk: 1 << 30, ModuleCache: true},
		HTTP:     HTTP{Listen: "127.0.0.1:8480"},
	}
}

// DefaultFold returns the fold of an empty [fold.NAME]: all but its source and its module.
func DefaultFold(name string) Fold {
	return Fold{
		Name:           name,
		OnError:        "quarantine",
		ErrorBudget:    Budget{Share: 0.01, Keys: 100},
		OnDivergence:   "rebuild",
		Upgrade:        "auto",
		BuildJitter:    10 * time.Second,
		RollbackWindow: time.Hour,
		Source:         Source{NATS: "default", Filter: ">", Keying: "subject", OnEvict: "remove"},
		Index:          map[string]Index{},
		Gates:          map[string]Gate{},
		Limits:         Limits{Memory: 64 << 20, FuelPerRecord: 120_000_000, EntriesPerRecord: 1024, BytesPerRecord: 4 << 20},
		Config:         json.RawMessage("{}"),
	}
}

// DefaultIndex returns the policy of an index that the file does not name.
func DefaultIndex() Index { return Index{Collisions: "all"} }

func hostname() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "foldrun"
	}
	return name
}
