package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fairlead/fairlead/agent/ecsconfig"
	"github.com/fairlead/fairlead/agent/userdata"
	"github.com/fairlead/fairlead/internal/document"
	"github.com/fairlead/fairlead/internal/edit"
	"github.com/fairlead/fairlead/internal/instance"
)

// ECSConfig is the file that the ECS agent is configured by.
const ECSConfig = userdata.Target

// Rendering makes ecs.config of the configuration and user data.
type Rendering struct {
	Source   Source
	UserData string    // a file, "-" for Stdin; empty: what EC2 or cloud-init has
	Stdin    io.Reader // for "-"
	Output   string    // the file; what stands in it is part of the input
	Restart  string    // ecsconfig.Auto or Never; empty: as configured

	host   ecsHost                     // zero: this one
	reload func(context.Context) error // has the daemon read its configuration again; nil: over its control socket
}

// Rendered is what came of it. Nothing is written yet.
type Rendered struct {
	ecsconfig.Plan
	Before   []byte // what stands in the file
	Findings []document.Finding
	From     string // where the user data came from
	Unread   error  // why there is no user data, if there should be
	Invalid  bool   // with what user data says the configuration cannot be used: the daemon goes on with the former

	config Config
	dir    string // the state folder without user data
	keep   kept   // for the daemon
}

// Plan works out what the file is to say. It writes nothing. An error says that there is nothing to go by: what is only
// wrong in the input is a finding.
func (r Rendering) Plan(ctx context.Context) (Rendered, error) {
	// Without user data first: a fault of the configuration is the operator's to mend, and not overlooked for another.
	look := newLookups(ctx)
	base := r.Source.with(nil, unasked).Load()
	if !base.OK() {
		return Rendered{Findings: base.Findings}, ErrConfig
	}
	out := Rendered{config: base.Config, dir: base.Config.State.Dir}
	look.former, _ = readKept(out.dir) // what cannot be read is written anew
	before, err := ecsconfig.Read(r.Output)
	if err != nil {
		return out, fmt.Errorf("read what stands in %s: %w", r.Output, err)
	}
	out.Before = before

	facts := make(chan ecsconfig.Facts, 1)
	go func() { facts <- r.facts(ctx, before, base.Config.Control.Socket) }()
	text, name, err := r.userData(ctx, &out)
	if err != nil {
		<-facts
		return out, err
	}
	doc := readUserData(name, text)
	if out.Unread != nil {
		if doc.YAML = look.former.UserData; len(doc.YAML) > 0 {
			out.Findings[len(out.Findings)-1].Text += "; what it said to fairlead when it was read last still counts"
		}
	}
	loaded := r.Source.with(doc.YAML, look.forDaemon).Load()
	out.config = loaded.Config
	out.keep, out.Invalid = kept{machine("/"), loaded.said, look.used}, !loaded.OK()
	var settings document.Settings
	for _, list := range doc.Settings {
		settings = append(settings, list...)
	}
	// What the agent's own JSON or Bottlerocket's TOML says was not written for fairlead: what was, counts more.
	settings = append(settings, loaded.Config.ECS.Settings...)
	known := <-facts
	known.Listens = listens(loaded.Config)
	out.Plan = ecsconfig.Make(ecsconfig.Input{
		File: r.Output, Text: before, Lines: doc.Lines, Facts: known,
		ScriptsRan: r.UserData == "" && r.isHost() && r.host.cloudInit().ScriptsRan(),
		Settings:   ecsconfig.Prepare(settings, look.ask),
	})
	out.Missing = append(out.Missing, look.lost...)
	out.Findings = together(out.Findings, loaded.Findings, doc.Findings, out.Plan.Findings)
	return out, nil
}

// listens tells whether anything takes what Docker's fluentd driver sends.
func listens(c Config) *bool {
	on := c.Forwarder.Sources.Listen.TCP != "" || c.Forwarder.Sources.Listen.Unix != ""
	return &on
}

