package userdata

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/syntax"

	"github.com/fairlead/fairlead/internal/document"
)

// call follows a simple command.
func (s *shell) call(st *syntax.Stmt, c *syntax.CallExpr) outcome {
	if len(c.Args) == 0 {
		for _, a := range c.Assigns {
			s.assign(a)
		}
		return succeeds
	}
	args, err := s.fields(c.Args)
	if err != nil || len(args) == 0 {
		return unsure
	}
	var words []*syntax.Word
	if len(args) == len(c.Args) {
		words = c.Args
	}
	if len(c.Assigns) > 0 { // for this command only
		before := maps.Clone(s.vars)
		for _, a := range c.Assigns {
			s.assign(a)
			s.export(a.Name.Value)
		}
		defer func() { s.vars = before }()
	}
	return s.run(st.Pos(), args, words)
}

// prefixes are commands that run their arguments, with the options of theirs that take a value.
var runners = map[string]string{"sudo": "ugpChrtUD", "env": "uCS", "nohup": "", "command": "", "builtin": "", "exec": "a", "nice": "n", "ionice": "cn", "time": "fo", "setsid": "", "stdbuf": "ioe"}

// run follows a command with expanded arguments. words are the arguments as written, where they correspond.
func (s *shell) run(pos syntax.Pos, args []string, words []*syntax.Word) outcome {
	args, words = s.typed(pos, args, words)
	name := path.Base(args[0])
	if strings.HasPrefix(args[0], "./") || isUnknown(args[0]) {
		name = args[0]
	}
	if body, ok := s.funcs[args[0]]; ok {
		return s.function(body, args)
	}
	rest := args[1:]
	if takes, ok := runners[name]; ok {
		skip := 0
		for skip < len(rest) {
			a := rest[skip]
			switch {
			case a == "--":
				skip++
			case strings.HasPrefix(a, "-") && len(a) > 1:
				if name == "command" && (a == "-v" || a == "-V") {
					s.unseen(pos, name)
					return unsure
				}
				if len(a) == 2 && strings.Contains(takes, a[1:]) {
					skip++
				}
				skip++
				continue
			case (name == "env" || name == "sudo") && strings.Contains(a, "="):
				skip++
				continue
			}
			break
		}
		if skip >= len(rest) {
			return succeeds
		}
		if words != nil {
			words = words[skip+1:]
		}
		return s.run(pos, rest[skip:], words)
	}
	place := pos
	if len(words) > 1 {
		place = words[1].Pos()
	}
	switch name {
	case "echo":
		s.write(chunk{text: echo(rest), at: s.at(place), rising: s.lineByLine(words, echo(rest))})
		return succeeds
	case "printf":
		return s.printf(rest, place, words)
	case "cat":
		return s.cat(pos, rest)
	case "tee":
		return s.tee(pos, rest, words)
	case ":", "true", "chmod", "chown", "chgrp", "touch", "mkdir", "set", "shopt", "ulimit", "umask", "sync", "restorecon", "hash", "wait", "alias", "logger", "sleep":
		return succeeds
	case "false":
		return fails
	case "cd", "pushd":
		if len(rest) == 1 && !isUnknown(rest[0]) && rest[0] != "-" {
			s.cwd = s.abs(rest[0])
			return succeeds
		}
		s.cwd = marker("the working directory")
	case "exit":
		if s.maybe == 0 {
			s.ended = true
		}
		return unsure
	case "return":
		if s.maybe == 0 {
			s.ended = true
		}
		return unsure
	case "unset":
		for _, n := range rest {
			s.vars[n] = expand.Variable{}
			delete(s.funcs, n)
		}
		return succeeds
	case "read", "mapfile", "readarray", "getopts":
		for _, n := range rest {
			if keyName.MatchString(n) {
				s.vars[n] = unknownVar(n)
			}
		}
	case "eval":
		return s.inner(strings.Join(rest, " "), place, nil)
	case "bash", "sh", "dash", "ksh":
		return s.subshell(pos, rest, place)
	case "rm", "unlink":
		if slices.ContainsFunc(rest, s.isTarget) {
			s.empty(pos)
		}
		for _, a := range rest {
			delete(s.files, s.abs(a))
		}
		return succeeds
	case "truncate":
		if slices.ContainsFunc(rest, s.isTarget) {
			s.empty(pos)
		}
		return succeeds
	case "cloud-init-per": // FREQUENCY NAME COMMAND...
		if len(rest) < 3 {
			return unsure
		}
		sub := s.sub()
		sub.once = rest[0] != "always"
		if words != nil {
			words = words[3:]
		}
		return sub.run(pos, rest[2:], words)
	case "systemctl", "service", "initctl", "start", "restart":
		s.service(pos, name, rest)
	case "source", ".":
		s.forgetAll()
	case "let":
		s.forgetAll()
	case "test", "[":
		return s.test(rest)
	case "trap":
		if len(rest) > 1 && strings.Contains(rest[0], Target) {
			s.r.report(s.at(pos), document.Warning, "what is done at the end of the script, or on a signal, is left to the script", "write "+Target+" where the script gets to for sure")
		}
		return succeeds
	case "su", "runuser":
		if i := slices.IndexFunc(rest, func(a string) bool { return a == "-c" || a == "--command" }); i >= 0 && i+1 < len(rest) {
			return s.child().inner(rest[i+1], place, nil)
		}
		return s.other(pos, name, rest)
	case "grep", "egrep", "fgrep", "ls", "stat", "head", "tail", "wc", "diff", "md5sum", "sha256sum", "file", "id", "which", "type":
		s.unseen(pos, name)
	case "cp", "mv", "install":
		return s.copied(pos, name, rest)
	default:
		if strings.Contains(args[0], "/") {
			if body := s.content(args[0]); body != nil {
				return s.child().fed(body, pos)
			}
		}
		return s.other(pos, name, rest)
	}
	return unsure
}

