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

// admin returns a client that acts on the foldrun of a data directory, through its socket.
func (d *door) admin() (*client.Client, error) {
	if d.url != "" {
		return nil, hint.Error(misuse{errors.New("actions go through the socket in the data directory, not through --url")}, "give -c or --data-dir")
	}
	dir, _, err := d.place()
	if err != nil {
		return nil, err
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		c, err := serve.DialAdmin(ctx, dir)
		return c, explainDial(dir, err)
	}
	return &client.Client{URL: "http://localhost", HTTP: &http.Client{Transport: &http.Transport{DialContext: dial}}}, nil
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
