package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/foldrun/foldrun/client"
	"github.com/foldrun/foldrun/config"
	"github.com/foldrun/foldrun/runtime/embedded"
	"github.com/foldrun/foldrun/runtime/source"
	"github.com/foldrun/foldrun/store"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"foldrun": main})
}

// patience bounds everything that a script waits for.
const patience = 30 * time.Second

// TestScript runs the scripts of testdata/script. Each has a NATS server of its own, at $NATS_URL, and the test modules
// in $WORK. Besides testscript's commands they have:
//
//	bucket NAME                 make a KV bucket
//	put NAME KEY VALUE          put a key, a Go string if it begins with a quotation mark
//	stream NAME SUBJECT WHAT    make a stream of that retention
//	unbucket NAME               delete a KV bucket
//	wait-caught-up FOLD [DIR]   until the fold has what was put; DIR is the data directory, default data
//	wait-state FOLD STATE [RE]  until the fold is in that state, and its code and reason, "CODE: REASON", match
//	wait-generation FOLD RE     until the generation that serves matches, and none is built
//	wait-kept FOLD              until what the last upgrade replaced is kept as the way back, and has caught up
//	wait-row FOLD/INDEX KEY     until there is a row of that key
//	wait-file FILE [TEXT]       until there is such a file, which may be a pattern, and it holds TEXT
//	free-port VAR               set VAR to a port that nobody listens on
//	take-port VAR               the same, but this test listens on it
//	new-token NAME SCOPE FOLDS  make a token: the file tokens gets its line, and NAME.token has it
//	new-certificate             make ca.pem, which signs itself for this machine, and ca.key
//	ask STATUS URL [TOKEN]      make a request that is answered so, with the token of a file; ca.pem is trusted
//	url VAR                     set VAR to the address that the foldrun of data noted
//	lock DIR                    hold the lock of a data directory
//	unlock                      give it back
//	damage DIR FOLD [OFFSET]    flip a byte of each table file of the fold, in the middle or at an offset
//	[exists-default]            condition: this machine has the default data directory
//	[rust]                      condition: there is a Rust compiler for wasm, in $CARGO and $RUSTC or the path
//	[zig]                       condition: there is a Zig compiler that the SDK is for, in $ZIG or the path
//	exit CODE COMMAND ARG...    run a command that must exit with CODE
func TestScript(t *testing.T) {
	if testing.Short() {
		t.Skip("runs servers")
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		UpdateScripts:       os.Getenv("UPDATE") != "",
		Setup:               setup,
		Condition: func(cond string) (bool, error) {
			switch cond {
			case "exists-default":
				_, err := os.Stat(config.Default().DataDir)
				return err == nil, nil
			case "rust":
				rustc := cmp.Or(os.Getenv("RUSTC"), "rustc")
				libraries, err := exec.Command(rustc, "--print", "target-libdir", "--target", rustTarget).Output()
				if err == nil {
					_, err = os.Stat(strings.TrimSpace(string(libraries)))
				}
				return err == nil, nil
			case "zig":
				b, err := exec.Command(cmp.Or(os.Getenv("ZIG"), "zig"), "version").Output()
				return err == nil && strings.HasPrefix(string(b), zigVersion), nil
			}
			return false, fmt.Errorf("no condition %q", cond)
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"bucket":          cmdBucket,
			"unbucket":        cmdUnbucket,
			"put":             cmdPut,
			"stream":          cmdStream,
			"wait-caught-up":  cmdWaitCaughtUp,
			"wait-state":      cmdWaitState,
			"wait-generation": cmdWaitGeneration,
			"wait-kept":       cmdWaitKept,
			"wait-row":        cmdWaitRow,
			"wait-file":       cmdWaitFile,
			"wait-reply":      cmdWaitReply,
			"free-port":       cmdFreePort,
			"take-port":       cmdTakePort,
			"lock":            cmdLock,
			"unlock":          cmdUnlock,
			"damage":          cmdDamage,
			"exit":            cmdExit,
			"new-token":       cmdNewToken,
			"new-certificate": cmdNewCertificate,
			"url":             cmdURL,
			"ask":             cmdAsk,
		},
	})
}

// script is what a script holds beside its files.
type script struct {
	conn   *source.Conn
	last   uint64 // seq of the last put
	locked *store.Dir
}

type scriptKey struct{}

func scriptOf(ts *testscript.TestScript) *script { return ts.Value(scriptKey{}).(*script) }

