package ecsconfig

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/fairlead/fairlead/internal/document"
	"github.com/fairlead/fairlead/internal/edit"
)

// Input is everything that decides what the file is to say. Later parts win over earlier ones.
type Input struct {
	File       string      // what findings about the file call it
	Text       []byte      // what stands in it
	Lines      []edit.Line // what scripts write to it
	ScriptsRan bool        // they have run on this host: what they wrote stands in the file, or was changed since on purpose
	Settings   []Setting   // declared, in the order of their documents
	Facts      Facts
}

// Plan is what the file is to say.
type Plan struct {
	Text     []byte
	Findings []document.Finding
	Changes  []Change // against what ecs-init read before, by name
	Secret   bool     // the text holds secrets: for root alone
	Missing  []string // settings whose references could not be resolved and that had no former value
	Refused  string   // why the cluster was not changed

	hidden map[string]bool // names whose values are not shown, beyond those that never are
}

// Change is one setting that the agent will see another value of.
type Change struct {
	Key      string
	From, To string
	Was, Is  bool // set before, set now
}

// planner works a plan out.
type planner struct {
	in       Input
	lines    []line
	findings []document.Finding
	from     map[string]document.Place // where what holds of a key was written
}

func (p *planner) report(at document.Place, n note) {
	f := at.Finding(n.severity, n.text, n.fix)
	if !slices.Contains(p.findings, f) {
		p.findings = append(p.findings, f)
	}
}

// Make works out what the file is to say.
func Make(in Input) Plan {
	p := &planner{in: in, from: map[string]document.Place{}}
	p.assemble()
	secret := map[string]bool{}
	var missing []string
	for _, key := range p.keys() {
		held, err := p.decide(key)
		if held != nil && held.Secret {
			secret[key] = true
		}
		if err != nil {
			missing = append(missing, key)
		}
	}
	plan := Plan{Missing: missing, hidden: secret}
	plan.Refused = p.keepCluster()
	var b strings.Builder
	for _, l := range p.lines {
		if !l.gone {
			b.WriteString(l.raw + "\n")
		}
	}
	plan.Text = []byte(b.String())
	if string(in.Text) == strings.TrimSuffix(b.String(), "\n") {
		plan.Text = in.Text // only its last newline was missing
	}
	p.cross(Effective(plan.Text))
	plan.Findings = p.findings
	before, now := Effective(in.Text), Effective(plan.Text)
	plan.Changes = changes(before, now)
	for key, value := range now {
		plan.Secret = plan.Secret || value != "" && (IsSecret(key) && key != "ECS_LOG_OPTS" && !strings.Contains(key, "PROXY") || hasPassword(key, value) || secret[key])
	}
	return plan
}

// hasPassword tells whether a value that is not always a secret holds one.
func hasPassword(key, value string) bool {
	switch {
	case strings.Contains(strings.ToUpper(key), "PROXY"):
		return strings.Contains(value, "@")
	case key == "ECS_LOG_OPTS":
		return strings.Contains(value, "token")
	}
	return credentials().MatchString(value)
}

// credentials finds a user's password, a token or a signature in an address.
var credentials = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?i)://[^/\s@]*:[^/\s@]+@|[?&][\w-]*(token|signature|sig|key|secret|password|credential)=[^&\s]`)
})

func changes(before, now map[string]string) []Change {
	var out []Change
	for key, to := range now {
		if from, was := before[key]; !was || from != to {
			out = append(out, Change{key, from, to, was, true})
		}
	}
	for key, from := range before {
		if _, is := now[key]; !is {
			out = append(out, Change{key, from, "", true, false})
		}
	}
	slices.SortFunc(out, func(a, b Change) int { return strings.Compare(a.Key, b.Key) })
	return out
}

