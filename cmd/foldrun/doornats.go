package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/foldrun/foldrun/client"
	"github.com/foldrun/foldrun/client/natsdoor"
	"github.com/foldrun/foldrun/hint"
)

// A readDoor is how the verbs whose reads are to be had over NATS too reach an index.
type readDoor struct {
	door
	nats     natsFlags
	overNATS bool
	subject  string // that [query] of the foldruns has
	instance string // to ask; "": whichever answers
}

func (d *readDoor) flags(c *cobra.Command) {
	d.door.flags(c)
	c.Flags().BoolVar(&d.overNATS, "nats", false, "ask over NATS, where foldrun answers below [query] subject")
	c.Flags().StringVar(&d.subject, "subject", natsdoor.Subject, "with --nats: that subject")
	c.Flags().StringVar(&d.instance, "instance", "", "with --nats: ask this instance, whatever state its folds are in")
	d.nats.flags(c, "with --nats: ")
}

// settled refuses flags of one door with the other.
func (d *readDoor) settled() error {
	refused, why, mend := append([]string{"subject", "instance"}, natsFlagNames...), "--%s without --nats", "--nats asks over NATS; --url, -c and --data-dir say which foldrun to ask over HTTP"
	if d.overNATS {
		refused, why, mend = []string{"url", "config", "data-dir", "token-file", "ca"}, "--%s with --nats", "over NATS, --server, --context and the like say where to ask, and --instance whom"
	}
	for _, flag := range refused {
		if d.given(flag) {
			return hint.Error(misuse{fmt.Errorf(why, flag)}, "%s", mend)
		}
	}
	return nil
}

// open finds who answers: over NATS, or as a door does. A connection to NATS ends with ctx.
func (d *readDoor) open(ctx context.Context, stderr io.Writer) (*client.Client, error) {
	if err := d.settled(); err != nil {
		return nil, err
	}
	if !d.overNATS {
		return d.door.open(ctx, stderr)
	}
	conn, _, err := d.nats.connect("_INBOX") // where foldrun may send replies to, if its permissions are those of the docs
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, conn.Close)
	if d.instance != "" {
		return natsdoor.At(conn, d.subject, d.instance), nil
	}
	return natsdoor.New(conn, d.subject), nil
}