func setup(env *testscript.Env) error {
	dir, err := os.MkdirTemp("", "foldrun-nats")
	if err != nil {
		return err
	}
	server, err := embedded.Start(embedded.Options{StoreDir: dir})
	if err != nil {
		return err
	}
	conn, err := source.Connect(source.Target{URL: server.URL()}, nil)
	if err != nil {
		return err
	}
	env.Defer(func() { os.RemoveAll(dir) })
	env.Defer(server.Stop)
	env.Defer(conn.Close)
	env.Values[scriptKey{}] = &script{conn: conn}
	env.Setenv("NATS_URL", server.URL())
	env.Setenv("XDG_CONFIG_HOME", filepath.Join(env.WorkDir, ".config"))
	cache, err := exec.Command("go", "env", "GOCACHE").Output()
	if err != nil {
		return err
	}
	env.Setenv("GOCACHE", strings.TrimSpace(string(cache))) // a script has no home
	home, _ := os.UserHomeDir()
	env.Setenv("RUSTUP_HOME", cmp.Or(os.Getenv("RUSTUP_HOME"), filepath.Join(home, ".rustup")))
	env.Setenv("ZIG_GLOBAL_CACHE_DIR", cmp.Or(os.Getenv("ZIG_GLOBAL_CACHE_DIR"), filepath.Join(home, ".cache", "zig")))
	env.Setenv("CARGO_HOME", filepath.Join(env.WorkDir, ".cargo"))
	for _, name := range []string{"CARGO", "RUSTC", "ZIG"} {
		env.Setenv(name, os.Getenv(name))
	}
	for _, name := range []string{"echo", "rekey", "model"} {
		wasm, err := os.ReadFile("../../testdata/modules/" + name + ".wasm")
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(env.WorkDir, name+".wasm"), wasm, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// api makes a request to the JetStream API.
func (s *script) api(ts *testscript.TestScript, subject string, req any) json.RawMessage {
	body, err := json.Marshal(req)
	ts.Check(err)
	return s.request(ts, "$JS.API."+subject, body)
}

// errStoreFailed is the server's code of "error creating store for stream".
const errStoreFailed = 10049

// request makes a request. It makes it again while the server still removes the files of another stream of that name.
func (s *script) request(ts *testscript.TestScript, subject string, body []byte) json.RawMessage {
	for late := time.Now().Add(patience); ; {
		m, err := s.conn.Request(subject, body, patience)
		ts.Check(err)
		var reply struct {
			Error *struct {
				Code        int `json:"err_code"`
				Description string
			}
		}
		ts.Check(json.Unmarshal(m.Data, &reply))
		switch {
		case reply.Error == nil:
			return m.Data
		case reply.Error.Code != errStoreFailed || time.Now().After(late):
			ts.Fatalf("%s: %s (%d)", subject, reply.Error.Description, reply.Error.Code)
		}
	}
}

func want(ts *testscript.TestScript, neg bool, args []string, least, most int, usage string) {
	if neg || len(args) < least || len(args) > most {
		ts.Fatalf("usage: %s", usage)
	}
}

func cmdBucket(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 1, 1, "bucket NAME")
	scriptOf(ts).api(ts, "STREAM.CREATE.KV_"+args[0], map[string]any{"name": "KV_" + args[0], "subjects": []string{"$KV." + args[0] + ".>"},
		"max_msgs_per_subject": 1, "storage": "file", "discard": "new", "allow_rollup_hdrs": true, "deny_delete": true, "retention": "limits"})
}

func cmdUnbucket(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 1, 1, "unbucket NAME")
	scriptOf(ts).api(ts, "STREAM.DELETE.KV_"+args[0], map[string]any{})
}

func cmdStream(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 3, 3, "stream NAME SUBJECT RETENTION")
	scriptOf(ts).api(ts, "STREAM.CREATE."+args[0], map[string]any{"name": args[0], "subjects": []string{args[1]}, "storage": "file", "retention": args[2]})
}

func cmdPut(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 3, 3, "put BUCKET KEY VALUE")
	value := args[2]
	if strings.HasPrefix(value, `"`) {
		var err error
		value, err = strconv.Unquote(value)
		ts.Check(err)
	}
	s := scriptOf(ts)
	var ack struct{ Seq uint64 }
	ts.Check(json.Unmarshal(s.request(ts, "$KV."+args[0]+"."+args[1], []byte(value)), &ack))
	s.last = ack.Seq
}

// until polls until done says nil.
func until(ts *testscript.TestScript, done func() error) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; <-tick.C {
		err := done()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("waited in vain: %v", err)
		}
	}
}