func (s *shell) isTarget(arg string) bool { return !isUnknown(arg) && s.abs(arg) == Target }

func (s *shell) mentionsTarget(arg string) bool {
	return s.isTarget(arg) || strings.Contains(arg, Target)
}

func (s *shell) forgetAll() {
	for name := range s.vars {
		s.vars[name] = unknownVar(name)
	}
}

// lineByLine tells whether the lines of the text are lines of the script: one argument over several lines.
func (s *shell) lineByLine(words []*syntax.Word, text string) bool {
	if s.src.flat || len(words) < 2 {
		return false
	}
	from, to := words[1].Pos().Line(), words[len(words)-1].End().Line()
	return to > from && int(to-from) == strings.Count(strings.TrimSuffix(text, "\n"), "\n")
}

// echo is what bash's echo prints.
func echo(args []string) string {
	newline, escapes := true, false
	for len(args) > 0 {
		a := args[0]
		if len(a) < 2 || a[0] != '-' || strings.Trim(a[1:], "neE") != "" {
			break
		}
		for _, c := range a[1:] {
			switch c {
			case 'n':
				newline = false
			case 'e':
				escapes = true
			case 'E':
				escapes = false
			}
		}
		args = args[1:]
	}
	text := strings.Join(args, " ")
	if escapes {
		var stop bool
		if text, stop = unescape(text); stop {
			return text
		}
	}
	if newline {
		text += "\n"
	}
	return text
}

// unescape undoes the escapes of echo -e; \c ends the output.
func unescape(text string) (out string, stop bool) {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' || i+1 == len(text) {
			b.WriteByte(text[i])
			continue
		}
		i++
		switch c := text[i]; c {
		case 'a':
			b.WriteByte('\a')
		case 'b':
			b.WriteByte('\b')
		case 'e', 'E':
			b.WriteByte(0x1b)
		case 'f':
			b.WriteByte('\f')
		case 'n':
			b.WriteByte('\n')
		case 'r':
			b.WriteByte('\r')
		case 't':
			b.WriteByte('\t')
		case 'v':
			b.WriteByte('\v')
		case '\\':
			b.WriteByte('\\')
		case 'c':
			return b.String(), true
		case '0':
			i += digits(&b, text[i+1:], 3, 8)
		case 'x':
			n := digits(&b, text[i+1:], 2, 16)
			if n == 0 {
				b.WriteString(`\x`)
			}
			i += n
		default:
			b.WriteByte('\\')
			b.WriteByte(c)
		}
	}
	return b.String(), false
}

