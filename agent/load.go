package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/agent/userdata"
	"github.com/fairlead/fairlead/internal/document"
)

// variablePrefix begins the names of the environment variables that set keys.
const variablePrefix = "FAIRLEAD_"

// Source says where the configuration is read from: Path, the drop-ins beside it, user data (as fairlead render has kept it), and the
// environment. Later ones win.
type Source struct {
	Path     string
	Required bool     // the file was asked for by name: it must be there
	Environ  []string // as os.Environ has it
	Lenient  bool     // secrets that fairlead render has not looked up yet are a warning: a pipeline checks where none ever are

	given *given // instead of what is kept
}

// given is what a rendering or a check goes by.
type given struct {
	userData []userdata.YAML
	lookup   func(document.Elsewhere) (string, error)
}

func (s Source) with(userData []userdata.YAML, lookup func(document.Elsewhere) (string, error)) Source {
	s.given = &given{userData, lookup}
	return s
}

// Loaded is a configuration as it was read.
type Loaded struct {
	Config    Config
	Files     []string // that were read, user data among them
	Variables int      // that were set in the environment
	Findings  []document.Finding

	said []userdata.YAML // what of user data says something
}

// OK tells whether the configuration may be used.
func (l Loaded) OK() bool { return document.Count(l.Findings, document.Error) == 0 }

// Load reads everything and reports all that is wrong with it. Files that cannot be read are findings too.
func (s Source) Load() Loaded {
	l, r := s.load()
	l.Findings = r.Findings()
	return l
}

// Check is Load, and looks besides at what the configuration names on this host. A daemon that starts does without: what is
// not there yet may come, and until then the logs are read into the spool.
func (s Source) Check() Loaded {
	l, r := s.load()
	r.Invalid(l.Config.Check(), s.Path)
	l.Findings = r.Findings()
	return l
}

func (s Source) load() (Loaded, *document.Reader) {
	if s.given != nil {
		return s.read(func(*document.Reader) {})
	}
	base, _ := s.with(nil, unasked).load()
	k, err := readKept(base.Config.State.Dir)
	lookup := k.lookup
	if s.Lenient {
		lookup = k.expect
	}
	return s.with(k.UserData, lookup).read(func(r *document.Reader) {
		if err != nil {
			r.Add(keptPath(base.Config.State.Dir), document.Warning, "what user data says to fairlead "+err.Error(), "")
		}
	})
}

// read reads everything in its order. first may report what came before.
func (s Source) read(first func(*document.Reader)) (Loaded, *document.Reader) {
	l := Loaded{Config: DefaultConfig()}
	r := document.NewReader(&l.Config)
	r.Lookup = s.given.lookup
	first(r)
	s.readFile(&l, r, s.Path, s.Required)
	for _, path := range s.dropIns(r) {
		s.readFile(&l, r, path, true)
	}
	for _, d := range s.given.userData {
		if !r.Under(d.Key, d.File, d.Text) {
			continue
		}
		l.said = append(l.said, d)
		if !slices.Contains(l.Files, d.File) {
			l.Files = append(l.Files, d.File)
		}
	}
	l.Variables = r.Environment(variablePrefix, s.Environ)
	l.Config.complete()
	r.Validate(func() error { return l.Config.Validate() }, s.Path)
	r.Doubtful(l.Config.Doubts(), s.Path)
	return l, r
}

func (s Source) readFile(l *Loaded, r *document.Reader, path string, required bool) {
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !required:
	case err != nil:
		r.Add(path, document.Error, fmt.Sprintf("cannot be read: %v", reason(err)), "")
	default:
		l.Files = append(l.Files, path)
		r.Document(path, text)
	}
}

// dropIns lists conf.d/*.yaml beside the file, by name.
func (s Source) dropIns(r *document.Reader) []string {
	dir := filepath.Join(filepath.Dir(s.Path), "conf.d")
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.Add(dir, document.Error, fmt.Sprintf("cannot be read: %v", reason(err)), "")
	}
	var list []string
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		switch {
		case strings.HasPrefix(e.Name(), "."):
		case strings.HasSuffix(e.Name(), ".yaml"):
			list = append(list, path)
		case strings.HasSuffix(e.Name(), ".yml"):
			r.Add(path, document.Warning, "not read, its name does not end in .yaml", "rename it")
		}
	}
	return list
}

// reason is the cause of a file error without the path, which stands before it already.
func reason(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
