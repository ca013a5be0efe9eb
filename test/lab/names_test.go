package lab

import (
	"context"
	"net"
	"os"
	"slices"
	"testing"
	"time"
)

func TestNames(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("making namespaces takes root")
	}
	s := newSpace()
	if err := s.addNetwork(); err != nil {
		t.Skip(err)
	}
	defer s.close()
	n, err := startNames(s)
	if err != nil {
		t.Fatal(err)
	}
	defer n.close()
	r := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (conn net.Conn, err error) {
		err = s.Do(func() error {
			conn, err = new(net.Dialer).DialContext(ctx, "udp", nameServerAddress+":53")
			return err
		})
		return conn, err
	}}
	look := func() ([]string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		addrs, err := r.LookupHost(ctx, labName)
		slices.Sort(addrs)
		return addrs, err
	}
	n.set(2, 3)
	if got, err := look(); err != nil || !slices.Equal(got, []string{"127.0.73.2", "127.0.73.3"}) {
		t.Errorf("got %v, %v", got, err)
	}
	n.set()
	if got, err := look(); err == nil {
		t.Errorf("got %v from a broken server", got)
	}
}
