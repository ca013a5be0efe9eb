package agent

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fairlead/fairlead/agent/health"
)

// Answer is a question of somebody who looks for a fault, answered in sentences.
type Answer struct {
	Question string `json:"question"`
	Wrong    bool   `json:"wrong"` // there is something to it
	Text     string `json:"text"`
	Next     string `json:"next,omitempty"` // what to do
	Disk     bool   `json:"-"`              // who owns the bytes of the disks belongs to it
}

// Why answers, from what the daemon says of itself, what people ask when something is wrong.
func Why(s Status, now time.Time) []Answer {
	return []Answer{whyLate(s, now), whyFull(s), whyIdle(s, now)}
}

// lateAfter is what may pass between a line and its acknowledgement before anybody asks.
const lateAfter = 10 * time.Second

func whyLate(s Status, now time.Time) Answer {
	a := Answer{Question: "Why are logs late?", Wrong: true}
	f := s.Forwarder
	if f == nil {
		a.Text, a.Next = "Nothing is forwarded.", "set forward.to"
		for _, r := range s.Ready.Reasons {
			if r.Code == Starting || r.Code == Stopping || r.Code == NoAnswer || r.Code == LoopStalled || r.Code == DiskStalled {
				a.Text, a.Next = "Nothing is forwarded now: "+r.Text+".", "wait, then look at the log of fairlead (journalctl -u fairlead)"
			}
		}
		return a
	}
	flow := flowOf(f)
	waiting := fmt.Sprintf("%s in %d sources are not read yet, and %d events (%s) wait in the spool", health.Amount(flow.LagBytes), flow.Count, flow.Pending, health.Amount(flow.PendingBytes))
	if flow.Pending > 0 {
		waiting += ", the oldest for " + health.Duration(flow.OldestSeconds)
	}
	to := f.Forward
	switch {
	case f.Spool.Failing != "":
		a.Text, a.Next = fmt.Sprintf("The disk of the spool fails: %s. %s.", f.Spool.Failing, sentence(waiting)), "see dmesg; replace the instance"
	case to.Failures > 0:
		a.Text = fmt.Sprintf("No Fluentd takes them: for %s %d attempts failed, the last with: %s. %s.", since(to.Since, now), to.Failures, to.LastError, sentence(waiting))
		a.Next = "see that the receiver runs and has room in its buffer, and that a security group lets this host reach it"
		if f.Spool.Full != "" {
			a.Text += " The spool takes no more (" + f.Spool.Full + "), so now the log files wait."
		}
	case f.Spool.Full != "":
		a.Text, a.Next = fmt.Sprintf("The spool takes no more: %s. %s.", f.Spool.Full, sentence(waiting)), "make room on the disk, or raise spool.max_bytes"
	case to.Suspect != nil:
		a.Text = fmt.Sprintf("One frame was refused %d times and holds up the others. %s.", to.Suspect.Refused, sentence(waiting))
		a.Next = "the log of Fluentd says what it dislikes; after 15 minutes the frame is set aside by itself"
	case flow.Pending > 0 && flow.OldestSeconds > lateAfter.Seconds():
		a.Text, a.Next = "Fluentd acknowledges more slowly than logs come. "+sentence(waiting)+".", "give Fluentd more workers or a faster buffer; look at fairlead_forward_ack_seconds"
	case flow.LagBytes > 16<<20:
		slowest := flow.Sources[0]
		a.Text = fmt.Sprintf("They are still being read: %s, most of it (%s) of %s.", waiting, health.Amount(slowest.LagBytes), slowest.Tag)
		a.Next = "wait; if it does not shrink, this log is written faster than it can be sent"
	default:
		a.Wrong, a.Text = false, "They are not: "+waiting+"."
	}
	return a
}