// digits writes the byte that up to limit digits of text say, and answers how many there were.
func digits(b *strings.Builder, text string, limit, base int) int {
	n := 0
	for n < limit && n < len(text) {
		if _, err := strconv.ParseUint(text[n:n+1], base, 8); err != nil {
			break
		}
		n++
	}
	if v, err := strconv.ParseUint(text[:n], base, 16); err == nil {
		b.WriteByte(byte(v))
	} else if base == 8 {
		b.WriteByte(0)
	}
	return n
}

func (s *shell) printf(args []string, place syntax.Pos, words []*syntax.Word) outcome {
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) > 1 && args[0] == "-v" {
		s.vars[args[1]] = unknownVar(args[1])
		return succeeds
	}
	if len(args) == 0 {
		return fails
	}
	format, rest := args[0], args[1:]
	if isUnknown(format) || strings.Contains(format, "%(") || hasUnknown(rest) && !plainVerbs(format) {
		s.unseen(place, "printf")
		return succeeds
	}
	var b strings.Builder
	for range 1000 {
		n := 0
		text, err := safely(func() (text string, err error) {
			text, n, err = expand.Format(&expand.Config{Env: scope{s, nil}}, format, rest)
			return text, err
		})
		if err != nil {
			s.unseen(place, "printf")
			return unsure
		}
		b.WriteString(text)
		rest = rest[min(n, len(rest)):]
		if n == 0 || len(rest) == 0 || b.Len() > maxOutput {
			break
		}
	}
	text := b.String()
	s.write(chunk{text: text, at: s.at(place), rising: s.lineByLine(words, text)})
	return succeeds
}

func hasUnknown(list []string) bool { return slices.ContainsFunc(list, isUnknown) }

// plainVerbs tells whether the format takes its arguments as they are.
func plainVerbs(format string) bool {
	return !strings.Contains(strings.NewReplacer("%s", "", "%%", "").Replace(format), "%")
}

// cat passes on what it is fed; what other files hold is not known.
func (s *shell) cat(pos syntax.Pos, args []string) outcome {
	files := slices.DeleteFunc(slices.Clone(args), func(a string) bool { return strings.HasPrefix(a, "-") && a != "-" })
	var feed []chunk
	for _, name := range files {
		if name == "-" {
			break
		}
		one := s.content(name)
		if one == nil {
			s.unseen(pos, "cat")
			return unsure
		}
		feed = append(feed, one.chunks...)
	}
	if len(files) > 0 && feed != nil {
		for _, c := range feed {
			s.write(c)
		}
		return succeeds
	}
	if len(files) > 1 || len(files) == 1 && files[0] != "-" || s.in == nil {
		s.unseen(pos, "cat")
		return unsure
	}
	for _, c := range s.in.chunks {
		s.write(c)
	}
	s.in = &sink{kind: buffer, config: s.out.config}
	return succeeds
}

// copied follows cp, mv and install: of files that the script wrote itself it is known what they hold.
func (s *shell) copied(pos syntax.Pos, name string, args []string) outcome {
	var files []string
	for i := 0; i < len(args); i++ {
		switch a := args[i]; {
		case name == "install" && len(a) == 2 && strings.Contains("mogt", a[1:]), a == "-t" || a == "-S":
			i++
		case !strings.HasPrefix(a, "-"):
			files = append(files, a)
		}
	}
	if len(files) != 2 || hasUnknown(files) {
		return s.other(pos, name, args)
	}
	from, to := s.abs(files[0]), s.abs(files[1])
	if strings.HasSuffix(files[1], "/") || to == path.Dir(Target) {
		to = path.Join(to, path.Base(from))
	}
	feed := s.content(from)
	if feed == nil || s.maybe > 0 {
		return s.other(pos, name, []string{from, to})
	}
	out := s.out
	s.out = s.file(to, pos, false)
	for _, c := range feed.chunks {
		s.write(c)
	}
	s.out = out
	if name == "mv" {
		delete(s.files, from)
	}
	return succeeds
}

