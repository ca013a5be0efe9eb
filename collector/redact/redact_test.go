package redact

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func newTest() *Redactor { return New(Options{Key: []byte("a key for tests")}) }

// Each text has its secret between « and »; what else stands there has to be there afterwards.
var planted = []string{
	"password=«hunter2xyz»", "PASSWORD: «hunter2xyz»", `"password":"«hun\"ter2»"`, `{"log":"{\"password\":\"«hunter2»\"}\n"}`, `{\\\"password\\\":\\\"«hunter2»\\\"}`,
	"db_password = «s3cr3t!»", "DB_PASSWORD=«correct horse battery»", "export DB_PASSWORD='«a b c»'", "Pass-Word: «hunter2»", "pass_word=«hunter2»", "passwd:«hunter2»",
	"contraseña=«hunter2»", "mot de passe: «hunter2»", "пароль=«hunter2»", "密码：«hunter2»", "passwort=«hunter2»", "pwd=«hunter2» user=bob",
	"spring.datasource.password=«hunter2»", "--db-password «hunter2» --verbose", "--password=«hunter2» -v", `["app","--password","«hunter2»","-v"]`, "<password>«hunter2»</password>",
	`<property name="password" value="«hunter2»"/>`, `{"name":"DB_PASSWORD","value":"«hunter2»"}`, `{"value":"«hunter2»","name":"DB_PASSWORD"}`, "Enter password for root: «hunter2»",
	"password is «hunter2»", "the new password for user bob is «Tr0ub4dor&3»", "requirepass «foobared1»", "ENV DB_PASSWORD «hunter2»", "machine h login u password «hunter2»",
	"db.example:5432:app:bob:«hunter2»", "ALTER USER bob WITH PASSWORD '«hunter2»'", "CREATE USER bob IDENTIFIED BY '«hunter2»'", "SET PASSWORD = PASSWORD('«hunter2»')",
	"postgres://bob:«hunter2»@db/app", "https://bob:«p%40ss»@h/x?y=z", `redis://:«hunter2»@h:6379/0`, "amqp://u:«pa/ss@w»@host:5672/v", "bob:«hunter2»@tcp(db:3306)/app", "https://«abcdef0123456789abcd»@sentry.io/1",
	"proxy=http://bob:«hunter2»@proxy:3128", "Server=x;Password=«a,b!c»;Database=y", "curl -u bob:«hunter2» https://x", "mysql -ubob -p«hunter2» app", "sshpass -p «hunter2» ssh h", "redis-cli -a «hunter2» ping",
	"docker login -u bob -p «hunter2» reg", `["mysqldump","-u","bob","-p«hunter2»","app"]`, "unzip -P «hunter2» a.zip", "echo root:«hunter2» | chpasswd", "ldapsearch -D cn=a -w «hunter2»", "openssl enc -k «hunter2»",
	"Authorization: Bearer «abcdefgh12345678»", "Authorization: Basic «Ym9iOmh1bnRlcjI=»", "x-api-key: «abc123def456»", "Cookie: «a=b; session=c123»", "Set-Cookie: «sid=12345abc; Path=/»", "X-Registry-Auth: «eyJ1c2VybmFtZSI6ImJvYiIsInBhc3N3b3JkIjoiaHVudGVyMiJ9»",
	"proxy-authorization: Digest «username=\"a\", response=\"b123\"»", "-H 'Authorization: Bearer «tok_12345678»'",
	"id «AKIAIOSFODNN7EXAMPLE» key", "aws_secret_access_key = «wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY»", "seen «wJalrXUtnFEMI/K7MDENG/bPxRfiCYzEXA1PLEKY» alone", "AWS Secret Access Key: «abcd+efgh/ij»", "AWS_SESSION_TOKEN=«IQoJb3JpZ2luX2VjEXAMPLE»",
	"X-Amz-Signature=«0123456789abcdef»&X-Amz-Date=20260101", "X-Amz-Security-Token=«IQoJb3Jp%2FZ2lu»&x=1", "AccountKey=«abcdefghijklmnopqrstuvwxyz0123456789+/==»;x=y",
	"jwt «eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U» end", "«ghp_16C7e42F292c6912E7710c838347Ae178B4a» x", "«glpat-ABCdef123456789xyz12»", "«xoxb-17653672481-19874698323-pdFZKVeTuE8sk7oOcHrzqqgy»",
	"https://hooks.slack.com/«services/T000/B000/XXXX1234»", "«sk_live_4eC39HqLyjWDarjtT1zdp7dc»", "«AIzaSyDaGmWKa4JsXZ-HjGw7ISLn_3namBGewQe»", "«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»", "«hvs.CAESIJ1234567890abcdefghij»",
	"«npm_abcdefghij1234567890ABCDEFGHIJ123456»", "«dckr_pat_abcdefghij1234567890ABC»", "«sk-proj-abcdefghij1234567890»", "bot «123456789:AAabcdefghijklmnopqrstuvwxyz0123456»", "root:«$6$saltsalt$abcdefghijklmnopqrstuvwxyz»:19000:0",
	"otpauth://totp/x?secret=«JBSWY3DPEHPK3PXP»&issuer=y", "TOKEN\\u003d«abc123xyz»", "q=token%3D«abc123xyz»%26user%3Dbob", "&quot;password&quot;: &quot;«hunter2»&quot;", "wpa_passphrase=«hunter2hunter2»", "PrivateKey = «yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=»",
	"secret_key_base: «0123456789abcdef0123»", "client_secret=«abc~def.ghi»", "DD_API_KEY=«0123456789abcdef0123456789abcdef»", "data «cGFzc3dvcmQ9aHVudGVyMnh5eg==» x", "token: «abc123def»", "JSESSIONID=«0A1B2C3D4E»",
	"ECS_ENGINE_AUTH_DATA=«{\"reg\":{\"username\":\"bob\",\"password\":\"hunter2\"}}»", `{"auths":{"reg":{"auth":"«Ym9iOmh1bnRlcjI=»"}}}`, "smbclient //h/s -U bob%«hunter2»", "«AGE-SECRET-KEY-1QQQQQQQQQQQQQQQQQQQQQQQQ»",
	"$ PGPASSWORD=«hunter2» psql -h db", "environment: DB_PASS «hunter2a»", "user=bob password=«p;a,s&s» host=x", "time=1 level=info msg=\"login\" password=«hunter2» x=1",
	`level=info msg="auth {\"token\": \"«abc123»\"}" x=1`, "\tpassword: \"«with \\\"quotes\\\" in»\" # comment", "SSHPASS=«hunter2» sshpass -e x",
}

