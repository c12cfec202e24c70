package main

import (
	"github.com/spf13/cobra"

	"github.com/foldrun/foldrun/runtime/registry"
	"github.com/foldrun/foldrun/runtime/source"
)

// natsFlags say how to reach NATS, as the flags of the nats command do.
type natsFlags struct{ source.Target }

func (f *natsFlags) flags(c *cobra.Command) {
	for _, x := range []struct {
		to                 *string
		name, short, usage string
	}{
		{&f.URL, "server", "s", "URLs of NATS servers, parted by commas; default $NATS_URL, or the context's"},
		{&f.Context, "context", "", "a context of the nats command; default $NATS_CONTEXT, else the selected one"},
		{&f.Creds, "creds", "", "file with a user's credentials; default $NATS_CREDS"},
		{&f.NKey, "nkey", "", "file with a user's nkey seed"},
		{&f.TLSCA, "tlsca", "", "file of certificates to trust, PEM"},
		{&f.TLSCert, "tlscert", "", "file of the client's certificate, PEM"},
		{&f.TLSKey, "tlskey", "", "file of its key, PEM"},
		{&f.Domain, "js-domain", "", "JetStream domain"},
	} {
		c.Flags().StringVarP(x.to, x.name, x.short, "", x.usage)
	}
	for _, name := range []string{"creds", "nkey", "tlsca", "tlscert", "tlskey"} {
		c.MarkFlagFilename(name)
	}
}

// objects connects to NATS. The caller closes the connection.
func (f *natsFlags) objects() (registry.Objects, error) {
	t, err := source.Resolve(f.Target)
	if err != nil {
		return registry.Objects{}, err
	}
	t.Once = true
	conn, err := source.Connect(t, nil)
	return registry.Objects{Conn: conn, Domain: t.Domain}, err
}
