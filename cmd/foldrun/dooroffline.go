package main

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/foldrun/foldrun/hint"
	"github.com/foldrun/foldrun/runtime"
	"github.com/foldrun/foldrun/runtime/serve"
	"github.com/foldrun/foldrun/store"
)

// offline answers HTTP requests from a data directory that no foldrun runs on, in the process. So the read verbs are
// clients of the one query layer, whether anything runs or not. It holds the directory's lock for each request alone: a
// foldrun that starts meanwhile waits no longer than one takes.
type offline struct{ dir string }

// lockWait is how long a reader waits for another to release the directory.
const lockWait = 2 * time.Second

func (o offline) RoundTrip(r *http.Request) (resp *http.Response, err error) {
	dir, err := store.OpenDir(o.dir, store.Options{ReadOnly: true, LockWait: lockWait})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	names, err := foldDirs(o.dir) // one without a current generation is shown too, with what is wrong
	if err != nil {
		return nil, err
	}
	var folds []serve.Fold
	for _, name := range names {
		f := &stored{dir: dir, name: name}
		defer func() { err = errors.Join(err, f.close()) }()
		folds = append(folds, f)
	}
	w := &recorder{header: http.Header{}, status: http.StatusOK}
	serve.New(serve.Options{Folds: folds, Version: readBuild().Version, Passing: true}).ServeHTTP(w, r)
	return w.response(r), nil
}

// stored is a fold that nothing follows. Its store is opened when it is asked for.
type stored struct {
	dir    *store.Dir
	name   string
	opened bool
	db     *store.DB
	err    error
}

func (f *stored) Name() string { return f.name }

func (f *stored) Store() *store.DB {
	if f.opened {
		return f.db
	}
	f.opened = true
	var generation string
	switch generation, f.err = f.dir.Current(f.name); {
	case f.err != nil:
	case generation == "":
		f.err = noCurrent(f.dir.FoldPath(f.name), f.name)
	default:
		f.db, f.err = f.dir.Open(f.name, generation)
	}
	return f.db
}

func (f *stored) Status() runtime.Status {
	if db := f.Store(); db != nil {
		return runtime.StoreStatus(db)
	}
	return runtime.Status{Name: f.name, State: runtime.StateStopped, Code: runtime.CodeOf(f.err), Reason: f.err.Error(), Hint: hint.Of(f.err)}
}

func (f *stored) close() error {
	if f.db == nil {
		return nil
	}
	return f.db.Close()
}

// recorder is an http.ResponseWriter that keeps the reply.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *recorder) Header() http.Header         { return w.header }
func (w *recorder) WriteHeader(status int)      { w.status = status }
func (w *recorder) Write(b []byte) (int, error) { return w.body.Write(b) }

func (w *recorder) response(r *http.Request) *http.Response {
	return &http.Response{
		Status: http.StatusText(w.status), StatusCode: w.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.header, Body: io.NopCloser(&w.body), ContentLength: int64(w.body.Len()), Request: r,
	}
}