func TestPlanted(t *testing.T) {
	for _, text := range planted {
		before, rest, ok := strings.Cut(text, "«")
		secret, after, closed := strings.Cut(rest, "»")
		if !ok || !closed {
			t.Fatalf("%q names no secret", text)
		}
		got := string(newTest().Text("m", []byte(before+secret+after+"\n")))
		want := before + string(tokenPrefix)
		if strings.Contains(got, secret) || !strings.Contains(got, tokenPrefix) {
			t.Errorf("%s\n  gave %s", text, got)
			continue
		}
		if !strings.HasPrefix(got, want) || !strings.HasSuffix(got, after+"\n") {
			t.Logf("%s\n  gave %s", text, got)
		}
	}
}

func TestKept(t *testing.T) {
	for _, text := range []string{
		"level=info time=2026-11-21T09:15:36Z msg=\"Loading state! module=\\\"dockerstate\\\"\" module=main.go",
		"2026-11-21T09:15:36Z 200 172.17.0.4:41562 \"/v2/credentials\" \"aws-cli/2.15.30\" arn:aws:ecs:eu-west-1:111122223333:task/prod/fedcba9876543210fedcba9876543210 GetCredentials 2 prod",
		"time=\"2026-05-01T10:00:02.3Z\" level=error msg=\"Handler for DELETE /v1.41/volumes/x returned error: remove x: volume is in use - [140d65]\"",
		"4ee454b15be14ee454b15be14ee454b15be14ee454b15be14ee454b15be14ee4 sha256:9581a69a761a557fbfce1d0f6745e4af5b9dbfb86b6b2c5c4df156f1a5932ff1",
		"ecs-web-12-nginx-f8b4c2a1d0e9b7c3a501 /var/lib/docker/overlay2/l/6Y5IM2XC7TSNIJZZFLJCS6I4I4",
		"Error response from daemon: pull access denied, repository does not exist or may require authorization: authorization failed: no basic auth credentials",
		"passed 12 tests, bypass compass; max_tokens=100 token_type=bearer primary_key=17 password=${DB_PASSWORD} password_file=/run/secrets/x",
		"level=error time=2026-11-21T09:15:36Z msg=\"NoCredentialProviders: no valid providers in chain\" module=x.go", "Nov 21 10:00:00 h agent[1]: token is expired: get a new one",
		"Nov 21 10:00:00 h dockerd[1]: pulled repo/image:tag@sha256:9581a69a761a557fbfce1d0f6745e4af5b9dbfb86b6b2c5c4df156f1a5932ff1 from to:bob@example.com and git@github.com:22",
		"the token is expired, the secret was not found, wrong password for user", "password: ", "token=null auth=true", "key=value monkey=1 keyboard=us",
		"May  1 10:00:00 ip-10-0-1-2 sshd[123]: Accepted publickey for ec2-user from 10.0.0.1 port 22 ssh2", "http://localhost:51678/v1/tasks git@github.com:x/y.git http://h/path@x",
		"-----BEGIN CERTIFICATE-----", "com.amazonaws.ecs.task-definition-family GetContainerInstanceHealthStatusV2Api",
		"arn:aws:ecs:eu-west-1:111122223333:container-instance/prod/0123456789abcdef0123456789abcdef", "550e8400-e29b-41d4-a716-446655440000",
	} {
		if got := string(newTest().Text("m", []byte(text))); got != text {
			t.Errorf("%s\n  gave %s", text, got)
		}
	}
}

