package serve

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/foldrun/foldrun/runtime"
	"github.com/foldrun/foldrun/runtime/query"
)

// A NATSDoor answers queries as a NATS micro service. Below its subject, foldrun by default, are
//
//	foldrun.FOLD.get.INDEX      of the fold: one of the replicas that are in the queue group answers
//	foldrun.@INSTANCE.FOLD.…    the same, of this instance, whatever state the fold is in
//	foldrun.status              every instance answers
//
// and operations are all that follows FOLD. A request is a JSON object of the parameters that the HTTP door has; the reply
// is that of the HTTP door, made by the same handlers: its body, and its Foldrun- headers. An error has micro's headers too.
//
// Each fold is a service of its own, foldrun-FOLD, so that the service is there exactly while the fold is in the group: see
// joins. The instance is the service foldrun.
//
// # Why has the door a connection of its own?
//
// A client that floods it makes the server drop the connection, or the connection drop messages; and a reply that the
// socket does not take blocks whoever publishes next. Neither may happen to what folds read. It can also be another user,
// one that may publish to inboxes alone: the reply to a request goes where its sender says.
type NATSDoor struct {
	opt     Options
	server  *Server
	nc      *nats.Conn
	subject string
	all     shared
	groups  map[string]micro.Service // of folds, by name: those that are joined
	places  places
	reading chan struct{} // a place for each request that reads at once
	waiting chan struct{} // a place for each that waits for a position, and then reads
	refused *seldom

	requests, failed, dropped atomic.Uint64
}

// Bounds of what requests may take.
const (
	natsAdmitted = 1024     // requests that are under way at once, and
	natsBytes    = 32 << 20 // their bytes; of them,
	natsReading  = 64       // read, each with a reply in memory
	natsWaiting  = 128      // wait for a position, or have come to read
	natsPending  = 8192     // messages of one subscription that nobody has looked at yet, and
	natsBacklog  = 8 << 20  // their bytes

	joinEvery = 100 * time.Millisecond // the folds are looked at
)

// instanceMark begins the token of an instance, which no fold's name does.
const instanceMark = "@"

// NewNATS returns the door of queries at a connection, which it owns, below a subject. Nothing is started.
func NewNATS(o Options, nc *nats.Conn, subject string) *NATSDoor {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Limits = o.Limits.orDefault()
	d := &NATSDoor{opt: o, nc: nc, subject: subject, groups: map[string]micro.Service{},
		reading: make(chan struct{}, natsReading), waiting: make(chan struct{}, natsWaiting), refused: &seldom{log: o.Log}}
	d.all = newShared("nats", o)
	d.server = newServer(o, parts{reads: true}, &d.all)
	return d
}

// Run answers until ctx is done; then it leaves the queue groups, lets the replies under way end, and closes the
// connection.
func (d *NATSDoor) Run(ctx context.Context) error {
	defer d.nc.Close()
	self, err := micro.AddService(d.nc, d.config("foldrun", "indexes of NATS JetStream", d.stats))
	if err != nil {
		return fmt.Errorf("serve: NATS: %w", err)
	}
	err = d.endpoint(ctx, self, "status", d.subject+".status", micro.WithEndpointQueueGroupDisabled())
	if err == nil {
		err = d.endpoint(ctx, self, "instance", InstanceSubject(d.subject, d.opt.Instance)+".>", micro.WithEndpointQueueGroupDisabled())
	}
	if err != nil {
		return fmt.Errorf("serve: NATS: %w", err)
	}
	d.follow(ctx)
	d.all.holds.Close() // the folds' stores close when nobody keeps a snapshot of them
	d.end(self)
	return nil
}

// follow keeps the membership of the folds what their state says, until ctx is done; then it leaves.
func (d *NATSDoor) follow(ctx context.Context) {
	again := time.NewTicker(joinEvery) // not by Moved: that is every commit
	defer again.Stop()
	for {
		for _, f := range d.opt.Folds {
			d.settle(ctx, f)
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			for name := range d.groups {
				d.leave(name, "foldrun is stopping")
			}
			return
		}
	}
}

// end answers what has come, and what comes until the server knows that nothing more should.
func (d *NATSDoor) end(self micro.Service) {
	if err := self.Stop(); err != nil {
		d.opt.Log.Debug("service not drained", "err", err)
	}
	if err := d.nc.FlushTimeout(stopTimeout); err != nil && d.nc.IsConnected() {
		d.opt.Log.Warn("replies may be cut", "err", err)
	}
	d.places.close()
	if err := d.nc.FlushTimeout(stopTimeout); err != nil && d.nc.IsConnected() {
		d.opt.Log.Warn("replies cut", "err", err)
	}
}

var semver = regexp.MustCompile(`^v?([0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?)$`)

func (d *NATSDoor) config(name, description string, stats micro.StatsHandler) micro.Config {
	version := "0.0.0" // of a build that has none
	if v := semver.FindStringSubmatch(d.opt.Version); v != nil {
		version = v[1]
	}
	return micro.Config{Name: name, Version: version, Description: description, QueueGroup: "foldrun", StatsHandler: stats,
		Metadata: map[string]string{"instance": d.opt.Instance, "foldrun": d.opt.Version, "instance_subject": InstanceSubject(d.subject, d.opt.Instance)}}
}

// notInToken is what an instance's name has and a token of a subject should not.
var notInToken = regexp.MustCompile(`[^A-Za-z0-9_-]`)

// InstanceSubject is where an instance answers for itself alone, below a door's subject. What is neither letter, digit, dash
// nor underscore in its name is an underscore there.
func InstanceSubject(subject, instance string) string {
	return subject + "." + instanceMark + notInToken.ReplaceAllString(instance, "_")
}

