package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// addressFile stands in a data directory while a foldrun runs on it:
//
//	http://127.0.0.1:8480    where it answers
//	4QHZ…                    what it says in the header Foldrun-Process
//
// A foldrun that was killed leaves it there, and another may have its port by now: the second line tells them apart.
const addressFile = "ADDRESS"

type address struct{ url, process string }

// write puts the address into place whole. It is the holder of the directory's lock who writes it.
func (a address) write(dir string) error {
	name := filepath.Join(dir, addressFile)
	err := os.WriteFile(name+".new", []byte(a.url+"\n"+a.process+"\n"), 0o644)
	if err == nil {
		err = os.Rename(name+".new", name)
	}
	if err != nil {
		return fmt.Errorf("note the address: %w", err)
	}
	return nil
}

// forgetAddress removes what a foldrun noted, or left behind.
func forgetAddress(dir string) error {
	err := os.Remove(filepath.Join(dir, addressFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// readAddress returns what was noted in a data directory, zero when nothing was.
func readAddress(dir string) (a address, err error) {
	b, err := os.ReadFile(filepath.Join(dir, addressFile))
	if errors.Is(err, os.ErrNotExist) {
		return a, nil
	}
	lines := strings.Split(string(b), "\n")
	if len(lines) > 1 {
		a = address{lines[0], lines[1]}
	}
	return a, err
}

// answerTimeout is how long a foldrun of this machine may take to say that it is alive.
const answerTimeout = 2 * time.Second

// answers reports whether the foldrun that noted the address is there. Without a process, any foldrun will do. It needs
// no token.
func (a address) answers(ctx context.Context, h *http.Client) bool {
	if a.url == "" {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url+"/healthz", nil)
	if err != nil {
		return false
	}
	resp, err := h.Do(req)
	if err != nil {
		return false
	}
	resp.Body.Close()
	process := resp.Header.Get("Foldrun-Process")
	return process != "" && (a.process == "" || process == a.process)
}
