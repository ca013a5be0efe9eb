package collector

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/http"
	"net/mail"
	"strings"
	"syscall"
	"time"

	"github.com/fairlead/fairlead/internal/instance"
)

// ecsConfig takes the agent's configuration in all the places it may have.
func (h *host) ecsConfig(ctx context.Context, sh *sheet) error {
	for _, f := range []struct {
		to, from string
		s        shape
	}{{"ecs-agent/ecs.config", "/etc/ecs/ecs.config", asECSConfig}, {"ecs-agent/ecs.config.json", "/etc/ecs/ecs.config.json", asJSON}, {"ecs-agent/var-lib-ecs.config", "/var/lib/ecs/ecs.config", asECSConfig}} {
		text, err := readFile(ctx, h.path(f.from), smallText)
		sh.shaped(f.to, f.s, text)
		if f.s == asECSConfig && f.from[1] == 'e' {
			sh.problem(err)
			sh.fact(func(f *facts) { f.ECS.Configured = err == nil })
		} else if err != nil && !isAbsent(err) {
			sh.problem(err)
		}
	}
	return nil
}

// ecsAgent asks the agent itself.
func (h *host) ecsAgent(ctx context.Context, sh *sheet) error {
	meta, err := h.introspect(ctx, "/v1/metadata")
	sh.shaped("ecs-agent/agent-metadata.json", asJSON, meta)
	var m struct {
		Cluster, Version     string
		ContainerInstanceArn *string
	}
	_ = json.Unmarshal(meta, &m) // what does not answer in JSON is not the agent
	why := ""
	if err != nil {
		why = err.Error()
	}
	up := err == nil && m.Version != ""
	sh.fact(func(f *facts) {
		f.ECS.Asked, f.ECS.Up, f.ECS.Why, f.ECS.Cluster, f.ECS.Version = true, up, why, m.Cluster, m.Version
		f.ECS.Registered = m.ContainerInstanceArn != nil && *m.ContainerInstanceArn != ""
	})
	if err != nil {
		sh.text("ecs-agent/ecs-agent-not-running.txt", fmt.Appendf(nil, "the ECS agent does not answer on %s: %v\n", h.o.Introspection, err))
		return err
	}
	tasks, err := h.introspect(ctx, "/v1/tasks")
	sh.shaped("ecs-agent/agent-running-info.txt", asJSON, tasks)
	return err
}

// introspect asks the ECS agent.
func (h *host) introspect(ctx context.Context, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{Proxy: nil, DisableKeepAlives: true}}
	return fetch(ctx, client, h.o.Introspection+path, smallText*4)
}

// fetch answers what a URL holds, if it answers 200.
func fetch(ctx context.Context, client *http.Client, url string, limit int64) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	answer, err := client.Do(r)
	if err != nil {
		switch {
		case isTimeout(err):
			return nil, fmt.Errorf("%w: no answer", errTimedOut)
		case errors.Is(err, syscall.ECONNREFUSED):
			return nil, fmt.Errorf("connection refused: %w", syscall.ECONNREFUSED)
		}
		return nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, limit))
	switch {
	case isTimeout(err):
		return wholeLines(text), fmt.Errorf("%w: half an answer", errTimedOut)
	case err != nil:
		return wholeLines(text), err
	case answer.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("it answers %s: %.200s", answer.Status, bytes.TrimSpace(text))
	case int64(len(text)) == limit:
		return wholeLines(text), errPart
	}
	return text, nil
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, errTimedOut) || errors.As(err, &t) && t.Timeout()
}

// agentState takes what the agent keeps on disk as text, and lists the rest: its newer database holds the secrets of tasks.
func (h *host) agentState(ctx context.Context, sh *sheet) error {
	text, err := readFile(ctx, h.path("/var/lib/ecs/data/ecs_agent_data.json"), 4*smallText)
	sh.shaped("ecs-agent/ecs_agent_data.txt", asJSON, text)
	if err != nil && !isAbsent(err) {
		sh.problem(err)
	}
	files, err := h.tree(ctx, "/var/lib/ecs", 200)
	var b bytes.Buffer
	for _, f := range files {
		fmt.Fprintf(&b, "%12d %s %s\n", f.bytes, f.at.UTC().Format(time.RFC3339), f.name)
	}
	sh.text("ecs-agent/var-lib-ecs-files.txt", b.Bytes())
	return err
}

// userData takes it from EC2, or from cloud-init's copy, with its parts unpacked so that what they hold can be looked over.
func (h *host) userData(ctx context.Context, sh *sheet) error {
	text, from, err := h.rawUserData(ctx)
	if err != nil {
		return err
	}
	if len(text) == 0 {
		return errAbsent
	}
	sh.text("user-data.txt", append([]byte("# from "+from+", secrets taken out\n"), unpackUserData(text, 0)...))
	return nil
}

func (h *host) rawUserData(ctx context.Context) (text []byte, from string, err error) {
	if h.o.Root == "/" {
		own, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		if text, err := instance.NewIMDS().UserData(own); err == nil {
			return text, "EC2's metadata service", nil
		}
	}
	const kept = "/var/lib/cloud/instance/user-data.txt"
	text, err = readFile(ctx, h.path(kept), smallText)
	return text, kept, err
}

// maxParts bounds how user data may be nested.
const maxParts = 8

