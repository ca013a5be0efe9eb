package objects

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// stallAfter ends a request of which nothing moves any more: of a connection that is cut somewhere on the way, nobody tells us.
var stallAfter = 10 * time.Second

var errStalled = errors.New("nothing moves any more")

// watched is a request on its way. Its timer is wound up by each byte that is sent or comes.
type watched struct {
	cancel context.CancelCauseFunc
	timer  *time.Timer
	ctx    context.Context //nolint:containedctx // of the request, for why it ended
}

// watch answers the request as it is to be made.
func watch(r *http.Request) (*http.Request, *watched) {
	ctx, cancel := context.WithCancelCause(r.Context())
	w := &watched{cancel: cancel, ctx: ctx}
	w.timer = time.AfterFunc(stallAfter, func() { cancel(errStalled) })
	r = r.WithContext(ctx)
	if r.Body != nil {
		r.Body = w.of(r.Body)
	}
	return r, w
}

func (w *watched) end() {
	w.timer.Stop()
	w.cancel(context.Canceled)
}

// explain says of an error that came of the watch what it was.
func (w *watched) explain(err error) error {
	if errors.Is(context.Cause(w.ctx), errStalled) {
		return fmt.Errorf("%w for %s: %w", errStalled, stallAfter, err)
	}
	return err
}

// of watches a body that is sent.
func (w *watched) of(b io.ReadCloser) io.ReadCloser { return &moving{b, w, false} }

// over watches a body that comes. Its end is that of the request.
func (w *watched) over(b io.ReadCloser) io.ReadCloser { return &moving{b, w, true} }

type moving struct {
	io.ReadCloser
	w    *watched
	last bool
}

func (m *moving) Read(p []byte) (int, error) {
	n, err := m.ReadCloser.Read(p)
	if n > 0 {
		m.w.timer.Reset(stallAfter)
	}
	if err != nil && err != io.EOF { //nolint:errorlint // as a Reader gives it
		err = m.w.explain(err)
	}
	return n, err
}

func (m *moving) Close() error {
	err := m.ReadCloser.Close()
	if m.last {
		m.w.end()
	}
	return err
}