// other is a command that is not followed: what it does to files is not known.
func (s *shell) other(pos syntax.Pos, name string, args []string) outcome {
	fed := s.in != nil && slices.ContainsFunc(s.in.chunks, func(c chunk) bool { return strings.Contains(c.text, Target) })
	if (s.touches(name, args) || fed) && s.out.kind != target {
		s.r.report(s.at(pos), document.Warning, fmt.Sprintf("what %s does to %s is known only when the script runs: left to the script", name, Target), "")
	}
	for _, a := range args {
		delete(s.files, s.abs(a))
	}
	s.unseen(pos, name)
	return unsure
}

// touches tells whether a command that is not followed may write to Target.
func (s *shell) touches(name string, args []string) bool {
	switch name {
	case "docker", "podman", "dos2unix", "less", "more", "sort", "uniq", "cut", "shred", "lsattr", "getfacl", "setfacl", "md5", "sha1sum", "base64", "gzip", "nl", "od", "hexdump", "xxd", "column":
		return false
	case "awk", "gawk", "mawk":
		return slices.Contains(args, "inplace") && slices.ContainsFunc(args, s.mentionsTarget)
	case "aws", "scp", "rsync", "cp", "gsutil": // the last is where to
		files := slices.DeleteFunc(slices.Clone(args), func(a string) bool { return strings.HasPrefix(a, "-") })
		if n := len(files); n > 1 && s.isTarget(files[n-2]) {
			return s.isTarget(files[n-1])
		}
	}
	return slices.ContainsFunc(args, s.mentionsTarget)
}

// typed makes of a command what was typed before an editor or a web page had its way: blanks and dashes of typography.
func (s *shell) typed(pos syntax.Pos, args []string, words []*syntax.Word) ([]string, []*syntax.Word) {
	if strings.ContainsAny(args[0], "\u00a0\u2007\u202f") && !isUnknown(args[0]) {
		s.r.report(s.at(pos), document.Error, "a blank that is none for the shell (copied from a web page?): bash looks for a command of that name; read as a blank", "type the line anew")
		args = append(strings.Fields(args[0]), args[1:]...) // Unicode's blanks
		words = nil
	}
	switch path.Base(args[0]) {
	case "tee", "echo", "cat", "bash", "sh", "sudo":
		if len(args) > 1 && (strings.HasPrefix(args[1], "–") || strings.HasPrefix(args[1], "—")) {
			_, n := utf8.DecodeRuneInString(args[1])
			s.r.report(s.at(pos), document.Error, fmt.Sprintf("%q begins with a dash that is none for the shell (copied from a web page?): %s does not take it for an option; read as one", clip(args[1]), path.Base(args[0])), "type the line anew")
			args = slices.Clone(args)
			args[1] = "-" + args[1][n:]
		}
	}
	return args, words
}

func (s *shell) tee(pos syntax.Pos, args []string, words []*syntax.Word) outcome {
	appends := false
	var files []int
	for i, a := range args {
		switch {
		case a == "--append" || strings.HasPrefix(a, "-") && !strings.HasPrefix(a, "--") && strings.Contains(a, "a"):
			appends = true
		case !strings.HasPrefix(a, "-"):
			files = append(files, i)
		}
	}
	feed := []chunk{{text: marker("what tee reads") + "\n", at: s.at(pos)}}
	if s.in != nil {
		feed = s.in.chunks
	}
	out := s.out
	for _, i := range files {
		at := pos
		if len(words) > i+1 {
			at = words[i+1].Pos()
		}
		s.out = s.file(args[i], at, appends)
		for _, c := range feed {
			s.write(c)
		}
		s.out = out
	}
	for _, c := range feed {
		s.write(c)
	}
	return succeeds
}

