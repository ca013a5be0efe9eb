package redact

import (
	"bytes"
	"encoding/base64"
	"unicode/utf8"
)

// url takes the user and password out of a URL whose "://" ends at end. It answers up to where it has looked.
func (p *pass) url(line []byte, end int) int {
	to := end
	for to < len(line) && !isSpace(line[to]) && bytes.IndexByte([]byte(`"'<>`+"`"), line[to]) < 0 {
		if line[to] == '\\' && to+1 < len(line) && (line[to+1] == '"' || line[to+1] == 'n') {
			break
		}
		to++
	}
	rest := line[end:to]
	if q := bytes.IndexByte(rest, '?'); q >= 0 && bytes.IndexByte(rest[:q], '@') >= 0 {
		rest = rest[:q]
	}
	authority := rest
	if i := bytes.IndexAny(rest, "/?#"); i >= 0 {
		authority = rest[:i]
	}
	if bytes.IndexByte(authority, '@') < 0 && indexFold(authority, "%40") < 0 {
		// user:pa/ss@host: what looks like a port is none, so the password has a slash in it.
		colon := bytes.LastIndexByte(authority, ':')
		if colon < 0 || colon+1 < len(authority) && onlyDigits(authority[colon+1:]) || bytes.IndexByte(rest, '@') < 0 {
			return end
		}
	}
	at := bytes.LastIndexByte(rest, '@')
	if at < 0 {
		if at = indexFold(authority, "%40"); at < 0 {
			return end
		}
		if bytes.IndexByte(authority[:at], ':') < 0 && indexFold(authority[:at], "%3a") < 0 {
			return end
		}
	}
	info := rest[:at]
	colon, width := bytes.IndexByte(info, ':'), 1
	if colon < 0 {
		if colon, width = indexFold(info, "%3a"), 3; colon < 0 {
			if len(info) >= 16 || looksChosen(info) {
				p.secret(line, end, end+at, "url-user")
			}
			return end + at
		}
	}
	user, password := info[:colon], info[colon+width:]
	if looksChosen(user) && len(user) >= 12 || isTrivial(password) || len(user) >= 20 || bytes.Equal(password, []byte("x-oauth-basic")) {
		if len(user) > 0 && !isToken(user) {
			p.secret(line, end, end+colon, "url-user")
		}
	}
	if !isTrivial(password) {
		from := end + colon + width
		p.secret(line, from, end+at, "url-password")
		if bytes.IndexByte(password, '%') >= 0 {
			p.learn(unpercent(password))
		}
	}
	return end + at
}

func unpercent(v []byte) []byte {
	out := make([]byte, 0, len(v))
	for i := 0; i < len(v); i++ {
		if v[i] == '%' && i+2 < len(v) {
			if r, ok := hex4([]byte{'0', '0', v[i+1], v[i+2]}); ok {
				out = append(out, byte(r))
				i += 2
				continue
			}
		}
		out = append(out, v[i])
	}
	return out
}

// scheme takes out what follows "Bearer " and "Basic ".
func (p *pass) scheme(line []byte, end int) {
	basic := end >= 6 && hasFold(line[end-6:], "basic ") || end >= 8 && hasFold(line[end-8:], "basic%20")
	to := end
	for to < len(line) && (base64ish(line[to]) || !basic && (line[to] == '.' || line[to] == '~')) {
		to++
	}
	v := line[end:to]
	switch {
	case bytes.IndexByte(bytes.TrimRight(v, "="), '=') >= 0: // name=value
		return
	case basic:
		plain, err := base64.RawStdEncoding.DecodeString(string(bytes.TrimRight(v, "=")))
		if err != nil || !utf8.Valid(plain) || bytes.IndexByte(plain, ':') < 0 {
			return
		}
		if _, password, ok := bytes.Cut(plain, []byte(":")); ok {
			p.learn(password)
		}
		p.secret(line, end, to, "basic-auth")
	case len(v) >= 16 || len(v) >= 6 && hasDigit(v):
		p.secret(line, end, to, "bearer-token")
	}
}

