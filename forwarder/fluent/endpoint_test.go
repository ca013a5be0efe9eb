package fluent

import (
	"net"
	"strconv"
	"strings"
	"testing"
)

// Whatever is accepted as an address means the same when its meaning is written out, and names something to connect to.
func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{"a:24224", "tls://[2001:db8::1]:1", "srv://logs.internal", "_fluentd._tcp.logs.internal", "tls+srv://x", "tls://_f._tcp.x", "[::1]:5", "://", "_._tcp.:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := parseAddress(s)
		if err != nil {
			return
		}
		if got.host == "" || got.srv == (got.port != 0) || strings.ContainsAny(got.host, " /@,") {
			t.Fatalf("%q is %+v", s, got)
		}
		scheme := map[[2]bool]string{{true, false}: "tls://", {false, true}: "srv://", {true, true}: "tls+srv://"}[[2]bool{got.tls, got.srv}]
		text := scheme + got.host
		if !got.srv {
			text = scheme + net.JoinHostPort(got.host, strconv.Itoa(int(got.port)))
		}
		again, err := parseAddress(text)
		if err != nil || again != got {
			t.Fatalf("%q is %+v, written out %q and that is %+v, %v", s, got, text, again, err)
		}
	})
}