func TestKeys(t *testing.T) {
	body := "MIIEpAIBAAKCAQEA7bq0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJ\nKLMNOPQRSTUVWXYZ0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLM\nabc=\n"
	for name, text := range map[string]string{
		"pem":      "a\n-----BEGIN RSA PRIVATE KEY-----\n" + body + "-----END RSA PRIVATE KEY-----\nb\n",
		"prefixed": "x: -----BEGIN PRIVATE KEY-----\nx: " + strings.ReplaceAll(body, "\n", "\nx: ") + "-----END PRIVATE KEY-----\nb\n",
		"json":     `{"k":"-----BEGIN EC PRIVATE KEY-----\n` + strings.ReplaceAll(body, "\n", `\n`) + `-----END EC PRIVATE KEY-----\n"} b` + "\n",
		"cut":      "-----BEGIN OPENSSH PRIVATE KEY-----\n" + body,
		"pgp":      "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\n" + body + "-----END PGP PRIVATE KEY BLOCK-----\nb\n",
		"block":    "a:\n" + body + "b\n",
		"yaml":     "secret: |\n  first line\n  second line of it\nother: b\n",
		"flag":     "- --password\n- first line\n- b\n",
		"quoted":   "TOKEN=\"first line\nsecond line of it\"\nb\n",
	} {
		got := string(newTest().Text("m", []byte(text)))
		for _, part := range []string{"MIIEpAIBAAK", "KLMNOPQRSTUVW", "first", "second"} {
			if strings.Contains(got, part) {
				t.Errorf("%s: %q is still there:\n%s", name, part, got)
			}
		}
		if name != "cut" && !strings.Contains(got, "b") {
			t.Errorf("%s: what comes after is gone:\n%s", name, got)
		}
	}
}