var keyEnds = [][]byte{[]byte("-----END"), []byte("---- END"), []byte("Private-MAC:"), []byte("PRIVATE KEY-----")}

// endOfKey answers where the last mark that ends a private key ends in the line, -1 if none does.
func endOfKey(line []byte) int {
	for _, mark := range keyEnds {
		i := bytes.Index(line, mark)
		if i < 0 {
			continue
		}
		i += len(mark)
		if j := bytes.Index(line[i:], []byte("-----")); j >= 0 {
			return i + j + 5
		}
		if j := bytes.Index(line[i:], []byte("----")); j >= 0 {
			return i + j + 4
		}
		for i < len(line) && !isSpace(line[i]) && line[i] != '"' && line[i] != '\\' {
			i++
		}
		return i
	}
	return -1
}

// keyBegins begins a private key. Certificates and public keys are let through.
func (p *pass) keyBegins(line []byte, end int) {
	rest := line[end:]
	head := lower(string(rest[:min(len(rest), 48)]))
	putty := lowerByte(line[end-1]) == 'e' // putty-user-key-file
	if !putty {
		stop := bytes.Index([]byte(head), []byte("--"))
		if stop < 0 {
			stop = len(head)
		}
		label := []byte(head)[:stop]
		if !bytes.Contains(label, []byte("private")) && !bytes.Contains(label, []byte("secret")) && !bytes.Contains(label, []byte("openssh")) {
			p.public = bytes.Contains(label, []byte("certificate")) || bytes.Contains(label, []byte("public"))
			if p.public && bytes.Contains([]byte(lower(string(rest))), []byte("-----end")) {
				p.public = false
			}
			return
		}
	}
	// In one line: with \n, or behind the word.
	if i := endOfKey(rest); i >= 0 && bytes.Contains(bytes.ToLower(rest), []byte("-----end")) {
		i = lastEndOfKey(rest)
		from := end
		if j := bytes.Index(rest, []byte("-----")); j >= 0 && j < i {
			from = end + j + 5
		}
		body := line[from : end+i]
		if isToken(bytes.TrimSpace(body)) {
			return
		}
		p.add(from, end+i, "private-key", nil)
		p.learn(body)
		return
	}
	p.key, p.keyLines = true, 0
	if j := bytes.LastIndex(rest, []byte("-----")); j >= 0 && j+5 < len(rest) {
		p.add(end+j+5, len(line), "private-key", nil)
	}
}

func lastEndOfKey(rest []byte) int {
	low := bytes.ToLower(rest)
	i := bytes.Index(low, []byte("-----end"))
	if i < 0 {
		return len(rest)
	}
	return i
}

// programs take passwords as arguments: after these flags, as a word of their own or stuck to it.
var programs = []struct {
	name  string
	flags []string // a space at the end: the next word only
}{
	{"mysql", []string{"-p"}}, {"mycli", []string{"-p ", "-p"}}, {"bcp", []string{"-P ", "-P"}}, {"ldappasswd", []string{"-s ", "-a ", "-w ", "-w"}},
	{"rabbitmqctl add_user", []string{"@2"}}, {"rabbitmqctl change_password", []string{"@2"}}, {"mariadb", []string{"-p"}}, {"sshpass", []string{"-p", "-p "}}, {"redis-cli", []string{"-a ", "-a", "--pass "}},
	{"docker login", []string{"-p ", "-p"}}, {"podman login", []string{"-p ", "-p"}}, {"helm", []string{"-p "}}, {"az login", []string{"-p "}}, {"crane", []string{"-p "}},
	{"ldap", []string{"-w ", "-w"}}, {"curl", []string{"-u ", "-u", "--user ", "-U ", "--proxy-user ", "-E "}}, {"wget", []string{"--user "}},
	{"mongo", []string{"-p ", "-p"}}, {"unzip", []string{"-P ", "-P"}}, {"7z", []string{"-p"}}, {"zip", []string{"-P ", "-P"}}, {"smbclient", []string{"-U "}},
	{"openssl", []string{"-k ", "-K ", "-passin ", "-passout ", "-pass "}}, {"twine", []string{"-p "}}, {"skopeo", []string{"--creds ", "--src-creds ", "--dest-creds "}}, {"buildah", []string{"--creds "}},
	{"snmp", []string{"-c ", "-c", "-A ", "-X "}}, {"sqlcmd", []string{"-P ", "-P"}}, {"useradd", []string{"-p "}}, {"usermod", []string{"-p "}},
	{"htpasswd", []string{"-b"}}, {"rclone", []string{"--password "}}, {"ftp", []string{"-u "}},
}

