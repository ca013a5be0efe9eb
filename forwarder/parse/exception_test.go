package parse

import (
	"bytes"
	"strings"
	"testing"
)

func split(text string) [][]byte { return bytes.Split([]byte(text), []byte("\n")) }

func TestLevel(t *testing.T) {
	for text, want := range map[string]string{
		"F, [2026-01-02T03:04:05.000002 #7] FATAL -- : x":             "fatal",
		"D, [2026-01-02T03:04:05.000002 #7] DEBUG -- : x":             "debug",
		"2026-11-21 09:36:39,571 WARNING stock: x":                    "warn",
		"2026-11-21 09:31:34.140 [main] INFO  Billing - ERROR":        "info",
		"2026-11-21T09:33:37.1Z  INFO tank: x":                        "info",
		"\x1b[2m2026-11-21T09:33:37.1Z\x1b[0m \x1b[31mERROR\x1b[0m x": "error",
		"[2026-11-21 09:33:37 +0000] [7] [CRITICAL] x":                "fatal",
		"[2026-11-21 09:33:37,123: ERROR/MainProcess] Task":           "error",
		"[2026-11-21T09:33:37.1+00:00] app.ERROR: x":                  "error",
		"2026-11-21T09:28:37.837Z [error]: x":                         "error",
		"2026-11-21T09:28:37.837Z error: x":                           "error",
		"2026/11/21 09:31:38 recovered: runtime error: x":             "",
		"2026/11/21 09:31:38 pump started":                            "",
		"2026/11/21 09:33:37 [warn] 7#7: x":                           "warn",
		"09:31:34.140 [main] DEBUG x":                                 "debug",
		"21-Nov-2026 09:31:34.124 SEVERE [x] y":                       "error",
		"Nov 21, 2026 9:31:34 AM Billing main\nWARNING: x":            "warn",
		"Nov 21, 2026 9:31:34 AM Billing main":                        "",
		"ERROR:root:x":                                                "error",
		"INFO:     10.0.0.1 - GET":                                    "info",
		"ERROR [main] x":                                              "error",
		"WARN  2026-11-21T09:43:05.312Z pid=1 tid=a: x":               "warn",
		"E1121 09:31:34.123456   12 a.go:12] x":                       "error",
		"fail: Shop.Cart[0]\n      x":                                 "error",
		"time=\"2026-11-21\" level=warning msg=x":                     "warn",
		"[INFO  tank] filling":                                        "info",
		"PHP Fatal error:  x":                                         "fatal",
		"PHP Warning:  x":                                             "warn",
		"10.0.0.1 - - [21/Nov/2026:09:31:34 +0000] \"GET /ERROR\"":    "",
		"INFO about the menu":                                         "",
		"Error: x":                                                    "",
		"LOG in to go on":                                             "",
		"":                                                            "",
		"{\"level\":\"error\"}":                                       "",
	} {
		if got := Level(split(text)); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestException(t *testing.T) {
	for _, c := range []struct{ name, language, text, class, message, frame string }{
		{"java, framework first", "java", "2026-11-21 09:31:34.140 [main] ERROR x - failed\norg.springframework.dao.DataException: no (x)\n\tat org.springframework.A.b(A.java:1)\n\tat java.base/java.util.List.of(List.java:2)\n\tat com.acme.Cart.add(Cart.java:12) ~[app.jar:1]\nCaused by: x.Y: z", "org.springframework.dao.DataException", "no (x)", "com.acme.Cart.add(Cart.java:12)"},
		{"java, dead thread", "java", "Exception in thread \"a b\" java.lang.Error\n\tat x.Y.z(Y.kt:1)", "java.lang.Error", "", "x.Y.z(Y.kt:1)"},
		{"node, packages first", "node", "request failed: HttpError: bad gateway\n    at a (/app/node_modules/x/i.js:1:2)\n    at node:internal/x:1:2\n    at async run (/app/src/a.ts:1:2) {\n  code: 'X'\n}", "HttpError", "bad gateway", "async run (/app/src/a.ts:1:2)"},
		{"node, code", "node", "TypeError [ERR_X]: y\n    at /app/a.js:1:2", "TypeError", "y", "/app/a.js:1:2"},
		{"python chain", "python", "Traceback (most recent call last):\n  File \"/app/a.py\", line 1, in a\nKeyError: 'x'\n\nDuring handling of the above exception, another exception occurred:\n\nTraceback (most recent call last):\n  File \"/app/b.py\", line 2, in b\n  File \"/usr/lib/python3.12/site-packages/x.py\", line 3, in c\nacme.errors.Refused: no: really", "acme.errors.Refused", "no: really", "File \"/app/b.py\", line 2, in b"},
		{"ruby 3.4 crash", "ruby", "/usr/lib/ruby/3.4/a.rb:8:in 'Integer#/': divided by 0 (ZeroDivisionError)\n\tfrom /app/b.rb:1:in 'main'", "ZeroDivisionError", "divided by 0", "/app/b.rb:1:in 'main'"},
		{"rails without frames of its own", "ruby", "F, [2026-01-02T03:04:05.000002 #7] FATAL -- :   \nActionController::RoutingError (No route matches [GET] \"/x\"):\n  \nactionpack (6.1.7) lib/x.rb:33:in `call'", "ActionController::RoutingError", "No route matches [GET] \"/x\"", ""},
		{"php", "php", "PHP Fatal error:  Uncaught Shop\\Refused: no in /app/vendor/x/a.php:5\nStack trace:\n#0 /app/vendor/b.php(1): a()\n#1 /app/i.php(6): b()\n#2 {main}\n  thrown in /app/vendor/x/a.php on line 5", "Shop\\Refused", "no", "/app/i.php(6): b()"},
		{"php warning", "php", "PHP Notice:  Undefined index: a in /app/i.php on line 4\nPHP Stack trace:", "", "Undefined index: a", "/app/i.php on line 4"},
		{"dotnet", "dotnet", "Unhandled exception. System.InvalidOperationException: cannot\n   at System.Linq.X.Y()\n   at Shop.Cart.Add(String a) in /src/Cart.cs:line 3", "System.InvalidOperationException", "cannot", "Shop.Cart.Add(String a) in /src/Cart.cs:line 3"},
		{"go", "go", "panic: oops\n\ngoroutine 1 [running]:\ngithub.com/x/y.Z()\n\t/go/pkg/mod/github.com/x/y@v1/z.go:1 +0x1\nmain.main()\n\t/app/main.go:5 +0x1d", "panic", "oops", "/app/main.go:5"},
		{"rust, old", "rust", "thread 'main' panicked at 'no: x', src/main.rs:15:108\nnote: run", "panic", "no: x", "src/main.rs:15:108"},
		{"rust, in the library", "rust", "thread 'main' panicked at /rustc/59/library/core/x.rs:1:2:\nno\nstack backtrace:\n   0: core::x\n             at /rustc/59/x.rs:1:2\n   1: tank::main\n             at ./src/main.rs:7:48", "panic", "no", "./src/main.rs:7:48"},
		{"perl", "perl", "no such bucket: x at /app/job.pl line 6.\n\tmain::f() called at /app/job.pl line 7", "", "no such bucket: x", "/app/job.pl line 6"},
		{"colours", "node", "\x1b[31mTypeError: red\x1b[0m\n\x1b[31m    at f (/a.js:1:2)\x1b[0m", "TypeError", "red", "f (/a.js:1:2)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			x, ok := ExceptionOf(c.language, split(c.text))
			if !ok || string(x.Class) != c.class || string(x.Message) != c.message || string(x.Frame) != c.frame {
				t.Errorf("got %q, %q, %q", x.Class, x.Message, x.Frame)
			}
		})
	}
	if x, ok := ExceptionOf("", split("RuntimeError: x")); ok {
		t.Errorf("without a language: %q", x)
	}
	long := strings.Repeat("é", maxMessage)
	if x, _ := ExceptionOf("java", split("a.b.C: x"+long)); len(x.Message) > maxMessage || !strings.HasPrefix("x"+long, string(x.Message)) || len(x.Message) < maxMessage-3 {
		t.Errorf("%d bytes of message", len(x.Message))
	}
}

// FuzzException: what is found stands in the text, and the text is left as it is.
func FuzzException(f *testing.F) {
	for _, l := range []string{"ruby", "python", "java", "node", "php", "perl", "go", "rust", "dotnet"} {
		f.Add(l, "x (A::B)\n/app/a.rb:1:in `b'\n\tat a.B.c(B.java:1)\n    at f (/a.js:1:2)\nTraceback (most recent call last):\n  File \"x\", line 1\nA: b\n#0 /x(1): y()\npanic: x\n\t/a.go:1\nthread 'a' panicked at b:1:2:\nc at d line 3.")
		f.Add(l, "http: panic serving 1: 2: x\nE, [2026-01-02T03:04:05 #7] -- : [a] [b] X (y):\nPHP Notice:  x in /y on line 3\nError performing X in 3ms: Y (z")
	}
	f.Fuzz(func(t *testing.T, language, text string) {
		before := strings.Clone(text)
		lines := split(text)
		x, _ := ExceptionOf(language, lines)
		whole := string(plain(bytes.Join(lines, []byte("\n"))))
		for _, got := range [][]byte{x.Class, x.Message, x.Frame} {
			if bytes.IndexByte(got, '\n') >= 0 || !strings.Contains(whole, string(got)) && !strings.Contains(before, string(got)) {
				t.Errorf("%q is not of the text %q", got, text)
			}
		}
		if level := Level(lines); level != "" && LevelName([]byte(level)) != level {
			t.Errorf("level %q", level)
		}
		if string(bytes.Join(lines, []byte("\n"))) != before {
			t.Error("the text was changed")
		}
	})
}
