package forwarder

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	fluentlogger "github.com/fluent/fluent-logger-golang/fluent"

	"github.com/fairlead/fairlead/internal/receiver"
)

// Clients that ask for acks, and kill -9 at random moments: nothing that was acked is lost, and no line is without its trace.
func TestInboundKills(t *testing.T) {
	const clients, kills = 4, 6
	dir := t.TempDir()
	var mu sync.Mutex
	got := map[string]int{} // lines, by client and number: how often they came
	torn := 0
	recv, err := receiver.Listen("127.0.0.1:0", func(e *receiver.Event) {
		mu.Lock()
		defer mu.Unlock()
		text := string(e.Field("log"))
		for line := range strings.SplitSeq(text, "\n") {
			_, name, _ := strings.Cut(line, "`")
			name, _, _ = strings.Cut(name, "'")
			got[name]++
		}
		if strings.HasPrefix(text, "app/") {
			torn++
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer recv.Close()
	socket := filepath.Join(dir, "fluent.sock")
	t.Setenv(childSocket, socket)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))

	c := startChild(t, dir, recv.Addr())
	c.ready()
	stop := make(chan struct{})
	acked := make([][]string, clients)
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			f, err := fluentlogger.New(fluentlogger.Config{FluentNetwork: "unix", FluentSocketPath: socket, RequestAck: true,
				SubSecondPrecision: true, MaxRetry: 1000, RetryWait: 20, MaxRetryWait: 50})
			if err != nil {
				t.Error(err)
				return
			}
			defer f.Close()
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				name := fmt.Sprintf("m_%d_%d", i, n)
				line := fmt.Sprintf("F, [2026-11-21T09:00:00.000000 #1] FATAL -- : RuntimeError (in `%s'):", name)
				if n%5 > 0 {
					line = fmt.Sprintf("app/models/a.rb:%d:in `%s'", n, name)
				}
				if err := f.PostWithTime(fmt.Sprint("app", i%2), time.Now(), docker(fmt.Sprint("c", i), "stdout", line)); err != nil {
					t.Errorf("post: %v", err)
					return
				}
				acked[i] = append(acked[i], name)
			}
		})
	}
	for range kills {
		time.Sleep(time.Duration(100+rnd.IntN(400)) * time.Millisecond)
		c.kill()
		c = startChild(t, dir, recv.Addr())
		c.ready()
	}
	close(stop)
	wg.Wait()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		var missing []string
		total, repeated := 0, 0
		mu.Lock()
		for i := range acked {
			for _, name := range acked[i] {
				total++
				switch n := got[name]; {
				case n == 0:
					missing = append(missing, name)
				case n > 1:
					repeated++
				}
			}
		}
		tears := torn
		mu.Unlock()
		if len(missing) == 0 {
			t.Logf("%d lines acked, %d repeated, %d events without their first line", total, repeated, tears)
			if total < 100 {
				t.Errorf("%d lines are no test", total)
			}
			// On a machine that is very busy a client may be away for longer than a trace is waited for.
			if tears > kills {
				t.Errorf("%d events begin within a trace", tears)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d acked lines are lost: %.300v\n%+v", len(missing), total, missing, c.status())
		}
	}
	if st := c.status(); st.Ledger.Imbalance != 0 {
		t.Errorf("books: %+v", st.Ledger)
	}
	c.kill()
}