// program takes out the passwords among the arguments of a program whose name ends at end.
func (p *pass) program(line []byte, end int) int {
	for _, prog := range programs {
		if end < len(prog.name) || !hasFold(line[end-len(prog.name):], prog.name) {
			continue
		}
		p.arguments(line, end, prog.flags)
		break
	}
	if end >= 8 && hasFold(line[end-8:], "chpasswd") { // echo root:x | chpasswd
		for i := 0; i < end; i++ {
			if line[i] == ':' && i > 0 && isAlnum(line[i-1]) {
				to := i + 1
				for to < end && !isSpace(line[to]) && line[to] != '"' && line[to] != '\'' && line[to] != '|' {
					to++
				}
				if to > i+1 && line[i+1] != '/' && !onlyDigits(line[i+1:to]) {
					p.secret(line, i+1, to, kindPassword)
				}
			}
		}
	}
	if hasFold(line[max(0, end-6):end], "-stdin") { // echo x | docker login --password-stdin
		for _, w := range []string{"echo ", "printf ", "echo -n ", "<<< "} {
			at := bytes.LastIndex(line[:end], []byte(w))
			if at < 0 {
				continue
			}
			from, to, _ := p.value(line, at+len(w), false)
			if pipe := bytes.IndexByte(line[from:], '|'); w[0] != '<' && (pipe < 0 || from+pipe > end) {
				continue
			}
			if v := line[from:to]; !isTrivial(v) && v[0] != '-' && v[0] != '$' && v[0] != '|' {
				p.secret(line, from, to, kindPassword)
			}
		}
	}
	return end
}

