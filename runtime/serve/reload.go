package serve

import (
	"net/http"
	"time"
)

// Reloaded is what came of reading the configuration again.
type Reloaded struct {
	Changed   []string `json:"changed"` // folds that were configured anew
	Unchanged int      `json:"unchanged"`
}

// reload has the configuration read again. It is for who may act on all folds.
func (a *admin) reload(w http.ResponseWriter, r *http.Request) error {
	if err := parse(r).done(); err != nil {
		return err
	}
	if a.opt.Reload == nil {
		return &fault{http.StatusConflict, codeRefused, "this foldrun has no configuration file", "foldrun run -c has one"}
	}
	deadline := http.NewResponseController(w)
	deadline.SetWriteDeadline(time.Time{})
	did, err := a.opt.Reload(r.Context())
	deadline.SetWriteDeadline(time.Now().Add(replyTimeout))
	a.opt.Log.Info("admin", "action", "reload", "who", caller(r), "door", peerOf(r), "changed", did.Changed, "unchanged", did.Unchanged, "err", err)
	if err != nil {
		return refused(err)
	}
	return a.reply(w, r, did)
}
