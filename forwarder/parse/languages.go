package parse

import "bytes"

// Whose frame is it? Those of the language, its library and of packages are skipped.

func hasAny(b []byte, parts [][]byte) bool {
	for _, p := range parts {
		if bytes.Contains(b, p) {
			return true
		}
	}
	return false
}

func hasAnyPrefix(b []byte, parts [][]byte) bool {
	for _, p := range parts {
		if bytes.HasPrefix(b, p) {
			return true
		}
	}
	return false
}

func list(s ...string) (l [][]byte) {
	for _, x := range s {
		l = append(l, []byte(x))
	}
	return l
}

var (
	javaLibraries = list("java.", "javax.", "jakarta.", "jdk.", "sun.", "com.sun.", "org.springframework.", "org.apache.", "org.hibernate.", "org.jboss.",
		"org.eclipse.", "org.junit.", "org.aspectj.", "io.quarkus.", "io.netty.", "io.micronaut.", "io.undertow.", "io.vertx.", "io.smallrye.", "reactor.", "kotlin.",
		"kotlinx.", "scala.", "akka.", "groovy.", "org.codehaus.", "clojure.", "com.fasterxml.", "com.zaxxer.", "com.mysql.", "org.postgresql.", "com.google.common.", "ch.qos.",
		"org.slf4j.", "feign.", "okhttp3.", "retrofit2.", "redis.clients.", "io.lettuce.", "org.mariadb.", "com.amazonaws.", "software.amazon.")
	netLibraries    = list("System.", "Microsoft.", "MS.", "Internal.", "Npgsql.", "MySql.", "MySqlConnector.", "Newtonsoft.", "MediatR.", "AutoMapper.", "Castle.", "Autofac.", "Polly.", "Dapper.", "StackExchange.", "Grpc.", "Serilog.", "lambda_method")
	nodeLibraries   = list("node_modules/", "(node:", "(internal/", " node:", "<anonymous>)", "(index ", "(native)", "(native code)")
	rubyLibraries   = list("/gems/", "/lib/ruby/", "/ruby/lib/", "/vendor/bundle/", "/rubygems", "<internal:", "/bundler/", "/.rbenv/", "/.rvm/", "(eval", "/vendor_ruby/", "/.gem/", "/usr/bin/", "/usr/local/bin/")
	pythonLibraries = list("/site-packages/", "/dist-packages/", "/lib/python", "\"<frozen ", "\"<string>\"", "/lib64/python", "\\lib\\")
	phpLibraries    = list("/vendor/", "phar://", "[internal function]", "{main}")
	goLibraries     = list("/usr/local/go/src/", "/go/pkg/mod/", "/vendor/", "/usr/lib/go", "/opt/go/src/", "_cgo_", "/goroot/", "/libexec/src/")
	rustLibraries   = list("/rustc/", "/.cargo/registry/", "/rust/deps/", "/.rustup/", "/library/std/")
)

// atFrame is the first frame of the JVM or .NET that is the program's.
func atFrame(lines [][]byte, java bool) []byte {
	for _, l := range lines {
		b := bytes.TrimLeft(l, " \t")
		if len(b) == len(l) || !bytes.HasPrefix(b, []byte("at ")) {
			continue
		}
		b = b[3:]
		if !java {
			if !hasAnyPrefix(b, netLibraries) {
				return b
			}
			continue
		}
		frame := b
		if i := bytes.IndexByte(b, '/'); i > 0 && i < bytes.IndexByte(b, '(') { // java.base/, app//
			b = bytes.TrimLeft(b[i:], "/")
		}
		if hasAnyPrefix(b, javaLibraries) || bytes.Contains(b, []byte("$Proxy")) || bytes.Contains(b, []byte("$$")) {
			continue
		}
		if i := bytes.IndexByte(frame, ')'); i > 0 {
			frame = frame[:i+1]
		}
		return frame
	}
	return nil
}

func nodeFrame(lines [][]byte) []byte {
	for _, l := range lines {
		b := bytes.TrimLeft(l, " \t")
		if len(b) == len(l) || !bytes.HasPrefix(b, []byte("at ")) || hasAny(b, nodeLibraries) {
			continue
		}
		return bytes.TrimSuffix(bytes.TrimSuffix(b[3:], []byte(" {")), []byte(","))
	}
	return nil
}

// unprefixed is a line of Ruby's without the prefix of a logger and without tags.
func unprefixed(b []byte) []byte {
	switch {
	case len(b) > 30 && b[1] == ',' && b[2] == ' ' && b[3] == '[':
		if i := bytes.Index(b, []byte(" -- ")); i > 0 {
			b = b[i+4:]
			if i := bytes.Index(b, []byte(": ")); i >= 0 {
				b = b[i+2:]
			}
		}
	case len(b) > 24 && (isDigit(b[0]) || b[0] >= 'A' && b[0] <= 'Z') && bytes.Contains(b[:min(len(b), 160)], []byte("tid=")):
		if i := bytes.Index(b, []byte(": ")); i >= 0 {
			b = b[i+2:]
		}
	}
	for len(b) > 2 && b[0] == '[' {
		i := bytes.IndexByte(b, ']')
		if i > 0 && i+1 < len(b) && b[i+1] != ' ' {
			i = bytes.Index(b, []byte("] "))
		}
		if i < 1 || i+1 == len(b) || i > 256 || bytes.IndexByte(b[:i], ' ') >= 0 {
			break
		}
		b = b[i+2:]
	}
	return b
}