// function follows a function of the script.
func (s *shell) function(body *syntax.Stmt, args []string) outcome {
	if s.depth > 30 {
		return unsure
	}
	s.depth++
	defer func() { s.depth-- }()
	names := []string{"#", "@", "*"}
	for i := 1; i < 10; i++ {
		names = append(names, strconv.Itoa(i))
	}
	before := map[string]expand.Variable{}
	for _, n := range names {
		if v, ok := s.vars[n]; ok {
			before[n] = v
		}
		delete(s.vars, n)
	}
	for i := range names[3:] {
		v := expand.Variable{}
		if i+1 < len(args) {
			v = expand.Variable{Set: true, Kind: expand.String, Str: args[i+1]}
		}
		s.vars[strconv.Itoa(i+1)] = v
	}
	s.vars["#"] = expand.Variable{Set: true, Kind: expand.String, Str: strconv.Itoa(len(args) - 1)}
	s.vars["@"] = expand.Variable{Set: true, Kind: expand.Indexed, List: args[1:]}
	s.vars["*"] = s.vars["@"]
	got := s.stmt(body)
	for _, n := range names {
		delete(s.vars, n)
		if v, ok := before[n]; ok {
			s.vars[n] = v
		}
	}
	return got
}

// subshell follows sh -c 'text', and a script that is fed in.
func (s *shell) subshell(pos syntax.Pos, args []string, place syntax.Pos) outcome {
	sub := s.child()
	for i, a := range args {
		switch {
		case strings.HasPrefix(a, "-") && strings.Contains(a, "c") && !strings.HasPrefix(a, "--"):
			if i+1 < len(args) {
				return sub.inner(args[i+1], place, nil)
			}
		case strings.HasPrefix(a, "-") && a != "-":
			continue
		case a != "-":
			if body := s.content(a); body != nil {
				return sub.fed(body, pos)
			}
			s.unseen(pos, a)
			return unsure
		}
	}
	if s.in == nil {
		s.unseen(pos, "the shell")
		return unsure
	}
	return sub.fed(s.in, pos)
}

// fed follows a script that the script has written.
func (s *shell) fed(body *sink, pos syntax.Pos) outcome {
	var b strings.Builder
	for _, c := range body.chunks {
		b.WriteString(c.text)
	}
	return s.inner(b.String(), pos, body.chunks)
}

// inner follows a script in the script.
func (s *shell) inner(body string, pos syntax.Pos, from []chunk) outcome {
	if isUnknown(body) || s.depth > 30 {
		s.unseen(pos, "a script that is made at run time")
		return unsure
	}
	if *s.steps++; *s.steps > maxSteps {
		return unsure
	}
	at := s.at(pos)
	t := text{file: at.File, body: body, line: at.Line, column: at.Column, flat: true}
	if len(from) == 1 && from[0].rising {
		t.line, t.column, t.flat = from[0].at.Line, from[0].at.Column, false
	}
	s.program(t)
	return unsure
}

// service finds commands that wait for themselves: the units start after the boot stage that runs this script.
func (s *shell) service(pos syntax.Pos, name string, args []string) {
	if s.async {
		return
	}
	var verb string
	var units []string
	now := false
	for _, a := range args {
		switch {
		case a == "--no-block" || a == "--help":
			return
		case a == "--now":
			now = true
		case strings.HasPrefix(a, "-"):
		default:
			a = strings.TrimSuffix(a, ".service")
			switch {
			case name == "systemctl" && verb == "":
				verb = a
			case a == "ecs" || a == "docker" || a == "amazon-ecs-agent" || a == "fairlead-render":
				units = append(units, a)
			case name == "service":
				verb = a
			}
		}
	}
	waits := false
	switch verb {
	case "start", "restart", "reload-or-restart", "try-restart", "condrestart", "force-reload":
		waits = true
	case "enable", "reenable":
		waits = now
	}
	if name == "start" || name == "restart" || name == "initctl" || !waits || len(units) == 0 {
		return // upstart's jobs are not ordered after cloud-init
	}
	unit := units[0]
	fix := "remove the line: the unit starts by itself after this script; or write: systemctl --no-block " + verb + " " + unit
	if verb == "enable" {
		fix = "remove --now: the unit starts by itself after this script"
	}
	s.r.report(s.at(pos), document.Error, fmt.Sprintf("deadlock: %s waits for %s.service, which starts only after cloud-final.service, which waits for this script", name, unit), fix)
}
