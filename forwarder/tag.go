package forwarder

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"text/template"

	"github.com/fairlead/fairlead/forwarder/metadata"
	"github.com/fairlead/fairlead/internal/near"
)

// tagData is what `sources.containers.tag` can be made of. What is not known is empty.
type tagData struct {
	ContainerName    string // without the slash; where it is not known, the short id
	ContainerID      string
	ShortID          string // its first 12 digits
	Image            string // as it was asked for: nginx:1.27
	ECSCluster       string
	ECSTaskARN       string
	ECSTaskID        string // the end of the ARN
	ECSTaskFamily    string
	ECSTaskRevision  string
	ECSContainerName string // in the task definition
	Labels           map[string]string
}

// tagTemplate names the events of containers.
type tagTemplate struct{ t *template.Template }

// maxTag is where a tag is cut: labels may be of any length, and each frame bears the tag.
const maxTag = 256

// parseTag reads `sources.containers.tag`. It is tried on a container of an ECS task and on one of which only the id is known, so a name
// that is not there is found out before any container is.
func parseTag(text string) (tagTemplate, error) {
	if strings.TrimSpace(text) == "" {
		return tagTemplate{}, tagError(text, errors.New("it is empty"))
	}
	t, err := template.New("tag").Option("missingkey=zero").Parse(text)
	if err != nil {
		return tagTemplate{}, tagError(text, err)
	}
	full := tagData{"name", "id", "short", "image", "cluster", "arn", "task", "family", "1", "container", map[string]string{}}
	for _, sample := range []tagData{full, {ContainerName: "short", ContainerID: "id", ShortID: "short"}} {
		var b strings.Builder
		if err = t.Execute(&b, sample); err != nil && unknownField.MatchString(err.Error()) {
			return tagTemplate{}, tagError(text, err)
		}
		if tag := b.String(); err == nil && len(tag) < maxTag && fit(tag) != tag {
			return tagTemplate{}, tagError(text, errors.New("its own text holds what is not fit for a tag: use letters, digits and _ . -"))
		}
	}
	return tagTemplate{t}, nil
}

var unknownField = regexp.MustCompile(`can't evaluate field (\w+) in type`)

// tagError says what is wrong with the template; where, the reader of the configuration knows.
func tagError(text string, err error) error {
	if m := unknownField.FindStringSubmatch(err.Error()); m != nil {
		var fields []string
		for f := range reflect.TypeFor[tagData]().Fields() {
			fields = append(fields, f.Name)
		}
		meant := ""
		if like := near.Word(m[1], fields); like != "" {
			meant = ": did you mean ." + like + "?"
		}
		return fmt.Errorf("sources.containers.tag: %q: there is no .%s%s (there are .%s)", text, m[1], meant, strings.Join(fields, " ."))
	}
	return fmt.Errorf("sources.containers.tag: %q: %w", text, err)
}

// tag names the events of a container. Where the template makes no tag for it, or fails, it is docker.<name>: a tag that was not meant is
// better than a log that is not read. The error then says why.
func (t tagTemplate) tag(c metadata.Container) (string, error) {
	ecs := c.ECS()
	data := tagData{
		ContainerName: cmp.Or(strings.TrimPrefix(c.Name, "/"), c.ShortID()), ContainerID: c.ID, ShortID: c.ShortID(), Image: c.Image,
		ECSCluster: ecs.Cluster, ECSTaskARN: ecs.TaskARN, ECSTaskID: ecs.TaskID(), ECSTaskFamily: ecs.TaskFamily, ECSTaskRevision: ecs.TaskRevision,
		ECSContainerName: ecs.ContainerName, Labels: c.Labels,
	}
	var b strings.Builder
	err := t.t.Execute(&b, data)
	tag := b.String()
	if err == nil && strings.Trim(tag, ". ") == "" {
		err = errors.New("it is empty")
	}
	if err != nil {
		tag = "docker." + data.ContainerName
	}
	return fit(tag), err
}

// fit replaces what is not fit for a tag: Fluentd's <match> takes blanks, commas, braces and the like for its own, and tags become
// names of files and indexes.
func fit(tag string) string {
	if len(tag) > maxTag {
		tag = tag[:maxTag]
	}
	for i := range len(tag) {
		if !isFit(tag[i]) {
			b := []byte(tag)
			for j := i; j < len(b); j++ {
				if !isFit(b[j]) {
					b[j] = '_'
				}
			}
			return string(b)
		}
	}
	return tag
}

func isFit(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '.' || c == '-'
}