func rubyException(lines [][]byte) (x Exception) {
	for i, l := range lines {
		b := trimEnd(unprefixed(plain(l)))
		if at := rubyFrame(b); at != nil {
			// "app.rb:8:in 'm': message (Class)" is a frame with a message.
			if x.Class == nil && x.Message == nil {
				if j := bytes.Index(b, []byte("': ")); j > 0 {
					x.Message, x.Class = suffixClass(b[j+3:])
					at = bytes.TrimLeft(b[:j+1], " \t")
				}
			}
			if x.Frame == nil && !gemFrame(at) && !hasAny(at, rubyLibraries) {
				x.Frame = at
			}
			if x.Frame != nil && x.Class != nil {
				return x
			}
			continue
		}
		if x.Class != nil || len(b) == 0 || b[0] == '{' {
			continue
		}
		if bytes.HasPrefix(b, []byte("Error performing ")) {
			if i := bytes.Index(b, []byte(" in ")); i > 0 {
				if j := bytes.Index(b[i:], []byte(": ")); j > 0 {
					b = b[i+j+2:]
				}
			}
		}
		n := name(b)
		capital := n > 1 && b[0] >= 'A' && b[0] <= 'Z' && bytes.IndexByte(b[:n], '.') < 0
		switch rest := b[n:]; {
		case capital && len(rest) > 2 && rest[0] == ' ' && rest[1] == '(':
			x.Class, x.Message = b[:n], bytes.TrimSuffix(bytes.TrimSuffix(rest[2:], []byte(":")), []byte(")"))
		case capital && len(rest) > 1 && rest[0] == ':' && rest[1] == ' ':
			x.Class, x.Message = b[:n], rest[2:]
		case b[len(b)-1] == ')':
			if message, class := suffixClass(b); class != nil {
				x.Class, x.Message = class, message
			}
		case i > 0 && capital && len(rest) == 0 && isExceptionName(b):
			x.Class = b
		}
	}
	return x
}

// trimEnd is b without the blanks and carriage returns at its end.
func trimEnd(b []byte) []byte {
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\r') {
		b = b[:len(b)-1]
	}
	return b
}

// suffixClass reads "message (Class)".
func suffixClass(b []byte) (message, class []byte) {
	if len(b) == 0 || b[len(b)-1] != ')' {
		return b, nil
	}
	i := bytes.LastIndex(b, []byte(" ("))
	if i < 0 {
		return b, nil
	}
	c := b[i+2 : len(b)-1]
	if n := name(c); n < 2 || n != len(c) || c[0] < 'A' || c[0] > 'Z' {
		return b, nil
	}
	return b[:i], c
}

// rubyFrame is a line of a backtrace, without blanks and "from"; nil if b is none.
func rubyFrame(b []byte) []byte {
	t := b
	for len(t) > 0 && (t[0] == ' ' || t[0] == '\t') {
		t = t[1:]
	}
	t = bytes.TrimPrefix(t, []byte("from "))
	i := bytes.Index(t, []byte(":in "))
	if i < 3 {
		i = len(t)
		if j := bytes.IndexByte(t, ' '); j >= 0 || bytes.IndexByte(t, '/') < 0 {
			return nil
		}
	} else if i+4 >= len(t) || t[i+4] != '`' && t[i+4] != '\'' {
		return nil
	}
	d := i
	for d > 0 && isDigit(t[d-1]) {
		d--
	}
	if d == i || d < 2 || t[d-1] != ':' {
		return nil
	}
	return t
}

// gemFrame knows "actionpack (6.1.7.10) lib/...rb:33:in 'call'".
func gemFrame(b []byte) bool {
	i := bytes.IndexByte(b, ' ')
	return i > 0 && i+2 < len(b) && b[i+1] == '(' && isDigit(b[i+2])
}

// pythonException: of a chain, the last; of its frames, the last that is the program's.
func pythonException(lines [][]byte) (x Exception) {
	group := false
	frames := false
	for _, l := range lines {
		if bytes.Contains(l, []byte("Traceback (most recent call last):")) {
			if group {
				break // those within the group
			}
			group = bytes.Contains(l, []byte("Exception Group"))
			frames = true
			if !group {
				x = Exception{}
			}
			continue
		}
		b := l
		if group {
			b = bytes.TrimPrefix(bytes.TrimLeft(l, " "), []byte("| "))
			if bytes.HasPrefix(bytes.TrimLeft(l, " "), []byte("+-")) {
				break
			}
		}
		if bytes.HasPrefix(bytes.TrimLeft(b, " "), []byte(`File "`)) {
			frames = true
			if !hasAny(b, pythonLibraries) {
				x.Frame = bytes.TrimLeft(b, " ")
			}
			continue
		}
		if frames && len(b) > 0 && b[0] != ' ' && b[0] != '\t' {
			if class, message, ok := classColon(b, true); ok {
				x.Class, x.Message, frames = class, message, false
			}
		}
	}
	return x
}