func whyFull(s Status) Answer {
	a := Answer{Question: "Why is the disk full?", Disk: true}
	if s.Health == nil || len(s.Health.Host.Disks) == 0 {
		a.Text = "The disks were not looked at yet."
		return a
	}
	var hung, tell []string
	var fullest health.DiskState
	for _, d := range s.Health.Host.Disks {
		if d.Error != "" {
			a.Wrong = true
			hung = append(hung, fmt.Sprintf("%s (%s, %s) does not answer.", d.Mount, d.Kind, d.Device))
			continue
		}
		if d.ReadOnly || d.Remote() {
			continue
		}
		if fullest.Mount == "" || d.Used() > fullest.Used() {
			fullest = d
		}
		soon := ""
		if d.SecondsUntilFull != nil && *d.SecondsUntilFull < 24*3600 {
			soon = fmt.Sprintf(", and full in %s if it goes on so", health.Duration(*d.SecondsUntilFull))
		}
		noInodes := d.Files > 0 && float64(d.FilesFree) < 0.1*float64(d.Files)
		if d.Used() < 0.8 && soon == "" && !noInodes {
			continue
		}
		a.Wrong = true
		line := fmt.Sprintf("%s is %.0f %% full with %s left%s.", d.Mount, d.Used()*100, health.Amount(d.AvailBytes), soon)
		if noInodes {
			line += fmt.Sprintf(" It has %d inodes left of %d.", d.FilesFree, d.Files)
		}
		tell = append(tell, line)
	}
	if len(tell) == 0 {
		a.Disk = false // nobody's bytes are the fault
		a.Text = "None is that can be written."
		if fullest.Mount != "" {
			a.Text = fmt.Sprintf("None is: the fullest, %s, is %.0f %% full with %s left.", fullest.Mount, fullest.Used()*100, health.Amount(fullest.AvailBytes))
		}
		if len(hung) > 0 {
			a.Text += " But " + strings.Join(hung, " ")
			a.Next = "see that its server, or the volume, is there (findmnt, dmesg); umount -l lets go of one that does not come back"
		}
		return a
	}
	tell = append(tell, hung...)
	var takes []string
	d := s.Health.Docker
	if n := d.Volumes["dangling"]; n > 0 {
		takes = append(takes, fmt.Sprintf("%d volumes that no container refers to", n))
	}
	if n := d.Images["unused"]; n > 0 {
		takes = append(takes, fmt.Sprintf("%d images without a container", n))
	}
	stopped := 0
	for _, c := range d.Containers {
		if c.State == "exited" || c.State == "dead" || c.State == "created" {
			stopped++
		}
	}
	if stopped > 0 {
		takes = append(takes, fmt.Sprintf("%d containers that do not run", stopped))
	}
	if f := s.Forwarder; f != nil {
		if f.Spool.PendingBytes > 64<<20 {
			takes = append(takes, fmt.Sprintf("%s of logs in the spool, because Fluentd does not take them", health.Amount(f.Spool.PendingBytes)))
		}
		held := int64(0)
		for _, source := range f.Sources {
			held += source.DetachedBytes
		}
		if held > 64<<20 {
			takes = append(takes, fmt.Sprintf("%s of deleted logs that are held open until they are read", health.Amount(held)))
		}
	}
	if c := s.Cleanup; c != nil {
		for _, f := range c.Failing {
			tell = append(tell, fmt.Sprintf("Tasks of %s fail again and again, with exit code %d: %d are left, with %d volumes.", f.Family, f.Exit, f.Tries, f.Volumes))
		}
		if c.Held != "" {
			tell = append(tell, "Nothing of Docker's is cleaned up at present: "+c.Held+".")
		}
	}
	if len(takes) > 0 {
		tell = append(tell, "What may take the space: "+strings.Join(takes, "; ")+".")
	}
	a.Text, a.Next = strings.Join(tell, " "), "fairlead gc --dry-run says what can go, fairlead why disk whose the bytes are"
	return a
}

func whyIdle(s Status, now time.Time) Answer {
	a := Answer{Question: "Why does this host get no tasks?", Wrong: true}
	if s.Health == nil {
		a.Wrong, a.Text = false, "The ECS agent was not asked yet."
		return a
	}
	e, d := s.Health.ECS, s.Health.Docker
	placed := func() string {
		for _, v := range slices.Backward(e.Services) {
			if strings.Contains(v.Message, "unable to place a task") {
				return fmt.Sprintf(" ECS says of service %s, %s ago: %s", v.Service, since(v.At, now), v.Message)
			}
		}
		return ""
	}
	switch {
	case !d.Up && !d.Missing && !d.Probed.IsZero():
		a.Text = fmt.Sprintf("The Docker engine does not do its work for %s (%s), so nothing can be started here.", since(d.Since, now), d.Error)
		a.Next = "journalctl -u docker; systemctl restart docker"
	case e.Since.IsZero():
		a.Wrong, a.Text = false, "The ECS agent was not asked yet."
	case e.Missing:
		a.Wrong, a.Text = false, "It has no ECS agent."
	case !e.Up && !e.Process:
		a.Text, a.Next = fmt.Sprintf("The ECS agent does not run for %s.", since(e.Since, now)), "systemctl status ecs; /var/log/ecs/ecs-init.log"
	case !e.Up:
		a.Text = fmt.Sprintf("The ECS agent runs and does not answer for %s (%s): it is starting, cannot register, or hangs.", since(e.Since, now), e.Error)
		a.Next = "/var/log/ecs/ecs-agent.log; look for AccessDenied (the instance's role), a wrong ECS_CLUSTER, or no way to the ECS endpoints"
	case !e.Connected():
		a.Text, a.Next = "The ECS agent runs, but ECS says that it is not connected.", "/var/log/ecs/ecs-agent.log; look at the way to the ECS endpoints (proxy, NAT, VPC endpoints)"
	case s.ECSConfig != nil && len(s.ECSConfig.Drift) > 0:
		a.Text = fmt.Sprintf("The ECS agent is connected to %s with %d tasks, but its settings were changed since they were rendered (%s): attributes that tasks ask for may be gone.%s",
			e.Cluster, e.Tasks["RUNNING"], strings.Join(s.ECSConfig.Drift, ", "), placed())
		a.Next = "fairlead render --dry-run --diff"
	case e.Tasks["RUNNING"]+e.Tasks["PENDING"] == 0:
		a.Text = fmt.Sprintf("The ECS agent is connected to %s and nothing is wrong with it; ECS places no task here.%s", e.Cluster, placed())
		a.Next = "see whether the instance is DRAINING, and whether a service lacks an attribute, memory or a port here (aws ecs describe-container-instances)"
	default:
		a.Wrong, a.Text = false, fmt.Sprintf("It does: %d tasks run and %d are being started.%s", e.Tasks["RUNNING"], e.Tasks["PENDING"], placed())
	}
	return a
}

func since(t, now time.Time) string { return health.Duration(max(0, now.Sub(t).Seconds())) }

// sentence begins with a capital.
func sentence(text string) string { return strings.ToUpper(text[:1]) + text[1:] }