// arguments goes over the words after a program's name, whether a shell or JSON cuts them.
func (p *pass) arguments(line []byte, i int, flags []string) {
	blank := func(c byte) bool { return isSpace(c) || c == '"' || c == '\'' || c == ',' || c == '[' || c == ']' }
	due, skip := false, 0
	if flags[0][0] == '@' { // a word of its own place
		due, skip = true, int(flags[0][1]-'1')
		flags = nil
	}
	for i < len(line) {
		for i < len(line) && blank(line[i]) {
			i++
		}
		from := i
		for i < len(line) && !blank(line[i]) {
			i++
		}
		if due && skip == 0 && i > from {
			if q := line[from-1]; q == '"' || q == '\'' { // with blanks in it
				if end := bytes.IndexByte(line[from:], q); end > 0 {
					i = from + end
					if line[i-1] == '\\' {
						i--
					}
				}
			} else if i+1 < len(line) && line[i] == ',' && !blank(line[i+1]) { // user,password
				i++
				from = i
				for i < len(line) && !blank(line[i]) {
					i++
				}
			}
		}
		word := line[from:i]
		if len(word) == 0 {
			return
		}
		if word[0] == '|' || word[0] == ';' || string(word) == "&&" {
			return
		}
		if due {
			if skip > 0 {
				if word[0] != '-' {
					skip--
				}
				continue
			}
			due = false
			p.credential(line, from, i)
			continue
		}
		for _, f := range flags {
			name, apart := bytes.CutSuffix([]byte(f), []byte(" "))
			switch {
			case apart && bytes.Equal(word, name):
				due = true
			case f == "-b": // of htpasswd, alone or among others: after file and user; with n there is no file
				if word[0] != '-' || bytes.IndexByte(word, 'b') < 0 {
					continue
				}
				due, skip = true, 2
				if bytes.IndexByte(word, 'n') >= 0 {
					skip = 1
				}
			case !apart && len(name) == 2 && bytes.Equal(bytes.TrimRight(word, `\`), name) && i < len(line) && quoteLen(line, i) > 0: // -p'hunter2'
				vfrom, vto, _ := p.value(line, from+len(name), false)
				if !isTrivial(line[vfrom:vto]) {
					p.secret(line, vfrom, vto, kindPassword)
				}
				i = vto
			case !apart && len(name) == 2 && len(word) >= len(name)+3 && bytes.HasPrefix(word, name) && word[1] != '-' && bytes.IndexByte([]byte("=/:"), word[2]) < 0:
				p.credential(line, from+len(name), i)
			case apart && len(name) > 2 && bytes.HasPrefix(word, append(bytes.Clone(name), '=')):
				p.credential(line, from+len(name)+1, i)
			default:
				continue
			}
			break
		}
	}
}

// credential takes out a password, or that of user:password and user%password, or pass:password.
func (p *pass) credential(line []byte, from, to int) {
	v := line[from:to]
	if isTrivial(v) || v[0] == '-' || bytes.HasPrefix(v, []byte("env:")) || bytes.HasPrefix(v, []byte("file:")) || bytes.HasPrefix(v, []byte("http")) || v[0] == '/' {
		return
	}
	if i := bytes.IndexAny(v, ":%"); i >= 0 && i+1 < len(v) {
		from += i + 1
	}
	if !isTrivial(line[from:to]) {
		p.secret(line, from, to, kindPassword)
	}
}

// userinfo takes the password out of user:password@host:port without a scheme, as proxies are written, and of //user:password@host.
func (p *pass) userinfo(line []byte, at int) {
	to := at + 1
	for to < len(line) && (isAlnum(line[to]) || line[to] == '.' || line[to] == '-' || line[to] == '_') {
		to++
	}
	host := line[at+1 : to]
	if len(host) == 0 || hasFold(host, "sha256") || hasFold(host, "sha512") {
		return
	}
	from := at
	for from > 0 && !isSpace(line[from-1]) && bytes.IndexByte([]byte("\"'`<>,;=()[]{}|\\"), line[from-1]) < 0 && at-from < 256 {
		from--
	}
	word := line[from:at]
	sure := to+1 < len(line) && line[to] == ':' && isDigit(line[to+1]) || bytes.Contains(bytes.ToLower(line[max(0, from-20):from]), []byte("proxy"))
	if rest, ok := bytes.CutPrefix(word, []byte("//")); ok {
		word, from, sure = rest, from+2, true
	}
	user, password, ok := bytes.Cut(word, []byte(":"))
	if !ok || !sure || len(user) == 0 || bytes.IndexByte(user, '/') >= 0 || bytes.HasPrefix(password, []byte("//")) || isTrivial(password) {
		return
	}
	p.secret(line, from+len(user)+1, at, "url-password")
}

// dsn takes the password out of user:password@tcp(host).
func (p *pass) dsn(line []byte, end int) {
	at := bytes.LastIndexByte(line[:end], '@')
	from := at
	for from > 0 && !isSpace(line[from-1]) && line[from-1] != '"' && line[from-1] != '\'' && line[from-1] != '=' {
		from--
	}
	if i := bytes.IndexByte(line[from:at], ':'); i >= 0 {
		if bytes.HasPrefix(line[from+i:], []byte("://")) {
			from += i + 3
			if i = bytes.IndexByte(line[from:at], ':'); i < 0 {
				return
			}
		}
		if from+i+1 < at {
			p.secret(line, from+i+1, at, "url-password")
		}
	}
}

// hash takes out a password's hash as crypt and its like write it.
func (p *pass) hash(line []byte, end int) int {
	from := end - 2
	open := byte('$')
	if line[end-1] == '}' || bytes.IndexByte([]byte("a256:"), lowerByte(line[end-1])) >= 0 && bytes.LastIndexByte(line[max(0, end-8):end], '{') >= 0 {
		open = '{'
	}
	for from > 0 && line[from] != open && end-from < 12 {
		from--
	}
	if line[from] != open {
		for from = end - 1; from > 0 && (isAlnum(line[from-1]) || line[from-1] == '_'); {
			from--
		}
	}
	to := end
	for to < len(line) && !isSpace(line[to]) && bytes.IndexByte([]byte(`:"',;<>`), line[to]) < 0 {
		to++
	}
	if to-from >= 16 {
		p.secret(line, from, to, "password-hash")
		return to
	}
	return end
}

// hook takes out the path of a URL that lets whoever knows it in.
func (p *pass) hook(line []byte, end int) {
	to := end
	for to < len(line) && !isSpace(line[to]) && bytes.IndexByte([]byte(`"'<>\`), line[to]) < 0 {
		to++
	}
	if to-end >= 8 {
		p.secret(line, end, to, "webhook")
	}
}

// identified takes the password out of SQL's IDENTIFIED BY.
func (p *pass) identified(line []byte, end int) {
	i := end
	if by := indexFold(line[end:min(len(line), end+60)], " by "); by >= 0 && hasFold(line[max(0, end-4):], "with") {
		i = end + by + 4
	}
	p.take(line, i, kindPassword, false, false)
}

// pgpass takes the password out of host:5432:db:user:password, in which a mark of the port ends at end.
func (p *pass) pgpass(line []byte, end int) {
	from, to := end, end
	stops := []byte("\"'`;,<>()[]\x1b\\")
	for from > 0 && !isSpace(line[from-1]) && bytes.IndexByte(stops, line[from-1]) < 0 {
		from--
	}
	for to < len(line) && !isSpace(line[to]) && bytes.IndexByte(stops, line[to]) < 0 {
		to++
	}
	if bytes.Contains(line[from:to], []byte("://")) {
		return
	}
	if to < len(line) && line[to] != '\x1b' { // a password may have such signs in it
		for to < len(line) && !isSpace(line[to]) && line[to] != '"' && line[to] != '\'' && line[to] != '\\' && line[to] != '\x1b' {
			to++
		}
	}
	// What stands before the host, as in 10:00:00:host, makes more fields; the port tells which is which.
	rest := bytes.SplitN(line[end:to], []byte(":"), 3)
	if len(rest) == 3 && len(rest[2]) > 0 {
		p.secret(line, to-len(rest[2]), to, kindPassword)
	}
}

// percent looks into a run that is encoded as in a URL.
func (p *pass) percent(line []byte, end int) int {
	from, to := end-1, end
	in := func(c byte) bool { return isAlnum(c) || bytes.IndexByte([]byte("%+-._~*!"), c) >= 0 }
	for from > 0 && in(line[from-1]) {
		from--
	}
	for to < len(line) && in(line[to]) {
		to++
	}
	if p.depth >= maxDepth {
		return to
	}
	plain := unpercent(bytes.ReplaceAll(line[from:to], []byte("+"), []byte(" ")))
	inner := pass{r: p.r, depth: p.depth + 1}
	if inner.any(plain) {
		p.secret(line, from, to, "url-encoded")
	}
	return to
}

// mail takes out an e-mail address with its @ at i.
func (p *pass) mail(line []byte, i int) {
	from, to, dot := i, i+1, false
	for from > 0 && (isAlnum(line[from-1]) || bytes.IndexByte([]byte("._%+-"), line[from-1]) >= 0) {
		from--
	}
	for to < len(line) && (isAlnum(line[to]) || line[to] == '-' || line[to] == '.') {
		dot = dot || line[to] == '.' && to > i+1
		to++
	}
	for to > i && line[to-1] == '.' {
		to--
	}
	if from < i && dot && to > i+3 && !onlyDigits(line[i+1:to]) {
		p.add(from, to, "e-mail", nil)
	}
}

// traced takes out what a shell's trace shows of echo "$PASSWORD" |. The program behind the bar stands in another line.
func (p *pass) traced(line []byte) {
	rest := bytes.TrimLeft(line[p.head:], "+")
	if len(rest) == len(line)-p.head {
		return
	}
	for _, w := range []string{" echo ", " echo -n ", " printf %s "} {
		word, ok := bytes.CutPrefix(rest, []byte(w))
		if ok && bytes.IndexByte(word, ' ') < 0 && looksChosen(word) && !isReference(word) {
			p.secret(line, len(line)-len(word), len(line), kindPassword)
		}
	}
}
