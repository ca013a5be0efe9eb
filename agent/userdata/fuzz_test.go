package userdata

import (
	"encoding/base64"
	"reflect"
	"runtime/metrics"
	"strings"
	"testing"
	"time"
)

var seeds = []string{
	simple, "#cloud-config\nbootcmd:\n- echo A=1 >> /etc/ecs/ecs.config\nwrite_files:\n- {path: /etc/ecs/ecs.config, content: \"A=1\\n\", encoding: b64}\nfairlead: {ecs: {settings: {A: 1}}}\n",
	"MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=B\n\n--B\nContent-Type: text/x-shellscript\n\n" + simple + "\n--B--\n",
	"[settings.ecs]\ncluster = \"a\"\nlogging-drivers = [\"json-file\"]\n[settings.ecs.instance-attributes]\na = \"b\"\n", `{"ECSAgentConfiguration":{"Cluster":"a","ReservedPorts":[22],"TaskCleanupWaitDuration":1000000000}}`,
	"## template: jinja\n#!/bin/sh\necho A={{ v1.region }} >> /etc/ecs/ecs.config\n", "#!/bin/bash\necho A=[\"x\\\"] >> /etc/ecs/ecs.config\n", "#cloud-config-archive\n- type: text/cloud-config\n  content: |\n    #cloud-config\n",
	"#!/bin/bash\ncat <<EOF > /etc/ecs/ecs.config\nA=$(b)\n${C:-d}\nEOF\nf() { echo $1; }; f A=1 | tee -a /etc/ecs/ecs.config\nfor i in 1 2; do echo $i; done >> /etc/ecs/ecs.config\n",
	"#include\nhttp://x/y\n", "\x1f\x8b\x08\x00", "#!/bin/bash\nX=$((1 << 62)); echo ${X:1:2} $((1/0)) ${!X} ${X//a/b} {1..99999999} >> /etc/ecs/ecs.config\n",
}

// bounded reads data and checks what that costs.
func bounded(t *testing.T, data []byte) Document {
	t.Helper()
	allocated := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(allocated)
	before, begun := allocated[0].Value.Uint64(), time.Now()
	d := Read("user-data", data)
	took := time.Since(begun)
	metrics.Read(allocated)
	if used := allocated[0].Value.Uint64() - before; took > 30*time.Second || used > 1<<30 {
		t.Errorf("%d bytes took %s and %d MiB", len(data), took, used>>20)
	}
	return d
}

// Whatever the bytes: reading ends soon, a line is a line, findings have places, and packing changes nothing.
func FuzzRead(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		d := bounded(t, data)
		for _, l := range d.Lines {
			if strings.Contains(l.Text, "\n") || isUnknown(l.Text) {
				t.Errorf("line %q", l.Text)
			}
		}
		for _, f := range d.Findings {
			if f.File == "" || f.Line < 0 || f.Line > 0 && f.Column < 1 || strings.Contains(f.String(), "\n") {
				t.Errorf("finding %#v", f)
			}
		}
		if f := formOf(string(data)); f == isOther || f == isJinja || strings.HasPrefix(string(data), "\x1f\x8b") || len(data) > 8192 {
			return
		}
		packed := Read("user-data", []byte(base64.StdEncoding.EncodeToString(data)))
		if got, want := config(packed.Lines), config(d.Lines); got != want {
			t.Errorf("packed as base64: %q, plain %q", got, want)
		}
		if again := Read("user-data", data); !reflect.DeepEqual(again, d) {
			t.Errorf("read again: %+v, before %+v", again, d)
		}
	})
}

