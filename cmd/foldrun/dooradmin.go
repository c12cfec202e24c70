package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"syscall"

	"github.com/foldrun/foldrun/client"
	"github.com/foldrun/foldrun/hint"
	"github.com/foldrun/foldrun/runtime/serve"
)

// admin returns a client that acts on a foldrun: on that of a data directory, through its socket, or with a token on the
// one at an address.
func (d *door) admin() (*client.Client, error) {
	if err := d.settled(); err != nil {
		return nil, err
	}
	if address := d.address(); address != "" {
		return d.client(address)
	}
	dir, _, err := d.place()
	if err != nil {
		return nil, err
	}
	return throughSocket(dir), nil
}

// throughSocket returns a client of the foldrun of a data directory, which asks no token of who may open its socket.
func throughSocket(dir string) *client.Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		c, err := serve.DialAdmin(ctx, dir)
		return c, explainDial(dir, err)
	}
	return &client.Client{URL: "http://localhost", HTTP: &http.Client{Transport: &http.Transport{DialContext: dial}}}
}

func explainDial(dir string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return hint.Error(fmt.Errorf("no foldrun runs on %s", dir), "start it: what is asked here is done by the foldrun that runs")
	case errors.Is(err, fs.ErrPermission):
		return hint.Error(fmt.Errorf("the socket in %s: %w", dir, fs.ErrPermission), "run this as the user that runs foldrun")
	}
	return err
}