// natsOperations are the endpoints of a fold, and what of a subject comes after its name.
var natsOperations = []struct{ name, subject string }{
	{"get", "get.*"},
	{"scan", "scan.*"},
	{"count", "count.*"},
	{"why", "why.*"},
	{"why-source", "why"},
	{"status", "status"},
	{"quarantine", "quarantine"},
	{"quarantine-show", "quarantine.show"},
}

// NATSSubjects returns what a door subscribes to for some folds, beside $SRV.>.
func NATSSubjects(subject, instance string, folds []string) []string {
	all := []string{subject + ".status", InstanceSubject(subject, instance) + ".>"}
	for _, fold := range folds {
		for _, op := range natsOperations {
			all = append(all, subject+"."+fold+"."+op.subject)
		}
	}
	return all
}

// joins says whether a fold is in its queue group: from when it has caught up, as long as what it has is of the stream that
// there is, and it goes on. One that lags, or whose source is away, stays, until that is longer than its max_staleness: all
// replicas may be in that state, and an answer that is marked so is better than none.
func joins(f Fold, joined bool) bool {
	s, db := f.Status(), f.Store()
	if db == nil || db.Damage() != nil || s.Stale || !joined && !s.CaughtUp {
		return false
	}
	x, ok := f.(interface{ Follows() bool })
	return ok && x.Follows()
}

// settle joins a fold's queue group, or leaves it.
func (d *NATSDoor) settle(ctx context.Context, f Fold) {
	joined := d.groups[f.Name()] != nil
	switch should := joins(f, joined); {
	case should && !joined:
		if err := d.join(ctx, f); err != nil {
			d.refused.warn("queries over NATS are not answered", "fold", f.Name(), "err", err)
		}
	case !should && joined && ctx.Err() == nil: // else it stops because foldrun does, as follow says
		s := f.Status()
		d.leave(f.Name(), strings.TrimRight(s.State+" "+s.Code, " "))
	}
}

func (d *NATSDoor) join(ctx context.Context, f Fold) error {
	fold := f.Name()
	stats := func(*micro.Endpoint) any { return newStanding(f.Status()) }
	s, err := micro.AddService(d.nc, d.config("foldrun-"+fold, "the indexes of the fold "+fold, stats))
	if err != nil {
		return err
	}
	for _, op := range natsOperations {
		if err := d.endpoint(ctx, s, op.name, d.subject+"."+fold+"."+op.subject); err != nil {
			s.Stop()
			return err
		}
	}
	d.groups[fold] = s
	d.opt.Log.Info("answers over NATS", "fold", fold, "subject", d.subject+"."+fold)
	return nil
}

// leave has others answer for a fold. What has come is answered.
func (d *NATSDoor) leave(fold, why string) {
	if err := d.groups[fold].Stop(); err != nil {
		d.opt.Log.Debug("service not drained", "fold", fold, "err", err)
	}
	delete(d.groups, fold)
	d.opt.Log.Info("answers over NATS no more, but as this instance", "fold", fold, "why", why)
}

func (d *NATSDoor) endpoint(ctx context.Context, s micro.Service, name, subject string, more ...micro.EndpointOpt) error {
	h := micro.HandlerFunc(func(m micro.Request) { d.take(ctx, m) })
	return s.AddEndpoint(name, h, append(more, micro.WithEndpointSubject(subject), micro.WithEndpointPendingLimits(natsPending, natsBacklog))...)
}

// natsStats is what the door counts; micro's own figures end when a request has been admitted.
type natsStats struct {
	Requests uint64         `json:"requests"` // answered
	Errors   uint64         `json:"errors"`   // of them, with an error
	Dropped  uint64         `json:"dropped"`  // without an answer: they named no subject for it, or none that one may be sent to
	Folds    []natsStanding `json:"folds"`
}

// natsStanding is how a fold stands.
type natsStanding struct {
	Fold        string `json:"fold"`
	State       string `json:"state"`
	Code        string `json:"code,omitempty"`
	Seq         uint64 `json:"seq"`
	Incarnation string `json:"incarnation,omitempty"`
	Generation  string `json:"generation,omitempty"`
}

// stats is the data of the statistics of the instance's endpoints: all that the door counts.
func (d *NATSDoor) stats(*micro.Endpoint) any {
	all := natsStats{Requests: d.requests.Load(), Errors: d.failed.Load(), Dropped: d.dropped.Load(), Folds: []natsStanding{}}
	for _, s := range d.server.query.Status() {
		all.Folds = append(all.Folds, newStanding(s))
	}
	return all
}

func newStanding(s runtime.Status) natsStanding {
	return natsStanding{s.Name, s.State, s.Code, s.Seq, s.Created, s.Generation}
}

// places admits requests. Those that are admitted are bounded in number and size.
type places struct {
	mu          sync.Mutex
	taken, held int
	closed      bool
	work        sync.WaitGroup
}

// take admits a request of a size, or says why not.
func (p *places) take(size int) *fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return stopping()
	case p.taken == natsAdmitted || p.held+size > natsBytes:
		return tooMany()
	}
	p.taken++
	p.held += size
	p.work.Add(1)
	return nil
}

func stopping() *fault {
	return &fault{http.StatusServiceUnavailable, query.Closing, "foldrun is stopping", "ask again: another instance may answer"}
}

func tooMany() *fault {
	return &fault{http.StatusServiceUnavailable, query.Busy, "too many requests are under way", "ask again in a moment"}
}

func (p *places) release(size int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken--
	p.held -= size
	p.work.Done()
}

// close admits none any more, and waits for those that were.
func (p *places) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.work.Wait()
}
