package runtime

import (
	"context"
	"errors"

	"github.com/foldrun/foldrun/hint"
)

// What becomes of a fold whose generation cannot go on.

// stopped decides what becomes of a fold whose generation ended with an error.
func (s *supervisor) stopped(ctx context.Context, err error) error {
	var stop *Stop
	switch {
	case err == nil || ctx.Err() != nil:
		return nil
	case s.halts(err), s.want && s.forgets(err):
		return s.diverged(err)
	case s.want || s.next != nil: // an operator decided already
		code, text := Describe(err)
		s.log.Warn("the generation that serves stands still while another is built", "code", code, "err", text)
		s.set(func() {
			s.cause = &Stop{code, hint.Error(ofStream{errors.New(text), foundCreated(err)}, "%s", HintOf(err))}
		})
		return nil
	case divergence(err) != nil:
		return s.diverged(err)
	case errors.As(err, &stop) && stop.Code == CodeDamaged:
		return s.begin(stop)
	}
	return err
}

// halts says whether on_divergence = "halt" ends the fold, whatever is built meanwhile: an operator did not accept the other history of
// the stream, nor ask for a build when it had stopped the fold.
func (s *supervisor) halts(err error) bool {
	stop := divergence(err)
	return stop != nil && s.opt.OnDiverged == DivergedHalt && !s.accepts(stop.Created) && s.answered.Load() != stop.Created
}

// forgets says whether what is to be built of kept records, since on_evict = "keep", would be built of another history of the
// stream, unasked.
func (s *supervisor) forgets(err error) bool {
	stop := divergence(err)
	return stop != nil && s.opt.OnEvict == evictKeep && !s.accepts(stop.Created) && s.keptSource(nil) != nil
}

// diverged decides what becomes of a fold whose stream holds another history.
func (s *supervisor) diverged(err error) error {
	stop := divergence(err)
	if s.opt.OnDiverged == DivergedHalt && !s.accepts(stop.Created) {
		return &Stop{stop.Code, hint.Error(ofStream{errors.New(stop.Text), stop.Created}, "%s; or foldrun resume %s --accept-loss to build the fold anew from it", stop.Hint, s.opt.Name)}
	}
	err = s.begin(&Stop{stop.Code, hint.Error(ofStream{errors.New(stop.Text), stop.Created}, "%s", stop.Hint)})
	if err == nil {
		s.spread()
	}
	return err
}
