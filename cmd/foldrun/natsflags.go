package main

import (
	"github.com/spf13/cobra"

	"github.com/foldrun/foldrun/runtime/source"
)

// natsFlags say how to reach NATS, as the flags of the nats command do.
type natsFlags struct{ source.Target }

var natsFlagNames = []string{"server", "context", "creds", "nkey", "tlsca", "tlscert", "tlskey"}

// flags adds natsFlagNames, with this before what is said of each.
func (f *natsFlags) flags(c *cobra.Command, of string) {
	for i, x := range []struct {
		to           *string
		short, usage string
	}{
		{&f.URL, "s", "URLs of NATS servers, parted by commas; default $NATS_URL, or the context's"},
		{&f.Context, "", "a context of the nats command; default $NATS_CONTEXT, else the selected one"},
		{&f.Creds, "", "file with a user's credentials; default $NATS_CREDS"},
		{&f.NKey, "", "file with a user's nkey seed"},
		{&f.TLSCA, "", "file of certificates to trust, PEM"},
		{&f.TLSCert, "", "file of the client's certificate, PEM"},
		{&f.TLSKey, "", "file of its key, PEM"},
	} {
		c.Flags().StringVarP(x.to, natsFlagNames[i], x.short, "", of+x.usage)
	}
	for _, name := range []string{"creds", "nkey", "tlsca", "tlscert", "tlskey"} {
		c.MarkFlagFilename(name)
	}
}

// connect connects to NATS, now or not at all, and returns the JetStream domain that the flags or the context name. Replies
// come to subjects below inbox, "" for those of foldrun. The caller closes the connection.
func (f *natsFlags) connect(inbox string) (conn *source.Conn, domain string, err error) {
	t, err := source.Resolve(f.Target)
	if err != nil {
		return nil, "", err
	}
	t.Once = true
	if t.InboxPrefix == "" {
		t.InboxPrefix = inbox
	}
	conn, err = source.Connect(t, nil)
	return conn, t.Domain, err
}