// A value that is known is found in every encoding, and by the same token where its text allows.
func TestKnown(t *testing.T) {
	for _, value := range []string{"hunter2-and-more", `pa"ss\wo<rd>&x`, "käse/brot+wein 12", "0123456789abcdef0123456789abcdef"} {
		r := newTest()
		r.Learn(value)
		for name, text := range map[string]string{
			"raw": value, "json": jsonText(value), "json twice": jsonText(jsonText(value)), "query": url.QueryEscape(value), "path": url.PathEscape(value), "hex": hex.EncodeToString([]byte(value)),
			"base64": base64.StdEncoding.EncodeToString([]byte(value)), "base64 within": base64.StdEncoding.EncodeToString([]byte("{\x01x:" + value + "yy")), "base64url": base64.RawURLEncoding.EncodeToString([]byte("a" + value)),
		} {
			got := string(r.Text("m", []byte("see "+text+" there")))
			if strings.Contains(got, text) || !strings.Contains(got, tokenPrefix) {
				t.Errorf("%s of %q: %s", name, value, got)
			}
			if (name == "raw" || name == "json" || name == "query" || name == "hex") && got != "see "+r.tokenOf([]byte(value))+" there" {
				t.Errorf("%s of %q has another token: %s", name, value, got)
			}
		}
	}
}

// A host has many secrets, and its logs hold more that are none of its settings.
func TestManyKnown(t *testing.T) {
	r := newTest()
	for i := range 2_000 {
		r.Text("m", fmt.Appendf(nil, "password=of-a-log-%d", i))
	}
	for i := range 1_500 {
		r.Learn(fmt.Sprintf("of-a-setting-%d", i))
	}
	if got := string(r.Text("m", []byte("it is of-a-setting-1499 here"))); strings.Contains(got, "setting") {
		t.Error(got)
	}
}

func jsonText(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(b[1 : len(b)-1])
}

func TestJSON(t *testing.T) {
	r := newTest()
	in := `{"Id":"4ee454b15be1","Config":{"Env":["PATH=/bin","DB_PASS=hunter2xyz","RAILS_ENV=production","COLOR=blueish"],"Cmd":["mysql","-phunter3","--token","abc999","sh -c 'PGPASSWORD=hunter4 psql'"],
	"Labels":{"com.amazonaws.ecs.cluster":"prod","my.thing":"whatever it is","my.token":"t0ken1"}},"LogPath":"/x/hunter2xyz","HostConfig":{"LogConfig":{"Config":{"splunk-token":"aaaabbbb"}}},
	"Health":{"Log":[{"Output":"curl: https://u:hunter5@h/ failed\npassword=hunter6"}]},"environment":[{"name":"A","value":"hidden1"}],"Actor":{"Attributes":{"image":"nginx:1.27","name":"web-1","org.example.x":"my own label 7"}},"Running":true,"n":1.50}`
	out, err := r.JSON("m", []byte(in))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"hunter", "blueish", "abc999", "whatever", "t0ken1", "aaaabbbb", "hidden1", "my own label"} {
		if bytes.Contains(out, []byte(s)) {
			t.Errorf("%s is still there:\n%s", s, out)
		}
	}
	for _, s := range []string{`"PATH=/bin"`, `"RAILS_ENV=production"`, `"prod"`, `"4ee454b15be1"`, `"web-1"`, `"nginx:1.27"`, "1.50", "true", "COLOR=REDACTED"} {
		if !bytes.Contains(out, []byte(s)) {
			t.Errorf("%s is gone:\n%s", s, out)
		}
	}
	if !json.Valid(out) {
		t.Errorf("no JSON:\n%s", out)
	}
	for _, bad := range []string{"", "{", `{"a":1}x`, strings.Repeat("[", 1000)} {
		if _, err := r.JSON("m", []byte(bad)); err == nil {
			t.Errorf("%.20q was taken", bad)
		}
	}
}