func phpException(lines [][]byte) (x Exception) {
	x = namedException(lines)
	if x.Class == nil && len(lines) > 0 {
		if i := bytes.Index(lines[0], []byte(":  ")); i > 0 {
			x.Message = lines[0][i+3:]
		} else if i := bytes.Index(lines[0], []byte(": ")); i > 0 {
			x.Message = lines[0][i+2:]
		}
		x.Message, x.Frame = cutPlace(x.Message)
		return x
	}
	x.Message, _ = cutPlace(x.Message)
	for _, l := range lines {
		if _, place := cutPlace(l); place != nil {
			if !hasAny(place, phpLibraries) {
				x.Frame = place
			}
			break
		}
	}
	if x.Frame != nil {
		return x
	}
	for _, l := range lines {
		if len(l) > 4 && l[0] == '#' && isDigit(l[1]) && !hasAny(l, phpLibraries) {
			if i := bytes.IndexByte(l, ' '); i > 0 {
				x.Frame = l[i+1:]
				break
			}
		}
	}
	return x
}

// cutPlace parts "message in /app/index.php:5" or "... on line 5".
func cutPlace(b []byte) (message, place []byte) {
	b = bytes.TrimRight(b, "\r")
	i := bytes.LastIndex(b, []byte(" in /"))
	if i < 0 {
		return b, nil
	}
	if p := b[i+4:]; len(p) > 0 && isDigit(p[len(p)-1]) && (bytes.Contains(p, []byte(" on line ")) || bytes.IndexByte(p, ' ') < 0) {
		return b[:i], p
	}
	return b, nil
}

func perlException(lines [][]byte) (x Exception) {
	if len(lines) == 0 {
		return x
	}
	b := bytes.TrimRight(lines[0], ".\r")
	i := bytes.LastIndex(b, []byte(" at "))
	if i < 0 {
		return x
	}
	return Exception{Message: b[:i], Frame: b[i+4:]}
}

func goException(lines [][]byte) (x Exception) {
	for _, l := range lines {
		b := bytes.TrimRight(l, "\r")
		if x.Class == nil {
			switch {
			case bytes.HasPrefix(b, []byte("panic: ")):
				x.Class, x.Message = b[:5], b[7:]
			case bytes.HasPrefix(b, []byte("fatal error: ")):
				x.Class, x.Message = b[:11], b[13:]
			case bytes.HasPrefix(b, []byte("WARNING: DATA RACE")):
				x.Class = b[9:]
			default:
				if i := bytes.Index(b, []byte("http: panic serving ")); i >= 0 {
					x.Class = b[i+6 : i+11]
					if j := bytes.Index(b[i:], []byte(": ")); j > 0 {
						if k := bytes.Index(b[i+j+2:], []byte(": ")); k > 0 {
							x.Message = b[i+j+2+k+2:]
						}
					}
				}
			}
		}
		t := bytes.TrimLeft(b, " \t")
		if len(t) == len(b) || !bytes.Contains(t, []byte(".go:")) || hasAny(t, goLibraries) {
			continue
		}
		if i := bytes.IndexByte(t, ' '); i > 0 {
			t = t[:i]
		}
		x.Frame = t
		break
	}
	return x
}

func rustException(lines [][]byte) (x Exception) {
	for i, l := range lines {
		j := bytes.Index(l, []byte(" panicked at "))
		if j < 0 {
			if x.Class == nil && bytes.HasPrefix(l, []byte("Error: ")) {
				return Exception{Class: l[:5], Message: l[7:]}
			}
			continue
		}
		x.Class = l[j+1 : j+6] // "panic" of "panicked"
		place := bytes.TrimRight(l[j+13:], ":\r")
		if len(place) > 1 && place[0] == '\'' { // before 1.73
			if k := bytes.LastIndex(place, []byte("', ")); k > 0 {
				x.Message, place = place[1:k], place[k+3:]
			}
		} else if i+1 < len(lines) {
			x.Message = lines[i+1]
		}
		if !hasAny(place, rustLibraries) {
			x.Frame = place
			return x
		}
	}
	for _, l := range lines {
		t := bytes.TrimLeft(l, " ")
		if x.Class != nil && bytes.HasPrefix(t, []byte("at ")) && len(t) < len(l) && !hasAny(t, rustLibraries) {
			x.Frame = t[3:]
			return x
		}
	}
	return x
}