// together joins lists of findings; what two of them say is said once.
func together(lists ...[]document.Finding) []document.Finding {
	var out []document.Finding
	seen := map[document.Finding]bool{}
	for _, list := range lists {
		for _, f := range list {
			if !seen[f] {
				seen[f] = true
				out = append(out, f)
			}
		}
	}
	var files []string
	for _, f := range out {
		if !slices.Contains(files, f.File) {
			files = append(files, f.File)
		}
	}
	slices.SortStableFunc(out, func(a, b document.Finding) int {
		return cmp.Or(cmp.Compare(slices.Index(files, a.File), slices.Index(files, b.File)), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return out
}

// How long the metadata service is asked: at boot it may be late, later an answer is there or does not come.
const (
	bootPatience  = 60 * time.Second
	laterPatience = 6 * time.Second
	bootLasts     = 5 * time.Minute
)

// maxInput bounds what is read of a file or stdin as user data.
const maxInput = 1 << 20

// userData finds the user data and the name it has in findings.
func (r Rendering) userData(ctx context.Context, out *Rendered) (text []byte, name string, err error) {
	switch r.UserData {
	case "-":
		out.From = "stdin"
		text, err = io.ReadAll(io.LimitReader(r.Stdin, maxInput))
	case "":
		text, out.From, out.Unread = r.hostUserData(ctx)
		if out.Unread != nil {
			severity := document.Error
			if errors.Is(out.Unread, instance.ErrOff) {
				severity = document.Warning
			}
			out.Findings = append(out.Findings, document.Finding{File: "user-data", Severity: severity, Text: "not read: " + out.Unread.Error()})
		}
		return text, "user-data", nil
	default:
		out.From = r.UserData
		text, err = readSome(r.UserData)
	}
	if err != nil {
		return nil, "", fmt.Errorf("read the user data of %s: %w", out.From, reason(err))
	}
	return text, out.From, nil
}

// readUserData is userdata.Read. The daemon has more to do than to fall over a text that nobody thought of.
func readUserData(name string, text []byte) (doc userdata.Document) {
	defer func() {
		if fault := recover(); fault != nil {
			doc = userdata.Document{Findings: []document.Finding{{File: name, Severity: document.Error,
				Text: fmt.Sprintf("cannot be read, which is a fault of fairlead: %v", fault), Fix: "report it, with fairlead check --user-data"}}}
		}
	}()
	return userdata.Read(name, text)
}

func readSome(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxInput))
}

// hostUserData asks EC2, then cloud-init's copy.
func (r Rendering) hostUserData(ctx context.Context) (text []byte, from string, err error) {
	patience := laterPatience
	ci := r.host.cloudInit()
	if ci.Uptime() < bootLasts {
		patience = bootPatience
	}
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	text, err = instance.NewIMDS().UserData(limited)
	if err == nil {
		return text, "EC2's metadata service", nil
	}
	kept, path, keptErr := ci.UserData()
	switch {
	case keptErr != nil:
		return nil, "", fmt.Errorf("%w; and of cloud-init's copy: %w", err, keptErr)
	case kept == nil:
		return nil, "", err
	}
	return kept, path, nil
}

func (r Rendering) isHost() bool {
	path, err := filepath.Abs(r.Output)
	return err == nil && path == r.host.file()
}

// Check judges an ecs.config, user data, or both, without asking anybody: for a pipeline as for the host.
func (r Rendering) Check(ecsConfig string) ([]document.Finding, error) {
	var lists [][]document.Finding
	in := ecsconfig.Input{File: "ecs.config"}
	if r.UserData != "" {
		text, name, err := r.userData(context.Background(), &Rendered{})
		if err != nil {
			return nil, err
		}
		doc := readUserData(name, text)
		lists = append(lists, doc.Findings)
		r.Source = r.Source.with(doc.YAML, unasked)
		in.Lines = doc.Lines
		for _, list := range doc.Settings {
			in.Settings = append(in.Settings, ecsconfig.Prepare(list, nil)...)
		}
	}
	loaded := r.Source.Check()
	if ecsConfig != "" {
		text, err := os.ReadFile(ecsConfig)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", ecsConfig, reason(err))
		}
		in.File, in.Text = ecsConfig, text
	}
	in.Settings = append(in.Settings, ecsconfig.Prepare(loaded.Config.ECS.Settings, nil)...)
	in.Facts = ecsconfig.Facts{Listens: listens(loaded.Config)}
	// Findings about what would be dropped from a file are of use only where there is one.
	if r.UserData != "" && ecsConfig == "" {
		lists = append(lists, truncations(in.Lines))
	}
	plan := ecsconfig.Make(in)
	return together(append([][]document.Finding{loaded.Findings}, append(lists, plan.Findings)...)...), nil
}

// truncations warns of > where the file may hold something that the check cannot see.
func truncations(lines []edit.Line) []document.Finding {
	var out []document.Finding
	for i, l := range lines {
		if l.Truncate && i == 0 { // else what is lost was written here, and is named
			out = append(out, l.At.Finding(document.Warning, "> empties "+userdata.Target+": what the AMI or an earlier part wrote is lost", "write >> instead of >"))
		}
	}
	return out
}