// Texts made to exhaust whoever reads them.
func TestHostile(t *testing.T) {
	for name, text := range map[string]string{
		"brackets in YAML":    "#cloud-config\na: " + strings.Repeat("[", 100_000),
		"dashes in YAML":      "#cloud-config\n" + strings.Repeat("- ", 100_000),
		"questions in YAML":   "#cloud-config\n" + strings.Repeat("? ", 100_000),
		"anchors":             "#cloud-config\na: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\nd: &d [*c,*c]\nfairlead: {ecs: {settings: {X: *d}}}\n",
		"brackets in JSON":    strings.Repeat("{\"a\":[", 40_000),
		"brackets in TOML":    "[settings.ecs]\na = " + strings.Repeat("[", 100_000),
		"subshells":           "#!/bin/bash\n" + strings.Repeat("(", 100_000),
		"substitutions":       "#!/bin/bash\necho " + strings.Repeat("$(", 100_000),
		"quoted":              "#!/bin/bash\necho " + strings.Repeat("\"$(", 60_000),
		"ifs":                 "#!/bin/bash\n" + strings.Repeat("if ", 80_000),
		"bangs":               "#!/bin/bash\n" + strings.Repeat("! ", 100_000) + "true",
		"braces":              "#!/bin/bash\necho {1..999999999} >> /etc/ecs/ecs.config\n",
		"more braces":         "#!/bin/bash\necho " + strings.Repeat("{a,b}", 60) + " >> /etc/ecs/ecs.config\n",
		"doubling":            "#!/bin/bash\nX=aaaaaaaaaa\n" + strings.Repeat("X=$X$X\n", 100) + "echo $X >> /etc/ecs/ecs.config\n",
		"recursion":           "#!/bin/bash\nf() { f; f; }\nf\n",
		"loops":               "#!/bin/bash\n" + strings.Repeat("for a in 1 2 3 4 5 6 7 8 9; do\n", 12) + "echo A=1 >> /etc/ecs/ecs.config\n" + strings.Repeat("done\n", 12),
		"printf":              "#!/bin/bash\nprintf '%99999999s' x >> /etc/ecs/ecs.config\n",
		"pipes":               "#!/bin/bash\n" + strings.Repeat("echo a | ", 20_000) + "cat\n",
		"parts":               "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=B\n\n" + strings.Repeat("--B\n\n", 50_000),
		"nested MIME":         strings.Repeat("MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=B\n\n--B\n", 2_000),
		"a bomb":              zip(t, strings.Repeat("\x00", 8<<20)),
		"quotes that run on":  "#!/bin/bash\n" + strings.Repeat("echo A=[\"x\\\"] >> /etc/ecs/ecs.config\n", 3_000),
		"unclosed documents":  "#!/bin/bash\n" + strings.Repeat("cat <<EOF >> /etc/ecs/ecs.config\n", 5_000),
		"arithmetic":          "#!/bin/bash\necho $((" + strings.Repeat("(", 50_000) + "\n",
		"arithmetic, no end":  "#!/bin/bash\nX=X; echo $((X)) $((2**99999999)) >> /etc/ecs/ecs.config\n",
		"copies":              "#!/bin/bash\n> /tmp/x\n" + strings.Repeat("echo A >> /tmp/x\n", 2_300) + strings.Repeat("cp /tmp/x /tmp/y; cat /tmp/y /tmp/x > /tmp/z\n", 1_000) + "cat /tmp/z > /etc/ecs/ecs.config\n",
		"a file of itself":    "#!/bin/bash\necho A=1 > /tmp/x\n" + strings.Repeat("cat /tmp/x /tmp/x > /tmp/y; cp /tmp/y /tmp/x\n", 1_000) + "cp /tmp/x /etc/ecs/ecs.config\n",
		"a script of itself":  "#!/bin/bash\necho 'bash /tmp/x; bash /tmp/x' > /tmp/x\nbash /tmp/x\n",
		"too much altogether": strings.Repeat("x", 2<<20),
	} {
		t.Run(name, func(t *testing.T) {
			d := bounded(t, []byte(text))
			if len(d.Findings) > maxFindings {
				t.Errorf("%d findings", len(d.Findings))
			}
		})
	}
}
