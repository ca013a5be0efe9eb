package userdata

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/internal/edit"
)

func config(lines []edit.Line) string {
	var b strings.Builder
	for _, l := range lines {
		if l.Truncate {
			b.Reset()
			continue
		}
		b.WriteString(l.Text + "\n")
	}
	return b.String()
}

func findings(d Document) string {
	var b strings.Builder
	for _, f := range d.Findings {
		b.WriteString(f.String() + "\n")
	}
	return b.String()
}

func zip(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func b64(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

const simple = "#!/bin/bash\necho ECS_CLUSTER=blue >> /etc/ecs/ecs.config\n"

// Whatever it is packed in, the script says the same.
func TestForms(t *testing.T) {
	mime := func(part string) string {
		return "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"==B==\"\n\n--==B==\n" + part + "\n--==B==--\n"
	}
	part := "Content-Type: text/x-shellscript; charset=\"us-ascii\"\n\n" + simple
	for name, text := range map[string]string{
		"plain":                    simple,
		"base64":                   b64(simple),
		"base64 twice":             b64(b64(simple)),
		"gzip":                     zip(t, simple),
		"gzip in base64":           b64(zip(t, simple)),
		"gzip in gzip":             zip(t, zip(t, simple)),
		"MIME":                     mime(part),
		"MIME with CRLF":           strings.ReplaceAll(mime(part), "\n", "\r\n"),
		"MIME, byte order mark":    "\ufeff" + mime(part),
		"MIME, leading blank line": "\n" + mime(part),
		"MIME in gzip":             zip(t, mime(part)),
		"MIME, preamble":           strings.Replace(mime(part), "\n\n--", "\n\nThis is a multi-part message.\n--", 1),
		"MIME, lower case":         strings.NewReplacer("MIME-Version", "mime-version", "Content-Type", "content-type").Replace(mime(part)),
		"MIME, type first":         "Content-Type: multipart/mixed; boundary=\"==B==\"\nMIME-Version: 1.0\n\n--==B==\n" + part + "\n--==B==--\n",
		"boundary without quotes":  strings.Replace(mime(part), `boundary="==B=="`, `boundary===B==`, 1),
		"folded header":            strings.Replace(mime(part), "; boundary", ";\n boundary", 1),
		"no closing boundary":      strings.Replace(mime(part), "--==B==--\n", "", 1),
		"no blank line in a part":  strings.Replace(mime(part), "us-ascii\"\n\n", "us-ascii\"\n", 1),
		"no MIME-Version":          strings.Replace(mime(part), "MIME-Version: 1.0\n", "", 1),
		"part in base64":           mime("Content-Type: text/x-shellscript\nContent-Transfer-Encoding: base64\n\n" + b64(simple)),
		"part in gzip and base64":  mime("Content-Type: application/gzip\nContent-Transfer-Encoding: base64\n\n" + b64(zip(t, simple))),
		"part quoted-printable":    mime("Content-Type: text/x-shellscript\nContent-Transfer-Encoding: quoted-printable\n\n" + strings.ReplaceAll(simple, "=", "=3D")),
		"part of text/plain":       mime("Content-Type: text/plain\n\n" + simple),
		"part of a wrong type":     mime("Content-Type: text/cloud-config\n\n" + simple),
		"part of an unknown type":  "", // below
		"nested":                   mime("Content-Type: multipart/mixed; boundary=\"in\"\n\n--in\n" + part + "\n--in--\n"),
		"no first line":            strings.Replace(simple, "#!/bin/bash\n", "", 1),
		"boothook":                 strings.Replace(simple, "#!/bin/bash", "#cloud-boothook", 1),
		"boothook with #!":         "#cloud-boothook\n" + simple,
		"jinja":                    "## template: jinja\n" + simple,
		"cloud-config runcmd":      "#cloud-config\nruncmd:\n  - echo ECS_CLUSTER=blue >> /etc/ecs/ecs.config\n",
		"runcmd as a list":         "#cloud-config\nruncmd:\n- [sh, -c, 'echo ECS_CLUSTER=blue >> /etc/ecs/ecs.config']\n",
		"bootcmd":                  "#cloud-config\nbootcmd:\n- \"echo 'ECS_CLUSTER=blue' >> /etc/ecs/ecs.config\"\n",
		"write_files":              "#cloud-config\nwrite_files:\n- path: /etc/ecs/ecs.config\n  content: |\n    ECS_CLUSTER=blue\n",
		"write_files, append":      "#cloud-config\nwrite_files:\n- {path: /etc/ecs/ecs.config, append: true, content: \"ECS_CLUSTER=blue\\n\"}\n",
		"write_files, base64":      "#cloud-config\nwrite_files:\n- path: /etc/ecs/ecs.config\n  encoding: b64\n  content: " + b64("ECS_CLUSTER=blue\n") + "\n",
		"write_files, gzip":        "#cloud-config\nwrite_files:\n- path: /etc/ecs/ecs.config\n  encoding: gz+b64\n  content: " + b64(zip(t, "ECS_CLUSTER=blue\n")) + "\n",
		"write_files, binary":      "#cloud-config\nwrite_files:\n- path: /etc/ecs/ecs.config\n  encoding: gz+b64\n  content: !!binary " + b64(zip(t, "ECS_CLUSTER=blue\n")) + "\n",
		"archive":                  "#cloud-config-archive\n- type: text/x-shellscript\n  content: |\n    #!/bin/bash\n    echo ECS_CLUSTER=blue >> /etc/ecs/ecs.config\n",
		"CRLF":                     strings.ReplaceAll(simple, "\n", "\r\n"),
	} {
		t.Run(name, func(t *testing.T) {
			if text == "" {
				t.Skip("see TestMIMEFindings")
			}
			d := Read("user-data", []byte(text))
			if got, want := config(d.Lines), "ECS_CLUSTER=blue\n"; got != want {
				t.Errorf("got %q, want %q\n%s", got, want, findings(d))
			}
		})
	}
}

func TestArticle(t *testing.T) {
	d := Read("user-data", []byte(`#!/bin/bash
echo ECS_CLUSTER=sandbox >> /etc/ecs/ecs.config
echo ECS_AVAILABLE_LOGGING_DRIVERS=["fluentd\"] >> /etc/ecs/ecs.config
`))
	if got, want := config(d.Lines), "ECS_CLUSTER=sandbox\nECS_AVAILABLE_LOGGING_DRIVERS=[\"fluentd\"]\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	t.Log(findings(d))
}
