package rig

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync/atomic"
	"time"

	"github.com/foldrun/foldrun/runtime/embedded"
)

// Serve is what a broker's process does: it starts a NATS server over dir, and writes its URL to out; then, for each line of in, how
// much CPU time it has used, in nanoseconds. It ends when in does.
func Serve(dir string, in io.Reader, out io.Writer) error {
	s, err := embedded.Start(embedded.Options{StoreDir: dir})
	if err != nil {
		return err
	}
	defer s.Stop()
	if _, err := fmt.Fprintln(out, s.URL()); err != nil {
		return err
	}
	asked := bufio.NewScanner(in)
	for asked.Scan() {
		if _, err := fmt.Fprintln(out, int64(cpu())); err != nil {
			return err
		}
	}
	return asked.Err()
}

// grace is how long what was started may take to end.
const grace = 20 * time.Second

// Broker is a process that runs Serve.
type Broker struct {
	URL     string
	cmd     *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
	ending  atomic.Bool
	gone    chan struct{}
	outcome error // of the process, once gone
}

// StartBroker starts the process; lost is told when it ends by itself.
func StartBroker(c *exec.Cmd, lost func(error)) (*Broker, error) {
	in, err := c.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("rig: broker: %w", err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("rig: broker: %w", err)
	}
	if err := c.Start(); err != nil {
		return nil, fmt.Errorf("rig: broker: %w", err)
	}
	b := &Broker{cmd: c, in: in, out: bufio.NewReader(out), gone: make(chan struct{})}
	url, err := b.out.ReadString('\n')
	b.URL = strings.TrimSpace(url)
	go func() {
		defer close(b.gone)
		b.outcome = c.Wait()
		if !b.ending.Load() {
			lost(errors.New("the broker has ended by itself"))
		}
	}()
	if err != nil {
		return nil, errors.Join(errors.New("rig: the broker did not start"), b.Stop())
	}
	return b, nil
}

// Stop ends the broker.
func (b *Broker) Stop() error {
	b.ending.Store(true)
	b.in.Close()
	late := time.AfterFunc(grace, func() { b.cmd.Process.Kill() })
	<-b.gone
	late.Stop()
	if b.outcome != nil {
		return fmt.Errorf("rig: broker: %w", b.outcome)
	}
	return nil
}

// cpu returns the CPU time that the broker has used.
func (b *Broker) cpu() (used time.Duration, err error) {
	if _, err = fmt.Fprintln(b.in); err == nil {
		_, err = fmt.Fscanln(b.out, (*int64)(&used))
	}
	if err != nil {
		select { // lost has been told, if that is why
		case <-b.gone:
		case <-time.After(grace):
		}
		return 0, fmt.Errorf("rig: ask the broker for its CPU time: %w", err)
	}
	return used, nil
}
