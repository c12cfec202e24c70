package measure

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

// Broker is a NATS server for a process of its own, as it is in production: it writes its URL to out, and runs until in ends.
func Broker(dir string, in io.Reader, out io.Writer) error {
	s, err := embedded.Start(embedded.Options{StoreDir: dir})
	if err != nil {
		return err
	}
	defer s.Stop()
	if _, err := fmt.Fprintln(out, s.URL()); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, in)
	return err
}

// grace is how long what was started may take to end.
const grace = 20 * time.Second

// broker is a process that runs Broker.
type broker struct {
	url     string
	cmd     *exec.Cmd
	in      io.Closer
	ending  atomic.Bool
	gone    chan struct{}
	outcome error // of the process, once gone
}

// startBroker starts a broker; lost is told when it ends by itself.
func startBroker(c *exec.Cmd, lost func(error)) (*broker, error) {
	in, err := c.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("measure: broker: %w", err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("measure: broker: %w", err)
	}
	if err := c.Start(); err != nil {
		return nil, fmt.Errorf("measure: broker: %w", err)
	}
	b := &broker{cmd: c, in: in, gone: make(chan struct{})}
	url, err := bufio.NewReader(out).ReadString('\n')
	b.url = strings.TrimSpace(url)
	go func() {
		defer close(b.gone)
		b.outcome = c.Wait()
		if !b.ending.Load() {
			lost(errors.New("the broker has ended by itself"))
		}
	}()
	if err != nil {
		return nil, errors.Join(errors.New("measure: the broker did not start"), b.stop())
	}
	return b, nil
}

// stop ends the broker.
func (b *broker) stop() error {
	b.ending.Store(true)
	b.in.Close()
	late := time.AfterFunc(grace, func() { b.cmd.Process.Kill() })
	<-b.gone
	late.Stop()
	if b.outcome != nil {
		return fmt.Errorf("measure: broker: %w", b.outcome)
	}
	return nil
}
