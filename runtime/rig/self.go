package rig

import (
	"errors"
	"fmt"
	"os"
	"os/exec"

	"github.com/foldrun/foldrun/runtime/source"
)

// brokerDir, set in the environment, makes a program that calls Became a broker.
const brokerDir = "FOLDRUN_RIG_BROKER"

// Became is for the start of a program, of a test's above all, that Self starts once more: there it serves, and then ends the process.
func Became() {
	dir := os.Getenv(brokerDir)
	if dir == "" {
		return
	}
	if err := Serve(dir, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Self is this program once more, as a broker over dir.
func Self(dir string) *exec.Cmd {
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), brokerDir+"="+dir)
	c.Stderr = os.Stderr
	return c
}

// StartSelf starts this program once more, as a broker over dir, and connects to it; end ends both. It panics if the broker ends
// by itself.
func StartSelf(dir string) (b *Broker, s *Server, end func() error, err error) {
	if b, err = StartBroker(Self(dir), func(err error) { panic(err) }); err != nil {
		return nil, nil, nil, err
	}
	if s, err = Connect(source.Target{URL: b.URL}); err != nil {
		return nil, nil, nil, errors.Join(err, b.Stop())
	}
	return b, s, func() error {
		s.Close()
		return b.Stop()
	}, nil
}