// unpackUserData undoes gzip, base64 and MIME. What cannot be read is left out, since nobody could tell what it holds.
func unpackUserData(text []byte, depth int) []byte {
	if depth > maxParts {
		return []byte("[left out: nested too deep]\n")
	}
	if bytes.HasPrefix(text, []byte{0x1f, 0x8b}) {
		r, err := gzip.NewReader(bytes.NewReader(text))
		if err != nil {
			return []byte("[left out: gzip that cannot be read]\n")
		}
		plain, err := io.ReadAll(io.LimitReader(r, 4*smallText))
		if err != nil {
			return []byte("[left out: gzip that cannot be read]\n")
		}
		return unpackUserData(plain, depth+1)
	}
	if !isText(text[:min(len(text), 8<<10)]) {
		return []byte("[left out: not text]\n")
	}
	if packed := bytes.Join(bytes.Fields(text), nil); len(packed) > 24 {
		if plain, err := base64.StdEncoding.DecodeString(string(packed)); err == nil {
			return unpackUserData(plain, depth+1)
		}
	}
	m, err := mail.ReadMessage(bytes.NewReader(text))
	if err != nil {
		return text
	}
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || !strings.HasPrefix(kind, "multipart/") || params["boundary"] == "" {
		if encoding := m.Header.Get("Content-Transfer-Encoding"); encoding != "" {
			return decodePart(m.Body, encoding, depth)
		}
		return text
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "Content-Type: %s\n", kind)
	parts := multipart.NewReader(m.Body, params["boundary"])
	for range 64 {
		p, err := parts.NextRawPart()
		if err != nil {
			break
		}
		fmt.Fprintf(&b, "\n--- part: %s %s ---\n", p.Header.Get("Content-Type"), p.FileName())
		b.Write(decodePart(p, p.Header.Get("Content-Transfer-Encoding"), depth+1))
	}
	return b.Bytes()
}

func decodePart(r io.Reader, encoding string, depth int) []byte {
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "base64":
		r = base64.NewDecoder(base64.StdEncoding, r)
	case "quoted-printable":
		r = quotedprintable.NewReader(r)
	}
	text, err := io.ReadAll(io.LimitReader(r, smallText))
	if err != nil {
		return []byte("[left out: a part that cannot be decoded]\n")
	}
	return append(unpackUserData(text, depth+1), '\n')
}

// ecsConfig redacts ecs.config line by line: a value is shown only if the setting is known and is no secret. What belongs to no setting
// goes with the one before. What is shown is looked over like any other text. Before a setting may stand what a diff puts there.
func (b *bundle) ecsConfig(name string, text []byte) []byte {
	var out bytes.Buffer
	shown := true
	for l := range bytes.Lines(text) {
		line := strings.TrimRight(string(l), "\r\n")
		key, value, ok := strings.Cut(line, "=")
		bare := strings.TrimSpace(strings.TrimLeft(strings.TrimSpace(key), "+-# \t"))
		bare = strings.TrimSpace(strings.TrimPrefix(bare, "export "))
		known, secret := b.o.ecsKey(bare)
		switch {
		case ok && (known || isSetting(bare)):
			shown = known && !secret
			if !shown {
				plain := strings.Trim(value, `"'`)
				b.redactor.LearnSetting(bare, plain)
				value = b.redactor.Setting(name, bare+"_SECRET", plain)
			}
			fmt.Fprintf(&out, "%s=%s\n", key, value)
		case shown || strings.HasPrefix(strings.TrimSpace(line), "#") || strings.TrimSpace(line) == "":
			out.WriteString(line + "\n")
		default:
			out.WriteString(b.redactor.Setting(name, "CONTINUED_SECRET", line) + "\n")
		}
	}
	return b.redactor.Text(name, out.Bytes())
}

// isName tells of the name of a variable.
func isName(s string) bool {
	for _, c := range s {
		if c != '_' && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

// isSetting tells of a name as settings have, and not of a line of base64 that ends in a =.
func isSetting(s string) bool {
	return isName(s) && len(s) <= 64 && (strings.ToUpper(s) == s || strings.Contains(s, "_") || strings.HasSuffix(strings.ToLower(s), "proxy"))
}

// unit redacts a unit of systemd: its environment by name, then all of it as text.
func (b *bundle) unit(name string, text []byte) []byte {
	var out bytes.Buffer
	environment := false // the line before goes on
	for l := range bytes.Lines(text) {
		line := strings.TrimRight(string(l), "\r\n")
		key, value, ok := strings.Cut(line, "=")
		switch {
		case environment:
			key, value = "", line
		case ok && strings.TrimSpace(key) == "Environment":
			key += "="
		default:
			out.WriteString(line + "\n")
			continue
		}
		environment = strings.HasSuffix(value, `\`)
		out.WriteString(key)
		for _, word := range shellWords(strings.TrimSuffix(value, `\`)) {
			if n, v, ok := strings.Cut(word, "="); ok {
				word = n + "=" + b.redactor.Setting(name, n, v)
			}
			fmt.Fprintf(&out, "%q ", word)
		}
		if environment {
			out.WriteByte('\\')
		}
		out.WriteByte('\n')
	}
	return b.redactor.Text(name, out.Bytes())
}

// shellWords cuts a line at blanks outside of quotes.
func shellWords(s string) []string {
	var words []string
	var word strings.Builder
	quote, inside := rune(0), false
	for _, c := range s {
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote, inside = c, true
		case quote == 0 && (c == ' ' || c == '\t'):
			if inside {
				words = append(words, word.String())
				word.Reset()
			}
			inside = false
		default:
			word.WriteRune(c)
			inside = true
		}
	}
	if inside {
		words = append(words, word.String())
	}
	return words
}