func TestReportHasNoValues(t *testing.T) {
	r := newTest()
	r.Text("a/b", []byte("password=hunter2xyz\nhunter2xyz again"))
	text, err := json.Marshal(r.Report())
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(text, []byte("hunter2")) || len(r.Report()) != 1 || r.Report()[0].Kinds["password"] != 1 || r.Report()[0].Kinds["known"] != 1 {
		t.Errorf("%s", text)
	}
}

// However a text is cut into writes, it comes out the same; and what has come out stays as it is.
func TestAnyCut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var text strings.Builder
		for range rapid.IntRange(1, 8).Draw(t, "lines") {
			text.WriteString(strings.NewReplacer("«", "", "»", "").Replace(rapid.SampledFrom(planted).Draw(t, "line")))
			text.WriteString(rapid.SampledFrom([]string{"\n", " ", "\r\n", ""}).Draw(t, "end"))
		}
		whole := newTest().Text("m", []byte(text.String()))
		var out bytes.Buffer
		s := newTest().Stream("m", &out)
		for rest := []byte(text.String()); len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "write")
			if _, err := s.Write(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if out.String() != string(whole) {
			t.Fatalf("cut: %q\nwhole: %q", out.String(), whole)
		}
	})
}

func TestLongLine(t *testing.T) {
	var out bytes.Buffer
	s := newTest().Stream("m", &out)
	fmt.Fprintf(s, "%s password=hunter2xyz\nnext\n", strings.Repeat("a b ", maxLine/4-5))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); strings.Contains(got, "hunter") || !strings.Contains(got, "bytes of this line are left out]\nnext\n") {
		t.Errorf("...%s", got[len(got)-100:])
	}
}

func FuzzText(f *testing.F) {
	for _, p := range planted {
		f.Add(strings.NewReplacer("«", "", "»", "").Replace(p), "hunter2-and-more")
	}
	f.Fuzz(func(t *testing.T, text, value string) {
		r := newTest()
		r.Learn(value)
		_, isKnown := r.known.seen[strings.TrimSpace(value)]
		out := r.Text("m", []byte(text+"\n"+value+"\n"+jsonText(value)))
		if isKnown && !strings.ContainsAny(value, "\x00") && !strings.Contains(tokenPrefix, value) && bytes.Contains(out, []byte(strings.TrimSpace(value))) {
			for _, f := range r.known.forms {
				for _, g := range f {
					if g.alone && string(g.text) == strings.TrimSpace(value) {
						return // only as a word of its own
					}
				}
			}
			t.Errorf("%q is still in %q", value, out)
		}
		if _, err := r.JSON("m", []byte(text)); err == nil && !json.Valid([]byte(text)) {
			t.Errorf("%q is no JSON", text)
		}
	})
}

func BenchmarkText(b *testing.B) {
	line := "level=info time=2026-11-21T09:15:36Z msg=\"Task engine [arn:aws:ecs:eu-west-1:111122223333:task/prod/fedcba9876543210fedcba9876543210]: recording execution stopped time\" module=task_manager.go\n" +
		"2026-11-21T09:15:36Z 200 172.17.0.4:41562 \"/v2/credentials\" \"aws-cli/2.15.30\" GET /api/orders/1234?page=2 HTTP/1.1 duration=12.3ms status=200 user agent Mozilla/5.0\n"
	text := bytes.Repeat([]byte(line), 1000)
	r := newTest()
	for i := range 200 {
		r.Learn(fmt.Sprintf("secret-value-number-%d", i))
	}
	s := r.Stream("m", &bytes.Buffer{})
	s.to = discard{}
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		_, _ = s.Write(text)
	}
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }
