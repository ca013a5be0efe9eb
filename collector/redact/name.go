package redact

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// What a name says of its value.
const (
	kindPassword = "password"
	kindSecret   = "secret"
	kindToken    = "token"
	kindKey      = "key"
	kindAuth     = "auth"
	kindCookie   = "cookie"
	kindSession  = "session"
	kindDSN      = "connection-string"
)

// whole are parts of a name that make it a secret's wherever they stand in it, written together or not.
var whole = []struct{ part, kind string }{
	{"password", kindPassword}, {"passwd", kindPassword}, {"passphrase", kindPassword}, {"passcode", kindPassword}, {"passwort", kindPassword}, {"passw0rd", kindPassword},
	{"p@ss", kindPassword}, {"pa$$", kindPassword}, {"kennwort", kindPassword}, {"contrase", kindPassword}, {"motdepasse", kindPassword}, {"wachtwoord", kindPassword},
	{"losenord", kindPassword}, {"lösenord", kindPassword}, {"salasana", kindPassword}, {"пароль", kindPassword}, {"密码", kindPassword}, {"密碼", kindPassword}, {"パスワード", kindPassword},
	{"requirepass", kindPassword}, {"masterauth", kindPassword}, {"rootpw", kindPassword}, {"bindpw", kindPassword}, {"authpass", kindPassword},
	{"secret", kindSecret}, {"mnemonic", kindSecret}, {"apikey", kindKey}, {"accesskey", kindKey}, {"privatekey", kindKey}, {"accountkey", kindKey}, {"sharedkey", kindKey},
	{"encryptionkey", kindKey}, {"signingkey", kindKey}, {"masterkey", kindKey}, {"authkey", kindKey}, {"licensekey", kindKey}, {"storagekey", kindKey}, {"presharedkey", kindKey},
	{"authdata", kindAuth}, {"registryauth", kindAuth}, {"proxyauthorization", kindAuth}, {"authtoken", kindToken}, {"accesstoken", kindToken}, {"refreshtoken", kindToken},
	{"idtoken", kindToken}, {"sessiontoken", kindToken}, {"identitytoken", kindToken}, {"registrytoken", kindToken}, {"securitytoken", kindToken}, {"bearertoken", kindToken},
	{"credential", kindSecret}, {"sessionid", kindSession}, {"sessid", kindSession}, {"connectsid", kindSession}, {"connectionstring", kindDSN}, {"setcookie", kindCookie}, {"passin", kindPassword}, {"passout", kindPassword},
}

// words are parts of a name between its separators that make it a secret's.
var words = map[string]string{
	"pass": kindPassword, "pwd": kindPassword, "pw": kindPassword, "psw": kindPassword, "pswd": kindPassword, "pin": kindPassword, "pincode": kindPassword, "senha": kindPassword, "parola": kindPassword, "heslo": kindPassword, "haslo": kindPassword,
	"psk": kindKey, "token": kindToken, "tokens": kindToken, "jwt": kindToken, "otp": kindToken, "csrf": kindToken, "xsrf": kindToken, "bearer": kindToken, "creds": kindSecret, "cred": kindSecret,
	"auth": kindAuth, "authorization": kindAuth, "authorisation": kindAuth, "cookie": kindCookie, "cookies": kindCookie, "sid": kindSession, "sess": kindSession, "session": kindSession,
	"sig": kindToken, "signature": kindToken, "salt": kindSecret, "dsn": kindDSN, "seed": kindSecret, "community": kindSecret, "webhook": kindToken,
}

// keyOf are words beside which "key" is a secret.
var keyOf = wordSet(`api access private encryption signing sign auth master account shared storage license licence service app application ssh ssl tls hmac aes rsa
	session cookie crypt crypto decryption decrypt deploy unseal recovery root write read admin client server consumer integration ingest ingestion sas data datadog dd
	newrelic relic sendgrid stripe mailgun pagerduty rails base preshared pre psk wireguard stream push webhook secure security user pgp gpg kms vault fernet
	maxmind algolia amplitude rollbar bugsnag honeybadger sentry logdna splunk loggly sumo honeycomb instana segment project team publishable live test prod secretkey`)

// harmless are last words that say that the value is about the secret and not the secret.
var harmless = wordSet(`file files path paths dir directory name names arn type length len size expires expiry expiration expire ttl timeout enabled disabled policy policies count
	algorithm algo header headers field fields prefix suffix env mode driver url uri endpoint host port region age valid invalid required status state error errors
	rotation rotated version format provider providers plugin plugins method source sources manager helper helpers failed failure failures ok validation reset change changed min max limit bits usage attempts
	retries duration interval created updated source issuer audience fingerprint management services service store stores config role used total rate`)

