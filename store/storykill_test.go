package store_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/foldrun/foldrun/runtime/source"
	"github.com/foldrun/foldrun/store"
)

func init() { store.Children["story"] = storyChild }

// storyChild tells a story, of which it says on stdout where it is, and is killed ahead of the operation of ours with the number
// STORY_AT.
func storyChild() {
	at, err := strconv.ParseInt(os.Getenv("STORY_AT"), 10, 64)
	if err == nil {
		err = tellUntil(os.Getenv("STORY_URL"), os.Getenv("STORY_BUCKET"), os.Getenv("STORY_DIR"), at)
	}
	if err != nil {
		fmt.Println("failed", err)
		os.Exit(1)
	}
	fmt.Println("done")
}

func tellUntil(url, bucket, path string, at int64) error {
	conn, err := source.Connect(source.Target{URL: url}, nil)
	if err != nil {
		return err
	}
	s, err := newStoryteller(context.Background(), conn, bucket)
	if err != nil {
		return err
	}
	var n atomic.Int64
	o := store.Watched(storyOptions(), vfs.Default, func(kind, name string) error {
		if !lasting(kind, name) || n.Add(1) != at {
			return nil
		}
		fmt.Println("dies", kind, name)
		if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
			panic(err)
		}
		select {}
	})
	told := &story{storyteller: s, options: o, path: path, ahead: func(stage int, acknowledged bool) { fmt.Println("stage", stage, acknowledged) }}
	return told.tell()
}

// lasting says whether an operation changes what a killed process leaves, beside Pebble's files: a sync does not.
func lasting(kind, name string) bool {
	return ours(kind, name) && slices.Contains([]string{"create", "rename", "mkdir", "remove"}, kind)
}

// A killing is a story whose process was killed, or that was told to its end.
type killing struct {
	moment
	done bool
}

// kill has a child tell a story, up to the operation with a number.
func kill(ctx context.Context, url, bucket, path string, at int) (k killing, err error) {
	c := exec.CommandContext(ctx, os.Args[0])
	c.Env = append(os.Environ(), store.ChildEnv+"=story", "STORY_URL="+url, "STORY_BUCKET="+bucket, "STORY_DIR="+path, fmt.Sprint("STORY_AT=", at))
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		return k, err
	}
	var said string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		said = lines.Text()
		switch word, rest, _ := strings.Cut(said, " "); word {
		case "stage":
			_, err = fmt.Sscan(rest, &k.stage, &k.acknowledged)
		case "dies":
			k.op = strings.ReplaceAll(rest, path+"/", "")
		case "done":
			k.done = true
		}
	}
	ended := c.Wait()
	var exit *exec.ExitError
	if killed := errors.As(ended, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL; err == nil && killed == k.done {
		err = fmt.Errorf("it ended by itself: %v, after %q", ended, said)
	}
	return k, err
}

// TestKillUpgrade kills a process that tells a story with SIGKILL, ahead of every operation on files and directories of ours that
// such an end leaves a trace of. A start on what it leaves serves, and arrives.
func TestKillUpgrade(t *testing.T) {
	stride := 40
	if store.EveryOne() {
		stride = 1
	}
	rng := store.Seeded(t)
	s, server := newStory(t, "names")
	js, err := jetstream.New(s.conn)
	ok(t, err)
	var over atomic.Bool
	var next, kills atomic.Int64
	next.Store(int64(1 + rng.IntN(stride) - stride))
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			for !over.Load() && !t.Failed() {
				at := int(next.Add(int64(stride)))
				bucket, path := fmt.Sprint("b", at), filepath.Join(t.TempDir(), "data")
				makeBucket(t, s.conn, bucket)
				k, err := kill(t.Context(), server.URL(), bucket, path, at)
				if err == nil && k.done {
					over.Store(true)
				}
				if err == nil && !k.done {
					kills.Add(1)
					err = s.afterwards(js, bucket, path, k.moment)
				}
				if err != nil {
					t.Errorf("killed at the operation %d, %v: %v", at, k.moment, err)
				}
				if err := os.RemoveAll(path); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	t.Logf("%d kills", kills.Load())
	if kills.Load() == 0 {
		t.Error("nothing was killed")
	}
}

// afterwards judges what a process left of its directory, as judge does.
func (s *storyteller) afterwards(js jetstream.JetStream, bucket, path string, m moment) error {
	other, err := newStoryteller(s.ctx, s.conn, bucket)
	if err != nil {
		return err
	}
	stream, err := js.Stream(s.ctx, "KV_"+bucket)
	if err != nil {
		return err
	}
	if err := other.judge(vfs.Default, path, m, stream.CachedInfo().State.LastSeq); err != nil {
		return err
	}
	return js.DeleteKeyValue(s.ctx, bucket)
}
