package redact

import "sync"

// A handler looks closer at a place where a trigger stands. Several may be due at one place.
type handler uint16

const (
	onName    handler = 1 << iota // part of a name that may be a secret's
	onURL                         // "://"
	onFormat                      // the beginning of a token of known form
	onScheme                      // "bearer ", "basic "
	onKey                         // "-----begin" and its like
	onProgram                     // a program that takes passwords as arguments
	onDSN                         // user:password@tcp(
	onHash                        // the beginning of a password's hash
	onHook                        // a URL whose path is the secret
	onWord                        // "identified by"
	onPgpass                      // host:5432:db:user:password
	onMail                        // "@"
	onPercent                     // quotes and signs as URLs encode them
)

// triggers say by their handler what they may begin. They are looked for whatever their case.
var triggers = map[handler][]string{
	onName: {
		"pass", "pwd", "pw", "psw", "secret", "token", "key", "auth", "cred", "cookie", "sess", "signature", "sig", "salt", "bearer", "dsn", "jwt", "otp",
		"phrase", "private", "p@ss", "pa$$", "psk", "kennwort", "contrase", "senha", "mot_de_passe", "motdepasse", "mot de passe", "wachtwoord", "parola", "heslo", "haslo",
		"losenord", "lösenord", "salasana", "пароль", "密码", "密碼", "パスワード", "csrf", "xsrf", "connect.sid", "rootpw", "bindpw", "community", "pin",
		"accountkey", "webhook", "passin", "passout", "connectionstring", "connection_string", "seed", "mnemonic", "code",
	},
	onURL:     {"://", `:\/\/`, "%3a%2f%2f"},
	onScheme:  {"bearer ", "basic ", "bearer%20", "basic%20", "negotiate ", "aws4-hmac-sha256"},
	onKey:     {"-----begin", "---- begin", "putty-user-key-file"},
	onDSN:     {"@tcp(", "@unix(", "@cloudsql(", "@tcp6("},
	onHash:    {"$2a$", "$2b$", "$2y$", "$1$", "$5$", "$6$", "$y$", "$7$", "$apr1$", "$argon2", "{ssha", "{sha", "{crypt}", "{md5}", "pbkdf2", "scrypt:", "bcrypt_sha256$"},
	onHook:    {"hooks.slack.com/", "discord.com/api/webhooks/", "discordapp.com/api/webhooks/", "webhook.office.com/", "outlook.office.com/webhook/", "hooks.zapier.com/", "events.pagerduty.com/integration/", "api.telegram.org/bot"},
	onWord:    {"identified by", "identified with"},
	onPgpass:  {":5432:", ":*:", ":5433:", ":6432:"},
	onMail:    {"@"},
	onPercent: {"%22", "%27", "%3a", "%3d", "%5c", "%7b", "%20"},
}

// automaton is that of Aho and Corasick over the lower-cased triggers, with bytes that no trigger has in one class.
type automaton struct {
	class   [256]uint8
	classes int
	next    []uint16 // by state*classes + class
	due     []handler
}

// scanner is made when it is needed first: most runs of the program never are a bundle.
var scanner = sync.OnceValue(func() *automaton {
	words := map[string]handler{}
	for h, list := range triggers {
		for _, w := range list {
			words[w] |= h
		}
	}
	for _, f := range formats {
		words[lower(f.prefix)] |= onFormat
	}
	for _, p := range programs {
		words[p.name] |= onProgram
	}
	for _, w := range []string{"chpasswd", "-stdin"} {
		words[w] |= onProgram
	}
	a := &automaton{classes: 1}
	for w := range words {
		for _, c := range []byte(w) {
			if a.class[c] == 0 {
				a.class[c] = uint8(a.classes)
				a.classes++
			}
		}
	}
	for c := 'A'; c <= 'Z'; c++ {
		a.class[c] = a.class[c+'a'-'A']
	}
	state := func() uint16 {
		a.next = append(a.next, make([]uint16, a.classes)...)
		a.due = append(a.due, 0)
		return uint16(len(a.due) - 1)
	}
	state()
	for w, h := range words {
		s := uint16(0)
		for _, c := range []byte(w) {
			at := int(s)*a.classes + int(a.class[c])
			if a.next[at] == 0 {
				n := state()
				a.next[at] = n
			}
			s = a.next[at]
		}
		a.due[s] |= h
	}
	fail := make([]uint16, len(a.due))
	queue := []uint16{0}
	for len(queue) > 0 {
		s := queue[0]
		queue = queue[1:]
		for c := range a.classes {
			at := int(s)*a.classes + c
			n := a.next[at]
			if n == 0 {
				if s != 0 {
					a.next[at] = a.next[int(fail[s])*a.classes+c]
				}
				continue
			}
			if s != 0 {
				fail[n] = a.next[int(fail[s])*a.classes+c]
			}
			a.due[n] |= a.due[fail[n]]
			queue = append(queue, n)
		}
	}
	return a
})

func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		b[i] = lowerByte(c)
	}
	return string(b)
}

func lowerByte(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

func isUpper(c byte) bool { return c >= 'A' && c <= 'Z' }
func isLower(c byte) bool { return c >= 'a' && c <= 'z' }
func isDigit(c byte) bool { return c >= '0' && c <= '9' }
func isAlnum(c byte) bool { return isUpper(c) || isLower(c) || isDigit(c) }
func isHex(c byte) bool   { return isDigit(c) || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F' }
func isSpace(c byte) bool {
	return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\v' || c == '\f'
}