// ends are words that are a password's only as the end of a longer one: dbpass, sshpass; but not compass.
var notEnds = wordSet(`compass bypass trespass surpass encompass underpass overpass passes`)

func wordSet(list string) map[string]bool {
	m := map[string]bool{}
	for w := range strings.FieldsSeq(list) {
		m[w] = true
	}
	return m
}

// judge tells whether what stands under a name is a secret, and of which kind.
func judge(name []byte) (kind string, secret bool) {
	if len(name) > 128 {
		name = name[len(name)-128:]
	}
	var flat [160]byte // the name in lower case without separators
	f := flat[:0]
	var parts [24][2]int // its words, as they lie in flat
	n := 0
	start := 0
	for i := 0; i < len(name); i++ {
		c := name[i]
		if isAlnum(c) || c == '@' || c == '$' || c >= utf8.RuneSelf {
			camel := isUpper(c) && i > 0 && (isLower(name[i-1]) || isDigit(name[i-1]) || isUpper(name[i-1]) && i+1 < len(name) && isLower(name[i+1]))
			if camel && len(f) > start && n < len(parts) {
				parts[n] = [2]int{start, len(f)}
				n++
				start = len(f)
			}
			f = append(f, lowerByte(c))
			continue
		}
		if len(f) > start && n < len(parts) {
			parts[n] = [2]int{start, len(f)}
			n++
		}
		start = len(f)
	}
	if len(f) > start && n < len(parts) {
		parts[n] = [2]int{start, len(f)}
		n++
	}
	if n == 0 {
		return "", false
	}
	word := func(i int) string { return string(f[parts[i][0]:parts[i][1]]) }
	last := word(n - 1)
	for len(last) > 0 && isDigit(last[len(last)-1]) && len(last) > 1 { // password2
		last = last[:len(last)-1]
	}
	about := n > 1 && harmless[last]
	for _, w := range whole {
		if bytes.Contains(f, []byte(w.part)) {
			if about {
				return "", false
			}
			return w.kind, true
		}
	}
	if about {
		return "", false
	}
	for i := range n {
		w := word(i)
		if kind, ok := words[w]; ok {
			if n == 1 && (w == "seed" || w == "community") || n > 2 && w == "pin" { // a word of many uses
				continue
			}
			return kind, true
		}
		if (w == "key" || w == "keys") && n > 1 {
			for j := range n {
				if keyOf[word(j)] {
					return kindKey, true
				}
			}
		}
		if strings.HasSuffix(w, "pass") && !notEnds[w] || strings.HasSuffix(w, "pwd") || strings.HasSuffix(w, "token") {
			return kindPassword, true
		}
		if strings.HasSuffix(w, "key") && len(w) > 3 && keyOf[strings.TrimSuffix(w, "key")] {
			return kindKey, true
		}
	}
	return "", false
}

// isTrivial tells of values that are no secrets whatever they are called.
func isTrivial(v []byte) bool {
	if len(v) == 0 {
		return true
	}
	if len(v) <= 12 {
		switch strings.ToLower(string(v)) {
		case "true", "false", "yes", "no", "on", "off", "null", "nil", "none", "undefined", "<nil>", "(null)", "{}", "[]", "\"\"", "''", "''\"", "enabled", "disabled",
			"optional", "required", "{redacted}", "[redacted]", "<redacted>", "(redacted)", "redacted", "[secret]", "(secret)", "{", "[", "-", "=", ":", "n/a", "%s", "%v", "%q", "[filtered]", "<secret>", "|", ">", "|-", ">-", `\u003e`, `\\u003e`:
			return true
		}
	}
	if len(bytes.Trim(v, "*")) == 0 || len(bytes.Trim(v, "xX")) == 0 && len(v) > 3 {
		return true
	}
	return isReference(v)
}

// isReference tells of $NAME and ${NAME} and %(name)s, which say where a value is.
func isReference(v []byte) bool {
	inner, ok := bytes.CutPrefix(v, []byte("${"))
	if ok {
		inner, ok = bytes.CutSuffix(inner, []byte("}"))
	} else if inner, ok = bytes.CutPrefix(v, []byte("$")); !ok {
		return false
	}
	if !ok || len(inner) == 0 || isDigit(inner[0]) {
		return false
	}
	for _, c := range inner {
		if !isUpper(c) && !isDigit(c) && c != '_' {
			return false
		}
	}
	return true
}
