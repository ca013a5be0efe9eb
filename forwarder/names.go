package forwarder

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/fairlead/fairlead/forwarder/fluent"
	"github.com/fairlead/fairlead/forwarder/metadata"
)

// name is a field that says where an event is from.
type name struct{ key, value string }

// namesOf are the fields of a container's events: as Docker's fluentd driver writes them, as FireLens does, and the labels asked for,
// under their own names.
func namesOf(c metadata.Container, labels []string) []name {
	ecs := c.ECS()
	names := []name{{"container_id", c.ID}}
	for _, n := range []name{
		{"container_name", c.Name},
		{"ecs_cluster", ecs.Cluster},
		{"ecs_task_arn", ecs.TaskARN},
		{"ecs_task_definition", ecs.TaskDefinition()},
		{"ecs_container_name", ecs.ContainerName},
	} {
		if n.value != "" {
			names = append(names, n)
		}
	}
	for _, label := range labels {
		if value, has := c.Labels[label]; has {
			names = append(names, name{label, value})
		}
	}
	return names
}

// reserved are the fields that a label must not be called.
var reserved = []string{
	"log", "source", "container_id", "container_name", "ecs_cluster", "ecs_task_arn", "ecs_task_definition", "ecs_container_name",
	instanceField, "level", "exception.class", "exception.message", "exception.frame", "part", "part_last", "_id", backField,
}

// validateNames names the first key that is wrong, its value and what would be accepted.
func (c Containers) validateNames() error {
	if _, err := parseTag(c.Tag); err != nil {
		return err
	}
	if _, err := newChoice(c.Exclude); err != nil {
		return err
	}
	for i, label := range c.Labels {
		key := fmt.Sprintf("sources.containers.labels[%d]", i)
		switch {
		case label == "":
			return fmt.Errorf("%s: is empty: name a label", key)
		case strings.ContainsRune(label, '='):
			return fmt.Errorf("%s: %q: give the label's name alone; its value becomes the field", key, label)
		case slices.Contains(reserved, label):
			return fmt.Errorf("%s: %q is a field of every event already: give the containers a label of another name", key, label)
		case slices.Index(c.Labels, label) < i:
			return fmt.Errorf("%s: %q is named twice", key, label)
		}
	}
	return nil
}

// instanceField is the field with the id of the EC2 instance.
const instanceField = "ec2_instance_id"

// instance is the id of the EC2 instance, once it is known; streams that were there before are told then.
type instance struct{ id atomic.Pointer[string] }

// known says whether there is an id.
func (i *instance) known() bool { return i != nil && i.id.Load() != nil }

// addTo adds the field, where the id is known and the field is not there.
func (i *instance) addTo(f *fluent.Fields) {
	if i.known() && !f.Has(instanceField) {
		f.Add(instanceField, *i.id.Load())
	}
}

// SetInstance says which EC2 instance this is. It may be called at any time; events of before do not have the field.
func (f *Forwarder) SetInstance(id string) {
	if f.cfg.Record.Instance && id != "" {
		f.instance.id.CompareAndSwap(nil, &id) // an instance does not become another
	}
}

// tellInstance gives the field to the streams that began before the id was known.
func (l *loop) tellInstance() {
	if l.told || !l.instance.known() {
		return
	}
	l.told = true
	for _, s := range l.sources {
		for _, st := range s.streams {
			l.instance.addTo(&st.fields)
		}
	}
}

// hostNames are what this host knows of a container whose events a Forward client sends; none if it is not of this host.
func (in *inbound) hostNames(containerID []byte) []name {
	if in.root == "" || !isContainerID(string(containerID)) {
		return nil
	}
	c, err := metadata.ReadContainer(filepath.Join(in.root, string(containerID)))
	if err != nil {
		return nil
	}
	return namesOf(c, in.labels)
}

// addNames adds what the client did not say itself.
func (in *inbound) addNames(st *inStream) {
	for _, n := range st.names {
		if !st.fields.Has(n.key) {
			st.fields.Add(n.key, n.value)
		}
	}
	st.placed = in.instance.known()
	in.instance.addTo(&st.fields)
}
