package client

import (
	"context"
	"net/http"
	"net/url"
)

// Admin actions. A running foldrun carries them out for whoever may open the socket admin.sock in its data directory,
// and over HTTP for the holder of a token with the scope admin.

// Rebuild has a fold built anew from its stream, beside the generation that serves; the new one replaces it once it has
// caught up, unless it lost too much. It returns how the fold stands once that is under way, or was refused by it.
func (c *Client) Rebuild(ctx context.Context, fold string) (*FoldStatus, error) {
	s := new(FoldStatus)
	return s, c.act(ctx, fold, "rebuild", nil, s)
}

// Resume has a fold go on that stopped or is paused, or whose build stopped. With acceptLoss, what stopped it for the sake of rows that
// would be lost is accepted. It returns how the fold stands once it shows what becomes of it, or after some seconds: it
// may have stopped again.
func (c *Client) Resume(ctx context.Context, fold string, acceptLoss bool) (*FoldStatus, error) {
	q := url.Values{}
	if acceptLoss {
		q.Set("accept_loss", "1")
	}
	s := new(FoldStatus)
	return s, c.act(ctx, fold, "resume", q, s)
}

// Pause has a fold stop following its stream until Resume, through restarts; reads go on. It returns how the fold stands
// once it does, or after some seconds.
func (c *Client) Pause(ctx context.Context, fold string) (*FoldStatus, error) {
	s := new(FoldStatus)
	return s, c.act(ctx, fold, "pause", nil, s)
}

// Apply has a fold serve what is configured: it ends a rollback, or the wait of upgrade = "manual". With force, what was
// built and is held replaces what serves. It returns how the fold stands once that is under way.
func (c *Client) Apply(ctx context.Context, fold string, force bool) (*FoldStatus, error) {
	q := url.Values{}
	if force {
		q.Set("force", "1")
	}
	s := new(FoldStatus)
	return s, c.act(ctx, fold, "apply", q, s)
}

// Rollback has the generation of a fold that the last upgrade replaced serve again, and holds it until what is configured
// changes, or Apply. It returns how the fold stands once it does, or after some seconds.
func (c *Client) Rollback(ctx context.Context, fold string) (*FoldStatus, error) {
	s := new(FoldStatus)
	return s, c.act(ctx, fold, "rollback", nil, s)
}

// Reloaded is what came of reading the configuration again.
type Reloaded struct {
	Changed   []string `json:"changed"` // folds that were configured anew
	Unchanged int      `json:"unchanged"`
}

// Reload has the configuration read again, as SIGHUP does. With any mistake in it nothing changes.
func (c *Client) Reload(ctx context.Context) (*Reloaded, error) {
	r := new(Reloaded)
	_, err := c.send(ctx, http.MethodPost, "/v1/reload", nil, r)
	return r, err
}

// Repair has the source keys of a fold compared with those of its stream, and what differs mended.
func (c *Client) Repair(ctx context.Context, fold string) (*KeyReport, error) {
	r := new(KeyReport)
	return r, c.act(ctx, fold, "repair", nil, r)
}

// act has a fold do something.
func (c *Client) act(ctx context.Context, fold, action string, q url.Values, reply any) error {
	_, err := c.send(ctx, http.MethodPost, "/v1/folds/"+url.PathEscape(fold)+"/"+action, q, reply)
	return err
}