// waitFold polls the status of a fold.
func waitFold(ts *testscript.TestScript, fold, dir string, done func(f client.FoldStatus) bool) {
	until(ts, func() error {
		s, err := throughSocket(ts.MkAbs(dir)).Status(context.Background())
		if err != nil {
			return err
		}
		for _, f := range s.Folds {
			if f.Name == fold && done(f) {
				return nil
			}
		}
		return fmt.Errorf("status is %+v", s)
	})
}

func cmdWaitCaughtUp(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 1, 2, "wait-caught-up FOLD [DIR]")
	dir, last := append(args, "data")[1], scriptOf(ts).last
	waitFold(ts, args[0], dir, func(f client.FoldStatus) bool { return f.CaughtUp && f.Seq >= last })
}

func cmdWaitGeneration(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 2, 2, "wait-generation FOLD RE")
	re := regexp.MustCompile(args[1])
	waitFold(ts, args[0], "data", func(f client.FoldStatus) bool { return f.Build == nil && re.MatchString(f.Generation) })
}

func cmdWaitRow(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 2, 2, "wait-row FOLD/INDEX KEY")
	fold, index, _ := strings.Cut(args[0], "/")
	until(ts, func() error {
		_, err := throughSocket(ts.MkAbs("data")).Get(context.Background(), fold, index, []byte(args[1]), client.Range{})
		return err
	})
}

func cmdWaitState(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 2, 3, "wait-state FOLD STATE [RE]")
	re := regexp.MustCompile(append(args, "")[2])
	waitFold(ts, args[0], "data", func(f client.FoldStatus) bool { return f.State == args[1] && re.MatchString(f.Code+": "+f.Reason) })
}

func cmdWaitKept(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 1, 1, "wait-kept FOLD")
	waitFold(ts, args[0], "data", func(f client.FoldStatus) bool { return f.Previous != nil && f.Previous.State == "following" })
}

func cmdWaitFile(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 1, 2, "wait-file FILE [TEXT]")
	until(ts, func() error {
		file := ts.MkAbs(args[0])
		if all, _ := filepath.Glob(file); len(all) > 0 {
			file = all[0]
		}
		b, err := os.ReadFile(file)
		if err == nil && len(args) > 1 && !strings.Contains(string(b), args[1]) {
			err = fmt.Errorf("%s lacks %q", args[0], args[1])
		}
		return err
	})
}

func cmdWaitReply(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 3, 3, "wait-reply SUBJECT REQUEST TEXT")
	until(ts, func() error {
		m, err := scriptOf(ts).conn.Request(args[0], []byte(args[1]), patience)
		if err == nil && !strings.Contains(string(m.Data), args[2]) {
			err = fmt.Errorf("%s: %s", args[0], m.Data)
		}
		return err
	})
}

func listen(ts *testscript.TestScript, name string) net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Setenv(name, strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	return l
}

// cmdFreePort takes none that the system gives to whoever asks for any: another script may get that one before this does.
func cmdFreePort(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 1, 1, "free-port VAR")
	until(ts, func() error {
		port := strconv.Itoa(20_000 + rand.IntN(10_000))
		l, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err != nil {
			return err
		}
		ts.Setenv(args[0], port)
		return l.Close()
	})
}

func cmdTakePort(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 1, 1, "take-port VAR")
	l := listen(ts, args[0])
	ts.Defer(func() { l.Close() })
}

func cmdLock(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 1, 1, "lock DIR")
	d, err := store.OpenDir(ts.MkAbs(args[0]), store.Options{})
	ts.Check(err)
	scriptOf(ts).locked = d
}

func cmdUnlock(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 0, 0, "unlock")
	ts.Check(scriptOf(ts).locked.Close())
}

func cmdDamage(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 2, 3, "damage DIR FOLD [OFFSET]")
	tables, err := filepath.Glob(filepath.Join(ts.MkAbs(args[0]), "folds", args[1], "*", "*.sst"))
	ts.Check(err)
	if len(tables) == 0 {
		ts.Fatalf("there is no table file to damage")
	}
	for _, name := range tables {
		b, err := os.ReadFile(name)
		ts.Check(err)
		at := len(b) / 2
		if len(args) > 2 {
			at, err = strconv.Atoi(args[2])
			ts.Check(err)
		}
		b[at] ^= 0xff
		ts.Check(os.WriteFile(name, b, 0o644))
	}
}

func cmdExit(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 2, 1000, "exit CODE COMMAND ARG...")
	err := ts.Exec(args[1], args[2:]...)
	code := "0"
	if err != nil {
		code = strings.TrimPrefix(err.Error(), "exit status ")
	}
	if code != args[0] {
		ts.Fatalf("exit code %s, not %s", code, args[0])
	}
}
