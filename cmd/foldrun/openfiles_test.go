package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/foldrun/foldrun/config"
	"github.com/foldrun/foldrun/hint"
)

// TestFilesNeeded: a limit suffices, may not suffice, or is refused.
func TestFilesNeeded(t *testing.T) {
	c := config.Default()
	for i := range 10 {
		f := config.DefaultFold(fmt.Sprint(i))
		f.Source.NATS = fmt.Sprint(i % 2)
		c.Folds = append(c.Folds, f)
	}
	need := needFiles(c, 12)
	if need.folds != 12 || need.connections != 2 {
		t.Errorf("%+v", need)
	}
	for _, x := range []struct {
		limit uint64
		says  string
	}{
		{0, ""}, {need.all(), ""}, {need.all() - 1, "may not suffice for 12 folds"},
		{need.least(), "may not suffice"}, {need.least() - 1, "is too low for"},
	} {
		err := need.compare(x.limit)
		if (err != nil) != (x.says != "") || err != nil && (!strings.Contains(err.Error(), x.says) || hint.Of(err) == "") {
			t.Errorf("%d: %v", x.limit, err)
		}
	}
}

// limited runs a verb with limits on open files, soft and hard.
func limited(t *testing.T, dir string, soft, hard uint64, args ...string) (output string, code int) {
	t.Helper()
	self, err := exec.LookPath("foldrun")
	if err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf(`ulimit -S -n %d && ulimit -H -n %d && exec "$0" "$@"`, soft, hard)
	c := exec.Command("sh", append([]string{"-c", script, self}, args...)...)
	c.Dir = dir
	b, err := c.CombinedOutput()
	if err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Skipf("no shell: %v", err)
	}
	return string(b), c.ProcessState.ExitCode()
}

// TestFileLimit: the soft limit is raised to the hard one; below what is needed check warns, and then refuses, as run does.
func TestFileLimit(t *testing.T) {
	if fileLimit() < 4096 {
		t.Skip("this system has fewer open files than the test lowers them to")
	}
	dir := t.TempDir()
	text := "data_dir = \"data\"\nhttp.listen = \"127.0.0.1:0\"\nnats.default.url = \"nats://127.0.0.1:1\"\n" +
		"[fold.f]\nsource.bucket = \"b\"\nmodule.path = \"none.wasm\"\n"
	check(t, os.WriteFile(filepath.Join(dir, "foldrun.toml"), []byte(text), 0o600))
	for _, x := range []struct {
		soft, hard uint64
		says       string
	}{
		{256, 4096, "open files: up to 1521, of (4095|4096)\n"}, // Go may leave one off
		{256, 1000, "foldrun: warning: the limit of (999|1000) open files may not suffice for 1 fold: they may need 1521\nfoldrun: hint: raise the hard limit to 1521 "},
		{256, 400, "foldrun: error: the limit of (399|400) open files is too low for 1 fold: they may need 1521\n"},
	} {
		if out, _ := limited(t, dir, x.soft, x.hard, "check"); !regexp.MustCompile(x.says).MatchString(out) {
			t.Errorf("%d to %d: without %q:\n%s", x.soft, x.hard, x.says, out)
		}
	}
	out, code := limited(t, dir, 256, 400, "run")
	if code != exitFailed || !regexp.MustCompile("^foldrun: error: the limit of (399|400) open files is too low").MatchString(out) {
		t.Errorf("run exits %d:\n%s", code, out)
	}
}