// assemble puts the lines of the file and of the scripts into the order in which they count.
func (p *planner) assemble() {
	var standing []line
	for _, l := range readFile(p.in.File, p.in.Text) {
		standing = append(standing, parted(l, p.report)...)
	}
	crlf := 0
	for i := range standing {
		l := &standing[i]
		l.read(func(n note) { p.report(l.at, n) })
		if strings.HasSuffix(l.raw, "\r") {
			if crlf++; crlf == 1 {
				p.report(l.at, note{document.Warning, "the lines end in CRLF: ecs-init takes that, systemd and docker do not; corrected", "save the file with LF line ends"})
			}
			l.raw = strings.TrimSuffix(l.raw, "\r")
		}
	}
	standing = join(standing, p.report)
	var scripted []line
	for _, e := range p.in.Lines {
		if e.Truncate {
			scripted = nil
			if !p.in.ScriptsRan && !p.done(standing) {
				p.emptied(standing, e.At)
				standing = nil
			}
			continue
		}
		for _, l := range parted(line{raw: strings.TrimSuffix(e.Text, "\r"), at: e.At, script: true}, p.report) {
			l.read(func(n note) { p.report(e.At, n) })
			// Comments come over once.
			if l.key == "" && (l.gone || p.in.ScriptsRan || slices.ContainsFunc(standing, func(o line) bool { return o.raw == l.raw })) {
				continue
			}
			scripted = append(scripted, l)
		}
	}
	scripted = join(scripted, p.report)
	if p.in.ScriptsRan {
		p.lines = append(scripted, standing...)
	} else {
		p.lines = append(standing, scripted...)
	}
}

// done tells whether what the scripts leave stands in the file already. Then they have run, and what else is there came
// after them: to empty the file once more would lose it.
func (p *planner) done(standing []line) bool {
	has := map[string]string{}
	for _, l := range standing {
		if l.key != "" && !l.gone {
			has[l.key] = judge(l.key, l.value).value
		}
	}
	declared := map[string]bool{}
	for _, s := range p.in.Settings {
		declared[s.Key] = true
	}
	any := false
	left := map[string]string{}
	for _, e := range p.in.Lines {
		if e.Truncate {
			left = map[string]string{}
			continue
		}
		for _, l := range parted(line{raw: e.Text}, func(document.Place, note) {}) {
			l.read(func(note) {})
			if v := judge(l.key, l.value); l.key != "" && !l.gone && !v.leave {
				left[l.key] = v.value
			}
		}
	}
	for key, value := range left {
		if now, ok := has[key]; !ok || now != value && !declared[key] {
			return false
		}
		any = true
	}
	return any
}

// emptied reports what > throws away.
func (p *planner) emptied(standing []line, at document.Place) {
	var lost []string
	for _, l := range standing {
		if l.key != "" && !slices.Contains(lost, l.key) {
			lost = append(lost, l.key)
		}
	}
	if len(lost) > 0 {
		p.report(at, note{document.Warning, "> empties the file: " + strings.Join(lost, ", ") + " of before is lost", "write >> instead of >"})
	}
}

// keys lists the names that are set anywhere, those in the file first.
func (p *planner) keys() []string {
	var out []string
	seen := map[string]bool{}
	for _, l := range p.lines {
		if l.key != "" && !l.gone && !seen[l.key] {
			seen[l.key] = true
			out = append(out, l.key)
		}
	}
	for _, s := range p.in.Settings {
		if !seen[s.Key] {
			seen[s.Key] = true
			out = append(out, s.Key)
		}
	}
	return out
}

// decide settles one key: of all that set it, the last that the agent can live with counts.
func (p *planner) decide(key string) (held *Setting, missing error) {
	// Declared ones, the last first.
	var value *string
	var at document.Place
	for i := len(p.in.Settings) - 1; i >= 0; i-- {
		s := &p.in.Settings[i]
		if s.Key != key {
			continue
		}
		if !keyish.MatchString(key) {
			p.report(s.At, note{document.Error, fmt.Sprintf("%q cannot be the name of a setting; left out", clip(key)), "use letters, digits and _"})
			return nil, nil
		}
		if s.Err != nil {
			missing = s.Err
			instead := "the former value stays"
			if !slices.ContainsFunc(p.lines, func(l line) bool { return l.key == key && !l.gone }) {
				instead = "it is not set, there is no former value"
			}
			p.report(s.At, note{document.Error, fmt.Sprintf("%s: %v; %s", key, s.Err, instead), ""})
			continue
		}
		if s.Opaque {
			if value == nil {
				held, value, at = s, &s.Value, s.At
			}
			continue
		}
		v := judge(key, s.Value)
		p.say(s.At, key, v, s.Secret)
		if !v.leave && value == nil {
			held, value, at, missing = s, &v.value, s.At, nil
		}
	}
	// Then the lines, the last first.
	var own []int // of the file
	holder := -1  // of value
	for i := len(p.lines) - 1; i >= 0; i-- {
		l := &p.lines[i]
		if l.key != key || l.gone {
			continue
		}
		if !l.script {
			own = append(own, i)
		}
		if value != nil && !l.script {
			continue // without effect, whatever it says
		}
		v := judge(key, l.value)
		p.say(l.at, key, v, false)
		if value == nil && !v.leave {
			value, at, holder = &v.value, l.at, i
		}
		l.verdict = v
	}
	if value != nil {
		missing = nil
		p.from[key] = at
	}
	p.place(key, value, own, holder, held)
	return held, missing
}

func (p *planner) say(at document.Place, key string, v verdict, secret bool) {
	for _, n := range v.notes {
		if secret { // what a reference leads to is not quoted, whatever the key
			n.fix = ""
			n.text = key + ": what the reference leads to is not as the agent wants it"
		}
		p.report(at, n)
	}
}

// place puts what counts of a key into the lines, in the place of what stood there.
func (p *planner) place(key string, value *string, own []int, holder int, held *Setting) {
	// Scripts' lines are not in the file; what they say is put there below.
	spot := -1
	for i := range p.lines {
		if p.lines[i].key != key || !p.lines[i].script {
			continue
		}
		if spot < 0 && len(own) == 0 && value != nil {
			spot = i
			continue
		}
		p.lines[i].gone = true
	}
	if value == nil { // nothing that the agent can live with
		for _, i := range own {
			p.lines[i].gone = true
		}
		return
	}
	if held != nil && held.Opaque {
		return
	}
	if len(own) > 0 {
		spot = own[0] // the last: that is what is read
		if holder >= 0 && !p.lines[holder].script {
			spot = holder
		}
		p.duplicates(key, own)
		for _, i := range own {
			if i > spot { // was refused, and would win
				p.lines[i].gone = true
			}
		}
	}
	text := key + "=" + *value
	if spot < 0 {
		p.lines = append(p.lines, line{raw: text, key: key, value: *value})
		return
	}
	l := &p.lines[spot]
	if l.script || l.twisted || !same(key, l.value, *value) || l.verdict.value != "" && len(l.verdict.notes) > 0 && l.verdict.value != l.value {
		if trimmed := strings.TrimSpace(l.raw); trimmed != text {
			l.raw = text
		}
		l.value = *value
	}
}

// same tells whether two values of a key are one to the agent, so that the line can stay as it is.
func same(key, a, b string) bool {
	if a = strings.TrimRight(a, " \t\r"); a == b {
		return true
	}
	k, ok := table()[key]
	if !ok || !strings.HasPrefix(k.Type, "json") {
		return false
	}
	first, rest, err := firstValue(a)
	return err == nil && strings.TrimSpace(rest) == "" && first == b
}

// duplicates reports lines that have no effect because a later one sets the same key.
func (p *planner) duplicates(key string, own []int) {
	for _, i := range own[1:] {
		p.report(p.lines[i].at, note{document.Warning, fmt.Sprintf("%s is set again in line %d, which counts", key, p.lines[own[0]].at.Line), "remove this line"})
	}
}
